use crate::{ShardId, source_event::Listed};

/// All of a stream was read that can be: some of its shards have
/// [stopped](crate::SourceEvent::ShardStopped), and their children wait for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "all was read but for the shards that have stopped, and their children: {}",
    Listed(stopped)
)]
#[non_exhaustive]
pub struct NotCaughtUp {
    /// The shards that have stopped.
    pub stopped: Vec<ShardId>,
}
