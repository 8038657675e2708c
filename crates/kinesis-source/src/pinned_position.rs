use std::fmt;

use crate::{Position, SequenceNumber, Timestamp};

/// Where a reader of a shard may be told to start: a place that stays where it is.
///
/// It cannot say [`Latest`](Position::Latest), on purpose. That means another place whenever it is
/// asked for, so a reader that failed before its first record and asked again would skip what came
/// in between. Resolve it once, to the moment at which it was meant, and remember that.
///
/// ```
/// use kinesis_source::{PinnedPosition, Position, Timestamp};
///
/// let moment = Timestamp::from_millis(1_700_000_000_000);
/// let pinned = PinnedPosition::AtTimestamp(moment);
/// assert_eq!(Position::from(&pinned), Position::AtTimestamp(moment));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinnedPosition {
    /// The oldest record still kept.
    TrimHorizon,
    /// The first record that arrived at that moment or later.
    AtTimestamp(Timestamp),
    /// The record of that number.
    AtSequenceNumber(SequenceNumber),
    /// The record after the one of that number.
    AfterSequenceNumber(SequenceNumber),
}

impl PinnedPosition {
    /// The record that it is at or after, if it says so by a number.
    pub(crate) fn sequence_number(&self) -> Option<&SequenceNumber> {
        match self {
            Self::AfterSequenceNumber(number) | Self::AtSequenceNumber(number) => Some(number),
            Self::TrimHorizon | Self::AtTimestamp(_) => None,
        }
    }
}

impl From<&PinnedPosition> for Position {
    fn from(pinned: &PinnedPosition) -> Self {
        match pinned {
            PinnedPosition::TrimHorizon => Self::TrimHorizon,
            PinnedPosition::AtTimestamp(moment) => Self::AtTimestamp(*moment),
            PinnedPosition::AtSequenceNumber(number) => Self::AtSequenceNumber(number.clone()),
            PinnedPosition::AfterSequenceNumber(number) => {
                Self::AfterSequenceNumber(number.clone())
            }
        }
    }
}

impl fmt::Display for PinnedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("at the oldest record kept"),
            Self::AtTimestamp(moment) => write!(f, "at moment {moment}"),
            Self::AtSequenceNumber(number) => write!(f, "at record {number}"),
            Self::AfterSequenceNumber(number) => write!(f, "after record {number}"),
        }
    }
}
