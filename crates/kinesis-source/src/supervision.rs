use std::time::Duration;

use tokio::time::Instant;

use crate::{Waiting, WaitingFor};

/// Holds somebody to a contract: whoever waits says for what, and until when at the latest there will
/// be a change.
///
/// Pure: it is told what is waited for, and the time. It says when a deadline has passed, once, and
/// when that is over, once.
#[derive(Debug)]
pub(crate) struct Supervision {
    waiting_for: WaitingFor,
    since: Instant,
    due: Option<Instant>,
    is_stuck: bool,
}

/// How late a change may be: a busy machine is not stuck.
pub(crate) const GRACE: Duration = Duration::from_secs(15);

impl Supervision {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            waiting_for: WaitingFor::Nothing,
            since: now,
            due: None,
            is_stuck: false,
        }
    }

    /// From now on it waits for that, at most for so long if that is known. Returns what it was stuck
    /// with until now.
    pub(crate) fn enter(
        &mut self,
        waiting_for: WaitingFor,
        within: Option<Duration>,
        now: Instant,
    ) -> Option<Waiting> {
        let before = self.is_stuck.then(|| self.look(now));
        *self = Self {
            waiting_for,
            since: now,
            // A moment that is too far away is none.
            due: within.and_then(|within| now.checked_add(within)?.checked_add(GRACE)),
            is_stuck: false,
        };
        before
    }

    /// Whether its deadline has passed. Says so once.
    pub(crate) fn check(&mut self, now: Instant) -> Option<Waiting> {
        let is_late = self.due.is_some_and(|due| now > due);
        if !is_late || self.is_stuck {
            return None;
        }
        self.is_stuck = true;
        Some(self.look(now))
    }

    /// What it waits for.
    pub(crate) fn waiting_for(&self) -> WaitingFor {
        self.waiting_for
    }

    /// The same, and for how long it has.
    pub(crate) fn look(&self, now: Instant) -> Waiting {
        Waiting {
            waiting_for: self.waiting_for,
            since: now.saturating_duration_since(self.since),
            is_stuck: self.is_stuck,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Enter(WaitingFor, Option<u64>),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let waiting_for = prop_oneof![
            Just(WaitingFor::Demand),
            Just(WaitingFor::Turn),
            Just(WaitingFor::Probe),
        ];
        let enter = (waiting_for, prop::option::of(0..100u64));
        let step = prop_oneof![
            enter.prop_map(|(what, within)| Step::Enter(what, within)),
            (0..60u64).prop_map(Step::Pass),
        ];
        prop::collection::vec(step, 0..100)
    }

    proptest! {
        /// Whatever is waited for, and whenever somebody looks: a deadline that has passed is said at the
        /// first look after it and never before, never twice, and its end is said once.
        #[test]
        fn a_deadline_that_passes_is_said_once_and_so_is_its_end(steps in steps()) {
            let start = Instant::now();
            let mut supervision = Supervision::new(start);
            let mut now = start;
            // The state as it should be: what, since when, until when, whether that was said.
            let mut state = (WaitingFor::Nothing, now, None, false);
            for step in steps {
                match step {
                    Step::Enter(what, within) => {
                        let within = within.map(Duration::from_secs);
                        let over = supervision.enter(what, within, now);
                        let (waiting_for, began, _, was_said) = state;
                        prop_assert_eq!(over, was_said.then_some(Waiting {
                            waiting_for,
                            since: now - began,
                            is_stuck: true,
                        }));
                        state = (what, now, within.map(|within| now + within + GRACE), false);
                    }
                    Step::Pass(seconds) => {
                        now += Duration::from_secs(seconds);
                        let (waiting_for, began, due, was_said) = state;
                        let is_due = due.is_some_and(|due| now > due) && !was_said;
                        prop_assert_eq!(supervision.check(now), is_due.then_some(Waiting {
                            waiting_for,
                            since: now - began,
                            is_stuck: true,
                        }));
                        state.3 |= is_due;
                    }
                }
                prop_assert_eq!(supervision.look(now).waiting_for, state.0);
                prop_assert_eq!(supervision.waiting_for(), state.0);
            }
        }
    }
}
