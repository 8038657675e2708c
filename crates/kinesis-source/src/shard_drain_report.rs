use crate::{Checkpoint, ShardId, ShardState};

/// How far a shard came, for when its pipeline has ended. Numbers count from the start of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardDrainReport {
    /// The shard.
    pub shard: ShardId,
    /// How it was left.
    pub state: ShardState,
    /// Records that were acknowledged, each time that they were. User records, where records are taken
    /// apart.
    pub acked: u64,
    /// Records that were handed out and not acknowledged. Whoever goes on has them again.
    pub unacked: u64,
    /// What this process has stored last, where whoever goes on begins. `None`, if nothing was
    /// acknowledged, or none of it could be stored.
    pub checkpoint: Option<Checkpoint>,
}
