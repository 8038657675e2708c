use crate::{Checkpoint, PinnedPosition, SequenceNumber};

/// Up to where a shard is read, or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) sequence_number: SequenceNumber,
    /// The last user record, in an aggregated record that has more of them. `None`: the whole record.
    pub(crate) sub_sequence_number: Option<u64>,
}

/// Where reading goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: PinnedPosition,
    /// Of the record at that position, the last user record that is not wanted any more.
    done: Option<u64>,
}

impl Mark {
    pub(crate) fn whole(sequence_number: SequenceNumber) -> Self {
        Self {
            sequence_number,
            sub_sequence_number: None,
        }
    }
}

impl Place {
    /// The last user record of this one that is not wanted any more.
    pub(crate) fn done_within(&self, number: &SequenceNumber) -> Option<u64> {
        match &self.position {
            PinnedPosition::AtSequenceNumber(at) if at == number => self.done,
            _ => None,
        }
    }

    /// Whether a record of this number comes before it.
    pub(crate) fn is_beyond(&self, number: &SequenceNumber) -> bool {
        match &self.position {
            PinnedPosition::AfterSequenceNumber(last) => number <= last,
            PinnedPosition::AtSequenceNumber(at) => self.done.is_some() && number < at,
            PinnedPosition::TrimHorizon | PinnedPosition::AtTimestamp(_) => false,
        }
    }
}

impl From<PinnedPosition> for Place {
    fn from(position: PinnedPosition) -> Self {
        Self {
            position,
            done: None,
        }
    }
}

impl From<Mark> for Place {
    /// In the middle of a record, it is read once more.
    fn from(mark: Mark) -> Self {
        let number = mark.sequence_number;
        match mark.sub_sequence_number {
            None => PinnedPosition::AfterSequenceNumber(number).into(),
            done => Self {
                position: PinnedPosition::AtSequenceNumber(number),
                done,
            },
        }
    }
}

impl From<Mark> for Checkpoint {
    fn from(mark: Mark) -> Self {
        Self::After {
            sequence_number: mark.sequence_number,
            sub_sequence_number: mark.sub_sequence_number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(sub_sequence_number: Option<u64>) -> Place {
        Place::from(Mark {
            sequence_number: 7.into(),
            sub_sequence_number,
        })
    }

    #[test]
    fn a_record_that_is_done_in_part_is_read_again() {
        let place = place(Some(3));
        let at = PinnedPosition::AtSequenceNumber(7.into());
        assert_eq!(place.position, at);
        assert_eq!(place.done_within(&7.into()), Some(3));
        assert_eq!(place.done_within(&8.into()), None);
        assert!(place.is_beyond(&6.into()));
        assert!(!place.is_beyond(&7.into()));
    }

    #[test]
    fn one_that_is_done_is_not() {
        let place = place(None);
        let after = PinnedPosition::AfterSequenceNumber(7.into());
        assert_eq!(place.position, after);
        assert_eq!(place.done_within(&7.into()), None);
        assert!(place.is_beyond(&7.into()));
        assert!(!place.is_beyond(&8.into()));
    }
}
