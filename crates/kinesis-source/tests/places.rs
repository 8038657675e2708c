//! Places that are asked for, and that the stream does not keep any more: told, and never told of those
//! that have lost nothing.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Choices, Fake, Fault, OlderThanHorizon, Operation};
use kinesis_source::{
    DataLoss, FanOut, KinesisApi, MemoryCheckpointStore, OnDataLoss, PinnedPosition,
    SequenceNumber, ShardError, ShardId, ShardSource, StartPosition, StreamHandle, StreamSource,
};
use rig::{Sink, shard_error};
use stage_core::{Pipeline, PipelineError, Window};
use tokio::{task::JoinHandle, time::sleep};

const HOUR: Duration = Duration::from_secs(3_600);

const MINUTE: Duration = Duration::from_secs(60);

fn root() -> ShardId {
    "shardId-000000000000".into()
}

/// A stream of one shard, how the service answers for what it has not, and how it is read.
struct World {
    fake: Fake,
    store: Arc<MemoryCheckpointStore>,
    refuses: bool,
    by_fan_out: bool,
    on_data_loss: OnDataLoss,
}

struct Run {
    sink: Sink,
    handle: StreamHandle,
    ending: JoinHandle<Result<(), PipelineError>>,
}

impl World {
    fn all() -> impl Iterator<Item = Self> {
        let choices = [OlderThanHorizon::Refuse, OlderThanHorizon::StartAtHorizon];
        let policies = [OnDataLoss::Stop, OnDataLoss::GoOn];
        let ways = choices
            .into_iter()
            .flat_map(move |it| policies.map(|policy| (it, policy)))
            .flat_map(|(it, policy)| [(it, policy, false), (it, policy, true)]);
        ways.map(|(older_than_horizon, on_data_loss, by_fan_out)| {
            let mut choices = Choices::default();
            choices.older_than_horizon = older_than_horizon;
            Self {
                fake: Fake::builder().instant().choices(choices).build(),
                store: Arc::default(),
                refuses: older_than_horizon == OlderThanHorizon::Refuse,
                by_fan_out,
                on_data_loss,
            }
        })
    }

    /// Reads for so long.
    fn run(&self, start: StartPosition, how_long: Duration) -> Run {
        let api = Arc::new(self.fake.clone());
        let source = StreamSource::new("orders", api.clone())
            .start(start)
            .checkpoints(Arc::clone(&self.store) as _)
            .checkpoint_every(MINUTE)
            .on_data_loss(self.on_data_loss);
        let source = match self.by_fan_out {
            true => source.fan_out(FanOut::new(api, "audit")),
            false => source,
        };
        let (mut pipeline, sink) = (Pipeline::new(), Sink::default());
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(50)));
        let ending = tokio::spawn(pipeline.run_until(sleep(how_long)));
        Run {
            sink,
            handle,
            ending,
        }
    }

    fn put(&self, numbers: std::ops::Range<u64>) {
        self.fake.put_numbered(numbers).unwrap();
    }

    fn kept(&self, index: usize) -> SequenceNumber {
        let (_, records) = self.fake.records().remove(0);
        records[index].sequence_number.clone()
    }

    /// Reads fail for so long from now on.
    fn fail(&self, how_long: Duration) {
        for operation in [Operation::GetRecords, Operation::SubscribeToShard] {
            let refused = Fault::refusal(operation, "KMSDisabledException");
            self.fake.inject(refused.between(Duration::ZERO..how_long));
        }
    }

    /// What came between these records, if the latter is kept, was lost and is told; `taken` are those
    /// that were taken in.
    async fn assert_lost(
        &self,
        run: Run,
        from: SequenceNumber,
        to: Option<SequenceNumber>,
        taken: &[u64],
        before: usize,
    ) {
        let ended = run.ending.await.unwrap();
        let losses = run.handle.data_losses();
        let told: Vec<_> = losses.iter().map(|it| (&it.from, &it.to)).collect();
        assert_eq!(told, [(&from, &to)]);
        let numbers = run.sink.numbers_in_order();
        if self.on_data_loss == OnDataLoss::Stop {
            assert_eq!(loss(&ended.unwrap_err()), losses[0]);
            assert_eq!(numbers.len(), before);
        } else {
            ended.unwrap();
            assert_eq!(numbers[before..], *taken);
        }
    }
}

fn loss(error: &PipelineError) -> DataLoss {
    match shard_error(error) {
        ShardError::DataLoss(loss) => loss.clone(),
        other => panic!("{other:?}"),
    }
}

fn start_after(sequence_number: &SequenceNumber) -> StartPosition {
    StartPosition::After {
        shard: root(),
        sequence_number: sequence_number.clone(),
    }
}

/// A service may refuse it: then nothing is begun.
#[tokio::test(start_paused = true)]
async fn a_start_after_a_record_that_is_not_kept_is_a_loss() {
    for world in World::all().filter(|it| !it.refuses) {
        world.put(0..10);
        let from = world.kept(4);
        sleep(20 * HOUR).await;
        world.put(10..20);
        sleep(10 * HOUR).await;
        let run = world.run(start_after(&from), 5 * MINUTE);
        let to = Some(world.kept(0));
        let taken: Vec<_> = (10..20).collect();
        world.assert_lost(run, from, to, &taken, 0).await;
    }
}

/// It was there when that was stored, and nothing was read until it was not.
#[tokio::test(start_paused = true)]
async fn a_start_after_a_record_that_is_kept_no_more_when_it_is_read_is_a_loss() {
    for world in World::all() {
        world.put(0..10);
        let from = world.kept(4);
        world.fail(30 * HOUR);
        let run = world.run(start_after(&from), 5 * MINUTE);
        let _ = run.ending.await.unwrap();
        assert!(run.sink.numbers().is_empty());
        sleep(20 * HOUR).await;
        world.put(10..20);
        sleep(10 * HOUR).await;
        let to = Some(world.kept(0));
        let run = world.run(StartPosition::TrimHorizon, 5 * MINUTE);
        let taken: Vec<_> = (10..20).collect();
        world.assert_lost(run, from, to, &taken, 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_sought_and_read_too_late_is_a_loss() {
    for by_number in [true, false] {
        for world in World::all() {
            world.put(0..10);
            let from = world.kept(4);
            let run = world.run(StartPosition::TrimHorizon, 25 * HOUR + 2 * MINUTE);
            sleep(MINUTE).await;
            let moment = world.fake.now();
            world.put(10..20);
            sleep(MINUTE).await;
            assert_eq!(run.sink.numbers().len(), 20);
            // What was sought is there, and cannot be read for a day.
            world.fail(24 * HOUR + HOUR / 2);
            let place = match by_number {
                true => PinnedPosition::AfterSequenceNumber(from.clone()),
                false => PinnedPosition::AtTimestamp(moment),
            };
            run.handle.seek(&root(), place).await.unwrap();
            sleep(20 * HOUR).await;
            world.put(20..30);
            sleep(4 * HOUR + HOUR / 2).await;
            let from = if by_number { from } else { 0.into() };
            let to = Some(world.kept(0));
            let taken: Vec<_> = (20..30).collect();
            world.assert_lost(run, from, to, &taken, 20).await;
        }
    }
}

/// No record has the number that a shard begins or ends with.
#[tokio::test(start_paused = true)]
async fn a_place_that_is_no_record_is_no_loss() {
    for mut world in World::all() {
        world.on_data_loss = OnDataLoss::Stop;
        let begin = world.fake.now();
        let first = world.fake.shards()[0].starting_sequence_number.clone();
        world.put(0..10);
        let run = world.run(start_after(&first), 10 * MINUTE);
        sleep(MINUTE).await;
        for place in [
            PinnedPosition::AfterSequenceNumber(first.clone()),
            PinnedPosition::AtSequenceNumber(first),
            PinnedPosition::TrimHorizon,
            PinnedPosition::AtTimestamp(begin),
            PinnedPosition::AtTimestamp(world.fake.now()),
            PinnedPosition::AfterSequenceNumber(world.kept(9)),
            PinnedPosition::AtSequenceNumber(world.kept(8)),
        ] {
            run.handle.seek(&root(), place).await.unwrap();
            sleep(MINUTE).await;
        }
        run.ending.await.unwrap().unwrap();
        assert_eq!(run.handle.data_losses(), []);
        let ten = || 0..10;
        let taken = [ten(), ten(), ten(), ten(), ten(), 8..10];
        let taken: Vec<u64> = taken.into_iter().flatten().collect();
        assert_eq!(run.sink.numbers_in_order(), taken);
    }
}

/// One shard, read alone.
#[tokio::test(start_paused = true)]
async fn a_reader_of_one_shard_has_lost_what_came_after_its_place() {
    let world = World::all().last().unwrap();
    world.put(0..10);
    let from = world.kept(4);
    sleep(20 * HOUR).await;
    world.put(10..20);
    let (api, sink) = (Arc::new(world.fake.clone()), Sink::default());
    for is_late in [false, true] {
        let place = PinnedPosition::AfterSequenceNumber(from.clone());
        let mut pipeline = Pipeline::new();
        let records = pipeline.produce(ShardSource::new(api.clone(), root(), place));
        pipeline.consume(sink.clone(), records.subscribe(Window::new(50)));
        let ended = pipeline.run_until(sleep(5 * HOUR)).await;
        assert_eq!(ended.is_err(), is_late, "{ended:?}");
        if let Err(error) = ended {
            assert_eq!(loss(&error).from, from);
        }
    }
    assert_eq!(sink.numbers_in_order(), (5..20).collect::<Vec<_>>());
}
