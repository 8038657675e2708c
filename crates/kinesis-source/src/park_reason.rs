use std::fmt;

use crate::{ApiError, SequenceNumber};

/// Why a shard is [parked](crate::SourceEvent::ShardParked).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ParkReason {
    /// It cannot be read.
    #[non_exhaustive]
    Failing {
        /// What Kinesis said last.
        error: ApiError,
    },
    /// Its records were not taken in, each time that they were read.
    #[non_exhaustive]
    Nacked {
        /// How many, the last time.
        records: u64,
        /// They come after this one, the last that is acknowledged without a gap.
        after: Option<SequenceNumber>,
    },
    /// Its reader failed otherwise, each time that it was made anew.
    #[non_exhaustive]
    Failed {
        /// The last error and what lies beneath it.
        reason: String,
    },
}

impl fmt::Display for ParkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failing { .. } => f.write_str("it cannot be read"),
            Self::Nacked { records, after } => {
                write!(f, "{records} of its records were nacked again")?;
                match after {
                    Some(after) => write!(f, ", after record {after}"),
                    None => Ok(()),
                }
            }
            Self::Failed { reason } => f.write_str(reason),
        }
    }
}
