//! Amazon Kinesis as a source of events, read on demand.

mod api;
mod api_error;
mod record;
mod sequence_number;
mod shard;
mod timestamp;

#[cfg(any(test, feature = "mock"))]
pub use api::MockKinesisApi;
pub use api::{
    KinesisApi, KinesisWriteApi, NextToken, Position, PutEntry, PutOutcome, RecordsPage,
    ShardIterator, ShardsPage, StreamStatus, StreamSummary,
};
pub use api_error::{ApiError, Remedy};
pub use record::Record;
pub use sequence_number::{InvalidSequenceNumber, SequenceNumber};
pub use shard::{ChildShard, HashRange, Shard, ShardId};
pub use timestamp::Timestamp;
