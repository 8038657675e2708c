use std::error::Error;

use crate::{ApiError, DataLoss, PinnedPosition, SequenceNumber, ShardId};

/// A shard could not be read, or what was read was not taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// Kinesis refuses, and waiting does not help.
    #[error("shard `{shard}` cannot be read")]
    #[non_exhaustive]
    Refused {
        /// The shard.
        shard: ShardId,
        /// What Kinesis said.
        source: ApiError,
    },
    /// Kinesis refuses the place to read from: the shard has no such record, or does not keep it any
    /// more, or it is a moment that is yet to come. No fresh reader changes that: read from another
    /// place. If a checkpoint says so, it takes another store.
    #[error(
        "shard `{shard}` cannot be read {position}: it has no such place, or not any more; start \
         elsewhere, or with new checkpoints"
    )]
    #[non_exhaustive]
    InvalidPosition {
        /// The shard.
        shard: ShardId,
        /// The place.
        position: PinnedPosition,
        /// What Kinesis said.
        source: ApiError,
    },
    /// The stream was deleted while it was read. What it had cannot be read any more.
    #[error("stream `{stream}` was deleted while it was read")]
    #[non_exhaustive]
    StreamDeleted {
        /// Its name.
        stream: String,
    },
    /// Another stream of the same name has taken the place of the one that was read. To read that,
    /// begin anew, and with other checkpoints.
    #[error(
        "stream `{stream}` was deleted and made anew while it was read; start again to read the new \
         one, with new checkpoints"
    )]
    #[non_exhaustive]
    StreamRecreated {
        /// The name of both.
        stream: String,
    },
    /// A stage downstream nacked records. They have to be read again, after the last one that is
    /// acknowledged without a gap.
    #[error("{records} records of shard `{shard}` were not taken in and have to be read again")]
    #[non_exhaustive]
    Nacked {
        /// The shard.
        shard: ShardId,
        /// How many.
        records: u64,
    },
    /// Records were lost: the stream kept them for too short a time. It is not gone on without them
    /// unless [told so](crate::StreamSource::on_data_loss).
    #[error("{0}: read on with `OnDataLoss::GoOn`, or keep records for longer")]
    DataLoss(DataLoss),
    /// An aggregated record has user records that do not belong on its shard, and was not to be
    /// delivered. Reading again only meets it again:
    /// [decide otherwise](crate::Deaggregation::outside_range).
    #[error(
        "record {sequence_number} of shard `{shard}` has user records whose hash keys are of other \
         shards: deliver or drop them"
    )]
    #[non_exhaustive]
    OutsideRange {
        /// The shard.
        shard: ShardId,
        /// The record.
        sequence_number: SequenceNumber,
    },
}

impl ShardError {
    /// Whether it is the stream that has ended, and not only a shard that cannot go on.
    pub(crate) fn is_of_the_stream(&self) -> bool {
        matches!(
            self,
            Self::StreamDeleted { .. } | Self::StreamRecreated { .. }
        )
    }

    /// Whether `error` is one that a fresh reader of the shard would only meet again.
    pub(crate) fn is_final(error: &(dyn Error + 'static)) -> bool {
        let error = error.downcast_ref();
        matches!(
            error,
            Some(
                Self::InvalidPosition { .. }
                    | Self::StreamDeleted { .. }
                    | Self::StreamRecreated { .. }
                    | Self::OutsideRange { .. }
                    | Self::DataLoss(_)
            )
        )
    }
}
