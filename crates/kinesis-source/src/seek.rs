use tokio::sync::oneshot;

use crate::{ApiError, PinnedPosition, ShardId};

/// A shard is not read from where it was asked to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeekError {
    /// The stream has no such shard, as far as is known.
    #[error("no shard `{shard}` is known of this stream: see `StreamHandle::status`")]
    #[non_exhaustive]
    NoSuchShard {
        /// The shard.
        shard: ShardId,
    },
    /// The shard is not being read: it waits for its parents, or has been read to its end, or its source
    /// stops. What it had can be read by another source.
    #[error("shard `{shard}` is not being read: it waits for its parents, or has ended")]
    #[non_exhaustive]
    NotRead {
        /// The shard.
        shard: ShardId,
    },
    /// Another seek of the same shard came before this was done.
    #[error("another seek of shard `{shard}` came before this one was done")]
    #[non_exhaustive]
    Superseded {
        /// The shard.
        shard: ShardId,
    },
    /// Kinesis refuses the place, or does not answer. The shard is read on from where it was.
    #[error("shard `{shard}` cannot be read {position}; it is read on from where it was")]
    #[non_exhaustive]
    Refused {
        /// The shard.
        shard: ShardId,
        /// The place.
        position: PinnedPosition,
        /// What Kinesis said.
        source: Box<ApiError>,
    },
}

/// A wish to read a shard from elsewhere.
#[derive(Debug)]
pub(crate) struct SeekRequest {
    pub(crate) position: PinnedPosition,
    pub(crate) reply: oneshot::Sender<Result<(), SeekError>>,
}
