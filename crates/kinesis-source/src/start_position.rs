use std::fmt;

use crate::{SequenceNumber, ShardId, Timestamp};

/// Where to start reading a stream that has no checkpoints yet.
///
/// It is asked once. A stream with checkpoints goes on where those say, and shards that appear
/// later, as children of others, are always read from their first record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StartPosition {
    /// At the oldest record that is still kept.
    #[default]
    TrimHorizon,
    /// What comes from now on. Shards that are closed by now are left out.
    ///
    /// It is resolved once, when the source has found the stream's shards, to a moment that the service's
    /// clock has surely reached ([`KinesisApi::earliest_now`](crate::KinesisApi::earliest_now)). That is
    /// stored before the first read, and is where each shard is read from, the first time as ever after:
    /// nothing is skipped that is put after [`StreamOpened`](crate::SourceEvent::StreamOpened), however slow
    /// the first call is. So a few records may come that were put shortly before: those of the last five
    /// seconds, with [`AwsKinesis`](crate::AwsKinesis).
    Latest,
    /// At the first records that arrived at that moment or later.
    AtTimestamp(Timestamp),
    /// After one record of one shard. The shards that this one came from are left out; all others
    /// are read from their oldest record.
    After {
        /// The record's shard.
        shard: ShardId,
        /// The record's number.
        sequence_number: SequenceNumber,
    },
}

impl fmt::Display for StartPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("at the oldest record kept"),
            Self::Latest => f.write_str("after the newest record"),
            Self::AtTimestamp(moment) => write!(f, "at moment {moment}"),
            Self::After {
                shard,
                sequence_number,
            } => write!(f, "after record {sequence_number} of shard `{shard}`"),
        }
    }
}
