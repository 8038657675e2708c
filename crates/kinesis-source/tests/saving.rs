//! When checkpoints are stored: by time, by number, at a shard's end, at the end of all; and what comes
//! of it when they cannot be.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use kinesis_fake::{Fake, Limits};
use kinesis_source::{
    Checkpoint, CheckpointError, CheckpointStore, EndPosition, KinesisApi, KinesisWriteApi,
    MemoryCheckpointStore, PinnedPosition, Record, ShardId, StreamError, StreamIdentity,
    StreamSource,
};
use rig::{Sink, everything, run_until_caught_up, stream_error};
use stage_core::{Batch, Consumer, Pipeline, Window};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// Remembers when it was told what, and may fail or say nothing.
#[derive(Debug, Default)]
struct Store {
    inner: MemoryCheckpointStore,
    saves: Mutex<Vec<(Instant, BTreeMap<ShardId, Checkpoint>)>>,
    trouble: AtomicU8,
    tries: AtomicU64,
}

const FAILS: u8 = 1;
const HANGS: u8 = 2;
const FLAPS: u8 = 3;
const IS_LOST: u8 = 4;

impl Store {
    fn set(&self, trouble: u8) {
        self.trouble.store(trouble, SeqCst);
    }

    /// The saves that were done, but for those of where shards begin.
    fn saves(&self) -> Vec<(Instant, BTreeMap<ShardId, Checkpoint>)> {
        let is_start = |it: &Checkpoint| matches!(it, Checkpoint::Start(_));
        let mut saves = self.saves.lock().unwrap().clone();
        saves.retain(|(_, checkpoints)| !checkpoints.values().all(is_start));
        saves
    }
}

#[async_trait]
impl CheckpointStore for Store {
    async fn load(
        &self,
        stream: &StreamIdentity,
    ) -> Result<BTreeMap<ShardId, Checkpoint>, CheckpointError> {
        self.inner.load(stream).await
    }

    async fn save(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        let trouble = match self.trouble.load(SeqCst) {
            // Every second one fails.
            FLAPS if self.tries.fetch_add(1, SeqCst) % 2 == 1 => FAILS,
            trouble => trouble,
        };
        match trouble {
            IS_LOST => Err(CheckpointError::Damaged {
                place: "a store that is damaged".to_owned(),
                source: "on purpose".into(),
            }),
            FAILS => Err(CheckpointError::Unavailable {
                place: "a store that fails".to_owned(),
                source: "on purpose".into(),
            }),
            HANGS => std::future::pending().await,
            _ => {
                let save = (Instant::now(), checkpoints.clone());
                self.saves.lock().unwrap().push(save);
                self.inner.save(stream, checkpoints).await
            }
        }
    }
}

fn root() -> ShardId {
    "shardId-000000000000".into()
}

fn source(fake: &Fake, store: &Arc<Store>) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone())).checkpoints(Arc::clone(store) as _)
}

/// One that stores only when there is a reason other than time.
fn rarely(fake: &Fake, store: &Arc<Store>) -> StreamSource {
    source(fake, store).checkpoint_every(Duration::from_secs(86_400))
}

fn start(
    source: StreamSource,
    sink: &Sink,
    window: usize,
    span: Duration,
) -> JoinHandle<Result<(), stage_core::PipelineError>> {
    let mut pipeline = Pipeline::new();
    let (records, _) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(window)));
    tokio::spawn(pipeline.run_until(sleep(span)))
}

/// Up to where the only shard is stored as done, counted in records.
async fn stored(fake: &Fake, store: &Store) -> usize {
    let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
    match store.load(&stream).await.unwrap().remove(&root()).unwrap() {
        Checkpoint::After {
            sequence_number, ..
        }
        | Checkpoint::Quiet {
            sequence_number, ..
        } => {
            let records = fake.records().remove(0).1;
            let is_it = |it: &Record| it.sequence_number == sequence_number;
            records.iter().position(is_it).unwrap() + 1
        }
        _ => 0,
    }
}

#[tokio::test(start_paused = true)]
async fn by_time() {
    let (fake, store) = (Fake::instant(1), Arc::new(Store::default()));
    fake.put_numbered(0..1_000).unwrap();
    let sink = Sink::by(Duration::from_millis(100));
    let source = source(&fake, &store).checkpoint_every(Duration::from_secs(3));
    let run = start(source, &sink, 10, Duration::from_secs(30));
    run.await.unwrap().unwrap();
    let saves = store.saves();
    assert!((9..=12).contains(&saves.len()), "{}", saves.len());
    for pair in saves[..saves.len() - 1].windows(2) {
        assert!(pair[1].0 - pair[0].0 >= Duration::from_secs(3));
    }
}

#[tokio::test(start_paused = true)]
async fn by_number_of_all_shards_together() {
    let (fake, store) = (Fake::instant(4), Arc::new(Store::default()));
    fake.put_numbered(0..4_000).unwrap();
    let sink = Sink::by(Duration::from_millis(20));
    let often = rarely(&fake, &store).checkpoint_after(250);
    run_until_caught_up(often, &sink, Window::new(40))
        .await
        .unwrap();
    sink.assert_complete(&fake);
    // Each time that so many are acked; a portion more or less, as they come by portions.
    let saves = store.saves();
    assert!((13..=17).contains(&saves.len()), "{} saves", saves.len());
    let (fake, store) = (Fake::instant(1), Arc::new(Store::default()));
    fake.put_numbered(0..500).unwrap();
    run_until_caught_up(rarely(&fake, &store), &Sink::default(), Window::new(40))
        .await
        .unwrap();
    assert_eq!(store.saves().len(), 1, "without, at the end only");
}

#[tokio::test(start_paused = true)]
async fn at_a_drain() {
    let (fake, store) = (Fake::instant(1), Arc::new(Store::default()));
    fake.put_numbered(0..1_000).unwrap();
    let sink = Sink::by(Duration::from_millis(100));
    let run = start(rarely(&fake, &store), &sink, 10, Duration::from_secs(5));
    run.await.unwrap().unwrap();
    let taken = sink.taken().len();
    assert!((50..1_000).contains(&taken), "{taken}");
    let saves = store.saves();
    assert!((1..=3).contains(&saves.len()), "{}", saves.len());
    assert_eq!(stored(&fake, &store).await, taken);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_a_shard() {
    let (fake, store) = (Fake::instant(1), Arc::new(Store::default()));
    fake.put_numbered(0..100).unwrap();
    fake.split_shard(&root(), 1 << 127).await.unwrap();
    let sink = Sink::by(Duration::from_millis(100));
    let started = Instant::now();
    let run = start(rarely(&fake, &store), &sink, 10, Duration::from_secs(60));
    while sink.taken().len() < 100 {
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let saves = store.saves();
    assert_eq!(saves.len(), 1);
    assert!(saves[0].1[&root()].is_end());
    assert!(
        started.elapsed() < Duration::from_secs(59),
        "long before the end of all"
    );
    run.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_hangs_stops_progress_and_not_the_process() {
    for trouble in [FAILS, HANGS] {
        let fake = Fake::builder()
            .instant()
            .shards(1)
            .limits(Limits::none())
            .build();
        let store = Arc::new(Store::default());
        fake.put_numbered(0..20_000).unwrap();
        // 5,000 records a second.
        let sink = Sink::by(Duration::from_millis(10));
        let run = start(
            source(&fake, &store).unsaved_at_most(1_000),
            &sink,
            100,
            Duration::from_secs(8_000),
        );
        sleep(Duration::from_millis(1_500)).await;
        store.set(trouble);
        // What was handed out by the time that the trouble is noticed is handed out.
        sleep(Duration::from_secs(13)).await;
        let (taken, done) = (sink.taken().len(), stored(&fake, &store).await);
        assert!(done > 0 && taken > done, "{taken} taken, {done} stored");
        if trouble == FAILS {
            // It is noticed after a second at most; in that, it goes on by 5,000.
            assert!(taken - done <= 6_100, "{taken} taken, {done} stored");
        }
        sleep(Duration::from_secs(3_600)).await;
        assert_eq!(sink.taken().len(), taken, "not one more in an hour");
        assert!(!run.is_finished());
        store.set(0);
        sleep(Duration::from_secs(3_600)).await;
        assert_eq!(
            sink.numbers(),
            everything(20_000),
            "and all of it afterwards, once"
        );
        run.await.unwrap().unwrap();
        assert_eq!(stored(&fake, &store).await, 20_000);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_killed_while_the_store_fails_repeats_only_so_much() {
    let fake = Fake::builder()
        .instant()
        .shards(1)
        .limits(Limits::none())
        .build();
    let store = Arc::new(Store::default());
    fake.put_numbered(0..20_000).unwrap();
    let first = Sink::by(Duration::from_millis(100));
    let careful = || source(&fake, &store).unsaved_at_most(300);
    let run = start(careful(), &first, 100, Duration::MAX / 4);
    sleep(Duration::from_secs(10)).await;
    store.set(FAILS);
    sleep(Duration::from_secs(7_200)).await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    store.set(0);
    let done = stored(&fake, &store).await as u64;
    let (taken, second) = (first.numbers(), Sink::default());
    assert_eq!(taken, everything(taken.len() as u64));
    run_until_caught_up(careful(), &second, Window::new(1_000))
        .await
        .unwrap();
    assert_eq!(second.numbers(), (done..20_000).collect::<Vec<_>>());
    // 500 a second, noticed within one.
    let repeated = taken.len() as u64 - done;
    assert!(repeated <= 300 + 500, "{repeated}");
}

/// Whatever the store does, and whenever it begins to: there is an end ten seconds after the last record
/// was settled.
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_ten_seconds_for_a_store_that_hangs() {
    for hangs_after in [100, 29_900, 30_900, 32_500] {
        let (fake, store) = (Fake::instant(2), Arc::new(Store::default()));
        fake.put_numbered(0..20_000).unwrap();
        // What is on its way when it is stopped takes three seconds.
        let sink = Sink::by(Duration::from_secs(3));
        let run = start(
            source(&fake, &store).unsaved_at_most(1_000_000),
            &sink,
            10,
            Duration::from_secs(30),
        );
        let started = Instant::now();
        sleep(Duration::from_millis(hangs_after)).await;
        store.set(HANGS);
        let (mut taken, mut settled) = (0, started);
        while !run.is_finished() {
            if sink.taken().len() > taken {
                (taken, settled) = (sink.taken().len(), Instant::now());
            }
            sleep(Duration::from_millis(10)).await;
        }
        let took = settled.elapsed();
        assert!(
            took <= Duration::from_millis(10_100),
            "{hangs_after} ms: {took:?}"
        );
        let error = run.await.unwrap().expect_err("not all is stored");
        assert!(
            matches!(stream_error(&error), StreamError::Checkpoint { .. }),
            "{error:?}"
        );
    }
}

/// One answer gets lost: that is not the end of it.
#[tokio::test(start_paused = true)]
async fn a_last_save_that_hangs_once_is_made_again() {
    for (hangs_after, hangs_for) in [(29_900, 4_000), (33_500, 8_000)] {
        let (fake, store) = (Fake::instant(1), Arc::new(Store::default()));
        fake.put_numbered(0..20_000).unwrap();
        let sink = Sink::by(Duration::from_secs(3));
        let run = start(source(&fake, &store), &sink, 10, Duration::from_secs(30));
        sleep(Duration::from_millis(hangs_after)).await;
        store.set(HANGS);
        sleep(Duration::from_millis(hangs_for)).await;
        store.set(0);
        run.await.unwrap().unwrap();
        assert_eq!(stored(&fake, &store).await, sink.taken().len());
    }
}

/// Records that are nacked while the store fails are read again as ever.
#[tokio::test(start_paused = true)]
async fn a_nack_while_the_store_fails_is_no_end() {
    let (fake, store) = (Fake::instant(1), Arc::new(Store::default()));
    fake.put_numbered(0..3_000).unwrap();
    let sink = Sink::by(Duration::from_millis(400)).refusing_once(130);
    let source = source(&fake, &store).unsaved_at_most(1);
    let run = start(source, &sink, 100, Duration::from_secs(7_200));
    sleep(Duration::from_millis(50)).await;
    store.set(FAILS);
    // It is nacked after a second and more, when the shard waits already.
    sleep(Duration::from_secs(600)).await;
    assert_eq!(sink.numbers().len(), 199);
    store.set(0);
    sleep(Duration::from_secs(600)).await;
    let mut numbers = sink.numbers();
    numbers.dedup();
    assert_eq!(numbers, everything(3_000));
    timeout(Duration::from_secs(7_200), run)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

/// Takes in and acks one record after the other.
struct OneByOne(Sink);

impl Consumer<Record> for OneByOne {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Infallible> {
        for (event, receipt) in batch.drain_with_receipts() {
            self.0.consume(&mut Batch::from_iter([event])).await?;
            receipt.ack();
        }
        Ok(())
    }
}

/// A drain that is cut off leaves nothing to repeat that was acknowledged.
#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_at_the_deadline_of_a_drain_is_stored() {
    for deadline in [3_010, 3_260, 3_510, 3_760, 3_910] {
        let (fake, store) = (Fake::instant(2), Arc::new(Store::default()));
        fake.put_numbered(0..2_000).unwrap();
        let sink = Sink::by(Duration::from_millis(50));
        let mut pipeline = Pipeline::new().drain_within(Duration::from_millis(deadline));
        let (records, _) = rarely(&fake, &store).add_to(&mut pipeline);
        pipeline.consume(OneByOne(sink.clone()), records.subscribe(Window::new(500)));
        let report = pipeline.run_reporting(sleep(Duration::from_secs(5))).await;
        assert!(report.timed_out, "{deadline} ms");
        assert!(sink.taken().len() > 100);
        run_until_caught_up(rarely(&fake, &store), &sink, Window::new(100))
            .await
            .unwrap();
        assert_eq!(sink.numbers(), everything(2_000), "{deadline} ms");
    }
}

/// For ten seconds after the last record was settled, as is said.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_at_a_stop_is_tried_until_the_time_for_that_is_over() {
    for (down_for, is_stored) in [(1, true), (4, true), (8, true), (12, false)] {
        let (fake, store) = (Fake::instant(2), Arc::new(Store::default()));
        fake.put_numbered(0..500).unwrap();
        let sink = Sink::by(Duration::from_millis(50));
        let run = start(
            source(&fake, &store),
            &sink,
            100,
            Duration::from_millis(150),
        );
        sleep(Duration::from_millis(149)).await;
        store.set(FAILS);
        sleep(Duration::from_secs(down_for)).await;
        assert_eq!(run.is_finished(), !is_stored, "{down_for} s");
        store.set(0);
        assert_eq!(run.await.unwrap().is_ok(), is_stored, "{down_for} s");
        let taken = sink.taken().len();
        run_until_caught_up(source(&fake, &store), &sink, Window::new(100))
            .await
            .unwrap();
        let repeated = sink.taken().len() - 500;
        assert_eq!(
            repeated == 0,
            is_stored,
            "{repeated} of {taken}, {down_for} s"
        );
    }
}

/// A save that fails stops progress, and not the process, also the first one.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_hangs_at_the_start_is_waited_for_and_told_once() {
    for trouble in [FAILS, HANGS] {
        let (fake, store) = (Fake::instant(1), Arc::new(Store::default()));
        fake.put_numbered(0..10).unwrap();
        store.set(trouble);
        let sink = Sink::default();
        let mut pipeline = Pipeline::new();
        let (records, handle) = source(&fake, &store).add_to(&mut pipeline);
        let mut events = handle.events();
        pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
        let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(7_200))));
        sleep(Duration::from_secs(3_600)).await;
        assert!(!run.is_finished() && sink.taken().is_empty());
        store.set(0);
        sleep(Duration::from_secs(100)).await;
        assert_eq!(sink.numbers(), everything(10));
        run.await.unwrap().unwrap();
        let names: Vec<_> = std::iter::from_fn(|| events.try_next())
            .map(|event| event.name())
            .collect();
        let expected = [
            "checkpoints_failing",
            "stream_opened",
            "shard_started",
            "shard_caught_up",
            "checkpoints_recovered",
            "stream_ended",
        ];
        assert_eq!(names, expected);
    }
    // It is stopped all the same, and what does not pass is no reason to wait.
    for (trouble, lasts) in [(FAILS, 60), (HANGS, 60), (IS_LOST, 0)] {
        let (fake, store) = (Fake::instant(1), Arc::new(Store::default()));
        store.set(trouble);
        let began = Instant::now();
        let sink = Sink::default();
        let run = start(source(&fake, &store), &sink, 20, Duration::from_secs(60));
        assert_eq!(run.await.unwrap().is_err(), trouble == IS_LOST);
        assert_eq!(began.elapsed().as_secs(), lasts);
    }
}

/// One that fails now and then is told once, and once when it does not any more.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_every_second_time_is_told_once() {
    let (fake, store) = (Fake::instant(1), Arc::new(Store::default()));
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake, &store).add_to(&mut pipeline);
    let mut events = handle.events();
    pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
    let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(4_000))));
    sleep(Duration::from_secs(10)).await;
    store.set(FLAPS);
    for number in 0..3_600 {
        fake.put_numbered(number..number + 1).unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    store.set(0);
    run.await.unwrap().unwrap();
    assert_eq!(sink.numbers(), everything(3_600));
    let told: Vec<_> = std::iter::from_fn(|| events.try_next())
        .map(|event| event.name())
        .filter(|name| name.starts_with("checkpoints"))
        .collect();
    assert_eq!(told, ["checkpoints_failing", "checkpoints_recovered"]);
}

/// What was read as far as it was to be has ended once that is stored, and not before.
#[tokio::test(start_paused = true)]
async fn a_replay_ends_once_its_end_is_stored() {
    for trouble in [FAILS, HANGS] {
        let (fake, store) = (Fake::instant(1), Arc::new(Store::default()));
        fake.put_numbered(0..100).unwrap();
        sleep(Duration::from_secs(60)).await;
        let sink = Sink::by(Duration::from_millis(100));
        let until = EndPosition::BeforeTimestamp(fake.now());
        let source = source(&fake, &store).until(until);
        let run = start(source, &sink, 100, Duration::MAX / 4);
        // It is opened, and nothing of it is acknowledged.
        sleep(Duration::from_millis(50)).await;
        store.set(trouble);
        sleep(Duration::from_secs(600)).await;
        assert_eq!(sink.numbers(), everything(100));
        assert!(!run.is_finished(), "where it ended is not stored");
        store.set(0);
        timeout(Duration::from_secs(60), run)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(stored(&fake, &store).await, 100);
    }
}

/// Where children begin is stored when they are found, also if nothing comes of them: LATEST, or the horizon
/// of a later run, is not where they are to be read from.
#[tokio::test(start_paused = true)]
async fn where_children_begin_is_stored_before_anything_of_them_is() {
    let (fake, store) = (Fake::instant(1), Arc::new(Store::default()));
    fake.put_numbered(0..10).unwrap();
    let sink = Sink::default();
    let run = start(rarely(&fake, &store), &sink, 10, Duration::from_secs(600));
    sleep(Duration::from_secs(10)).await;
    fake.split_shard(&root(), 1 << 127).await.unwrap();
    sleep(Duration::from_secs(120)).await;
    let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
    let stored = store.load(&stream).await.unwrap();
    let children: Vec<_> = fake.shards().into_iter().skip(1).map(|it| it.id).collect();
    assert_eq!(children.len(), 2);
    for child in &children {
        // It may say since when there is nothing of them, too.
        let (Some(Checkpoint::Start(begin))
        | Some(Checkpoint::QuietStart {
            position: begin, ..
        })) = stored.get(child)
        else {
            panic!("{child}: {stored:?}");
        };
        assert_eq!(*begin, PinnedPosition::TrimHorizon, "{child}");
    }
    run.await.unwrap().unwrap();
}
