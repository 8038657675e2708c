use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{Checkpoint, CheckpointError, CheckpointStore, StreamIdentity};
use crate::ShardId;

/// Remembers checkpoints as long as the process lives: for tests, and for readers that always
/// begin anew.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use kinesis_source::{Checkpoint, CheckpointStore, MemoryCheckpointStore, StreamIdentity};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), kinesis_source::CheckpointError> {
/// let store = MemoryCheckpointStore::new();
/// let stream = StreamIdentity { name: "orders".into(), created: None };
/// let done = BTreeMap::from([("shardId-000000000000".into(), Checkpoint::after(7.into()))]);
/// store.save(&stream, &done).await?;
/// assert_eq!(store.load(&stream).await?, done);
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct MemoryCheckpointStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    owner: Option<StreamIdentity>,
    checkpoints: BTreeMap<ShardId, Checkpoint>,
}

impl MemoryCheckpointStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn claimed(&self, stream: &StreamIdentity) -> Result<MutexGuard<'_, State>, CheckpointError> {
        // Nothing that holds the lock can leave a state half changed.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = stream.claim(state.owner.as_ref(), "memory")? {
            state.owner = Some(owner);
        }
        Ok(state)
    }
}

#[async_trait]
impl CheckpointStore for MemoryCheckpointStore {
    async fn load(
        &self,
        stream: &StreamIdentity,
    ) -> Result<BTreeMap<ShardId, Checkpoint>, CheckpointError> {
        Ok(self.claimed(stream)?.checkpoints.clone())
    }

    async fn save(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        let stored = &mut self.claimed(stream)?.checkpoints;
        if stored.is_empty() {
            stored.clone_from(checkpoints);
            return Ok(());
        }
        for (shard, checkpoint) in checkpoints {
            let old = stored.entry(shard.clone());
            let kept = old.or_insert_with(|| checkpoint.clone());
            if kept.is_behind(checkpoint) {
                kept.clone_from(checkpoint);
            }
        }
        Ok(())
    }

    async fn rewind(
        &self,
        stream: &StreamIdentity,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        let stored = &mut self.claimed(stream)?.checkpoints;
        stored.extend(checkpoints.clone());
        Ok(())
    }

    async fn forget(
        &self,
        stream: &StreamIdentity,
        shards: &BTreeSet<ShardId>,
    ) -> Result<(), CheckpointError> {
        let stored = &mut self.claimed(stream)?.checkpoints;
        stored.retain(|shard, checkpoint| !(shards.contains(shard) && checkpoint.is_end()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn it_is_a_checkpoint_store() {
        testing::checkpoint_store(async || MemoryCheckpointStore::new()).await;
    }
}
