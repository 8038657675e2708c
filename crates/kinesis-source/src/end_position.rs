use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{Record, SequenceNumber, ShardId, Timestamp};

/// Where to end reading a stream, for a [replay](crate::StreamSource::until).
///
/// Each shard has its own end. When all have reached theirs, and everything is acknowledged, the source
/// ends, and with it the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndPosition {
    /// In each shard, before the first record that arrived at that moment or later, as
    /// [`StartPosition::AtTimestamp`](crate::StartPosition::AtTimestamp) begins at that: a replay to a
    /// moment and one from it have each record once, together. Records have their times of arrival about:
    /// where these go back in a shard, the few around the moment may be in both. If the moment is yet to
    /// come, the stream is read until then. A shard to which nothing comes after it is at its end once the
    /// moment has passed by ten seconds on the service's clock, and two answers in a row after that, a second
    /// apart, say that there is nothing: one alone may be empty although there are records.
    BeforeTimestamp(Timestamp),
    /// In these shards, with the record of that number, which still comes. Shards that lead to one of
    /// them, as its parent does, are read in full; all others are left out.
    WithSequenceNumbers(BTreeMap<ShardId, SequenceNumber>),
}

/// Where one shard ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ShardEnd {
    Before(Timestamp),
    With(SequenceNumber),
}

/// How far our idea of the service's clock may be ahead of it, and how late a record may turn up after
/// it has arrived.
const PAST_AFTER: Duration = Duration::from_secs(10);

impl EndPosition {
    /// Where that shard ends, if not with itself.
    pub(crate) fn of(&self, shard: &ShardId) -> Option<ShardEnd> {
        match self {
            Self::BeforeTimestamp(moment) => Some(ShardEnd::Before(*moment)),
            Self::WithSequenceNumbers(numbers) => numbers.get(shard).cloned().map(ShardEnd::With),
        }
    }

    /// The only shards that are wanted, besides those that lead to them.
    pub(crate) fn only(&self) -> Option<impl Iterator<Item = &ShardId>> {
        match self {
            Self::BeforeTimestamp(_) => None,
            Self::WithSequenceNumbers(numbers) => Some(numbers.keys()),
        }
    }
}

impl ShardEnd {
    /// Leaves out what is not wanted of `records`, which are in order. Whether the end is reached.
    pub(crate) fn cut(&self, records: &mut Vec<Record>) -> bool {
        let is_beyond = |record: &Record| match self {
            // One without a time is read: nobody knows that it is beyond.
            Self::Before(end) => record.approximate_arrival.is_some_and(|at| at >= *end),
            Self::With(end) => record.sequence_number > *end,
        };
        let beyond = records.iter().position(is_beyond);
        if let Some(beyond) = beyond {
            records.truncate(beyond);
        }
        let has_last = match (self, records.last()) {
            (Self::With(end), Some(last)) => last.sequence_number == *end,
            _ => false,
        };
        beyond.is_some() || has_last
    }

    /// Whether the end is reached, as nothing is left to be read at that moment: one at which the shard is
    /// [proven](crate::tip::Tip) to have been at its tip.
    pub(crate) fn is_reached_at_tip(&self, now: Timestamp) -> bool {
        match self {
            Self::Before(end) => now.minus(PAST_AFTER) >= *end,
            // The service has said that there is such a record: it came before.
            Self::With(_) => true,
        }
    }
}

impl fmt::Display for EndPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeTimestamp(moment) => write!(f, "before moment {moment}"),
            Self::WithSequenceNumbers(numbers) => {
                write!(f, "with certain records of {} shards", numbers.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn records(of: &[(u128, Option<i64>)]) -> Vec<Record> {
        let record = |&(number, millis): &(u128, Option<i64>)| Record {
            approximate_arrival: millis.map(Timestamp::from_millis),
            ..Record::new("s".into(), number.into(), "")
        };
        of.iter().map(record).collect()
    }

    fn cut(end: &ShardEnd, of: &[(u128, Option<i64>)]) -> (usize, bool) {
        let mut records = records(of);
        let is_reached = end.cut(&mut records);
        (records.len(), is_reached)
    }

    #[test]
    fn a_moment_is_not_included_and_what_comes_back_after_it_neither() {
        let end = ShardEnd::Before(Timestamp::from_millis(10));
        assert_eq!(cut(&end, &[]), (0, false));
        assert_eq!(
            cut(&end, &[(1, Some(9)), (2, None), (3, Some(9))]),
            (3, false)
        );
        assert_eq!(
            cut(&end, &[(1, Some(9)), (2, Some(10)), (3, Some(9))]),
            (1, true)
        );
        assert_eq!(cut(&end, &[(1, Some(11))]), (0, true));
        let second = Timestamp::from_millis(1_000);
        assert!(!end.is_reached_at_tip(second));
        assert!(end.is_reached_at_tip(second.plus(PAST_AFTER)));
    }

    #[test]
    fn a_number_is_included() {
        let end = ShardEnd::With(10.into());
        assert_eq!(cut(&end, &[(8, None), (9, None)]), (2, false));
        assert_eq!(cut(&end, &[(9, None), (10, None)]), (2, true));
        assert_eq!(cut(&end, &[(9, None), (10, None), (11, None)]), (2, true));
        assert_eq!(cut(&end, &[(9, None), (11, None)]), (1, true));
        assert_eq!(cut(&end, &[(11, None)]), (0, true));
    }
}
