use crate::{Record, SequenceNumber};

/// The numbers of records in a row, in as little memory as they need: each record that was handed out leaves one here
/// until all before it are done.
///
/// Those of a shard have their highest part in common, which says when the shard was made. While that is so, only the rest
/// of each is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SequenceNumbers {
    /// Numbers whose highest part is the same.
    Alike {
        high: u64,
        low: Vec<u128>,
    },
    Any(Vec<SequenceNumber>),
}

impl SequenceNumbers {
    /// Those of these records, and whether each is higher than the one before. Each record is shown to `look`: an answer
    /// may have ten thousand, which is more than a processor keeps at hand, so that they are gone through once.
    pub(crate) fn of(records: &[Record], mut look: impl FnMut(&Record)) -> (Self, bool) {
        let parts = |record: &Record| record.sequence_number.to_parts();
        let Some((first, others)) = records.split_first() else {
            return (Self::default(), true);
        };
        look(first);
        let (high, mut before) = parts(first).unwrap_or_default();
        let (mut is_alike, mut is_rising) = (parts(first).is_some(), true);
        let mut low = Vec::with_capacity(records.len());
        low.push(before);
        low.extend(others.iter().map(|record| {
            look(record);
            let number = parts(record).filter(|number| number.0 == high);
            is_alike &= number.is_some();
            let (_, low) = number.unwrap_or_default();
            is_rising &= before < low;
            before = low;
            low
        }));
        match is_alike {
            true => (Self::Alike { high, low }, is_rising),
            false => Self::of_unlike(records),
        }
    }

    #[cold]
    fn of_unlike(records: &[Record]) -> (Self, bool) {
        let numbers = records.iter().map(|record| &record.sequence_number);
        let is_rising = numbers.clone().is_sorted_by(|one, next| one < next);
        (Self::Any(numbers.cloned().collect()), is_rising)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Alike { low, .. } => low.len(),
            Self::Any(all) => all.len(),
        }
    }

    /// The one at that place.
    pub(crate) fn get(&self, place: usize) -> Option<SequenceNumber> {
        match self {
            Self::Alike { high, low } => {
                let low = low.get(place)?;
                Some(SequenceNumber::from_parts(*high, *low))
            }
            Self::Any(all) => all.get(place).cloned(),
        }
    }

    /// Up to `count` of them, without the first `skipped`.
    pub(crate) fn part(&self, skipped: usize, count: usize) -> Self {
        let end = self.len().min(skipped.saturating_add(count));
        let part = skipped.min(end)..end;
        match self {
            Self::Alike { high, low } => Self::Alike {
                high: *high,
                low: low[part].to_vec(),
            },
            Self::Any(all) => Self::Any(all[part].to_vec()),
        }
    }
}

impl Default for SequenceNumbers {
    fn default() -> Self {
        Self::Any(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Mostly of one shard, but others too, and some as long as numbers may be.
    fn number() -> impl Strategy<Value = SequenceNumber> {
        prop_oneof![
            8 => any::<u128>().prop_map(|low| SequenceNumber::from_parts(7, low)),
            1 => (0..u64::MAX, any::<u128>())
                .prop_map(|(high, low)| SequenceNumber::from_parts(high, low)),
            1 => "[1-9][0-9]{60,128}".prop_map(|digits| digits.parse().unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn they_are_what_was_put_in(
            all in prop_oneof![
                prop::collection::vec(number(), 0..20),
                prop::collection::btree_set(number(), 0..20).prop_map(Vec::from_iter),
            ],
            skipped in 0_usize..25,
            count in 0_usize..25,
        ) {
            let record = |number: &SequenceNumber| Record::new("shard".into(), number.clone(), "");
            let records = Vec::from_iter(all.iter().map(record));
            let mut seen = Vec::new();
            let (numbers, is_rising) =
                SequenceNumbers::of(&records, |record| seen.push(record.sequence_number.clone()));
            prop_assert_eq!(&seen, &all);
            prop_assert_eq!(is_rising, all.is_sorted_by(|one, next| one < next));
            let read = |numbers: &SequenceNumbers| {
                Vec::from_iter((0..numbers.len()).map(|place| numbers.get(place).unwrap()))
            };
            prop_assert_eq!(&read(&numbers), &all);
            prop_assert_eq!(numbers.get(all.len()), None);
            let part = all.iter().skip(skipped).take(count).cloned();
            prop_assert_eq!(read(&numbers.part(skipped, count)), Vec::from_iter(part));
        }
    }
}
