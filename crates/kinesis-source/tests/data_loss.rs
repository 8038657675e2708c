//! Records that a stream does not keep until they are read: told, and never told without need.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Choices, Fake, Fault, Limits, OlderThanHorizon, Operation};
use kinesis_source::{
    Checkpoint, CheckpointStore, DataLoss, FanOut, KinesisApi, KinesisWriteApi,
    MemoryCheckpointStore, OnDataLoss, Record, SequenceNumber, ShardError, ShardId, SourceEvent,
    StreamHandle, StreamIdentity, StreamSource,
};
use rig::{Sink, shard_error};
use stage_core::{Pipeline, PipelineError, Window};
use tokio::{
    join,
    time::{sleep, timeout},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// A stream of one shard, how the service answers for what it has not, and how it is read.
struct World {
    fake: Fake,
    store: Arc<MemoryCheckpointStore>,
    by_fan_out: bool,
    on_data_loss: OnDataLoss,
}

impl World {
    /// All that there are.
    fn all(on_data_loss: OnDataLoss) -> impl Iterator<Item = Self> {
        Self::all_with(on_data_loss, Limits::default())
    }

    /// All, and no event of a subscription has more than ten records.
    fn all_in_tens(on_data_loss: OnDataLoss) -> impl Iterator<Item = Self> {
        let mut limits = Limits::default();
        limits.records_per_event = 10;
        Self::all_with(on_data_loss, limits)
    }

    fn all_with(on_data_loss: OnDataLoss, limits: Limits) -> impl Iterator<Item = Self> {
        let choices = [OlderThanHorizon::Refuse, OlderThanHorizon::StartAtHorizon];
        let ways = choices.into_iter().flat_map(|it| [(it, false), (it, true)]);
        ways.map(move |(older_than_horizon, by_fan_out)| {
            let mut choices = Choices::default();
            choices.older_than_horizon = older_than_horizon;
            Self {
                fake: Fake::builder()
                    .instant()
                    .choices(choices)
                    .limits(limits.clone())
                    .build(),
                store: Arc::default(),
                by_fan_out,
                on_data_loss,
            }
        })
    }

    fn source(&self) -> StreamSource {
        let api = Arc::new(self.fake.clone());
        let source = StreamSource::new("orders", api.clone())
            .checkpoints(Arc::clone(&self.store) as _)
            .checkpoint_every(Duration::from_secs(30))
            .on_data_loss(self.on_data_loss);
        if self.by_fan_out {
            source.fan_out(FanOut::new(api, "audit"))
        } else {
            source
        }
    }

    /// Reads until everything has been read for now, and then for that long.
    async fn read(
        &self,
        sink: &Sink,
        longer: Duration,
    ) -> (Result<(), PipelineError>, StreamHandle) {
        let mut pipeline = Pipeline::new();
        let (records, handle) = self.source().add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(50)));
        let caught_up = handle.clone();
        let done = async move {
            caught_up.caught_up().await;
            sleep(longer).await;
        };
        (pipeline.run_until(done).await, handle)
    }

    async fn read_all(&self, sink: &Sink) -> (Result<(), PipelineError>, StreamHandle) {
        self.read(sink, Duration::ZERO).await
    }

    fn kept(&self) -> Vec<SequenceNumber> {
        let (_, records) = self.fake.records().remove(0);
        records.into_iter().map(|it| it.sequence_number).collect()
    }

    async fn stored(&self) -> Checkpoint {
        let summary = self.fake.describe_stream_summary().await.unwrap();
        let stored = self.store.load(&StreamIdentity::from(&summary)).await;
        stored.unwrap().into_values().next().unwrap()
    }
}

fn loss(error: &PipelineError) -> DataLoss {
    match shard_error(error) {
        ShardError::DataLoss(loss) => loss.clone(),
        other => panic!("{other:?}"),
    }
}

fn numbers(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

/// Ten records are read, ten are lost, ten are there. Returns the last that was read, and the first
/// that is there.
async fn lose_ten(world: &World) -> (SequenceNumber, SequenceNumber) {
    world.fake.put_numbered(0..10).unwrap();
    let sink = Sink::default();
    world.read_all(&sink).await.0.unwrap();
    assert_eq!(sink.numbers(), numbers(0..10));
    let from = world.kept()[9].clone();
    sleep(HOUR).await;
    world.fake.put_numbered(10..20).unwrap();
    sleep(25 * HOUR).await;
    world.fake.put_numbered(20..30).unwrap();
    let kept = world.kept();
    assert_eq!(kept.len(), 10);
    (from, kept[0].clone())
}

#[tokio::test(start_paused = true)]
async fn a_loss_stops_the_pipeline_each_time_before_anything_is_read() {
    for world in World::all(OnDataLoss::Stop) {
        let (from, to) = lose_ten(&world).await;
        for _ in 0..2 {
            let sink = Sink::default();
            let (ended, handle) = world.read_all(&sink).await;
            let error = ended.unwrap_err();
            let lost = loss(&error);
            assert_eq!((&lost.from, lost.to.as_ref()), (&from, Some(&to)));
            assert_eq!(handle.data_losses(), [lost]);
            assert!(sink.numbers().is_empty());
            let said = shard_error(&error).to_string();
            assert!(
                said.contains(&from.to_string()) && said.contains("GoOn"),
                "{said}"
            );
            sleep(Duration::from_secs(10)).await;
        }
        assert_eq!(world.stored().await, Checkpoint::after(from));
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_told_once_and_reading_goes_on_if_that_is_wanted() {
    for world in World::all(OnDataLoss::GoOn) {
        let (from, to) = lose_ten(&world).await;
        let sink = Sink::default().refusing_once(25);
        let (ended, handle) = world.read_all(&sink).await;
        ended.unwrap();
        let [lost] = &handle.data_losses()[..] else {
            panic!("one loss")
        };
        assert_eq!((&lost.from, lost.to.as_ref()), (&from, Some(&to)));
        let mut taken = sink.numbers();
        taken.dedup();
        assert_eq!(taken, numbers(20..30));
        sleep(Duration::from_secs(10)).await;
        world.fake.put_numbered(30..40).unwrap();
        let sink = Sink::default();
        let (ended, handle) = world.read_all(&sink).await;
        ended.unwrap();
        assert!(handle.data_losses().is_empty());
        assert_eq!(sink.numbers(), numbers(30..40));
    }
}

/// Nothing comes for two days while it reads. The last record is not kept any more by then, and
/// nothing is lost: its checkpoint says since when there was nothing after it.
#[tokio::test(start_paused = true)]
async fn a_quiet_shard_has_lost_nothing() {
    for world in World::all(OnDataLoss::Stop) {
        world.fake.put_numbered(0..10).unwrap();
        let last = world.kept()[9].clone();
        for _ in 0..3 {
            world.read(&Sink::default(), 2 * HOUR).await.0.unwrap();
            sleep(20 * HOUR).await;
        }
        let Checkpoint::Quiet {
            sequence_number,
            until,
        } = world.stored().await
        else {
            panic!("it is quiet")
        };
        assert_eq!(sequence_number, last);
        let age = world.fake.now().since(until);
        assert!((20 * HOUR..22 * HOUR).contains(&age), "{age:?}");
        world.fake.put_numbered(10..20).unwrap();
        assert_eq!(world.kept().len(), 10, "the others are not kept");
        let sink = Sink::default();
        let (ended, handle) = world.read_all(&sink).await;
        ended.unwrap();
        assert_eq!(sink.numbers(), numbers(10..20));
        assert!(handle.data_losses().is_empty());
    }
}

/// It was away for longer than records are kept: nobody can know what came meanwhile.
#[tokio::test(start_paused = true)]
async fn a_quiet_shard_may_have_lost_what_came_while_nobody_read() {
    for world in World::all(OnDataLoss::Stop) {
        world.fake.put_numbered(0..10).unwrap();
        let last = world.kept()[9].clone();
        world.read(&Sink::default(), 3 * HOUR).await.0.unwrap();
        world.fake.put_numbered(10..20).unwrap();
        sleep(26 * HOUR).await;
        world.fake.put_numbered(20..30).unwrap();
        let (ended, _) = world.read_all(&Sink::default()).await;
        assert_eq!(loss(&ended.unwrap_err()).from, last);
    }
}

/// Active shards store no more checkpoints than before, quiet ones one an hour and one at the end.
#[tokio::test(start_paused = true)]
async fn a_quiet_shard_says_so_once_an_hour_and_at_a_stop() {
    for world in World::all(OnDataLoss::Stop) {
        world.fake.put_numbered(0..10).unwrap();
        let before = world.fake.now();
        let sink = Sink::default();
        let looks = async {
            let mut stored = Vec::new();
            for _ in 0..10 {
                sleep(HOUR / 4).await;
                stored.push(world.stored().await);
            }
            stored
        };
        let (stored, (ended, _)) = join!(looks, world.read(&sink, 11 * HOUR / 4));
        ended.unwrap();
        let [first, second, third, ..] = &stored[..] else {
            panic!("there are ten")
        };
        let after = Checkpoint::after(world.kept()[9].clone());
        assert_eq!([first, second, third], [&after; 3]);
        let told_after = |stored: &Checkpoint| match stored {
            Checkpoint::Quiet { until, .. } => until.since(before),
            other => panic!("it is quiet: {other:?}"),
        };
        let is_about = |told: Duration, hours: Duration| told.abs_diff(hours) <= HOUR / 30;
        assert!(is_about(told_after(&stored[9]), 2 * HOUR), "{stored:?}");
        let last = told_after(&world.stored().await);
        assert!(is_about(last, 11 * HOUR / 4), "{last:?}");
    }
}

/// A sink that takes nothing for longer than records are kept: what was read by then arrives, and
/// what was not is missed.
#[tokio::test(start_paused = true)]
async fn what_is_lost_while_a_sink_stalls_is_told() {
    for world in World::all(OnDataLoss::GoOn) {
        world.fake.put_numbered(0..100).unwrap();
        let sink = Sink::default();
        let gate = sink.close();
        let mut pipeline = Pipeline::new();
        let (records, handle) = world.source().add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
        let run = tokio::spawn(pipeline.run_until(sleep(28 * HOUR)));
        sleep(HOUR).await;
        world.fake.put_numbered(100..200).unwrap();
        sleep(26 * HOUR).await;
        world.fake.put_numbered(200..300).unwrap();
        drop(gate);
        run.await.unwrap().unwrap();
        let taken = sink.numbers();
        assert!(taken.starts_with(&numbers(0..100)), "{taken:?}");
        assert!(taken.ends_with(&numbers(200..300)), "{taken:?}");
        assert_eq!(taken.len(), 200);
        assert_eq!(handle.data_losses().len(), 1);
    }
}

/// Records an hour apart are in hand for most of a day, and then one is refused: it, and what came after
/// it, is not kept any more.
#[tokio::test(start_paused = true)]
async fn what_is_nacked_once_it_is_not_kept_any_more_is_told() {
    for refused in [0, 1] {
        for world in World::all(OnDataLoss::GoOn) {
            for number in 0..10 {
                world.fake.put_numbered(number..number + 1).unwrap();
                sleep(HOUR).await;
            }
            let from = match refused {
                0 => 0.into(),
                _ => world.kept()[0].clone(),
            };
            let sink = Sink::default().refusing_once(refused);
            let gate = sink.close();
            let mut pipeline = Pipeline::new();
            let (records, handle) = world.source().add_to(&mut pipeline);
            pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
            let run = tokio::spawn(pipeline.run_until(sleep(17 * HOUR)));
            sleep(16 * HOUR + HOUR / 2).await;
            let to = world.kept()[0].clone();
            drop(gate);
            run.await.unwrap().unwrap();
            let (mut first, again) = (numbers(0..10), world.kept().len() as u64);
            first.retain(|&number| number != refused);
            assert_eq!(again, 7);
            let expected = [first, numbers(10 - again..10)].concat();
            assert_eq!(sink.numbers_in_order(), expected);
            let lost = handle.data_losses();
            let lost: Vec<_> = lost.iter().map(|it| (&it.from, &it.to)).collect();
            assert_eq!(lost, [(&from, &Some(to))]);
        }
    }
}

/// Runs a reader that is slower than what comes, for three days and a half. Returns what it took in, the
/// losses that were told, and how it ended, if it did.
async fn overtake(
    world: &World,
) -> (
    Vec<Record>,
    Vec<DataLoss>,
    Option<Result<(), PipelineError>>,
) {
    let writer = {
        let fake = world.fake.clone();
        tokio::spawn(async move {
            for number in 0.. {
                fake.put_numbered(number..number + 1).unwrap();
                sleep(Duration::from_secs(30)).await;
            }
        })
    };
    let sink = Sink::by(Duration::from_secs(600));
    let mut pipeline = Pipeline::new();
    let (records, handle) = world.source().add_to(&mut pipeline);
    let mut events = handle.events();
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let mut run = tokio::spawn(pipeline.run());
    let mut losses = Vec::new();
    let mut ended = None;
    for _ in 0..84 {
        if let Ok(end) = timeout(HOUR, &mut run).await {
            ended = Some(end.unwrap());
            break;
        }
        let lost = std::iter::from_fn(|| events.try_next());
        losses.extend(lost.filter_map(|event| match event {
            SourceEvent::DataLost { loss } => Some(loss),
            _ => None,
        }));
    }
    let lost = std::iter::from_fn(|| events.try_next());
    losses.extend(lost.filter_map(|event| match event {
        SourceEvent::DataLost { loss } => Some(loss),
        _ => None,
    }));
    run.abort();
    writer.abort();
    (sink.taken(), losses, ended)
}

fn number(record: &Record) -> u64 {
    let text = std::str::from_utf8(&record.data).unwrap();
    text.parse().unwrap()
}

/// What a reader that is too slow misses is told, each gap between its last record and its next.
#[tokio::test(start_paused = true)]
async fn what_the_horizon_takes_from_a_slow_reader_is_told_gap_by_gap() {
    for world in World::all_in_tens(OnDataLoss::GoOn) {
        let (taken, losses, ended) = overtake(&world).await;
        assert!(ended.is_none(), "{ended:?}");
        let mut gaps = 0;
        for pair in taken.windows(2) {
            if number(&pair[0]) + 1 == number(&pair[1]) {
                continue;
            }
            gaps += 1;
            let [from, to] = [0, 1].map(|it| pair[it].sequence_number.clone());
            let told = |loss: &DataLoss| loss.from == from && loss.to.as_ref() == Some(&to);
            assert!(losses.iter().any(told), "{from} to {to}: {losses:?}");
        }
        assert!(gaps > 100, "it is overtaken: {gaps} gaps");
        // One may be told already that has yet to be taken in; one more, perhaps, of no more than the
        // last record itself.
        assert!(
            losses.len() <= gaps + gaps / 10 + 2,
            "{gaps} gaps, {} told",
            losses.len()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_stops_at_the_first_gap() {
    for world in World::all_in_tens(OnDataLoss::Stop) {
        let (taken, losses, ended) = overtake(&world).await;
        let error = ended.expect("it stops").unwrap_err();
        let numbers_taken: Vec<_> = taken.iter().map(number).collect();
        assert_eq!(numbers_taken, numbers(0..taken.len() as u64));
        assert_eq!(losses, [loss(&error)]);
        assert_eq!(losses[0].from, taken.last().unwrap().sequence_number);
    }
}

/// Ten hours behind, or almost as long as records are kept: all of them come, and nothing is told. The
/// former takes no call more than any reading does.
#[tokio::test(start_paused = true)]
async fn a_reader_that_is_behind_has_lost_nothing_while_all_is_kept() {
    for (minutes, may_look) in [(600, false), (1_340, false), (1_430, true)] {
        for world in World::all_in_tens(OnDataLoss::Stop) {
            let writer = {
                let fake = world.fake.clone();
                tokio::spawn(async move {
                    for number in 0..4_000 {
                        fake.put_numbered(number..number + 1).unwrap();
                        sleep(Duration::from_secs(30)).await;
                    }
                })
            };
            sleep(HOUR / 60 * minutes).await;
            // As fast as they come.
            let sink = Sink::by(Duration::from_secs(100));
            let mut pipeline = Pipeline::new().drain_within(HOUR);
            let (records, handle) = world.source().add_to(&mut pipeline);
            pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
            let run = tokio::spawn(pipeline.run_until(sleep(8 * HOUR)));
            sleep(7 * HOUR).await;
            assert!(!run.is_finished(), "{minutes} min");
            run.await.unwrap().unwrap();
            writer.abort();
            let taken = sink.numbers_in_order();
            assert_eq!(taken, numbers(0..taken.len() as u64), "{minutes} min");
            assert!(taken.len() > 900, "{}", taken.len());
            assert!(handle.data_losses().is_empty());
            if !world.by_fan_out {
                let looks = world.fake.calls().of(Operation::GetShardIterator).made;
                assert_eq!(looks > 2, may_look, "{minutes} min: {looks}");
            }
        }
    }
}

/// A shard whose records are nacked again and again is parked until none of them is kept, and nothing new
/// comes. It is not caught up by that: what it had is lost.
#[tokio::test(start_paused = true)]
async fn a_parked_shard_whose_rest_ages_out_has_lost_it() {
    let worlds = World::all(OnDataLoss::Stop).chain(World::all(OnDataLoss::GoOn));
    for world in worlds {
        world.fake.put_numbered(0..100).unwrap();
        let last = world.kept()[41].clone();
        let sink = Sink::default().refusing_always(42);
        let (ended, handle) = world.read_all(&sink).await;
        let [lost] = &handle.data_losses()[..] else {
            panic!("one loss: {ended:?} {}", handle.explain());
        };
        assert_eq!((&lost.from, &lost.to), (&last, &None));
        match world.on_data_loss {
            OnDataLoss::Stop => assert_eq!(loss(&ended.unwrap_err()), *lost),
            _ => {
                ended.unwrap();
                // It is read on.
                world.fake.put_numbered(100..110).unwrap();
                let sink = Sink::default();
                let (ended, handle) = world.read_all(&sink).await;
                ended.unwrap();
                assert_eq!(sink.numbers(), numbers(100..110));
                assert_eq!(handle.data_losses(), [], "that was told");
            }
        }
    }
}

/// The loss of that shard. Its children had to wait for longer than records are kept: nobody can know what
/// they had meanwhile, which is told once they are read.
fn root_and_children(world: &World, root: &ShardId, handle: &StreamHandle) -> DataLoss {
    let losses = handle.data_losses();
    let (of_root, of_children): (Vec<_>, Vec<_>) =
        losses.into_iter().partition(|it| it.shard == *root);
    let [lost] = &of_root[..] else {
        panic!("one loss: {}", handle.explain());
    };
    let children = if world.on_data_loss == OnDataLoss::Stop {
        0
    } else {
        2
    };
    assert_eq!(of_children.len(), children, "{of_children:?}");
    assert!(of_children.iter().all(|it| it.from == 0.into()));
    lost.clone()
}

/// A shard cannot be read at all until it is not kept any more: all that it had is lost.
#[tokio::test(start_paused = true)]
async fn a_shard_that_ages_out_before_anything_of_it_was_read_is_lost_as_a_whole() {
    let worlds = World::all(OnDataLoss::Stop).chain(World::all(OnDataLoss::GoOn));
    for world in worlds.filter(|world| !world.by_fan_out) {
        world.fake.put_numbered(0..100).unwrap();
        let root = world.fake.shards().remove(0).id;
        let day = Duration::ZERO..26 * HOUR;
        let failing = Fault::refusal(Operation::GetRecords, "InternalFailure");
        world.fake.inject(failing.on_shard(&root).between(day));
        world.fake.split_shard(&root, 1 << 127).await.unwrap();
        let sink = Sink::default();
        let mut pipeline = Pipeline::new();
        let (records, handle) = world.source().add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(50)));
        let run = tokio::spawn(pipeline.run_until(sleep(28 * HOUR)));
        sleep(25 * HOUR).await;
        world.fake.put_numbered(200..300).unwrap();
        let ended = run.await.unwrap();
        let lost = root_and_children(&world, &root, &handle);
        let none: SequenceNumber = 0.into();
        assert_eq!((&lost.shard, &lost.from, &lost.to), (&root, &none, &None));
        if world.on_data_loss == OnDataLoss::Stop {
            assert_eq!(loss(&ended.unwrap_err()), lost);
            assert!(sink.numbers().is_empty());
        } else {
            ended.unwrap();
            assert_eq!(sink.numbers(), numbers(200..300));
        }
    }
}

/// A sink stalls until a shard that was split is not kept any more at all: its children do not wait
/// for it for ever, if that is wanted, and if not, it is said why they do.
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_trimmed_away_is_lost_and_holds_up_no_children() {
    let worlds = World::all(OnDataLoss::Stop).chain(World::all(OnDataLoss::GoOn));
    for world in worlds {
        world.fake.put_numbered(0..100).unwrap();
        let root = world.fake.shards().remove(0).id;
        let sink = Sink::default();
        let gate = sink.close();
        let mut pipeline = Pipeline::new();
        let (records, handle) = world.source().add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(50)));
        let run = tokio::spawn(pipeline.run_until(sleep(28 * HOUR)));
        sleep(HOUR).await;
        world.fake.split_shard(&root, 1 << 127).await.unwrap();
        sleep(25 * HOUR).await;
        assert!(world.fake.shards().iter().all(|shard| shard.id != root));
        world.fake.put_numbered(200..300).unwrap();
        drop(gate);
        let ended = run.await.unwrap();
        let lost = root_and_children(&world, &root, &handle);
        assert_eq!((&lost.shard, &lost.to), (&root, &None));
        // An event has more than is asked for, and was there before the sink stalled.
        let mut expected = numbers(0..if world.by_fan_out { 100 } else { 50 });
        if world.on_data_loss == OnDataLoss::Stop {
            assert_eq!(loss(&ended.unwrap_err()), lost);
        } else {
            ended.unwrap();
            expected.extend(200..300);
        }
        assert_eq!(sink.numbers(), expected);
    }
}
