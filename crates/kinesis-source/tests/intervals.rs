//! Sources that are told to do things never, or all the time.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use kinesis_fake::{Fake, Operation};
use kinesis_source::{
    Checkpoint, CheckpointError, CheckpointStore, FanOut, KinesisApi, MemoryCheckpointStore,
    PinnedPosition, Record, ShardId, StreamIdentity, StreamSource,
};
use rig::{Sink, everything};
use stage_core::{Batch, Consumer, Pipeline, Window};
use tokio::time::sleep;

/// Counts how often it is told something.
#[derive(Debug, Default)]
struct Counting(MemoryCheckpointStore, AtomicU64);

type Checkpoints = BTreeMap<ShardId, Checkpoint>;

#[async_trait]
impl CheckpointStore for Counting {
    async fn load(&self, stream: &StreamIdentity) -> Result<Checkpoints, CheckpointError> {
        self.0.load(stream).await
    }

    async fn save(
        &self,
        stream: &StreamIdentity,
        checkpoints: &Checkpoints,
    ) -> Result<(), CheckpointError> {
        self.1.fetch_add(1, SeqCst);
        self.0.save(stream, checkpoints).await
    }
}

/// Takes records in one by one, each in two milliseconds.
struct OneByOne;

impl Consumer<Record> for OneByOne {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Infallible> {
        for (_, receipt) in batch.drain_with_receipts() {
            sleep(Duration::from_millis(2)).await;
            receipt.ack();
        }
        Ok(())
    }
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

async fn stored(fake: &Fake, store: &MemoryCheckpointStore) -> Checkpoint {
    let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
    let mut stored = store.load(&stream).await.unwrap();
    stored.pop_first().unwrap().1
}

#[tokio::test(start_paused = true)]
async fn what_is_never_due_is_never_done_and_no_panic() {
    for by_fan_out in [false, true] {
        let (fake, store) = (Fake::new(1), Arc::new(MemoryCheckpointStore::new()));
        fake.put_numbered(0..100).unwrap();
        let source = StreamSource::new("orders", Arc::new(fake.clone()))
            .checkpoints(Arc::clone(&store) as _)
            .checkpoint_every(Duration::MAX)
            .discover_every(Duration::MAX)
            .settle_within(Duration::MAX);
        let source = match by_fan_out {
            true => source.fan_out(
                FanOut::new(Arc::new(fake.clone()), "audit")
                    .silence(Duration::MAX)
                    .let_go_after(Duration::MAX),
            ),
            false => source,
        };
        let sink = Sink::default();
        let mut pipeline = Pipeline::new();
        let (records, _) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
        let listed = || fake.calls().of(Operation::ListShards).made;
        let run = async {
            seconds(60).await;
            let at_first = listed();
            seconds(20_000).await;
            assert_eq!(listed(), at_first);
            let start = Checkpoint::Start(PinnedPosition::TrimHorizon);
            assert_eq!(stored(&fake, &store).await, start);
        };
        pipeline.run_until(run).await.unwrap();
        assert_eq!(sink.numbers(), everything(100));
        // It is stored at the stop.
        let last = fake.records()[0].1[99].sequence_number.clone();
        assert!(
            !stored(&fake, &store)
                .await
                .is_behind(&Checkpoint::after(last))
        );
    }
}

/// That would be a loop that does nothing else.
#[tokio::test(start_paused = true)]
async fn what_is_always_due_is_done_so_often_and_no_more() {
    let (fake, store) = (Fake::instant(1), Arc::new(Counting::default()));
    fake.put_numbered(0..100).unwrap();
    let source = StreamSource::new("orders", Arc::new(fake.clone()))
        .checkpoints(Arc::clone(&store) as _)
        .checkpoint_every(Duration::ZERO)
        .discover_every(Duration::ZERO);
    let mut pipeline = Pipeline::new();
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(OneByOne, records.subscribe(Window::new(200)));
    pipeline.run_until(seconds(600)).await.unwrap();
    assert_eq!(handle.drain_report()[0].acked, 100);
    let listed = fake.calls().of(Operation::ListShards).made;
    assert!((590..610).contains(&listed), "{listed}");
    // 200 ms of acknowledgements.
    let saved = store.1.load(SeqCst);
    assert!((10..30).contains(&saved), "{saved}");
}
