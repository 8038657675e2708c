use std::{collections::VecDeque, error::Error, sync::Arc, time::Duration};

use super::Backoff;

/// How often something that failed may be made anew, and how long to wait before.
///
/// The wait doubles with each failure that comes soon after a restart, up to a maximum; once it has
/// run [steadily](Self::steady_after), the next wait is a short one again. More restarts than
/// allowed within a span are too many: the failure goes on to whoever is in charge.
///
/// It is told the time, as what has gone by since any moment that stays the same.
///
/// ```
/// use stage_core::Restart;
/// use std::time::Duration;
///
/// let at = Duration::from_secs;
/// let mut restart = Restart::new(2, Duration::from_secs(60));
/// assert_eq!(restart.after(at(0)), Some(Duration::from_millis(100)));
/// assert_eq!(restart.after(at(0)), Some(Duration::from_millis(200)));
/// assert_eq!(restart.after(at(1)), None, "a third within a minute");
/// assert_eq!(restart.after(at(61)), Some(Duration::from_millis(100)), "it had been steady");
/// ```
#[derive(Clone, Debug)]
pub struct Restart {
    most: usize,
    within: Duration,
    /// What counts as steady, unless it is the longest wait.
    steady: Option<Duration>,
    backoff: Backoff,
    /// When there were restarts, within the span.
    recent: VecDeque<Duration>,
    /// How many waits there were in a row.
    streak: u32,
    /// When the last wait ends.
    resumed: Duration,
    final_errors: Arc<[IsFinal]>,
}

/// Whether what is made anew would only meet that error again.
type IsFinal = fn(&(dyn Error + 'static)) -> bool;

impl Restart {
    /// At most `most` restarts within any span of `within`, with waits of
    /// [100 ms to 30 s](Backoff::DEFAULT).
    pub fn new(most: usize, within: Duration) -> Self {
        Self {
            most,
            within,
            steady: None,
            backoff: Backoff::DEFAULT,
            recent: VecDeque::new(),
            streak: 0,
            resumed: Duration::ZERO,
            final_errors: Arc::default(),
        }
    }

    /// The same, with a wait of `first` before the first restart and never more than `longest`.
    #[must_use]
    pub fn waiting(self, first: Duration, longest: Duration) -> Self {
        Self {
            backoff: self.backoff.between(first, longest),
            ..self
        }
    }

    /// The same, with each wait drawn from between its half and its whole. Give each a seed of its
    /// own, or those that failed together come back together.
    #[must_use]
    pub fn jittered(self, seed: u64) -> Self {
        Self {
            backoff: self.backoff.jittered(seed),
            ..self
        }
    }

    /// The same, where so long without a failure makes the next wait a short one again. Unless
    /// said, that is as long as the longest wait.
    #[must_use]
    pub fn steady_after(self, steady: Duration) -> Self {
        Self {
            steady: Some(steady),
            ..self
        }
    }

    /// The same, but without a restart after an error of which `is_final` says that what is made anew
    /// would only meet it again. May be called more than once.
    #[must_use]
    pub fn unless(mut self, is_final: fn(&(dyn Error + 'static)) -> bool) -> Self {
        self.final_errors = self
            .final_errors
            .iter()
            .copied()
            .chain([is_final])
            .collect();
        self
    }

    /// Whether no restart mends this error.
    pub fn is_final(&self, error: &(dyn Error + 'static)) -> bool {
        self.final_errors.iter().any(|is_final| is_final(error))
    }

    /// How long to wait before the restart after a failure at `now`; `None` if there have been too
    /// many.
    pub fn after(&mut self, now: Duration) -> Option<Duration> {
        let within = self.within;
        let forgotten = |then: &Duration| now.saturating_sub(*then) > within;
        while self.recent.front().is_some_and(forgotten) {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.most {
            return None;
        }
        let steady = self.steady.unwrap_or(self.backoff.longest());
        if now.saturating_sub(self.resumed) >= steady {
            self.streak = 0;
        }
        let wait = self.backoff.wait(self.streak);
        self.streak = self.streak.saturating_add(1);
        self.recent.push_back(now);
        self.resumed = now.saturating_add(wait);
        Some(wait)
    }

    /// How many restarts the span held when it was last asked.
    pub fn recent(&self) -> usize {
        self.recent.len()
    }
}
