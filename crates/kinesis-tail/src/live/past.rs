use std::time::Duration;

use kinesis_source::WaitingFor::{Answer, Retry, Turn};

use super::snapshot::Wait;

/// What was seen of one shard before, and so whether it has been in trouble of late. Pure: it is told the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    failures: u64,
    /// When it was seen first that so often something had failed.
    failed_at: Option<Duration>,
    answers: u64,
    throttled: u64,
    /// Since when it is throttled and has no answer.
    throttled_since: Option<Duration>,
    /// When it was last seen that it had none for long.
    unanswered_at: Option<Duration>,
    /// How far reading was behind when that was said last.
    lag: Lag,
}

/// How far reading is behind, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    pub(super) behind: Option<Duration>,
    /// Until records are lost.
    pub(super) headroom: Option<Duration>,
}

/// What is seen of a shard at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// How often calls of it, or its readers, have failed.
    pub(super) failures: u64,
    /// How many calls were answered.
    pub(super) answers: u64,
    /// How many were throttled.
    pub(super) throttled: u64,
    pub(super) waiting: Wait,
}

/// What has been the matter with a shard of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Calls or readers of it fail, or have failed.
    Failing,
    /// It is throttled, or was, and nothing comes of it. Whoever is throttled now and then is in no trouble: that
    /// is how shards are shared.
    Unanswered {
        /// For how long it has been so without an answer, if there is none by now.
        throttled_for: Option<Duration>,
    },
}

/// For so long trouble counts. One that is tried again and again would come and go otherwise.
const OF_LATE: Duration = Duration::from_secs(10);

/// For how long a shard may be throttled each time.
const PATIENCE: Duration = Duration::from_secs(10);

impl Past {
    /// Takes note of what is seen now.
    pub(super) fn note(&mut self, seen: Seen, now: Duration) -> Option<Trouble> {
        if seen.failures != self.failures {
            self.failed_at = Some(now);
        }
        let is_answered = seen.answers != self.answers;
        let is_throttled = seen.throttled != self.throttled;
        // Else nobody asks for anything.
        let is_asking = matches!(seen.waiting.waiting_for, Retry | Turn | Answer { .. });
        let before = self.throttled_since.filter(|_| !is_answered);
        let since = before.or(is_throttled.then_some(now));
        self.throttled_since = since.filter(|_| is_asking);
        (self.failures, self.answers, self.throttled) =
            (seen.failures, seen.answers, seen.throttled);

        let throttled_for = self.throttled_since.map(|since| now.saturating_sub(since));
        if throttled_for >= Some(PATIENCE) {
            self.unanswered_at = Some(now);
        }
        let is_of_late = |at: Duration| now.saturating_sub(at) < OF_LATE;
        if self.failed_at.is_some_and(is_of_late) || self.is_failing(seen.waiting) {
            return Some(Trouble::Failing);
        }
        let throttled_for = throttled_for.filter(|it| *it >= PATIENCE);
        let is_unanswered = self.unanswered_at.is_some_and(is_of_late);
        is_unanswered.then_some(Trouble::Unanswered { throttled_for })
    }

    /// Takes note of how far it is behind while it is read.
    pub(super) fn note_lag(&mut self, lag: Lag) {
        self.lag = lag;
    }

    /// How far behind it was when it stopped: by its last answer, of which `said` is known, if that came after all
    /// looks at it. To be asked before that answer is noted.
    pub(super) fn last_lag(&mut self, answers: u64, said: Option<Duration>) -> Lag {
        let later = said.filter(|_| answers != self.answers);
        self.lag.behind = later.or(self.lag.behind);
        self.lag
    }

    /// Whether it waits to be tried again, and not because it was throttled. Not all that fails is counted.
    fn is_failing(&self, waiting: Wait) -> bool {
        // A wait that has just begun may be younger than what was counted.
        let is_waiting = waiting.waiting_for == Retry && !waiting.since.is_zero();
        is_waiting && self.throttled_since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use kinesis_source::WaitingFor;
    use proptest::prelude::*;

    use super::*;

    fn seen(failures: u64, answers: u64, throttled: u64, waiting_for: WaitingFor) -> Seen {
        Seen {
            failures,
            answers,
            throttled,
            waiting: Wait {
                waiting_for,
                since: Duration::from_millis(1),
                is_stuck: false,
            },
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn unanswered(throttled_for: impl Into<Option<u64>>) -> Option<Trouble> {
        let throttled_for = throttled_for.into().map(seconds);
        Some(Trouble::Unanswered { throttled_for })
    }

    #[test]
    fn a_shard_that_fails_now_and_then_is_failing_all_the_while() {
        let mut past = Past::default();
        let mut look = |failures, second| {
            let seen = seen(failures, second, 0, WaitingFor::NewRecords);
            past.note(seen, seconds(second)).is_some()
        };
        assert!(!look(0, 0));
        assert!(look(1, 1));
        assert!(look(1, 10));
        assert!(look(2, 11), "it has failed again");
        assert!(look(2, 20));
        assert!(!look(2, 21));
        assert!(!look(2, 1_000));
        assert!(look(3, 1_001));
    }

    #[test]
    fn what_is_not_counted_fails_while_it_waits_for_the_next_try() {
        let mut past = Past::default();
        let retry = seen(0, 7, 0, Retry);
        assert_eq!(past.note(retry, seconds(1)), Some(Trouble::Failing));
        let mut new = retry;
        new.waiting.since = Duration::ZERO;
        assert_eq!(
            past.note(new, seconds(2)),
            None,
            "what it is for may be counted yet"
        );
        assert_eq!(
            past.note(seen(0, 7, 1, Retry), seconds(3)),
            None,
            "it is throttled"
        );
    }

    #[test]
    fn one_that_is_throttled_is_in_trouble_once_nothing_comes_for_long() {
        let mut past = Past::default();
        let mut look = |answers, throttled, waiting_for, second| {
            past.note(seen(0, answers, throttled, waiting_for), seconds(second))
        };
        assert_eq!(look(1, 0, WaitingFor::NewRecords, 0), None);
        assert_eq!(look(1, 1, Retry, 1), None);
        assert_eq!(look(1, 7, Turn, 10), None);
        assert_eq!(look(1, 7, Retry, 11), unanswered(10));
        assert_eq!(look(1, 9, Retry, 60), unanswered(59));
        assert_eq!(
            look(2, 9, Turn, 61),
            unanswered(None),
            "it may be back at once"
        );
        assert_eq!(look(2, 10, Retry, 69), unanswered(None));
        assert_eq!(look(2, 11, Retry, 70), None);
        assert_eq!(look(3, 12, Retry, 75), None);
        assert_eq!(look(3, 13, Retry, 85), unanswered(10));
        // Nobody asks, so nothing could be answered.
        assert_eq!(look(3, 13, WaitingFor::Demand, 200), None);
        assert_eq!(look(3, 14, Retry, 300), None);
    }

    /// Somebody may have looked at it before it stopped, or never.
    #[test]
    fn how_far_behind_it_was_is_known_after_it_stopped() {
        let said = Some(seconds(7));
        let lag = |behind: Option<u64>, headroom: Option<u64>| Lag {
            behind: behind.map(seconds),
            headroom: headroom.map(seconds),
        };
        let mut past = Past::default();
        assert_eq!(past.last_lag(0, None), lag(None, None), "it had no answer");
        assert_eq!(past.last_lag(3, said), lag(Some(7), None));
        past.note(seen(0, 3, 0, Retry), seconds(1));
        past.note_lag(lag(Some(40), Some(3_600)));
        let known = lag(Some(40), Some(3_600));
        assert_eq!(past.last_lag(3, said), known, "that is later");
        assert_eq!(past.last_lag(4, None), known);
        let read_since = lag(Some(7), Some(3_600));
        assert_eq!(past.last_lag(4, said), read_since);
        past.note(seen(0, 4, 0, Retry), seconds(2));
        assert_eq!(past.last_lag(4, said), read_since, "it is asked again");
    }

    fn any_wait() -> impl Strategy<Value = WaitingFor> {
        prop::sample::select(vec![
            Retry,
            Turn,
            WaitingFor::Demand,
            WaitingFor::NewRecords,
        ])
    }

    proptest! {
        /// Whatever is seen: who has answers often enough, or asks for none, is never unanswered; who fails or
        /// is unanswered has been so within the last seconds.
        #[test]
        fn trouble_has_a_reason_and_an_end(
            looks in prop::collection::vec(
                (0..12_u64, 0..2_u64, 0..2_u64, 0..3_u64, any_wait()), 1..60,
            ),
        ) {
            let mut past = Past::default();
            let (mut now, mut failures, mut answers, mut throttled) = (0, 0, 0, 0);
            // When it was seen last that it had an answer or did not ask, and that it had failed.
            let (mut fine_at, mut failed_at, mut unanswered_at) = (0, None, None);
            for (pause, fails, answered, refused, waiting_for) in looks {
                now += pause;
                (failures, answers, throttled) =
                    (failures + fails, answers + answered, throttled + refused);
                if answered > 0 || !matches!(waiting_for, Retry | Turn) {
                    fine_at = now;
                }
                failed_at = if fails > 0 { Some(now) } else { failed_at };
                if now - fine_at >= 10 {
                    unanswered_at = Some(now);
                }
                let is_of_late = |at: Option<u64>| at.is_some_and(|at| now - at < 10);
                match past.note(seen(failures, answers, throttled, waiting_for), seconds(now)) {
                    Some(Trouble::Failing) => {
                        prop_assert!(is_of_late(failed_at) || waiting_for == Retry);
                    }
                    Some(Trouble::Unanswered { throttled_for }) => {
                        prop_assert!(is_of_late(unanswered_at) && !is_of_late(failed_at));
                        prop_assert!(throttled_for.is_none_or(|it| it <= seconds(now - fine_at)));
                    }
                    None => prop_assert!(!is_of_late(failed_at)),
                }
            }
        }
    }
}
