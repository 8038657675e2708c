use std::{mem, vec};

use crate::{Record, sequence_numbers::SequenceNumbers};

/// What was read of a shard and has yet to be handed out.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    records: vec::IntoIter<Record>,
    /// Of all that were read.
    numbers: SequenceNumbers,
    handed_out: usize,
}

/// Records to be handed out together, and their numbers.
#[derive(Debug)]
pub(crate) struct Portion {
    pub(crate) records: Vec<Record>,
    pub(crate) numbers: SequenceNumbers,
}

/// The most records that are moved to be handed out together: so many are in the processor's cache still when
/// they are taken in.
const AT_ONCE: usize = 512;

impl Stock {
    pub(crate) fn of(records: Vec<Record>, numbers: SequenceNumbers) -> Self {
        debug_assert!(records.len() <= numbers.len(), "each has its number");
        Self {
            records: records.into_iter(),
            numbers,
            handed_out: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.len() == 0
    }

    /// Takes up to `demand` records off. All that were read are handed on as they are: nothing is moved.
    pub(crate) fn take(&mut self, demand: usize) -> Option<Portion> {
        let left = self.records.len();
        if left == 0 {
            return None;
        }
        if left <= demand {
            let numbers = match self.handed_out {
                0 if left == self.numbers.len() => mem::take(&mut self.numbers),
                handed_out => mem::take(&mut self.numbers).part(handed_out, left),
            };
            // The same storage, with what is left moved to its front.
            let records = mem::take(&mut self.records).collect();
            return Some(Portion { records, numbers });
        }
        let count = demand.min(AT_ONCE);
        let numbers = self.numbers.part(self.handed_out, count);
        self.handed_out += count;
        let records = self.records.by_ref().take(count).collect();
        Some(Portion { records, numbers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(records: u64) -> Stock {
        let number = |number| u128::from(number).into();
        let record = |it: u64| Record::new("shardId-000000000000".into(), number(it), "");
        let records = Vec::from_iter((0..records).map(record));
        let (numbers, _) = SequenceNumbers::of(&records, |_| {});
        Stock::of(records, numbers)
    }

    #[test]
    fn all_that_were_read_are_handed_on_where_they_are() {
        let mut stock = stock(10_000);
        let first: *const Record = stock.records.as_slice().as_ptr();
        let portion = stock.take(10_000).unwrap();
        assert_eq!(portion.records.as_ptr(), first);
        assert_eq!(
            (portion.records.len(), portion.numbers.len()),
            (10_000, 10_000)
        );
        assert!(stock.is_empty() && stock.take(1).is_none());
    }

    #[test]
    fn each_is_handed_out_once_with_its_number() {
        for (records, demands) in [(10, [3, 4, 9, 1]), (2_000, [1_999, 1, 400, 5_000])] {
            let mut stock = stock(records);
            let mut next = 0;
            for demand in demands.into_iter().cycle() {
                let Some(portion) = stock.take(demand) else {
                    break;
                };
                assert!(portion.records.len() <= demand);
                assert_eq!(portion.records.len(), portion.numbers.len());
                for (place, record) in portion.records.iter().enumerate() {
                    assert_eq!(record.sequence_number, u128::from(next).into());
                    assert_eq!(
                        portion.numbers.get(place).as_ref(),
                        Some(&record.sequence_number)
                    );
                    next += 1;
                }
            }
            assert_eq!(next, records);
        }
    }

    #[test]
    fn those_that_were_left_out_at_the_end_have_no_part_in_it() {
        let Stock {
            records, numbers, ..
        } = stock(10);
        let mut stock = Stock::of(records.take(7).collect(), numbers);
        assert_eq!(stock.take(100).unwrap().numbers.len(), 7);
    }
}
