//! A store of checkpoints that tells the log, and can be told to fail.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use kinesis_source::{
    Checkpoint, CheckpointError, CheckpointStore, MemoryCheckpointStore, ShardId, StreamIdentity,
};

use crate::log::{Entry, Log};

#[derive(Debug, Default)]
pub(crate) struct Watched {
    inner: MemoryCheckpointStore,
    log: Log,
    fails: AtomicBool,
    failed: AtomicU64,
}

impl Watched {
    pub(crate) fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            ..Self::default()
        }
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl CheckpointStore for Watched {
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
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Err(CheckpointError::Unavailable {
                place: "a store that fails".to_owned(),
                source: "on purpose".into(),
            });
        }
        self.inner.save(stream, checkpoints).await?;
        for (shard, checkpoint) in checkpoints {
            let entry = Entry::Stored(shard.clone(), checkpoint.clone());
            self.log.add(entry);
        }
        Ok(())
    }
}
