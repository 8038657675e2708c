use std::{collections::VecDeque, time::Duration};

use crate::model::Moment;

/// Lets so many calls pass in any second, wherever that second begins: five at 0.9 s and five at
/// 1.1 s are five too many. A call that is refused does not count.
#[derive(Debug)]
pub(crate) struct Rate {
    window: Duration,
    /// The calls that passed, no more of them than pass in a window.
    passed: VecDeque<Moment>,
}

impl Default for Rate {
    fn default() -> Self {
        Self::within(Duration::from_secs(1))
    }
}

impl Rate {
    /// The same for another window than a second.
    pub(crate) const fn within(window: Duration) -> Self {
        Self {
            window,
            passed: VecDeque::new(),
        }
    }

    /// Whether another call may pass at `now`.
    pub(crate) fn is_free(&mut self, most: Option<u32>, now: Moment) -> bool {
        while self
            .passed
            .front()
            .is_some_and(|passed| now.since(*passed) >= self.window)
        {
            self.passed.pop_front();
        }
        most.is_none_or(|most| self.passed.len() < most as usize)
    }

    /// A call passed.
    pub(crate) fn count(&mut self, most: Option<u32>, now: Moment) {
        if most.is_some() {
            self.passed.push_back(now);
        }
    }

    /// Lets a call pass, or not.
    pub(crate) fn admit(&mut self, most: Option<u32>, now: Moment) -> bool {
        let free = self.is_free(most, now);
        if free {
            self.count(most, now);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::since_epoch(Duration::from_millis(millis))
    }

    #[test]
    fn no_second_has_more_than_five() {
        let mut rate = Rate::default();
        for millis in [900, 920, 940, 960, 980] {
            assert!(rate.admit(Some(5), at(millis)));
        }
        assert!(!rate.admit(Some(5), at(1_100)), "five in the last second");
        assert!(rate.admit(Some(5), at(1_900)));
        assert!(!rate.admit(Some(5), at(1_919)));
    }

    #[test]
    fn one_in_200_ms_always_passes() {
        let mut rate = Rate::default();
        assert!((0..100).all(|n| rate.admit(Some(5), at(n * 200))));
    }

    #[test]
    fn a_lifted_limit_remembers_nothing() {
        let mut rate = Rate::default();
        assert!((0..100).all(|_| rate.admit(None, at(0))));
        assert!(rate.passed.is_empty());
    }
}
