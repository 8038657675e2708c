use std::time::Duration;

use crate::{Position, Record, SequenceNumber, Timestamp};

/// Whether the last record that is done is still kept, and so all that comes after it.
///
/// The service may refuse a number that it does not keep any more, or begin silently at the oldest
/// record that it does keep. So reading goes on *at* that record: if it comes, nothing after it is
/// missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// The last record that is done, or done in part.
    pub(crate) from: SequenceNumber,
    /// When there was nothing after it, if that is known.
    pub(crate) none_until: Option<Timestamp>,
    /// Whether its number was refused, so that reading goes on at the horizon.
    pub(crate) is_refused: bool,
}

/// What the first records say about a [`Doubt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There are none.
    Nothing,
    /// It is there. It arrived at that moment, if that is known.
    It(Option<Timestamp>),
    /// It is not: this one is the next.
    Beyond(SequenceNumber),
    /// Records before it are there, and it is not among them: it may be yet to come, or was never
    /// one of the shard's.
    Before,
}

impl Doubt {
    pub(crate) fn about(from: SequenceNumber, none_until: Option<Timestamp>) -> Self {
        Self {
            from,
            none_until,
            is_refused: false,
        }
    }

    /// Whether nothing is missing even if it is not kept: there was nothing after it, less than the
    /// retention time ago. `now` is asked for if it matters.
    pub(crate) fn is_harmless(&self, retention: Duration, now: impl FnOnce() -> Timestamp) -> bool {
        let is_kept = |none_until| now().since(none_until) < retention;
        self.none_until.is_some_and(is_kept)
    }

    /// Where to read in order to settle it.
    pub(crate) fn position(&self) -> Position {
        if self.is_refused {
            Position::TrimHorizon
        } else {
            Position::AtSequenceNumber(self.from.clone())
        }
    }

    /// What `records`, in order, say about it.
    pub(crate) fn look(&self, records: &[Record]) -> Found {
        let Some(first) = records.first() else {
            return Found::Nothing;
        };
        let number = |record: &Record| record.sequence_number.clone();
        match records.binary_search_by(|it| it.sequence_number.cmp(&self.from)) {
            Ok(index) => Found::It(
                records
                    .get(index)
                    .and_then(|record| record.approximate_arrival),
            ),
            Err(0) => Found::Beyond(number(first)),
            Err(_) => Found::Before,
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn look(numbers: &[u128]) -> Found {
        let record = |&number: &u128| Record::new("s".into(), number.into(), "");
        let records: Vec<Record> = numbers.iter().map(record).collect();
        Doubt::about(7.into(), None).look(&records)
    }

    #[test]
    fn it_is_there_or_something_else_is() {
        assert_eq!(look(&[]), Found::Nothing);
        assert_eq!(look(&[7, 8]), Found::It(None));
        assert_eq!(look(&[5, 7]), Found::It(None));
        assert_eq!(look(&[8, 9]), Found::Beyond(8.into()));
        assert_eq!(look(&[5, 6]), Found::Before);
        assert_eq!(look(&[5, 8]), Found::Before);
    }

    #[test]
    fn it_is_looked_for_where_it_should_be_and_then_at_the_horizon() {
        let mut doubt = Doubt::about(7.into(), None);
        assert_eq!(doubt.position(), Position::AtSequenceNumber(7.into()));
        doubt.is_refused = true;
        assert_eq!(doubt.position(), Position::TrimHorizon);
    }

    #[test]
    fn it_is_harmless_while_all_that_may_have_come_after_it_is_kept() {
        let day = Duration::from_secs(24 * 3_600);
        let moment = Timestamp::from_millis(1_000);
        let is_harmless = |none_until, later| {
            let now = || moment.plus(later);
            Doubt::about(7.into(), none_until).is_harmless(day, now)
        };
        assert!(!is_harmless(None, Duration::ZERO));
        assert!(is_harmless(Some(moment), day - Duration::from_millis(1)));
        assert!(!is_harmless(Some(moment), day));
    }
}
