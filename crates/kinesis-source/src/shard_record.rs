use crate::{Record, ShardId};

/// A record, and which shard it was read from: the event that Kinesis sources produce.
///
/// Its `Debug` shows sizes, never what was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRecord {
    /// The shard.
    pub shard: ShardId,
    /// The record.
    pub record: Record,
    /// In a record that the Kinesis Producer Library aggregated: which part of it this is.
    pub sub_sequence_number: Option<u64>,
}
