use std::time::{Duration, Instant};

/// Chooses which pieces of work are measured: to look at the clock may cost more than to hand a batch
/// over. The more of them were short, the fewer are measured. Of those that are neither short nor long as many
/// are as at first: sixty-four of them would keep others waiting for long.
///
/// It is real time that counts: what matters is how long a thread was in use.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// How many are not measured before the next.
    skipped: u32,
    one_of: u32,
}

/// One of so many is measured at first, and after one that took long.
const ONE_OF: u32 = 16;

/// And of so many where all were short: together they do not take long.
const ONE_OF_MANY: u32 = 64;

/// Work that takes no longer is short.
const SHORT: Duration = Duration::from_micros(1);

/// Work that takes longer is worth a change of tasks.
pub(crate) const LONG: Duration = Duration::from_micros(20);

impl Sampler {
    /// Work begins. When, if it is to be measured.
    #[inline]
    pub(crate) fn start(&mut self) -> Option<Instant> {
        if let Some(skipped) = self.skipped.checked_sub(1) {
            self.skipped = skipped;
            return None;
        }
        self.skipped = self.one_of - 1;
        Some(now())
    }

    /// Whether all that was measured lately was short. Not before it is known.
    #[inline]
    pub(crate) fn all_are_short(&self) -> bool {
        self.one_of == ONE_OF_MANY
    }

    /// Whether work that took this took long.
    pub(crate) fn is_long(&mut self, took: Duration) -> bool {
        self.one_of = match took <= SHORT {
            true => ONE_OF_MANY.min(2 * self.one_of),
            false => ONE_OF,
        };
        self.skipped = self.skipped.min(self.one_of - 1);
        took > LONG
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self {
            skipped: 0,
            one_of: ONE_OF,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a paused clock says nothing of a thread in use"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of so many pieces of work are measured, that each take this.
    fn measured(sampler: &mut Sampler, pieces: u32, took: Duration) -> Vec<u32> {
        let is_measured = |_: &u32| {
            let is_measured = sampler.start().is_some();
            if is_measured {
                assert_eq!(sampler.is_long(took), took > LONG);
            }
            is_measured
        };
        (0..pieces).filter(is_measured).collect()
    }

    #[test]
    fn the_more_were_short_the_fewer_are_measured() {
        let sampler = &mut Sampler::default();
        assert_eq!(measured(sampler, 200, SHORT), [0, 16, 48, 112, 176]);
        for longer in [2 * SHORT, LONG, 2 * LONG] {
            // At once, with the first that is.
            let at_first = measured(sampler, 200, longer);
            assert!(
                at_first.windows(2).all(|two| two[1] - two[0] == 16),
                "{at_first:?}"
            );
            assert_eq!(measured(sampler, 200, SHORT).len(), 5);
        }
    }
}
