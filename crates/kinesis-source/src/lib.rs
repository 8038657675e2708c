//! Amazon Kinesis as a source of events, read on demand.

mod api;
mod api_error;
#[cfg(feature = "aws")]
mod aws;
mod checkpoint;
mod pinned_position;
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
#[cfg(feature = "aws")]
pub use aws::{AwsConfigError, AwsKinesis, AwsKinesisBuilder, FailedBeneath};
#[cfg(feature = "redb")]
pub use checkpoint::FileCheckpointStore;
pub use checkpoint::{
    Checkpoint, CheckpointError, CheckpointStore, MemoryCheckpointStore, StreamIdentity,
};
pub use pinned_position::PinnedPosition;
pub use record::Record;
pub use sequence_number::{InvalidSequenceNumber, SequenceNumber};
pub use shard::{ChildShard, HashRange, Shard, ShardId};
pub use timestamp::Timestamp;

/// Checks for whoever writes another part: does it keep the promises of its trait?
pub mod testing {
    pub use crate::checkpoint::conformance::checkpoint_store;
}
