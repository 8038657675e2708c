use crate::{Position, Record, SequenceNumber};

/// Whether the last record that is done is still kept, and so all that comes after it.
///
/// The service may refuse a number that it does not keep any more, or begin silently at the oldest
/// record that it does keep. So reading goes on *at* that record: if it comes, nothing after it is
/// missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// The last record that is done, or done in part.
    pub(crate) from: SequenceNumber,
    /// Whether nothing is missing even if it is not kept: there was nothing after it, less than the
    /// retention time ago.
    pub(crate) is_harmless: bool,
    /// Whether its number was refused, so that reading goes on at the horizon.
    pub(crate) is_refused: bool,
}

/// What the first records say about a [`Doubt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There are none.
    Nothing,
    /// It is there.
    It,
    /// It is not: this one is the next.
    Beyond(SequenceNumber),
    /// Records before it are there, and it is not among them: it may be yet to come, or was never
    /// one of the shard's.
    Before,
}

impl Doubt {
    pub(crate) fn about(from: SequenceNumber, is_harmless: bool) -> Self {
        Self {
            from,
            is_harmless,
            is_refused: false,
        }
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
            Ok(_) => Found::It,
            Err(0) => Found::Beyond(number(first)),
            Err(_) => Found::Before,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn look(numbers: &[u128]) -> Found {
        let record = |&number: &u128| Record {
            sequence_number: number.into(),
            partition_key: None,
            data: Bytes::new(),
            approximate_arrival: None,
        };
        let records: Vec<Record> = numbers.iter().map(record).collect();
        Doubt::about(7.into(), false).look(&records)
    }

    #[test]
    fn it_is_there_or_something_else_is() {
        assert_eq!(look(&[]), Found::Nothing);
        assert_eq!(look(&[7, 8]), Found::It);
        assert_eq!(look(&[5, 7]), Found::It);
        assert_eq!(look(&[8, 9]), Found::Beyond(8.into()));
        assert_eq!(look(&[5, 6]), Found::Before);
        assert_eq!(look(&[5, 8]), Found::Before);
    }

    #[test]
    fn it_is_looked_for_where_it_should_be_and_then_at_the_horizon() {
        let mut doubt = Doubt::about(7.into(), false);
        assert_eq!(doubt.position(), Position::AtSequenceNumber(7.into()));
        doubt.is_refused = true;
        assert_eq!(doubt.position(), Position::TrimHorizon);
    }
}
