use crate::footprint::taken;

/// How many records to ask for: what is wanted, but no more bytes than may come at once, in memory.
///
/// The service counts records, and cuts an answer at 10 MiB. How large the next ones are is not known:
/// they are taken to be as large as the last ones on average.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadSize {
    most_bytes: u64,
    /// Of a record, in bytes.
    mean: u64,
    /// Of an answer, in bytes, once there was one.
    answer: Option<u64>,
    /// In an answer, once there was one.
    records: Option<u64>,
}

/// The most that an answer has.
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>)
pub(crate) const MOST_BYTES: u64 = 10 * 1024 * 1024;

/// What a record is taken for before there was any: as much as most streams allow.
const FIRST_MEAN: u64 = 1024 * 1024;

/// The most records that one read may ask for. (Same page.)
pub(crate) const MOST_RECORDS: usize = 10_000;

impl ReadSize {
    pub(crate) fn new(most_bytes: u64) -> Self {
        Self {
            most_bytes,
            mean: FIRST_MEAN,
            answer: None,
            records: None,
        }
    }

    /// How many bytes an answer will have, as far as the last ones tell, if so many records are asked
    /// for.
    pub(crate) fn expected(&self, limit: usize) -> u64 {
        let all = self.mean.saturating_mul(limit as u64);
        all.min(self.answer.unwrap_or(MOST_BYTES)).min(MOST_BYTES)
    }

    /// How much of the budget it will take: the same, with what the records take besides.
    pub(crate) fn room(&self, limit: usize) -> u64 {
        let limit = limit as u64;
        let records = self.records.map_or(limit, |records| records.min(limit));
        taken(records, self.expected(limit as usize))
    }

    /// How many records to ask for if so many are wanted; at least one.
    pub(crate) fn limit(&self, wanted: usize) -> usize {
        let wanted = wanted.clamp(1, MOST_RECORDS);
        if self.most_bytes >= MOST_BYTES {
            return wanted;
        }
        let affordable = usize::try_from(self.most_bytes / taken(1, self.mean));
        wanted.min(affordable.unwrap_or(MOST_RECORDS).max(1))
    }

    /// Takes note that so many records have come, and how large they were together.
    pub(crate) fn note(&mut self, records: usize, bytes: u64) {
        let records = records as u64;
        self.answer = Some(follow(self.answer.unwrap_or(bytes), bytes));
        self.records = Some(follow(self.records.unwrap_or(records), records));
        if records > 0 {
            self.mean = follow(self.mean, bytes.div_ceil(records)).max(1);
        }
    }
}

/// Larger ones count at once, smaller ones once there were some.
fn follow(before: u64, now: u64) -> u64 {
    now.max((before + now) / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_limit_all_that_is_wanted_is_asked_for() {
        let size = ReadSize::new(MOST_BYTES);
        assert_eq!(size.limit(1), 1);
        assert_eq!(size.limit(700), 700);
        assert_eq!(size.limit(70_000), MOST_RECORDS);
    }

    #[test]
    fn it_follows_the_size_of_records() {
        let mut size = ReadSize::new(taken(4, 2 * 1024 * 1024));
        assert_eq!(size.limit(10_000), 2);
        for _ in 0..20 {
            size.note(2, 2 * 1_024);
        }
        let most = (taken(4, 2 * 1024 * 1024) / taken(1, 1_024)) as usize;
        assert!((most - 40..=most).contains(&size.limit(10_000)));
        assert_eq!(size.limit(100), 100);
        size.note(3, 3 * 512 * 1024);
        assert_eq!(size.limit(10_000), 4, "larger ones count at once");
        size.note(1, 8 * 1024 * 1024);
        assert_eq!(size.limit(10_000), 1, "one passes alone");
    }

    #[test]
    fn an_answer_is_expected_to_be_as_the_last_ones() {
        let mut size = ReadSize::new(MOST_BYTES);
        assert_eq!(size.expected(1), FIRST_MEAN);
        assert_eq!(
            size.expected(1_000),
            MOST_BYTES,
            "the worst, as long as nothing is known"
        );
        size.note(10, 10_000);
        assert_eq!(size.expected(1_000), 10_000);
        for _ in 0..20 {
            size.note(0, 0);
        }
        assert_eq!(size.expected(1_000), 0, "of a shard to which nothing comes");
        size.note(1_000, 1_000_000);
        assert_eq!(
            size.expected(1_000),
            1_000_000,
            "a larger one counts at once"
        );
    }

    proptest! {
        #[test]
        fn steady_records_stay_within_the_limit(most in 1..MOST_BYTES, each in 0..100_000usize, wanted in 1..20_000usize) {
            let mut size = ReadSize::new(most);
            for _ in 0..30 {
                size.note(1, each as u64);
            }
            let limit = size.limit(wanted);
            prop_assert!(limit >= 1 && limit <= wanted.min(MOST_RECORDS));
            prop_assert!(limit == 1 || limit as u64 * each as u64 <= most);
        }
    }
}
