use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use kinesis_source::{Checkpoint, CheckpointError, CheckpointStore, ShardId, StreamIdentity};

use super::{Dependency, Gate};

/// A store behind a worker's gate.
#[derive(Debug)]
pub(super) struct WorkerCheckpoints {
    store: Arc<dyn CheckpointStore>,
    gate: Gate,
}

impl WorkerCheckpoints {
    pub(super) fn new(store: Arc<dyn CheckpointStore>, gate: Gate) -> Self {
        Self { store, gate }
    }

    async fn pass(&self) -> Result<(), CheckpointError> {
        self.gate.pass().await;
        if self.gate.reaches(Dependency::Checkpoints) {
            return Ok(());
        }
        Err(CheckpointError::Unavailable {
            place: "a worker's store".to_owned(),
            source: "the worker is cut off from it".into(),
        })
    }
}

#[async_trait]
impl CheckpointStore for WorkerCheckpoints {
    async fn load(
        &self,
        stream: &StreamIdentity,
    ) -> Result<BTreeMap<ShardId, Checkpoint>, CheckpointError> {
        self.pass().await?;
        let answer = self.store.load(stream).await;
        self.gate.pass().await;
        answer
    }

    async fn save(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        self.pass().await?;
        let answer = self.store.save(stream, checkpoints).await;
        self.gate.pass().await;
        answer
    }

    async fn rewind(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        self.pass().await?;
        let answer = self.store.rewind(stream, checkpoints).await;
        self.gate.pass().await;
        answer
    }

    async fn forget(
        &self,
        stream: &StreamIdentity,
        shards: &BTreeSet<ShardId>,
    ) -> Result<(), CheckpointError> {
        self.pass().await?;
        let answer = self.store.forget(stream, shards).await;
        self.gate.pass().await;
        answer
    }
}
