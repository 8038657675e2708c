use std::time::Duration;

use crate::model::Moment;

/// What reading may do: an answer is given in full, and then nothing until it is paid for.
///
/// It reproduces both penalties of the documents with one rule: 10 MiB at 2 MiB a second close the
/// shard for 5 s, and 2 MiB for 1 s.
#[derive(Debug, Default)]
pub(crate) struct Debt {
    /// When all that was read is paid for; none was read yet without.
    free_at: Option<Moment>,
}

impl Debt {
    /// A limit that has been lifted forgives what is owed.
    pub(crate) fn is_free(&self, per_second: Option<u64>, burst: Duration, now: Moment) -> bool {
        let free_at = per_second.and(self.free_at);
        let debt = free_at.map(|free_at| free_at.since(now.plus(burst)));
        debt.is_none_or(|debt| debt < NO_DEBT)
    }

    /// When all is paid for; nothing was owed yet without.
    pub(crate) fn free_at(&self) -> Option<Moment> {
        self.free_at
    }

    pub(crate) fn add(&mut self, bytes: u64, per_second: Option<u64>, now: Moment) {
        if let Some(rate) = per_second {
            let from = self.free_at.map_or(now, |free_at| free_at.max(now));
            self.free_at = Some(from.plus(time_for(bytes, rate)));
        }
    }
}

/// What writing may do: an allowance that fills up at its rate.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    /// When it is full again; full if there is none.
    full_at: Option<Moment>,
}

impl Allowance {
    /// Whether so much can be taken, of a second's worth. Something larger passes alone.
    pub(crate) fn has(&self, amount: u64, per_second: Option<u64>, now: Moment) -> bool {
        self.holds(amount, per_second.unwrap_or(0), per_second, now)
    }

    /// Whether so much can be taken, of `capacity` in all. Something larger passes alone.
    pub(crate) fn holds(
        &self,
        amount: u64,
        capacity: u64,
        per_second: Option<u64>,
        now: Moment,
    ) -> bool {
        let Some((rate, full_at)) = per_second.zip(self.full_at) else {
            return true;
        };
        let missing = full_at.since(now);
        missing.is_zero()
            || missing.saturating_add(time_for(amount, rate)) <= time_for(capacity, rate)
    }

    pub(crate) fn take(&mut self, amount: u64, per_second: Option<u64>, now: Moment) {
        if let Some(rate) = per_second {
            let from = self.full_at.map_or(now, |full_at| full_at.max(now));
            self.full_at = Some(from.plus(time_for(amount, rate)));
        }
    }
}

/// Kinesis tells time in milliseconds, and no call takes less: two small answers at one moment of a
/// paused clock are no offence. What is owed is not forgiven but for this.
const NO_DEBT: Duration = Duration::from_millis(1);

/// How long so much takes, rounded up. A rate of zero counts as one.
fn time_for(amount: u64, per_second: u64) -> Duration {
    let nanos = (u128::from(amount) * 1_000_000_000).div_ceil(per_second.max(1).into());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1_024 * 1_024;
    const RATE: Option<u64> = Some(2 * MIB);

    fn at(millis: u64) -> Moment {
        Moment::since_epoch(Duration::from_millis(millis))
    }

    #[test]
    fn ten_mib_close_the_shard_for_five_seconds_and_two_for_one() {
        for (bytes, millis) in [(10 * MIB, 5_000), (2 * MIB, 1_000)] {
            let mut debt = Debt::default();
            debt.add(bytes, RATE, at(0));
            assert!(!debt.is_free(RATE, Duration::ZERO, at(millis - 1)));
            assert!(debt.is_free(RATE, Duration::ZERO, at(millis)));
            assert!(debt.is_free(RATE, Duration::from_secs(1), at(millis - 1_000)));
            assert!(debt.is_free(None, Duration::ZERO, at(0)));
        }
    }

    #[test]
    fn many_small_debts_are_one_large_one() {
        let mut debt = Debt::default();
        for _ in 0..1_024 {
            debt.add(2 * MIB / 1_024, RATE, at(0));
        }
        assert!(!debt.is_free(RATE, Duration::ZERO, at(999)));
        assert!(debt.is_free(RATE, Duration::ZERO, at(1_000)));
    }

    #[test]
    fn an_allowance_is_a_seconds_worth_and_fills_up_at_its_rate() {
        let mut allowance = Allowance::default();
        for _ in 0..1_000 {
            assert!(allowance.has(1, Some(1_000), at(0)));
            allowance.take(1, Some(1_000), at(0));
        }
        assert!(!allowance.has(1, Some(1_000), at(0)));
        assert!(allowance.has(1, Some(1_000), at(1)));
        assert!(!allowance.has(2, Some(1_000), at(1)));
    }

    #[test]
    fn what_is_larger_than_the_allowance_passes_alone() {
        let mut allowance = Allowance::default();
        assert!(allowance.has(10, Some(1), at(0)));
        allowance.take(10, Some(1), at(0));
        assert!(!allowance.has(1, Some(1), at(9_500)));
        assert!(allowance.has(10, Some(1), at(10_000)));
    }
}
