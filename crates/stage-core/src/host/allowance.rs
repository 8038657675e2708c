use std::time::Duration;

use tokio::time::Instant;

use super::LONG_ENOUGH;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// How many events may be made or taken in in a task until others of the runtime have their turn, where there is no other
/// thread: fewer, if they take long.
///
/// One time in so many that the task is polled, that is measured, by tokio's clock: while that is paused, nothing takes
/// long, and each run is like the other.
#[derive(Debug)]
pub(crate) struct Allowance {
    events: AtomicUsize,
    polls: AtomicU32,
}

/// An eighth of what a stage may do by itself, which is 128 portions of 500.
const MOST: usize = 8_000;
const LEAST: usize = 1_000;
const ONE_OF: u32 = 16;

impl Allowance {
    pub(crate) fn new() -> Self {
        Self {
            events: AtomicUsize::new(MOST),
            polls: AtomicU32::new(0),
        }
    }

    pub(super) fn events(&self) -> usize {
        self.events.load(Relaxed)
    }

    /// The task is polled. When, if it is to be measured.
    pub(super) fn begin(&self) -> Option<Instant> {
        let polls = self.polls.load(Relaxed);
        self.polls.store(polls.wrapping_add(1), Relaxed);
        (cfg!(not(shuttle)) && polls.is_multiple_of(ONE_OF)).then(Instant::now)
    }

    /// What was measured took so long, for so many events.
    pub(super) fn end(&self, took: Duration, events: usize) {
        let enough = (events as f64 * LONG_ENOUGH.as_secs_f64() / took.as_secs_f64()) as usize;
        self.events.store(enough.clamp(LEAST, MOST), Relaxed);
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn of_events_that_take_long_there_are_fewer() {
        let allowance = Allowance::new();
        let micros = Duration::from_micros;
        for (took, events, enough) in [
            (micros(50), 8_000, 8_000),
            (micros(200), 8_000, 4_000),
            (micros(8_000), 8_000, 1_000),
            (micros(2), 100, 5_000),
            (Duration::ZERO, 8_000, 8_000),
            (Duration::ZERO, 0, 1_000),
            (micros(5_000), 0, 1_000),
        ] {
            allowance.end(took, events);
            assert_eq!(allowance.events(), enough, "{events} took {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_poll_in_sixteen_is_measured_by_a_clock_that_may_be_paused() {
        let allowance = Allowance::new();
        let measured: Vec<_> = (0..33).map(|_| allowance.begin().is_some()).collect();
        let at = |(at, is_measured): (usize, bool)| is_measured.then_some(at);
        let measured = measured.into_iter().enumerate().filter_map(at);
        assert_eq!(Vec::from_iter(measured), [0, 16, 32]);
    }
}
