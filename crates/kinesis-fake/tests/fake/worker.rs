//! Workers that stand still, die, are cut off and are wrong about the time; whole pipelines on them.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use kinesis_fake::{Deliveries, Dependency, Gate, Reshard, Resharding, Worker};
use kinesis_source::{
    Checkpoint, CheckpointError, CheckpointStore, KinesisFanOutApi, MemoryCheckpointStore, Record,
    StreamIdentity, StreamSource,
};
use stage_core::{Batch, Consumer, Pipeline, Window};
use tokio::time::{Instant, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_paused_worker_stands_still_and_its_timers_go_on() {
    let fake = Fake::new(1);
    let worker = Worker::new(&fake);
    let steps = Arc::new(AtomicU32::new(0));
    let (counted, api) = (Arc::clone(&steps), worker.api());
    worker.run(async move {
        sleep(SECOND).await;
        counted.fetch_add(1, Ordering::SeqCst);
        let deadline = Instant::now() + SECOND;
        let woken = async {
            tokio::time::sleep_until(deadline).await;
            Instant::now()
        };
        // It finds that an hour has passed, not a second.
        assert!(woken.await > deadline + Duration::from_secs(3_000));
        api.describe_stream_summary().await.unwrap();
        counted.fetch_add(1, Ordering::SeqCst);
    });
    sleep(SECOND + millis(500)).await;
    worker.pause();
    let api = worker.api();
    let call = tokio::spawn(async move { api.list_shards(None).await });
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(steps.load(Ordering::SeqCst), 1);
    assert!(!call.is_finished());
    assert_eq!(fake.calls().of(Operation::ListShards).made, 0);
    worker.resume();
    call.await.unwrap().unwrap();
    worker.finish().await;
    assert_eq!(steps.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_while_a_worker_is_paused_is_seen_when_it_goes_on() {
    let fake = Fake::new(1);
    let worker = Worker::new(&fake);
    fake.inject(Fault::late_answer(Operation::ListShards, SECOND));
    let api = worker.api();
    let call = tokio::spawn(async move { api.list_shards(None).await.map(|_| Instant::now()) });
    let slow = Arc::new(SlowStore(MemoryCheckpointStore::new()));
    let store = worker.checkpoints(slow);
    let load = tokio::spawn(async move { store.load(&stream()).await.map(|_| Instant::now()) });
    sleep(millis(500)).await;
    worker.pause();
    sleep(SECOND * 10).await;
    let resumed = Instant::now();
    worker.resume();
    assert_eq!(call.await.unwrap().unwrap(), resumed);
    assert_eq!(load.await.unwrap().unwrap(), resumed);
}

/// Takes a second for everything.
#[derive(Debug)]
struct SlowStore(MemoryCheckpointStore);

#[async_trait::async_trait]
impl CheckpointStore for SlowStore {
    async fn load(&self, stream: &StreamIdentity) -> Result<Checkpoints, CheckpointError> {
        sleep(SECOND).await;
        self.0.load(stream).await
    }

    async fn save(
        &self,
        stream: &StreamIdentity,
        checkpoints: &Checkpoints,
    ) -> Result<(), CheckpointError> {
        sleep(SECOND).await;
        self.0.save(stream, checkpoints).await
    }
}

type Checkpoints = std::collections::BTreeMap<ShardId, Checkpoint>;

fn stream() -> StreamIdentity {
    StreamIdentity {
        name: "orders".to_owned(),
        created: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_was_stored_as_a_worker_was_paused_is_known_when_it_goes_on() {
    let worker = Worker::new(&Fake::new(1));
    let kept = Arc::new(SlowStore(MemoryCheckpointStore::new()));
    let store = worker.checkpoints(kept.clone());
    let save = tokio::spawn(async move {
        let done = [(shard(0), Checkpoint::End)].into();
        store.load(&stream()).await.unwrap();
        store.save(&stream(), &done).await.unwrap();
        Instant::now()
    });
    sleep(millis(1_500)).await;
    worker.pause();
    sleep(SECOND * 10).await;
    assert_eq!(kept.load(&stream()).await.unwrap().len(), 1);
    let resumed = Instant::now();
    worker.resume();
    assert_eq!(save.await.unwrap(), resumed);
}

/// Makes a call when it is dropped, as a destructor that checkpoints might.
struct LastWords(Arc<kinesis_fake::WorkerApi>, Arc<AtomicU32>);

impl Drop for LastWords {
    fn drop(&mut self) {
        let api = Arc::clone(&self.0);
        self.1.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move { api.put_records(&[entry("k", 1)]).await });
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_workers_last_words_are_not_heard() {
    for kill in [true, false] {
        let fake = Fake::new(1);
        let worker = Worker::new(&fake);
        let said = Arc::new(AtomicU32::new(0));
        let words = LastWords(worker.api(), Arc::clone(&said));
        worker.run(async move {
            let _words = words;
            sleep(if kill { Duration::MAX } else { SECOND }).await;
        });
        sleep(SECOND).await;
        match kill {
            true => worker.kill().await,
            false => worker.finish().await,
        }
        assert_eq!(said.load(Ordering::SeqCst), 1, "its tasks are dropped");
        sleep(SECOND).await;
        let heard = fake.calls().of(Operation::PutRecords).made;
        assert_eq!(heard, u64::from(!kill));
        // The dead do not rise.
        worker.resume();
        let answer = timeout(Duration::from_secs(3_600), worker.api().list_shards(None)).await;
        assert_eq!(answer.is_err(), kill);
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "this worker is broken")]
async fn a_workers_panic_is_the_tests() {
    let worker = Worker::new(&Fake::new(1));
    worker.run(async { panic!("this worker is broken") });
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "this worker is broken")]
async fn what_died_by_itself_was_not_killed() {
    let worker = Worker::new(&Fake::new(1));
    worker.run(std::future::pending());
    worker.run(async { panic!("this worker is broken") });
    sleep(SECOND).await;
    worker.kill().await;
}

/// What it does on its way out is nobody's business.
#[tokio::test(start_paused = true)]
async fn a_panic_that_the_kill_itself_makes_is_not_the_tests() {
    struct LastWords;
    impl Drop for LastWords {
        fn drop(&mut self) {
            panic!("killed");
        }
    }
    let worker = Worker::new(&Fake::new(1));
    let last = LastWords;
    worker.run(async move {
        let _last = last;
        std::future::pending::<()>().await;
    });
    sleep(SECOND).await;
    worker.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_can_be_cut_off_from_each_dependency() {
    let fake = Fake::instant(1);
    let worker = Worker::new(&fake);
    let (api, store) = (worker.api(), Arc::new(MemoryCheckpointStore::new()));
    let store = worker.checkpoints(store);
    let stream = stream();
    let consumer = api.register_stream_consumer("audit").await.unwrap().arn;
    let (shard, position) = (shard(0), Position::Latest);
    let subscription = api.subscribe_to_shard(&consumer, &shard, &position).await;
    let mut subscription = subscription.unwrap();

    worker.cut_off(Dependency::Kinesis);
    assert_eq!(remedy(api.list_shards(None).await), Remedy::Retry);
    let event = subscription.next().await.unwrap();
    assert_eq!(event.unwrap_err().remedy(), Remedy::Retry);
    assert!(subscription.next().await.is_none());
    assert!(store.load(&stream).await.is_ok());
    worker.reconnect(Dependency::Kinesis);
    api.list_shards(None).await.unwrap();

    worker.cut_off(Dependency::Checkpoints);
    assert!(store.load(&stream).await.is_err());
    api.list_shards(None).await.unwrap();
    worker.reconnect(Dependency::Checkpoints);
    assert!(store.load(&stream).await.is_ok());
    assert_eq!(fake.calls().of(Operation::ListShards).made, 2);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_of_a_worker_stands_still_and_goes_on_with_it() {
    let fake = Fake::instant(1);
    let worker = Worker::new(&fake);
    let consumer = fake.register_stream_consumer("audit").await.unwrap().arn;
    let api = worker.api();
    let (shard, position) = (shard(0), Position::Latest);
    let subscription = api.subscribe_to_shard(&consumer, &shard, &position).await;
    let mut subscription = subscription.unwrap();
    worker.pause();
    fake.put("k", "x").unwrap();
    assert!(timeout(SECOND * 20, subscription.next()).await.is_err());
    worker.resume();
    let event = subscription.next().await.unwrap().unwrap();
    assert_eq!(event.records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_workers_clock_is_ahead_or_behind() {
    let fake = Fake::new(1);
    let worker = Worker::new(&fake);
    let (api, quarter) = (worker.api(), Duration::from_secs(15 * 60));
    assert_eq!(api.now(), fake.now());
    worker.clock_ahead(quarter);
    assert_eq!(api.now(), fake.now().plus(quarter));
    worker.clock_behind(quarter);
    assert_eq!(api.now().plus(quarter), fake.now());
    worker.clock_behind(Duration::ZERO);
    assert_eq!(api.now(), fake.now());
}

#[tokio::test(start_paused = true)]
async fn resharding_stays_within_its_bounds_and_is_the_same_for_the_same_seed() {
    let changes = |seed| async move {
        let fake = Fake::instant(1);
        let mut resharding = Resharding::new(seed).shards(2..=5);
        let (mut changes, mut open) = (Vec::new(), Vec::new());
        for _ in 0..50 {
            changes.extend(resharding.step(&fake).await.unwrap());
            open.push(fake.shards().iter().filter(|it| !it.is_closed()).count());
            sleep(SECOND).await;
        }
        assert!(open.iter().all(|open| (2..=5).contains(open)), "{open:?}");
        assert!(open.contains(&2) && open.contains(&5), "{open:?}");
        changes
    };
    let first = changes(1).await;
    assert_eq!(first.len(), 50);
    assert!(first.iter().any(|it| matches!(it, Reshard::Merge(..))));
    assert_eq!(changes(1).await, first);
    assert_ne!(changes(2).await, first);
}

#[tokio::test(start_paused = true)]
async fn resharding_leaves_alone_what_may_not_change() {
    for (from, bounds, to) in [(2, 2..=2, 2), (1, 2..=2, 2), (4, 2..=2, 2)] {
        let fake = Fake::instant(from);
        let mut resharding = Resharding::new(1).shards(bounds);
        for _ in 0..5 {
            resharding.step(&fake).await.unwrap();
            sleep(SECOND).await;
        }
        let open = fake.shards().iter().filter(|it| !it.is_closed()).count();
        assert_eq!(open, to, "from {from}");
    }
}

/// Lets whatever was woken run.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn resharding_goes_by_a_clock_that_is_moved_by_hand() {
    let fake = Fake::builder().instant().manual_clock().build();
    let resharding = Resharding::new(1).every(SECOND * 10).run(fake.clone());
    let resharding = tokio::spawn(resharding);
    settle().await;
    fake.advance(SECOND * 9);
    settle().await;
    assert_eq!(fake.shards().len(), 1);
    for _ in 0..360 {
        fake.advance(SECOND * 10);
        settle().await;
    }
    assert!(fake.shards().len() > 360, "each made a shard or two");
    // A leap is one wait.
    let before = fake.shards().len();
    fake.advance(SECOND * 3_600);
    settle().await;
    let made = fake.shards().len() - before;
    assert!((1..=2).contains(&made), "{made}");
    resharding.abort();
}

#[tokio::test(start_paused = true)]
async fn resharding_goes_by_a_fast_clock() {
    let fake = Fake::builder().instant().clock_rate(3_600).build();
    let resharding = Resharding::new(1).every(SECOND * 10).run(fake.clone());
    let resharding = tokio::spawn(resharding);
    sleep(SECOND).await;
    // 360 but for what waiting for whole milliseconds takes.
    assert!(fake.shards().len() > 200, "{}", fake.shards().len());
    resharding.abort();
}

/// Notes what it takes in, slowly.
struct Handler(Deliveries, Gate);

impl Consumer<Record> for Handler {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Infallible> {
        self.1.pass().await;
        for event in batch.iter() {
            self.0.note(event);
        }
        sleep(millis(20)).await;
        Ok(())
    }
}

fn start(fake: &Fake, store: &Arc<dyn CheckpointStore>, deliveries: &Deliveries) -> Worker {
    let worker = Worker::new(fake);
    let mut pipeline = Pipeline::new();
    let source = StreamSource::new("orders", worker.api())
        .checkpoints(worker.checkpoints(Arc::clone(store)))
        .discover_every(Duration::from_secs(5));
    let (records, _handle) = source.add_to(&mut pipeline);
    let handler = Handler(deliveries.clone(), worker.gate().clone());
    pipeline.consume(handler, records.subscribe(Window::new(100)));
    worker.run(async move { pipeline.run().await.unwrap() });
    worker
}

/// The example that the rest is for: a consumer that is paused, cut off and killed again and again
/// while its stream is resharded loses nothing.
#[tokio::test(start_paused = true)]
async fn a_consumer_outlives_whatever_its_workers_go_through() {
    let mut limits = Limits::default();
    limits.control_per_second = None;
    let fake = Fake::builder().shards(2).limits(limits).build();
    let store: Arc<dyn CheckpointStore> = Arc::new(MemoryCheckpointStore::new());
    let deliveries = Deliveries::new();
    let resharding = Resharding::new(3).every(SECOND * 7).shards(1..=4);
    let resharding = tokio::spawn(resharding.run(fake.clone()));
    let mut worker = start(&fake, &store, &deliveries);
    for round in 0..30_u64 {
        for step in 0..10 {
            fake.put_numbered(round * 50 + step * 5..round * 50 + step * 5 + 5)
                .unwrap();
            sleep(millis(300)).await;
        }
        match round % 6 {
            1 => {
                worker.pause();
                sleep(SECOND * 400).await; // longer than an iterator lives
                worker.resume();
            }
            3 => {
                worker.cut_off(Dependency::Kinesis);
                sleep(SECOND * 20).await;
                worker.reconnect(Dependency::Kinesis);
            }
            5 => {
                // Between what was just taken in and its checkpoint.
                fake.put_numbered(10_000 + round * 10..10_000 + round * 10 + 5)
                    .unwrap();
                let before = deliveries.len();
                while deliveries.len() == before {
                    sleep(millis(10)).await;
                }
                worker.kill().await;
                worker = start(&fake, &store, &deliveries);
            }
            _ => {}
        }
    }
    resharding.abort();
    while deliveries.check_each_delivered(&fake).is_err() {
        sleep(SECOND).await;
    }
    worker.kill().await;
    deliveries.assert_order_per_key(&fake);
    // As many records may be on their way, and what was taken in since the last checkpoint.
    deliveries.assert_duplicates_within(200);
    assert!(deliveries.duplicates() > 0, "no worker died in time");
}

#[tokio::test(start_paused = true)]
async fn a_dead_workers_checkpoints_are_not_stored() {
    let fake = Fake::new(1);
    let kept = Arc::new(MemoryCheckpointStore::new());
    let worker = Worker::new(&fake);
    let store = worker.checkpoints(kept.clone());
    let stream = stream();
    store.load(&stream).await.unwrap();
    worker.kill().await;
    let done = [(shard(0), Checkpoint::End)].into();
    assert!(timeout(SECOND, store.save(&stream, &done)).await.is_err());
    assert!(kept.load(&stream).await.unwrap().is_empty());
}
