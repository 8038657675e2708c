//! Stores that tell the log, are slow, and fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use kinesis_source::{Checkpoint, CheckpointError, CheckpointStore, ShardId, StreamIdentity};
use tokio::time::sleep;

use crate::{
    dice::Dice,
    log::{Entry, Log, lock},
};

/// The store of one life.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) inner: Arc<dyn CheckpointStore>,
    pub(crate) log: Arc<Log>,
    pub(crate) life: usize,
    pub(crate) dice: Mutex<Dice>,
    /// How many saves of a hundred fail.
    pub(crate) fails: u64,
    /// How many milliseconds one takes at most.
    pub(crate) slow: u64,
    pub(crate) failed: Arc<AtomicUsize>,
}

impl Watched {
    async fn store<'a>(
        &'a self,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
        storing: impl Future<Output = Result<(), CheckpointError>> + Send + 'a,
    ) -> Result<(), CheckpointError> {
        for (shard, checkpoint) in checkpoints {
            let entry = Entry::Saving(self.life, shard.clone(), checkpoint.clone());
            self.log.add(entry);
        }
        let (fails, before, after) = {
            let mut dice = lock(&self.dice);
            let fails = dice.percent(self.fails);
            let mut wait = || dice.millis(0, self.slow);
            (fails, wait(), wait())
        };
        if self.slow > 0 {
            sleep(before).await;
        }
        if fails {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Err(CheckpointError::Unavailable {
                place: "a store that fails".to_owned(),
                source: "on purpose".into(),
            });
        }
        storing.await?;
        for (shard, checkpoint) in checkpoints {
            let entry = Entry::Saved(self.life, shard.clone(), checkpoint.clone());
            self.log.add(entry);
        }
        if self.slow > 0 {
            sleep(after).await;
        }
        Ok(())
    }
}

#[async_trait]
impl CheckpointStore for Watched {
    async fn load(
        &self,
        stream: &StreamIdentity,
    ) -> Result<BTreeMap<ShardId, Checkpoint>, CheckpointError> {
        let loaded = self.inner.load(stream).await?;
        self.log.add(Entry::Loaded(self.life, loaded.clone()));
        Ok(loaded)
    }

    async fn save(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        self.store(checkpoints, self.inner.save(stream, checkpoints))
            .await
    }

    async fn rewind(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        self.store(checkpoints, self.inner.rewind(stream, checkpoints))
            .await
    }

    async fn forget(
        &self,
        stream: &StreamIdentity,
        shards: &BTreeSet<ShardId>,
    ) -> Result<(), CheckpointError> {
        self.inner.forget(stream, shards).await
    }
}
