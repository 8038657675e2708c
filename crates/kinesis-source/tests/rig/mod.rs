//! What tests of whole streams share: a sink that remembers, and checks of what it took in.

#![allow(dead_code)] // Each test uses its own part.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use kinesis_fake::Fake;
use kinesis_source::{
    Aggregation, Checkpoint, CheckpointError, CheckpointStore, MemoryCheckpointStore, Record,
    ShardError, ShardId, StreamError, StreamIdentity, StreamSource,
};
use stage_core::{Batch, Consumer, Pipeline, PipelineError, Window};
use tokio::{
    sync::{OwnedRwLockWriteGuard, RwLock},
    time::sleep,
};

/// Remembers what it took in.
#[derive(Clone, Default)]
pub(crate) struct Sink {
    taken: Arc<Mutex<Vec<Record>>>,
    delay: Duration,
    gate: Arc<RwLock<()>>,
    refuses: Option<(u64, bool)>,
    refused: Arc<AtomicBool>,
    is_mended: Arc<AtomicBool>,
}

impl Sink {
    /// One that takes so long for each batch.
    pub(crate) fn by(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// One that nacks a number the first time.
    pub(crate) fn refusing_once(self, number: u64) -> Self {
        Self {
            refuses: Some((number, true)),
            ..self
        }
    }

    /// One that nacks a number each time.
    pub(crate) fn refusing_always(self, number: u64) -> Self {
        Self {
            refuses: Some((number, false)),
            ..self
        }
    }

    /// From now on it takes all in.
    pub(crate) fn mend(&self) {
        self.is_mended.store(true, Ordering::SeqCst);
    }

    /// From now on it refuses again what it did before.
    pub(crate) fn relapse(&self) {
        self.is_mended.store(false, Ordering::SeqCst);
    }

    /// Takes nothing in until what this returns is dropped.
    pub(crate) fn close(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.gate).try_write_owned().unwrap()
    }

    pub(crate) fn taken(&self) -> Vec<Record> {
        self.taken.lock().unwrap().clone()
    }

    pub(crate) fn numbers_in_order(&self) -> Vec<u64> {
        self.taken().iter().map(number).collect()
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut numbers = self.numbers_in_order();
        numbers.sort_unstable();
        numbers
    }

    /// Every record that the stream keeps was taken in once, and those of a shard in order.
    pub(crate) fn assert_complete(&self, fake: &Fake) {
        let mut by_shard = BTreeMap::<ShardId, Vec<_>>::new();
        for event in self.taken() {
            // As it was put: nobody had looked into it then.
            let aggregation = Aggregation::None;
            let of_shard = by_shard.entry(event.shard.clone()).or_default();
            of_shard.push(Record {
                aggregation,
                ..event
            });
        }
        for (shard, records) in fake.records() {
            let taken = by_shard.remove(&shard).unwrap_or_default();
            assert_eq!(taken.len(), records.len(), "{shard}");
            assert_eq!(taken, records, "{shard}");
        }
        assert!(by_shard.is_empty());
    }

    /// Nothing of a shard was taken in before all of its parents was.
    pub(crate) fn assert_parents_before_children(&self, fake: &Fake) {
        let shards = fake.shards();
        let mut last = BTreeMap::new();
        let mut first = BTreeMap::new();
        for (at, event) in self.taken().into_iter().enumerate() {
            first.entry(event.shard.clone()).or_insert(at);
            last.insert(event.shard, at);
        }
        for shard in &shards {
            for parent in shard.parents() {
                if let (Some(begin), Some(end)) = (first.get(&shard.id), last.get(parent)) {
                    assert!(end < begin, "{parent} before {}", shard.id);
                }
            }
        }
    }

    fn refuses(&self, event: &Record) -> bool {
        let Some((refused, once)) = self.refuses else {
            return false;
        };
        let is_mended = self.is_mended.load(Ordering::SeqCst);
        number(event) == refused
            && !is_mended
            && !(self.refused.swap(true, Ordering::SeqCst) && once)
    }
}

impl Consumer<Record> for Sink {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Infallible> {
        let _open = self.gate.read().await;
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
        for (event, receipt) in batch.drain_with_receipts() {
            if self.refuses(&event) {
                receipt.nack();
            } else {
                self.taken.lock().unwrap().push(event);
                receipt.ack();
            }
        }
        Ok(())
    }
}

fn number(event: &Record) -> u64 {
    std::str::from_utf8(&event.data).unwrap().parse().unwrap()
}

pub(crate) fn everything(count: u64) -> Vec<u64> {
    (0..count).collect()
}

/// Runs a stream into a sink until there is nothing left to read.
pub(crate) async fn run_until_caught_up(
    source: StreamSource,
    sink: &Sink,
    window: Window,
) -> Result<(), PipelineError> {
    let mut pipeline = Pipeline::new();
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(window));
    pipeline
        .run_until(async move { handle.caught_up().await })
        .await
}

/// What a stream's source failed with.
pub(crate) fn stream_error(error: &PipelineError) -> &StreamError {
    error.source().unwrap().downcast_ref().unwrap()
}

/// What a shard has failed or was stopped with, beneath what the pipeline has.
pub(crate) fn shard_error(error: &PipelineError) -> &ShardError {
    let beneath = std::iter::successors(error.source(), |&it| it.source());
    let mut found = beneath.filter_map(|it| it.downcast_ref());
    found.next().unwrap_or_else(|| panic!("{error:?}"))
}

/// Keeps checkpoints in memory, and can be told to fail.
#[derive(Debug, Default)]
pub(crate) struct FailingStore {
    inner: MemoryCheckpointStore,
    fails: AtomicBool,
}

impl FailingStore {
    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }
}

#[async_trait]
impl CheckpointStore for FailingStore {
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
        if self.fails.load(Ordering::SeqCst) {
            return Err(CheckpointError::Unavailable {
                place: "a store that fails".to_owned(),
                source: "on purpose".into(),
            });
        }
        self.inner.save(stream, checkpoints).await
    }

    async fn rewind(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        self.inner.rewind(stream, checkpoints).await
    }
}
