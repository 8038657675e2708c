use std::time::Duration;

use kinesis_source::SequenceNumber;

use super::{Moment, limits::Rate, sequence::Sequence};

/// Which of a stream's records are said to be encrypted, and with what. None is.
#[derive(Debug)]
pub(crate) struct Encryption {
    /// The key's name as it was given.
    key: Option<String>,
    /// The key that is to hold from that moment on.
    next: Option<(Moment, Option<String>)>,
    /// From which record's index on records were or were not.
    history: EncryptedRecords,
    pub(crate) starts: Rate,
    pub(crate) stops: Rate,
}

/// Tells encrypted records by the index in their sequence number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncryptedRecords(Vec<(u64, bool)>);

impl Default for Encryption {
    fn default() -> Self {
        Self {
            key: None,
            next: None,
            history: EncryptedRecords::default(),
            starts: Rate::within(DAY),
            stops: Rate::within(DAY),
        }
    }
}

impl Encryption {
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    pub(crate) fn records(&self) -> &EncryptedRecords {
        &self.history
    }

    /// From `until` on, that key holds.
    pub(crate) fn change(&mut self, key: Option<String>, until: Moment) {
        self.next = Some((until, key));
    }

    /// Completes what is due; the records from index `next_index` on are yet to come.
    pub(crate) fn settle(&mut self, next_index: u64, now: Moment) {
        if let Some((_, key)) = self.next.take_if(|(until, _)| *until <= now) {
            let encrypted = key.is_some();
            if encrypted != self.key.is_some() {
                self.history.0.push((next_index, encrypted));
            }
            self.key = key;
        }
    }
}

impl EncryptedRecords {
    /// Whether the record of that number is one of them.
    pub fn has(&self, number: &SequenceNumber) -> bool {
        // Mostly there are none, and nothing to look for.
        !self.0.is_empty()
            && Sequence::parse(number).is_some_and(|number| self.contains(number.index()))
    }

    /// Whether the record of that index is one of them.
    fn contains(&self, index: u64) -> bool {
        let before = self.0.partition_point(|(from, _)| *from <= index);
        let last = before.checked_sub(1).and_then(|last| self.0.get(last));
        last.is_some_and(|(_, encrypted)| *encrypted)
    }
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_encrypted_from_the_moment_on_at_which_it_holds() {
        let at = |seconds| Moment::since_epoch(Duration::from_secs(seconds));
        let mut encryption = Encryption::default();
        let encrypted = |it: &Encryption| -> Vec<_> {
            (0..6)
                .filter(|index| it.records().contains(*index))
                .collect()
        };
        encryption.change(Some("alias/one".into()), at(10));
        encryption.settle(1, at(9));
        assert_eq!(encryption.key(), None);
        encryption.settle(2, at(10));
        assert_eq!(encryption.key(), Some("alias/one"));
        assert_eq!(encrypted(&encryption), [2, 3, 4, 5]);
        encryption.change(Some("alias/other".into()), at(11));
        encryption.settle(3, at(11));
        assert_eq!(encryption.key(), Some("alias/other"));
        encryption.change(None, at(12));
        encryption.settle(4, at(12));
        assert_eq!(
            (encryption.key(), encrypted(&encryption)),
            (None, vec![2, 3])
        );
    }
}
