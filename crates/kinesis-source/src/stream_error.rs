use crate::{
    ApiError, CheckpointError, EndPosition, Remedy, ShardError, ShardId, StartPosition,
    source_event::Listed,
};

/// A stream could not be read at all, or no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// There is no such stream in this account and region, or it is being deleted.
    #[error("there is no stream `{name}`: check its name, the region and the account")]
    #[non_exhaustive]
    NoSuchStream {
        /// What the source was told to read.
        name: String,
        /// What Kinesis said.
        source: Option<ApiError>,
    },
    /// The credentials do not allow it.
    #[error("reading stream `{name}` is not allowed: check the credentials and their policies")]
    #[non_exhaustive]
    NotAllowed {
        /// What the source was told to read.
        name: String,
        /// What Kinesis said.
        source: ApiError,
    },
    /// Kinesis does not answer, or only with errors.
    #[error("Kinesis cannot be reached for stream `{name}`: check the endpoint and the network")]
    #[non_exhaustive]
    Unreachable {
        /// What the source was told to read.
        name: String,
        /// What happened last.
        source: ApiError,
    },
    /// Kinesis refuses a call.
    #[error("stream `{name}` cannot be read")]
    #[non_exhaustive]
    Refused {
        /// What the source was told to read.
        name: String,
        /// What Kinesis said.
        source: ApiError,
    },
    /// The shard to start or to end in is not there.
    #[error("stream `{name}` has no shard `{shard}` to start or end in: it may have aged out")]
    #[non_exhaustive]
    NoSuchShard {
        /// What the source was told to read.
        name: String,
        /// The shard.
        shard: ShardId,
    },
    /// The place to start at is none: of no such record, of another shard's, or a moment that is
    /// yet to come. Nothing has been read or stored.
    #[error("stream `{name}` cannot be read from its start position, {start}: pass another")]
    #[non_exhaustive]
    InvalidStart {
        /// What the source was told to read.
        name: String,
        /// Where it was told to start.
        start: StartPosition,
        /// What Kinesis said.
        source: ApiError,
    },
    /// The place to end at is none: of no such record, or of another shard's. Nothing has been read or
    /// stored.
    #[error("stream `{name}` cannot be read until its end position, {end}: pass another")]
    #[non_exhaustive]
    InvalidEnd {
        /// What the source was told to read.
        name: String,
        /// Where it was told to end.
        end: EndPosition,
        /// What Kinesis said.
        source: ApiError,
    },
    /// It cannot be read as that consumer of enhanced fan-out: there is none, and perhaps none can be
    /// registered, or it does not become active.
    #[error(
        "stream `{name}` cannot be read as consumer `{consumer}`: register it, make room for it (a \
         stream has 20 at most), or read by polling"
    )]
    #[non_exhaustive]
    Consumer {
        /// What the source was told to read.
        name: String,
        /// The consumer.
        consumer: String,
        /// What Kinesis said.
        source: ApiError,
    },
    /// Some shards could not go on, and were [stopped](crate::SourceEvent::ShardStopped). All else was
    /// read for as long as the pipeline ran. The next run meets the same again, unless something is
    /// done about it: the source says what.
    #[error(
        "not all of stream `{name}` could be read on; stopped were: {}",
        Listed(shards)
    )]
    #[non_exhaustive]
    ShardsStopped {
        /// What the source was told to read.
        name: String,
        /// The shards.
        shards: Vec<ShardId>,
        /// Why the first of them was.
        source: ShardError,
    },
    /// The checkpoints cannot be read or written.
    #[error("the checkpoints of stream `{name}` cannot be used")]
    #[non_exhaustive]
    Checkpoint {
        /// What the source was told to read.
        name: String,
        /// Why.
        source: Box<CheckpointError>,
    },
}

impl StreamError {
    /// What it means for stream `name` that Kinesis refuses for good, or does not answer.
    pub(crate) fn refused(name: &str, source: ApiError) -> Self {
        let name = name.to_owned();
        match source.remedy() {
            Remedy::Verify => Self::NoSuchStream {
                name,
                source: Some(source),
            },
            Remedy::Authorize => Self::NotAllowed { name, source },
            Remedy::Retry | Remedy::Wait => Self::Unreachable { name, source },
            _ => Self::Refused { name, source },
        }
    }

    pub(crate) fn checkpoint(name: &str, source: CheckpointError) -> Self {
        Self::Checkpoint {
            name: name.to_owned(),
            source: Box::new(source),
        }
    }
}
