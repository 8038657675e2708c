//! Shards that are first read so late that the stream does not keep what they had any more: told, and
//! never told of one whose records are all kept.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Fake, Fault, Limits, Operation};
use kinesis_source::{
    DataLoss, FanOut, KinesisApi, KinesisWriteApi, MemoryCheckpointStore, OnDataLoss,
    SequenceNumber, ShardError, ShardId, SourceEvent, StartPosition, StreamHandle, StreamSource,
};
use rig::{Sink, shard_error};
use stage_core::{Pipeline, PipelineError, Window};
use tokio::{task::JoinHandle, time::sleep};

const HOUR: Duration = Duration::from_secs(3_600);

type Run = JoinHandle<Result<(), PipelineError>>;

/// A stream of one shard, and how it is read.
struct World {
    fake: Fake,
    store: Arc<MemoryCheckpointStore>,
    by_fan_out: bool,
    on_data_loss: OnDataLoss,
    start: StartPosition,
}

impl World {
    /// Polling and fan-out, from the horizon on.
    fn all(on_data_loss: OnDataLoss) -> impl Iterator<Item = Self> {
        Self::all_that_keep(24, on_data_loss)
    }

    fn all_that_keep(hours: u32, on_data_loss: OnDataLoss) -> impl Iterator<Item = Self> {
        [false, true].into_iter().map(move |by_fan_out| Self {
            fake: Fake::builder().instant().retention_hours(hours).build(),
            store: Arc::default(),
            by_fan_out,
            on_data_loss,
            start: StartPosition::TrimHorizon,
        })
    }

    fn from(self, start: StartPosition) -> Self {
        Self { start, ..self }
    }

    /// Reads for so long.
    fn run(&self, sink: &Sink, how_long: Duration) -> (Run, StreamHandle) {
        self.run_with(sink, how_long, Window::new(50))
    }

    fn run_with(&self, sink: &Sink, how_long: Duration, window: Window) -> (Run, StreamHandle) {
        let api = Arc::new(self.fake.clone());
        let mut source = StreamSource::new("orders", api.clone())
            .start(self.start.clone())
            .checkpoints(Arc::clone(&self.store) as _)
            .on_data_loss(self.on_data_loss);
        if self.by_fan_out {
            source = source.fan_out(FanOut::new(api, "audit"));
        }
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(window));
        let run = tokio::spawn(pipeline.run_until(sleep(how_long)));
        (run, handle)
    }

    /// Reads for so long, and all is well.
    async fn read(&self, sink: &Sink, how_long: Duration) {
        let (run, handle) = self.run(sink, how_long);
        let ended = run.await.unwrap();
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(handle.data_losses(), []);
    }

    async fn split(&self) {
        let open = self.fake.shards().into_iter().find(|it| !it.is_closed());
        let open = open.unwrap();
        let middle = open.hash_range.start / 2 + open.hash_range.end / 2 + 1;
        self.fake.split_shard(&open.id, middle).await.unwrap();
    }

    fn put(&self, numbers: std::ops::Range<u64>) {
        self.fake.put_numbered(numbers).unwrap();
    }

    /// The oldest record that a shard keeps.
    fn oldest(&self, shard: &ShardId) -> Option<SequenceNumber> {
        let kept = self.fake.records().into_iter().find(|(id, _)| id == shard);
        let (_, records) = kept?;
        records.into_iter().next().map(|it| it.sequence_number)
    }

    /// These losses, of shards of which nothing was read, are all that there are.
    fn assert_lost(&self, lost: &[DataLoss], shards: usize) {
        assert_eq!(lost.len(), shards, "{lost:?}");
        for loss in lost {
            assert_eq!(loss.from, 0.into());
            assert_eq!(loss.to, self.oldest(&loss.shard), "{}", loss.shard);
        }
    }
}

fn loss(error: &PipelineError) -> DataLoss {
    match shard_error(error) {
        ShardError::DataLoss(loss) => loss.clone(),
        other => panic!("{other:?}"),
    }
}

fn numbers(ranges: &[std::ops::Range<u64>]) -> Vec<u64> {
    ranges.iter().cloned().flatten().collect()
}

fn policies() -> [OnDataLoss; 2] {
    [OnDataLoss::Stop, OnDataLoss::GoOn]
}

/// What the parent had is not acknowledged for longer than records are kept. Its children have had some
/// meanwhile.
async fn hold_up_children(world: &World, stall: Duration) -> (Sink, Run, StreamHandle) {
    world.put(0..10);
    let sink = Sink::default();
    let gate = sink.close();
    let (run, handle) = world.run(&sink, stall + 2 * HOUR);
    sleep(HOUR).await;
    world.split().await;
    world.put(100..110);
    sleep(stall - HOUR).await;
    world.put(200..210);
    drop(gate);
    (sink, run, handle)
}

#[tokio::test(start_paused = true)]
async fn children_whose_parent_took_too_long_have_lost_their_first_records() {
    for world in policies().into_iter().flat_map(World::all) {
        let (sink, run, handle) = hold_up_children(&world, 26 * HOUR).await;
        let ended = run.await.unwrap();
        let lost = handle.data_losses();
        world.assert_lost(&lost, 2);
        if world.on_data_loss == OnDataLoss::Stop {
            assert!(lost.contains(&loss(&ended.unwrap_err())));
            assert_eq!(sink.numbers(), Vec::from_iter(0..10));
            // It stays so.
            let (run, handle) = world.run(&Sink::default(), HOUR);
            run.await.unwrap().unwrap_err();
            world.assert_lost(&handle.data_losses(), 2);
        } else {
            ended.unwrap();
            assert_eq!(sink.numbers(), numbers(&[0..10, 200..210]));
            world.read(&Sink::default(), HOUR).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn children_whose_parent_took_almost_too_long_have_lost_nothing() {
    for world in World::all(OnDataLoss::Stop) {
        let (sink, run, handle) = hold_up_children(&world, 24 * HOUR).await;
        run.await.unwrap().unwrap();
        assert_eq!(handle.data_losses(), []);
        assert_eq!(sink.numbers(), numbers(&[0..10, 100..110, 200..210]));
    }
}

/// Records are kept for two days at first, and for one when it matters.
#[tokio::test(start_paused = true)]
async fn a_retention_that_is_shortened_meanwhile_counts() {
    for world in World::all_that_keep(48, OnDataLoss::GoOn) {
        let fake = world.fake.clone();
        tokio::spawn(async move {
            sleep(2 * HOUR).await;
            fake.decrease_stream_retention_period(24).await.unwrap();
        });
        let (sink, run, handle) = hold_up_children(&world, 30 * HOUR).await;
        run.await.unwrap().unwrap();
        world.assert_lost(&handle.data_losses(), 2);
        assert_eq!(sink.numbers(), numbers(&[0..10, 200..210]));
    }
}

/// A reader is thirty hours behind, by a day and a half of records, when only a day of them is kept from
/// then on: what it goes on without is told, though it did not know of that.
#[tokio::test(start_paused = true)]
async fn a_retention_that_is_shortened_takes_nothing_from_a_reader_in_silence() {
    let world = World::all_that_keep(48, OnDataLoss::GoOn).next().unwrap();
    let fake = world.fake.clone();
    let writer = tokio::spawn(async move {
        for number in 0.. {
            fake.put_numbered(number..number + 1).unwrap();
            sleep(HOUR / 60).await;
        }
    });
    sleep(30 * HOUR).await;
    let sink = Sink::by(HOUR / 2);
    let (run, handle) = world.run(&sink, 10 * HOUR);
    let mut events = handle.events();
    sleep(4 * HOUR).await;
    assert_eq!(handle.data_losses(), []);
    let decreased = world.fake.decrease_stream_retention_period(24).await;
    decreased.unwrap();
    sleep(2 * HOUR).await;
    assert!(!run.is_finished());
    let told = std::iter::from_fn(|| events.try_next());
    let losses = told.filter_map(|event| match event {
        SourceEvent::DataLost { loss } => Some(loss),
        _ => None,
    });
    let losses: Vec<_> = losses.collect();
    run.abort();
    writer.abort();
    let taken = sink.taken();
    let number = |at: usize| std::str::from_utf8(&taken[at].data).unwrap();
    let number = |at: usize| number(at).parse::<u64>().unwrap();
    let gaps = (1..taken.len()).filter(|&at| number(at - 1) + 1 != number(at));
    let gaps: Vec<_> = gaps.collect();
    assert!(!gaps.is_empty(), "it was behind");
    let at = |at: usize| taken[at].sequence_number.clone();
    for gap in gaps {
        let (from, to) = (at(gap - 1), Some(at(gap)));
        let is_told = losses.iter().any(|it| it.from == from && it.to == to);
        assert!(is_told, "{from} to {to:?}: {losses:?}");
    }
}

/// Nothing comes for longer than records are kept, then it is split.
#[tokio::test(start_paused = true)]
async fn the_children_of_an_old_shard_are_young() {
    for (is_latest, by_fan_out) in [(true, false), (false, true)] {
        let mut world = World::all(OnDataLoss::Stop).next().unwrap();
        world.by_fan_out = by_fan_out;
        world.start = match is_latest {
            true => StartPosition::Latest,
            false => StartPosition::AtTimestamp(world.fake.now().minus(HOUR)),
        };
        let (run, handle) = world.run(&Sink::default(), 26 * HOUR);
        sleep(25 * HOUR).await;
        world.split().await;
        run.await.unwrap().unwrap();
        assert_eq!(handle.data_losses(), []);
        // Nor have those that were made while nobody read, less than a day ago.
        world.split().await;
        sleep(23 * HOUR).await;
        world.put(0..10);
        let sink = Sink::default();
        world.read(&sink, 3 * HOUR).await;
        assert_eq!(sink.numbers(), Vec::from_iter(0..10));
        sleep(22 * HOUR).await;
        world.put(10..20);
        let sink = Sink::default();
        world.read(&sink, HOUR).await;
        assert_eq!(sink.numbers(), Vec::from_iter(10..20));
    }
}

/// Nothing can be listed for longer than records are kept, and then it is split: all that there was before is
/// read.
#[tokio::test(start_paused = true)]
async fn children_are_as_young_as_the_last_that_was_read_before_them() {
    for world in World::all(OnDataLoss::Stop) {
        let sink = Sink::default();
        let (run, handle) = world.run(&sink, 27 * HOUR);
        sleep(HOUR / 2).await;
        let refused = Fault::refusal(Operation::ListShards, "InternalFailure");
        let refused = refused.between(Duration::ZERO..26 * HOUR);
        world.fake.inject(refused);
        sleep(25 * HOUR).await;
        world.split().await;
        world.put(0..10);
        run.await.unwrap().unwrap();
        assert_eq!(sink.numbers(), Vec::from_iter(0..10));
        assert_eq!(handle.data_losses(), []);
    }
}

/// A shard that is read from a moment on is not read at all for longer than records are kept since.
#[tokio::test(start_paused = true)]
async fn what_came_after_the_moment_to_start_at_is_lost_if_it_is_read_too_late() {
    for is_latest in [false, true] {
        for world in policies().into_iter().flat_map(World::all) {
            let now = world.fake.now();
            let world = world.from(match is_latest {
                true => StartPosition::Latest,
                false => StartPosition::AtTimestamp(now),
            });
            let refused = |operation| Fault::refusal(operation, "InternalFailure");
            let day = Duration::ZERO..HOUR;
            for operation in [Operation::GetRecords, Operation::SubscribeToShard] {
                world.fake.inject(refused(operation).between(day.clone()));
            }
            sleep(HOUR / 2).await;
            world.read(&Sink::default(), HOUR / 4).await;
            world.put(0..10);
            sleep(25 * HOUR).await;
            world.put(10..20);
            let sink = Sink::default();
            let (run, handle) = world.run(&sink, HOUR);
            let ended = run.await.unwrap();
            world.assert_lost(&handle.data_losses(), 1);
            if world.on_data_loss == OnDataLoss::Stop {
                assert_eq!(vec![loss(&ended.unwrap_err())], handle.data_losses());
                assert!(sink.numbers().is_empty());
            } else {
                ended.unwrap();
                assert_eq!(sink.numbers(), Vec::from_iter(10..20));
            }
        }
    }
}

/// Nor has one that is asked for from a moment that was long past from the first.
#[tokio::test(start_paused = true)]
async fn who_asks_for_more_than_is_kept_has_what_is_kept() {
    for world in World::all(OnDataLoss::Stop) {
        let moment = world.fake.now();
        let world = world.from(StartPosition::AtTimestamp(moment));
        world.put(0..10);
        sleep(50 * HOUR).await;
        world.put(10..20);
        let sink = Sink::default();
        let _gate = sink.close();
        let (run, handle) = world.run(&sink, HOUR);
        sleep(HOUR / 2).await;
        assert!(!run.is_finished() && handle.data_losses().is_empty());
        run.abort();
        // Nothing of it was acknowledged.
        let sink = Sink::default();
        world.read(&sink, HOUR).await;
        assert_eq!(sink.numbers(), Vec::from_iter(10..20));
    }
}

/// The reader is so little behind what is kept from then on that less than a minute of records goes.
#[tokio::test(start_paused = true)]
async fn a_retention_that_is_shortened_takes_not_even_seconds_in_silence() {
    for world in World::all_that_keep(48, OnDataLoss::GoOn) {
        let (fake, second) = (world.fake.clone(), Duration::from_secs(1));
        for number in 0..600 {
            fake.put_numbered(number..number + 1).unwrap();
            sleep(second).await;
        }
        // A day later, it is read as fast as it was put, twenty seconds behind.
        sleep(24 * HOUR - 580 * second).await;
        let sink = Sink::by(second);
        let mut limits = Limits::default();
        limits.records_per_event = 1;
        fake.set_limits(limits);
        let (run, handle) = world.run_with(&sink, HOUR / 6, Window::new(1));
        let mut events = handle.events();
        sleep(200 * second).await;
        assert_eq!(handle.data_losses(), []);
        assert!(sink.taken().len() > 100);
        fake.decrease_stream_retention_period(24).await.unwrap();
        run.await.unwrap().unwrap();
        let (taken, records) = (sink.numbers_in_order(), sink.taken());
        let gaps = (1..taken.len()).filter(|&at| taken[at - 1] + 1 != taken[at]);
        let gaps: Vec<_> = gaps.collect();
        let first = taken[gaps[0]] - taken[gaps[0] - 1];
        assert!((10..50).contains(&first), "{first}");
        let number = |at: usize| records[at].sequence_number.clone();
        let told = std::iter::from_fn(|| events.try_next());
        let told = told.filter_map(|event| match event {
            SourceEvent::DataLost { loss } => Some((loss.from, loss.to)),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        for at in gaps {
            let gap = (number(at - 1), Some(number(at)));
            assert!(told.contains(&gap), "{gap:?}: {told:?}");
        }
    }
}
