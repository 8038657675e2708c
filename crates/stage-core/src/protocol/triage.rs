use std::time::Duration;

use super::Backoff;

/// What to do about events that somebody failed on: give them to it again, halve them to find the
/// bad ones, or give them up.
///
/// ```
/// use stage_core::protocol::{Backoff, Case, Triage, Verdict};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let mut triage = Triage::new(1, Backoff::new(second, second)).bisecting();
/// let mut case = Case::new();
/// assert_eq!(triage.failed(&mut case, 4), Verdict::Retry { after: second });
/// assert_eq!(triage.failed(&mut case, 4), Verdict::Split { first: 2 });
/// let mut half = case.half();
/// assert_eq!(triage.failed(&mut half, 2), Verdict::Split { first: 1 });
/// let mut single = half.half();
/// assert_eq!(triage.failed(&mut single, 1), Verdict::Retry { after: second });
/// assert_eq!(triage.failed(&mut single, 1), Verdict::GiveUp { attempts: 5 });
/// ```
#[derive(Clone, Debug)]
pub struct Triage {
    retries: u32,
    backoff: Backoff,
    bisects: bool,
}

/// Events that are tried together: how often they have been.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// How often in all, also as part of more.
    attempts: u32,
    /// How often again, as they are.
    retried: u32,
    /// Whether they were split off from others.
    is_part: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try the same events again.
    Retry {
        /// So long from now.
        after: Duration,
    },
    /// Try the first so many on their own, and when that is over the others. Each part is a
    /// [half](Case::half) of the case.
    Split {
        /// At least one, and not all.
        first: usize,
    },
    /// There is nothing left to try.
    GiveUp {
        /// How often they were tried, in all.
        attempts: u32,
    },
}

impl Triage {
    /// Retries so often, and then gives up.
    pub const fn new(retries: u32, backoff: Backoff) -> Self {
        Self {
            retries,
            backoff,
            bisects: false,
        }
    }

    /// The same, but events are only given up on one by one: what fails is halved first. Parts are
    /// tried once. An event that stands alone is retried like any, since what it is in company with
    /// may have been to blame before.
    #[must_use]
    pub const fn bisecting(self) -> Self {
        Self {
            bisects: true,
            ..self
        }
    }

    /// The same, with other waits.
    #[must_use]
    pub fn waiting(self, first: Duration, longest: Duration) -> Self {
        Self {
            backoff: self.backoff.between(first, longest),
            ..self
        }
    }

    /// The same, with [jitter](Backoff::jittered).
    #[must_use]
    pub fn jittered(self, seed: u64) -> Self {
        Self {
            backoff: self.backoff.jittered(seed),
            ..self
        }
    }

    /// Takes note of a failure: `events` of the case are not done. At least one.
    pub fn failed(&mut self, case: &mut Case, events: usize) -> Verdict {
        case.attempts = case.attempts.saturating_add(1);
        let is_tried_once = case.is_part && events > 1;
        if case.retried < self.retries && !is_tried_once {
            let after = self.backoff.wait(case.retried);
            case.retried += 1;
            return Verdict::Retry { after };
        }
        if self.bisects && events > 1 {
            let first = events.div_ceil(2);
            return Verdict::Split { first };
        }
        let attempts = case.attempts;
        Verdict::GiveUp { attempts }
    }
}

impl Case {
    /// Events that have not been tried.
    pub const fn new() -> Self {
        Self {
            attempts: 0,
            retried: 0,
            is_part: false,
        }
    }

    /// A part of these events, to be tried on its own.
    #[must_use]
    pub const fn half(&self) -> Self {
        Self {
            attempts: self.attempts,
            retried: 0,
            is_part: true,
        }
    }

    /// How often the events have been tried.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}
