use std::fmt;

use stage_core::protocol::lane_for;

use crate::{Record, ShardId, kpl::Damage};

/// A record, and which shard it was read from: the event that Kinesis sources produce.
///
/// Its `Debug` shows sizes, never what was put.
// In this order, as each is put together of its parts and moved on: where the compiler chose one, it wrote the record in
// pieces and read them back across their edges, which no processor forwards, and that was a tenth of all time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ShardRecord {
    /// The shard.
    pub shard: ShardId,
    /// The record. If it is a user record of an aggregated one, it has the sequence number and the
    /// time of arrival of that.
    pub record: Record,
    /// In a record that the Kinesis Producer Library aggregated: which part of it this is.
    pub sub_sequence_number: Option<u64>,
    /// What [de-aggregation](crate::Deaggregation) found it to be.
    pub aggregation: Aggregation,
}

impl ShardRecord {
    /// The lane, of so many, that all records of its key fall on.
    pub(crate) fn lane(&self, lanes: usize) -> usize {
        match &self.record.partition_key {
            Some(key) => lane_for(key.as_str(), lanes),
            None => lane_for(&self.record.sequence_number, lanes),
        }
    }
}

/// What de-aggregation found a record to be.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aggregation {
    /// A record as it was put; or nobody looked.
    #[default]
    None,
    /// A user record of an aggregated record.
    #[non_exhaustive]
    UserRecord {
        /// The hash key it was put under, in decimal digits, if it was given one.
        explicit_hash_key: Option<Box<str>>,
        /// Whether its hash key falls on the shard that it was read from.
        is_in_range: bool,
    },
    /// A record as it was put, which begins as an aggregated one and is none.
    Damaged(Damage),
}

impl fmt::Debug for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::UserRecord {
                explicit_hash_key,
                is_in_range,
            } => f
                .debug_struct("UserRecord")
                .field("has_explicit_hash_key", &explicit_hash_key.is_some())
                .field("is_in_range", is_in_range)
                .finish(),
            Self::Damaged(damage) => f.debug_tuple("Damaged").field(damage).finish(),
        }
    }
}
