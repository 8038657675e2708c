use std::{mem, time::Duration};

use tokio::time::Instant;

use crate::headway::LONG;

/// Whether something that is tried again and again is had in time.
///
/// Pure: it is told what becomes of each try, and the time. It says that it has been denied for long, once, and
/// that this is over, once.
#[derive(Debug, Default)]
pub(crate) struct Denial {
    /// Since when it is denied.
    since: Option<Instant>,
    /// How often it was.
    times: u32,
    is_told: bool,
}

impl Denial {
    /// It was denied. Returns how often in a row.
    pub(crate) fn denied(&mut self, now: Instant) -> u32 {
        self.since.get_or_insert(now);
        self.times = self.times.saturating_add(1);
        self.times
    }

    /// How often in a row it was denied.
    pub(crate) fn times(&self) -> u32 {
        self.times
    }

    /// For how long it has been denied, if that is too long by now, and news.
    pub(crate) fn check(&mut self, now: Instant) -> Option<Duration> {
        let denied = now.saturating_duration_since(self.since?);
        let is_news = denied >= LONG && !mem::replace(&mut self.is_told, denied >= LONG);
        is_news.then_some(denied)
    }

    /// For how long it has been denied, if that was told.
    pub(crate) fn told(&self, now: Instant) -> Option<Duration> {
        let since = self.since.filter(|_| self.is_told)?;
        Some(now.saturating_duration_since(since))
    }

    /// It was had. Returns for how long it had been denied, if that was told.
    pub(crate) fn granted(&mut self, now: Instant) -> Option<Duration> {
        let Self { since, is_told, .. } = mem::take(self);
        let denied = now.saturating_duration_since(since?);
        is_told.then_some(denied)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Denied,
        Granted,
        Check,
    }

    proptest! {
        /// Whatever comes: what is denied for long is said at the first look after that, once, and so is its end.
        #[test]
        fn a_long_denial_is_said_once_and_so_is_its_end(
            steps in prop::collection::vec(
                (prop_oneof![Just(Step::Denied), Just(Step::Granted), Just(Step::Check)], 0..200u64),
                0..100,
            ),
        ) {
            let (mut denial, mut now) = (Denial::default(), Instant::now());
            let (mut since, mut times, mut was_said) = (None, 0, false);
            for (step, pause) in steps {
                now += Duration::from_secs(pause);
                match step {
                    Step::Denied => {
                        since.get_or_insert(now);
                        times += 1;
                        prop_assert_eq!(denial.denied(now), times);
                    }
                    Step::Granted => {
                        let expected = since.filter(|_| was_said).map(|since| now - since);
                        prop_assert_eq!(denial.granted(now), expected);
                        (since, times, was_said) = (None, 0, false);
                    }
                    Step::Check => {
                        let denied = since.map(|since| now - since).filter(|it| *it >= LONG);
                        prop_assert_eq!(denial.check(now), denied.filter(|_| !was_said));
                        was_said |= denied.is_some();
                    }
                }
                prop_assert_eq!(denial.times(), times);
                let told = since.map(|since| now - since).filter(|_| was_said);
                prop_assert_eq!(denial.told(now), told);
            }
        }
    }
}
