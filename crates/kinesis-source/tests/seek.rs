//! Shards that are told to go on elsewhere while they are read.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use kinesis_fake::{Fake, Fault, Operation};
use kinesis_source::{
    Checkpoint, CheckpointError, CheckpointStore, FanOut, KinesisApi, KinesisWriteApi,
    MemoryCheckpointStore, PinnedPosition, Record, SeekError, SequenceNumber, ShardId,
    StreamHandle, StreamIdentity, StreamSource,
};
use rig::{Sink, everything};
use stage_core::{Pipeline, PipelineError, Restart, Window, for_each};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

fn root() -> ShardId {
    "shardId-000000000000".into()
}

fn number(fake: &Fake, index: usize) -> SequenceNumber {
    fake.records()[0].1[index].sequence_number.clone()
}

fn after(fake: &Fake, index: usize) -> PinnedPosition {
    PinnedPosition::AfterSequenceNumber(number(fake, index))
}

/// A source that runs until it is told to stop.
struct Run {
    sink: Sink,
    handle: StreamHandle,
    stop: tokio::sync::oneshot::Sender<()>,
    ending: JoinHandle<Result<(), PipelineError>>,
}

impl Run {
    fn start(source: StreamSource, sink: Sink, window: usize) -> Self {
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(window)));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        Self {
            sink,
            handle,
            stop,
            ending: tokio::spawn(pipeline.run_until(async {
                let _ = stopped.await;
            })),
        }
    }

    async fn stop(self) -> Vec<u64> {
        self.stop.send(()).unwrap();
        self.ending.await.unwrap().unwrap();
        self.sink.numbers_in_order()
    }

    /// As a kill would: no drain, no last checkpoint.
    async fn kill(self) -> Vec<u64> {
        self.ending.abort();
        assert!(self.ending.await.unwrap_err().is_cancelled());
        self.sink.numbers_in_order()
    }
}

fn source(fake: &Fake, store: &Arc<MemoryCheckpointStore>) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone())).checkpoints(Arc::clone(store) as _)
}

/// Where the shard goes on. How long it had been quiet there does not matter here.
fn place(checkpoint: Checkpoint) -> Checkpoint {
    match checkpoint {
        Checkpoint::Quiet {
            sequence_number, ..
        } => Checkpoint::after(sequence_number),
        other => other,
    }
}

async fn stored(fake: &Fake, store: &dyn CheckpointStore) -> Option<Checkpoint> {
    let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
    let stored = store.load(&stream).await.unwrap().remove(&root());
    stored.map(place)
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_read_again_from_further_back_and_so_is_its_checkpoint() {
    for by_fan_out in [false, true] {
        let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
        fake.put_numbered(0..100).unwrap();
        let source = || match by_fan_out {
            true => {
                let fan_out = FanOut::new(Arc::new(fake.clone()), "audit");
                source(&fake, &store).fan_out(fan_out)
            }
            false => source(&fake, &store),
        };
        let run = Run::start(source(), Sink::by(Duration::from_millis(100)), 10);
        seconds(60).await;
        assert_eq!(
            stored(&fake, &*store).await,
            Some(Checkpoint::after(number(&fake, 99)))
        );
        let place = after(&fake, 19);
        run.handle.seek(&root(), place).await.unwrap();
        assert_eq!(
            stored(&fake, &*store).await,
            Some(Checkpoint::after(number(&fake, 99)))
        );
        // Some of it is read again when the process is killed.
        sleep(Duration::from_millis(1_250)).await;
        let taken = run.kill().await;
        let again = taken.len() - 100;
        assert!((1..80).contains(&again), "{again}");
        assert_eq!(taken[100..], (20..20 + again as u64).collect::<Vec<_>>());
        let place = stored(&fake, &*store).await.unwrap();
        assert!(
            place.is_behind(&Checkpoint::after(number(&fake, 98))),
            "{place:?}"
        );
        // The next one goes on there.
        let run = Run::start(source(), Sink::default(), 10);
        seconds(60).await;
        let rest = run.stop().await;
        assert_eq!(rest.last(), Some(&99));
        assert!(rest[0] > 20 && rest[0] <= 20 + again as u64, "{rest:?}");
        assert_eq!(
            stored(&fake, &*store).await,
            Some(Checkpoint::after(number(&fake, 99)))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_is_delivered_and_counts_no_more() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..1_000).unwrap();
    let sink = Sink::default();
    let run = Run::start(source(&fake, &store), sink.clone(), 20);
    run.handle.caught_up().await;
    fake.put_numbered(1_000..1_400).unwrap();
    let gate = sink.close();
    seconds(20).await;
    // Twenty are on their way, and nobody asks for more.
    let handle = run.handle.clone();
    let place = after(&fake, 1_299);
    let seeking = tokio::spawn(async move { handle.seek(&root(), place).await });
    seconds(20).await;
    assert!(
        !seeking.is_finished(),
        "it is read on elsewhere when it is read on"
    );
    let last = Checkpoint::after(number(&fake, 999));
    assert_eq!(stored(&fake, &*store).await, Some(last));
    drop(gate);
    seeking.await.unwrap().unwrap();
    seconds(20).await;
    let taken = run.stop().await;
    let (old, new) = taken[1_000..].split_at(taken.len() - 1_100);
    assert_eq!(new, (1_300..1_400).collect::<Vec<_>>());
    assert!(old.len() >= 20 && old.is_sorted(), "{old:?}");
    assert!(old.len() < 60, "{old:?}");
    assert_eq!(
        stored(&fake, &*store).await,
        Some(Checkpoint::after(number(&fake, 1_399)))
    );
}

/// Until something from the new place is acknowledged, the checkpoint is the old one.
#[tokio::test(start_paused = true)]
async fn the_checkpoint_follows_with_the_first_acknowledgement() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..100).unwrap();
    let sink = Sink::default();
    let run = Run::start(source(&fake, &store), sink.clone(), 10);
    run.handle.caught_up().await;
    seconds(2).await;
    let gate = sink.close();
    run.handle.seek(&root(), after(&fake, 49)).await.unwrap();
    seconds(60).await;
    assert!(
        run.handle.status()[0].in_flight > 0,
        "it is read from there"
    );
    let end = Checkpoint::after(number(&fake, 99));
    assert_eq!(stored(&fake, &*store).await, Some(end.clone()));
    drop(gate);
    seconds(2).await;
    run.handle
        .seek(&root(), PinnedPosition::TrimHorizon)
        .await
        .unwrap();
    run.handle.caught_up().await;
    let taken = run.stop().await;
    let expected = [everything(100), (50..100).collect(), everything(100)].concat();
    assert_eq!(taken, expected);
    assert_eq!(stored(&fake, &*store).await, Some(end));
}

/// What is acknowledged is stored sooner or later, whatever is sought meanwhile.
#[tokio::test(start_paused = true)]
async fn a_seek_loses_nothing_that_was_acknowledged_before() {
    for by_fan_out in [false, true] {
        let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
        fake.put_numbered(0..100).unwrap();
        let source = || {
            let source = source(&fake, &store).checkpoint_every(Duration::from_secs(60));
            match by_fan_out {
                true => source.fan_out(FanOut::new(Arc::new(fake.clone()), "audit")),
                false => source,
            }
        };
        let run = Run::start(source(), Sink::default(), 10);
        run.handle.caught_up().await;
        let start = Checkpoint::Start(PinnedPosition::TrimHorizon);
        assert_eq!(stored(&fake, &*store).await, Some(start), "it is early");
        let last = Checkpoint::after(number(&fake, 99));
        // Neither a seek, nor the next one, nor a stop that comes before anything is read there.
        for _ in 0..2 {
            run.handle.seek(&root(), after(&fake, 99)).await.unwrap();
        }
        seconds(5).await;
        let handle = run.handle.clone();
        assert_eq!(run.stop().await, everything(100));
        assert_eq!(stored(&fake, &*store).await, Some(last.clone()));
        let reported = handle.drain_report().remove(0).checkpoint;
        assert_eq!(reported.map(place), Some(last.clone()));
        // The next one goes on there.
        let run = Run::start(source(), Sink::default(), 10);
        run.handle.caught_up().await;
        assert_eq!(run.stop().await, everything(0));
        assert_eq!(stored(&fake, &*store).await, Some(last));
    }
}

/// What was done between two seeks is where a stop leaves the shard, also if that is further back.
#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_between_two_seeks_is_stored_though_it_is_further_back() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..100).unwrap();
    let source = source(&fake, &store).checkpoint_every(Duration::from_secs(60));
    let run = Run::start(source, Sink::by(Duration::from_millis(100)), 10);
    seconds(61).await;
    let last = Checkpoint::after(number(&fake, 99));
    assert_eq!(stored(&fake, &*store).await, Some(last.clone()));
    run.handle.seek(&root(), after(&fake, 19)).await.unwrap();
    sleep(Duration::from_millis(350)).await;
    run.handle.seek(&root(), after(&fake, 99)).await.unwrap();
    assert_eq!(stored(&fake, &*store).await, Some(last.clone()));
    let taken = run.stop().await.split_off(100);
    assert_eq!(taken.first(), Some(&20));
    let place = stored(&fake, &*store).await.unwrap();
    assert!(place.is_behind(&last), "{place:?}");
    assert!(
        !place.is_behind(&Checkpoint::after(number(&fake, 20))),
        "{place:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_none_is_refused_and_nothing_is_lost() {
    let (fake, store) = (Fake::instant(2), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..400).unwrap();
    let foreign = fake.records()[1].1[3].sequence_number.clone();
    let run = Run::start(
        source(&fake, &store),
        Sink::by(Duration::from_millis(50)),
        10,
    );
    for _ in 0..20 {
        sleep(Duration::from_millis(77)).await;
        let place = PinnedPosition::AfterSequenceNumber(foreign.clone());
        let refused = run.handle.seek(&root(), place).await;
        assert!(
            matches!(refused, Err(SeekError::Refused { .. })),
            "{refused:?}"
        );
    }
    run.handle.caught_up().await;
    let sink = run.sink.clone();
    run.stop().await;
    sink.assert_complete(&fake);
}

#[tokio::test(start_paused = true)]
async fn only_a_shard_that_is_read_can_be_read_from_elsewhere() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..50).unwrap();
    fake.split_shard(&root(), 1 << 127).await.unwrap();
    let sink = Sink::default();
    let gate = sink.close();
    let run = Run::start(source(&fake, &store), sink.clone(), 100);
    seconds(5).await;
    let horizon = || PinnedPosition::TrimHorizon;
    let child = "shardId-000000000001".into();
    let waiting = run.handle.seek(&child, horizon()).await;
    assert!(
        matches!(waiting, Err(SeekError::NotRead { .. })),
        "{waiting:?}"
    );
    let unknown = run
        .handle
        .seek(&"shardId-000000000099".into(), horizon())
        .await;
    assert!(
        matches!(unknown, Err(SeekError::NoSuchShard { .. })),
        "{unknown:?}"
    );
    // One that is read to its end, and waits for its records, is read still.
    run.handle.seek(&root(), after(&fake, 39)).await.unwrap();
    drop(gate);
    seconds(5).await;
    let ended = run.handle.seek(&root(), horizon()).await;
    assert!(matches!(ended, Err(SeekError::NotRead { .. })), "{ended:?}");
    run.handle.seek(&child, horizon()).await.unwrap();
    let handle = run.handle.clone();
    assert_eq!(run.stop().await.len(), 50 + 10);
    let stopped = handle.seek(&child, horizon()).await;
    assert!(
        matches!(stopped, Err(SeekError::NotRead { .. })),
        "{stopped:?}"
    );
}

/// Whatever the reader is doing: waiting, being refused, or on its way to an answer that never comes.
#[tokio::test(start_paused = true)]
async fn in_any_state_it_goes_on_there_within_seconds() {
    for trouble in [
        Fault::refusal(
            Operation::GetRecords,
            "ProvisionedThroughputExceededException",
        )
        .always(),
        Fault::refusal(Operation::GetRecords, "KMSDisabledException").always(),
        Fault::hung(Operation::GetRecords).always(),
    ] {
        let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
        fake.put_numbered(0..100).unwrap();
        let run = Run::start(source(&fake, &store), Sink::default(), 10);
        run.handle.caught_up().await;
        fake.inject(trouble);
        seconds(100).await;
        let place = after(&fake, 89);
        let shard = root();
        let seeking = run.handle.seek(&shard, place);
        timeout(Duration::from_secs(2), seeking)
            .await
            .unwrap()
            .unwrap();
        fake.clear_faults();
        seconds(100).await;
        let taken = run.stop().await;
        assert_eq!(taken[100..], (90..100).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_of_several_wishes_counts() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..100).unwrap();
    let run = Run::start(source(&fake, &store), Sink::default(), 10);
    run.handle.caught_up().await;
    let shard = root();
    let (first, second) = tokio::join!(
        run.handle.seek(&shard, PinnedPosition::TrimHorizon),
        run.handle.seek(&shard, after(&fake, 89)),
    );
    assert!(
        matches!(first, Err(SeekError::Superseded { .. })),
        "{first:?}"
    );
    second.unwrap();
    run.handle.caught_up().await;
    assert_eq!(run.stop().await[100..], (90..100).collect::<Vec<_>>());
}

/// Somebody's own, from before there was anything to go back for.
#[derive(Debug, Default)]
struct Forward(MemoryCheckpointStore);

#[async_trait]
impl CheckpointStore for Forward {
    async fn load(
        &self,
        stream: &StreamIdentity,
    ) -> Result<BTreeMap<ShardId, Checkpoint>, CheckpointError> {
        self.0.load(stream).await
    }

    async fn save(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        self.0.save(stream, checkpoints).await
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_store_that_cannot_go_back_the_shard_does() {
    let (fake, store) = (Fake::instant(1), Arc::new(Forward::default()));
    fake.put_numbered(0..100).unwrap();
    let source = StreamSource::new("orders", Arc::new(fake.clone()));
    let kept = source
        .checkpoints(Arc::clone(&store) as _)
        .unsaved_at_most(10);
    let run = Run::start(kept, Sink::by(Duration::from_millis(500)), 10);
    run.handle.caught_up().await;
    // By then all of it is stored.
    seconds(60).await;
    run.handle
        .seek(&root(), PinnedPosition::TrimHorizon)
        .await
        .unwrap();
    seconds(4).await;
    let end = Checkpoint::after(number(&fake, 99));
    assert_eq!(stored(&fake, &*store).await, Some(end.clone()));
    run.handle.caught_up().await;
    let taken = run.stop().await;
    assert_eq!(taken, [everything(100), everything(100)].concat());
    assert_eq!(stored(&fake, &*store).await, Some(end));
}

/// It can go on, as ever.
#[tokio::test(start_paused = true)]
async fn with_a_store_that_cannot_go_back_a_seek_onwards_is_stored() {
    let (fake, store) = (Fake::instant(1), Arc::new(Forward::default()));
    fake.put_numbered(0..100).unwrap();
    let source = StreamSource::new("orders", Arc::new(fake.clone()))
        .checkpoints(Arc::clone(&store) as _)
        .checkpoint_every(Duration::from_secs(60));
    let run = Run::start(source, Sink::by(Duration::from_secs(1)), 10);
    seconds(3).await;
    run.handle.seek(&root(), after(&fake, 89)).await.unwrap();
    run.handle.caught_up().await;
    // All that was sought is stored at once.
    seconds(120).await;
    let last = number(&fake, 99);
    let stored = stored(&fake, &*store).await;
    assert_eq!(stored, Some(Checkpoint::after(last)));
    assert!(run.stop().await.len() < 50);
}

/// It is not the old place that is gone back to.
#[tokio::test(start_paused = true)]
async fn what_is_nacked_before_anything_is_acked_is_read_again_from_the_new_place() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..100).unwrap();
    let sink = Sink::default().refusing_once(180);
    let run = Run::start(source(&fake, &store), sink.clone(), 10);
    run.handle.caught_up().await;
    // The place is taken up before the next records are there.
    run.handle.seek(&root(), after(&fake, 99)).await.unwrap();
    fake.put_numbered(100..200).unwrap();
    run.handle.seek(&root(), after(&fake, 179)).await.unwrap();
    seconds(60).await;
    let taken = run.stop().await;
    let of_the_new = taken[100..].iter().filter(|&&number| number >= 180);
    assert!(of_the_new.count() >= 20, "{taken:?}");
    assert!(taken.contains(&180));
    let last = taken.iter().rposition(|&number| number == 180).unwrap();
    assert_eq!(taken[last..], (180..200).collect::<Vec<_>>());
    let first = taken.iter().position(|&number| number > 180).unwrap();
    assert!(
        taken[first..].iter().all(|&number| number >= 180),
        "{taken:?}"
    );
}

/// What was read of the old place, and not handed out, is not handed out either.
#[tokio::test(start_paused = true)]
async fn what_waits_in_the_reader_is_forgotten() {
    let (fake, store) = (Fake::instant(1), Arc::new(rig::FailingStore::default()));
    fake.put_numbered(0..10).unwrap();
    let source = StreamSource::new("orders", Arc::new(fake.clone()))
        .checkpoints(Arc::clone(&store) as _)
        .unsaved_at_most(100);
    let run = Run::start(source, Sink::default(), 5_000);
    sleep(Duration::from_millis(50)).await;
    store.fail(true);
    seconds(5).await;
    fake.put_numbered(10..2_000).unwrap();
    seconds(5).await;
    // It has been read, and waits for a checkpoint.
    let status = run.handle.status().remove(0);
    let taken = run.sink.taken().len() as u64;
    assert!(
        taken < 1_000 && status.records_read == 2_000,
        "{taken}, {status:?}"
    );
    run.handle.seek(&root(), after(&fake, 1_899)).await.unwrap();
    store.fail(false);
    seconds(60).await;
    let expected = [everything(taken), (1_900..2_000).collect()].concat();
    assert_eq!(run.stop().await, expected);
}

/// Its caller is told, and does not wait for a reader that is gone.
#[tokio::test(start_paused = true)]
async fn a_seek_that_is_overtaken_by_a_stop_is_answered() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..100).unwrap();
    let sink = Sink::default();
    let gate = sink.close();
    let run = Run::start(source(&fake, &store), sink.clone(), 10);
    seconds(20).await;
    let handle = run.handle.clone();
    let horizon = PinnedPosition::TrimHorizon;
    let seeking = tokio::spawn(async move { handle.seek(&root(), horizon).await });
    seconds(20).await;
    assert!(!seeking.is_finished(), "nobody asks for more");
    run.stop.send(()).unwrap();
    seconds(1).await;
    drop(gate);
    run.ending.await.unwrap().unwrap();
    let answer = timeout(Duration::from_secs(1), seeking).await;
    let answer = answer.unwrap().unwrap();
    assert!(
        matches!(answer, Err(SeekError::NotRead { .. })),
        "{answer:?}"
    );
}

/// Five iterators and five reads a second are what the service allows of a shard, for whatever they are.
#[tokio::test(start_paused = true)]
async fn however_often_a_shard_is_sought_nothing_is_refused() {
    for (by_fan_out, millis) in [(false, 0), (false, 130), (true, 0), (true, 130)] {
        let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
        fake.put_numbered(0..1_000).unwrap();
        for operation in [Operation::GetShardIterator, Operation::GetRecords] {
            let late = Fault::late_answer(operation, Duration::from_millis(millis));
            fake.inject(late.every(2).always());
        }
        let source = source(&fake, &store).restarts(Restart::new(1_000, Duration::from_secs(60)));
        let source = match by_fan_out {
            true => source.fan_out(FanOut::new(Arc::new(fake.clone()), "audit")),
            false => source,
        };
        // A reader that is made anew counts on from where the one before has ended.
        let sink = Sink::default().refusing_always(990);
        let run = Run::start(source, sink.clone(), 20);
        seconds(1).await;
        let (mut done, mut wishes) = (0, Vec::new());
        for wish in 0..400 {
            let (handle, place) = (run.handle.clone(), after(&fake, wish * 37 % 1_000));
            wishes.push(tokio::spawn(
                async move { handle.seek(&root(), place).await },
            ));
            sleep(Duration::from_millis(1 + 7 * wish as u64 % 97)).await;
        }
        for wish in wishes {
            match wish.await.unwrap() {
                Ok(()) => done += 1,
                Err(error) => assert!(matches!(error, SeekError::Superseded { .. }), "{error:?}"),
            }
        }
        sink.mend();
        run.handle.seek(&root(), after(&fake, 899)).await.unwrap();
        seconds(20).await;
        let calls = fake.calls();
        let taken = run.stop().await;
        assert!(done > 30, "{done} were done");
        assert!(taken.ends_with(&(900..1_000).collect::<Vec<_>>()));
        assert_eq!(calls.throttled(), 0, "{by_fan_out}, {millis} ms: {calls:?}");
    }
}

/// The service counts what it has answered, though nobody waits for that any more.
#[tokio::test(start_paused = true)]
async fn what_was_being_read_when_it_is_sought_is_paid_for() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    let large = Bytes::from(vec![b'x'; 1_000_000]);
    for _ in 0..200 {
        fake.put("k", large.clone()).unwrap();
    }
    let late = Fault::late_answer(Operation::GetRecords, Duration::from_millis(400));
    fake.inject(late.always());
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake, &store).add_to(&mut pipeline);
    let taken = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&taken);
    let count = for_each(move |_: Record| {
        counting.fetch_add(1, Ordering::SeqCst);
    });
    pipeline.consume(count, records.subscribe(Window::new(100)));
    let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(700))));
    seconds(1).await;
    for wish in 0..60 {
        sleep(Duration::from_millis(3_100 + 170 * wish)).await;
        handle.seek(&root(), after(&fake, 20)).await.unwrap();
    }
    assert!(taken.load(Ordering::SeqCst) > 400, "{taken:?}");
    assert_eq!(fake.calls().throttled(), 0);
    run.await.unwrap().unwrap();
}
