//! Amazon Kinesis as a source of events, read on demand.

mod api;
mod api_error;
#[cfg(feature = "aws")]
mod aws;
mod backoff;
mod checkpoint;
mod coordinator;
mod listing;
mod pinned_position;
mod progress;
mod read_limiter;
mod reader;
mod record;
mod sequence_number;
mod shard;
mod shard_graph;
mod shard_record;
mod shard_source;
mod start_position;
mod stream_error;
mod stream_source;
mod stream_status;
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
pub use shard_record::ShardRecord;
pub use shard_source::{ShardError, ShardSource};
pub use start_position::StartPosition;
pub use stream_error::StreamError;
pub use stream_source::StreamSource;
pub use stream_status::{ShardState, ShardStatus, StreamHandle};
pub use timestamp::Timestamp;

/// Checks for whoever writes another part: does it keep the promises of its trait?
pub mod testing {
    pub use crate::checkpoint::conformance::checkpoint_store;
}
