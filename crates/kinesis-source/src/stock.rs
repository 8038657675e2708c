use std::{mem, vec};

use crate::{
    Record,
    arrival::{PART, Survey, bytes},
    footprint::taken,
    sequence_numbers::SequenceNumbers,
};

/// What was read of a shard and has yet to be handed out.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    records: vec::IntoIter<Record>,
    /// Of all that were read.
    numbers: SequenceNumbers,
    /// What the records of each whole part count.
    bytes_of_parts: Vec<u64>,
    handed_out: usize,
}

/// Records to be handed out together, and their numbers.
#[derive(Debug)]
pub(crate) struct Portion {
    pub(crate) records: Vec<Record>,
    pub(crate) numbers: SequenceNumbers,
    /// What those of each whole part count, as far as that is known.
    bytes_of_parts: Vec<u64>,
}

impl Portion {
    /// How many records each part has, in order, and what they take of the budget.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (usize, u64)> {
        let parts = self.records.chunks(PART).enumerate();
        parts.map(|(at, part)| {
            let known = self.bytes_of_parts.get(at).copied();
            let known = known.filter(|_| part.len() == PART);
            let bytes = known.unwrap_or_else(|| bytes(part));
            (part.len(), taken(part.len() as u64, bytes))
        })
    }
}

impl Stock {
    /// What has come. Some of those that were surveyed may have been left out at the end.
    pub(crate) fn of(records: Vec<Record>, survey: Survey) -> Self {
        debug_assert!(records.len() <= survey.numbers.len(), "each has its number");
        Self {
            records: records.into_iter(),
            numbers: survey.numbers,
            bytes_of_parts: survey.bytes_of_parts,
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
            let Self {
                records,
                numbers,
                bytes_of_parts,
                handed_out,
            } = mem::take(self);
            let is_all = handed_out == 0 && left == numbers.len();
            return Some(Portion {
                // The same storage, with what is left moved to its front.
                records: records.collect(),
                numbers: match is_all {
                    true => numbers,
                    false => numbers.part(handed_out, left),
                },
                bytes_of_parts: match handed_out {
                    0 => bytes_of_parts,
                    _ => Vec::new(),
                },
            });
        }
        // So many are in the processor's cache still when they are taken in.
        let count = demand.min(PART);
        let numbers = self.numbers.part(self.handed_out, count);
        self.handed_out += count;
        let records = self.records.by_ref().take(count).collect();
        Some(Portion {
            records,
            numbers,
            bytes_of_parts: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShardId;

    /// Of different sizes.
    fn stock(records: u64) -> Stock {
        let shard = ShardId::from("shardId-000000000000");
        let record = |it: u64| {
            let data = vec![0; it as usize % 100];
            Record::new(shard.clone(), u128::from(it).into(), data)
        };
        let records = Vec::from_iter((0..records).map(record));
        let survey = Survey::of(&records, &shard);
        Stock::of(records, survey)
    }

    fn check_parts(portion: &Portion) {
        let parts = Vec::from_iter(portion.parts());
        let chunks = portion.records.chunks(PART);
        let expected = chunks.map(|part| (part.len(), taken(part.len() as u64, bytes(part))));
        assert_eq!(parts, Vec::from_iter(expected));
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
        check_parts(&portion);
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
                check_parts(&portion);
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
        let mut stock = stock(1_100);
        stock.records = stock.records.take(700).collect::<Vec<_>>().into_iter();
        let portion = stock.take(2_000).unwrap();
        assert_eq!(portion.numbers.len(), 700);
        check_parts(&portion);
    }
}
