//! Shards that have aged out are forgotten: nothing grows with the age of a stream.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use kinesis_fake::{Fake, Fault, Operation, Resharding, Rewrite};
use kinesis_source::{
    Checkpoint, CheckpointError, CheckpointStore, KinesisApi, KinesisWriteApi,
    MemoryCheckpointStore, OnDataLoss, Shard, ShardId, SourceEvent, StreamHandle, StreamIdentity,
    StreamSource,
};
use rig::{Sink, everything};
use stage_core::{Pipeline, Window};
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3_600);

fn source<S: CheckpointStore>(fake: &Fake, store: &Arc<S>) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone())).checkpoints(Arc::clone(store) as _)
}

async fn stored(fake: &Fake, store: &impl CheckpointStore) -> Vec<(ShardId, Checkpoint)> {
    let summary = fake.describe_stream_summary().await.unwrap();
    let stream = StreamIdentity::from(&summary);
    store.load(&stream).await.unwrap().into_iter().collect()
}

/// Reads the stream while that goes on, then until it is caught up.
async fn read<S: CheckpointStore>(
    fake: &Fake,
    store: &Arc<S>,
    sink: &Sink,
    story: impl AsyncFnOnce(&StreamHandle) + Send,
) {
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(fake, store).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let story = async {
        story(&handle).await;
        handle.caught_up().await;
    };
    pipeline.run_until(story).await.unwrap();
}

/// Days of steady resharding, with restarts: what is remembered is about what the service lists.
#[tokio::test(start_paused = true)]
async fn nothing_grows_with_the_age_of_a_stream() {
    let (fake, store) = (Fake::instant(2), Arc::new(MemoryCheckpointStore::new()));
    let sink = Sink::default();
    let resharding = Resharding::new(7).every(HOUR / 3).shards(1..=2);
    let resharding = tokio::spawn(resharding.run(fake.clone()));
    let mut next = 0;
    let mut made = BTreeSet::new();
    for part in 0..2 {
        read(&fake, &store, &sink, async |handle| {
            for _ in 0..20 {
                for _ in 0..6 {
                    fake.put_numbered(next..next + 20).unwrap();
                    next += 20;
                    sleep(HOUR / 6).await;
                    made.extend(fake.shards().into_iter().map(|shard| shard.id));
                }
                let listed = fake.shards().len();
                // One ages out about every thirteen minutes, and is lacked for ten before it is forgotten.
                let most = listed + 8;
                let (told, explained) = (handle.status().len(), handle.explain().shards.len());
                let kept = stored(&fake, &*store).await.len();
                let all = [told, explained, kept];
                assert!(
                    all.iter().all(|&it| it <= most),
                    "part {part}: {all:?} of {listed}"
                );
            }
        })
        .await;
    }
    resharding.abort();
    assert_eq!(sink.numbers(), everything(next));
    assert!(made.len() > 160, "{}", made.len());
    assert_eq!(fake.calls().throttled(), 0);
}

/// A stream whose first shard was split, and has been finished.
async fn split(fake: &Fake) {
    fake.put_numbered(0..100).unwrap();
    sleep(Duration::from_secs(5)).await;
    let parent = fake.shards().remove(0).id;
    fake.split_shard(&parent, 1 << 127).await.unwrap();
    sleep(Duration::from_secs(30)).await;
}

fn names(shards: &[Shard]) -> Vec<ShardId> {
    shards.iter().map(|shard| shard.id.clone()).collect()
}

/// Nothing came to the children before their parent was forgotten.
#[tokio::test(start_paused = true)]
async fn children_of_a_forgotten_parent_go_on_from_their_checkpoints() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    let sink = Sink::default();
    read(&fake, &store, &sink, async |_| {
        split(&fake).await;
        sleep(26 * HOUR).await;
    })
    .await;
    let children = names(&fake.shards());
    assert_eq!(children.len(), 2);
    let remembered: Vec<_> = stored(&fake, &*store)
        .await
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(remembered, children);
    fake.put_numbered(100..200).unwrap();
    read(&fake, &store, &sink, async |handle| {
        let mut events = handle.events();
        sleep(Duration::from_secs(60)).await;
        let mut started = BTreeSet::new();
        while let Ok(Some(event)) = tokio::time::timeout(HOUR / 60, events.next()).await {
            assert!(!matches!(event, SourceEvent::DataLost { .. }));
            if let SourceEvent::ShardStarted { shard, .. } = event {
                started.insert(shard);
            }
        }
        assert!(started.iter().all(|it| children.contains(it)));
    })
    .await;
    assert_eq!(sink.numbers(), everything(200));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_shard_that_a_listing_shows_again_is_not_read_again() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    let sink = Sink::default();
    read(&fake, &store, &sink, async |handle| {
        split(&fake).await;
        let before = fake.shards();
        let parent = before[0].id.clone();
        let knows = || handle.status().iter().any(|it| it.shard == parent);
        sleep(23 * HOUR).await;
        assert!(knows());
        sleep(3 * HOUR).await;
        assert!(!knows());
        let stale = Rewrite::shards("as it was a day ago", move |page| {
            page.shards.clone_from(&before);
        });
        fake.inject(Fault::rewritten(Operation::ListShards, stale).times(3));
        let mut events = handle.events();
        sleep(HOUR).await;
        assert!(fake.fault_report().all_fired());
        assert!(!knows());
        fake.put_numbered(100..200).unwrap();
        handle.caught_up().await;
        while let Ok(Some(event)) = tokio::time::timeout(HOUR / 60, events.next()).await {
            assert_ne!(event.shard(), Some(&parent), "{event}");
        }
    })
    .await;
    assert_eq!(sink.numbers(), everything(200));
}

/// Fails to forget so often, and then cannot.
#[derive(Debug, Default)]
struct Clumsy {
    inner: MemoryCheckpointStore,
    fails: AtomicU32,
    asked: AtomicU32,
}

#[async_trait]
impl CheckpointStore for Clumsy {
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
        self.inner.save(stream, checkpoints).await
    }

    async fn forget(
        &self,
        _: &StreamIdentity,
        _: &BTreeSet<ShardId>,
    ) -> Result<(), CheckpointError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) >= self.fails.load(Ordering::SeqCst) {
            return Err(CheckpointError::CannotForget);
        }
        Err(CheckpointError::Unavailable {
            place: "a store that fails".to_owned(),
            source: "on purpose".into(),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_again_and_one_that_cannot_forget_is_not() {
    let (fake, store) = (Fake::instant(1), Arc::new(Clumsy::default()));
    store.fails.store(40, Ordering::SeqCst);
    let sink = Sink::default();
    read(&fake, &store, &sink, async |handle| {
        split(&fake).await;
        sleep(24 * HOUR + HOUR / 2).await;
        assert_eq!(handle.status().len(), 3, "it fails");
        sleep(HOUR).await;
        assert_eq!(handle.status().len(), 2);
    })
    .await;
    assert_eq!(store.asked.load(Ordering::SeqCst), 41);
    // It is forgotten in the next run as well.
    read(&fake, &store, &sink, async |_| sleep(HOUR).await).await;
    assert_eq!(store.asked.load(Ordering::SeqCst), 42);
    assert_eq!(stored(&fake, &*store).await.len(), 3);
    assert_eq!(sink.numbers(), everything(100));
}

/// The process dies before a listing has its children, which nobody reads until they have lost something.
#[tokio::test(start_paused = true)]
async fn a_crash_right_after_a_parents_end_hides_no_loss_of_its_children() {
    for days in 0..2 {
        let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
        fake.put_numbered(0..100).unwrap();
        let sink = Sink::default();
        let mut pipeline = Pipeline::new();
        let (records, handle) = source(&fake, &store).add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
        let mut events = handle.events();
        let run = tokio::spawn(pipeline.run());
        sleep(Duration::from_secs(5)).await;
        let parent = fake.shards().remove(0).id;
        // Nobody else finds its children, either.
        fake.inject(Fault::refusal(Operation::ListShards, "LimitExceededException").times(50));
        fake.split_shard(&parent, 1 << 127).await.unwrap();
        while !matches!(events.next().await, Some(SourceEvent::ShardRetired { .. })) {}
        let is_end = |(shard, stored): &(ShardId, Checkpoint)| *shard == parent && stored.is_end();
        while !stored(&fake, &*store).await.iter().any(is_end) {
            sleep(Duration::from_millis(1)).await;
        }
        run.abort();
        assert!(run.await.is_err());
        fake.clear_faults();
        sleep(Duration::from_secs(60)).await;
        fake.put_numbered(100..200).unwrap();
        sleep(25 * HOUR * days).await;
        fake.put_numbered(200..300).unwrap();
        let mut pipeline = Pipeline::new();
        let on = source(&fake, &store).on_data_loss(OnDataLoss::GoOn);
        let (records, handle) = on.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
        let caught_up = handle.clone();
        let caught_up = async move { caught_up.caught_up().await };
        pipeline.run_until(caught_up).await.unwrap();
        let losses = handle.data_losses();
        if days == 0 {
            assert_eq!(losses, []);
            assert_eq!(sink.numbers(), everything(300));
        } else {
            let lost: Vec<_> = losses.into_iter().map(|it| it.shard).collect();
            assert_eq!(lost, names(&fake.shards()));
        }
    }
}
