//! A pipeline that is stopped, by another thread, at a moment at which its source is about to read a shard.

#![allow(clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "threads meet by chance, in real time"
)]

mod rig;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use kinesis_fake::Fake;
use kinesis_source::{
    Checkpoint, CheckpointError, CheckpointStore, MemoryCheckpointStore, ShardId, SourceEvent,
    StreamEnd, StreamIdentity, StreamSource,
};
use rig::Sink;
use stage_core::{Pipeline, PipelineHandle, Window};
use tokio::time::timeout;

/// A store in which somebody, in another thread, stops the pipeline just after the first checkpoints are stored.
#[derive(Debug, Default)]
struct StoppedAfterFirst {
    inner: MemoryCheckpointStore,
    pipeline: OnceLock<PipelineHandle>,
}

#[async_trait]
impl CheckpointStore for StoppedAfterFirst {
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
        self.inner.save(stream, checkpoints).await?;
        let pipeline = self.pipeline.get().unwrap().clone();
        std::thread::spawn(move || pipeline.stop()).join().unwrap();
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_stopped_before_it_reads_a_shard_is_not_complete() {
    let fake = Fake::builder().shards(1).instant().wall_clock().build();
    fake.put_numbered(0..10).unwrap();
    let store = Arc::new(StoppedAfterFirst::default());
    let source = StreamSource::new("orders", Arc::new(fake.clone())).checkpoints(store.clone());
    let mut pipeline = Pipeline::new();
    assert!(store.pipeline.set(pipeline.handle()).is_ok());
    let (records, handle) = source.add_to(&mut pipeline);
    let sink = Sink::default();
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let mut events = handle.events();
    let asking = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.caught_up().await })
    };
    // It is asked before anything is read.
    tokio::task::yield_now().await;
    pipeline.run().await.unwrap();
    let (mut end, mut names) = (None, Vec::new());
    while let Some(event) = events.next().await {
        names.push(event.name());
        if let SourceEvent::StreamEnded { end: how } = event {
            end = Some(how);
        }
    }
    // Nor is the shard said to be read, or to have been.
    assert!(!names.contains(&"shard_started"), "{names:?}");
    assert_eq!(handle.drain_report().len(), 0);
    let is_caught_up = timeout(Duration::from_millis(500), asking).await.is_ok();
    let read = sink.taken().len();
    assert_eq!(
        (end, is_caught_up),
        (Some(StreamEnd::Stopped), false),
        "{read} of 10 records were read"
    );
}

/// The same, by chance.
#[tokio::test(flavor = "multi_thread")]
async fn whenever_a_source_is_stopped_it_is_complete_only_if_all_was_read() {
    let wrong = Arc::new(Mutex::new(0));
    for round in 0..3_000_u64 {
        let fake = Fake::builder().shards(1).instant().wall_clock().build();
        fake.put_numbered(0..10).unwrap();
        let source = StreamSource::new("orders", Arc::new(fake.clone()));
        let mut pipeline = Pipeline::new();
        let stopping = pipeline.handle();
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(Sink::default(), records.subscribe(Window::new(10)));
        let mut events = handle.events();
        let after = Duration::from_nanos(round * 7_919 % 400_000);
        let stopper = std::thread::spawn(move || {
            let began = std::time::Instant::now();
            while began.elapsed() < after {
                std::hint::spin_loop();
            }
            stopping.stop();
        });
        tokio::spawn(pipeline.run()).await.unwrap().unwrap();
        stopper.join().unwrap();
        while let Some(event) = events.next().await {
            let end = StreamEnd::Complete;
            if matches!(event, SourceEvent::StreamEnded { end: how } if how == end) {
                *wrong.lock().unwrap() += 1;
            }
        }
    }
    assert_eq!(
        *wrong.lock().unwrap(),
        0,
        "of 3,000 sources whose shard is open"
    );
}
