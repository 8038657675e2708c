use std::time::Duration;

use tokio::time::Instant;

/// How far reading of a shard is behind the tip, as far as anybody knows.
///
/// What the service says holds for as long as it is asked again and again. Whoever is not answered falls behind all the
/// while, also if no answer has ever come: records may lie there from the start.
///
/// Pure: it is told what comes, and the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag {
    /// When something came last or, if nothing ever has, since when it is to come.
    heard: Instant,
    /// What the service said last.
    said: Option<Duration>,
}

/// Somebody who reads as fast as there are records has an answer at least so often.
const UNREAD: Duration = Duration::from_secs(10);

impl Lag {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            heard: now,
            said: None,
        }
    }

    /// Something has come, so far behind the tip if that is said.
    pub(crate) fn heard(&mut self, behind: Option<Duration>, now: Instant) {
        self.heard = now;
        self.said = behind.or(self.said);
    }

    /// How far it is behind, if that is known. Without any answer it is for how long there is none, once that is long.
    pub(crate) fn behind(&self, now: Instant) -> Option<Duration> {
        let silent = now.saturating_duration_since(self.heard);
        if silent <= UNREAD {
            return self.said;
        }
        Some(self.said.unwrap_or_default().saturating_add(silent))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_not_known_is_not_said_to_be_nothing() {
        let start = Instant::now();
        let mut lag = Lag::new(start);
        assert_eq!(lag.behind(start + secs(10)), None);
        assert_eq!(lag.behind(start + secs(11)), Some(secs(11)));
        // Some servers do not say it.
        lag.heard(None, start + secs(20));
        assert_eq!(lag.behind(start + secs(20)), None);
        lag.heard(Some(secs(7)), start + secs(30));
        assert_eq!(lag.behind(start + secs(40)), Some(secs(7)));
        assert_eq!(lag.behind(start + secs(41)), Some(secs(18)));
        lag.heard(None, start + secs(50));
        assert_eq!(lag.behind(start + secs(50)), Some(secs(7)));
    }

    proptest! {
        /// Whatever comes: it is what was said last and, after ten seconds of silence, all of that besides.
        #[test]
        fn silence_counts(
            steps in prop::collection::vec((any::<bool>(), prop::option::of(0..100u64), 0..30u64), 0..60),
        ) {
            let mut now = Instant::now();
            let (mut lag, mut heard, mut said) = (Lag::new(now), now, None);
            for (is_heard, behind, pause) in steps {
                now += secs(pause);
                if is_heard {
                    lag.heard(behind.map(secs), now);
                    heard = now;
                    said = behind.map(secs).or(said);
                }
                let is_silent = now - heard > secs(10);
                let expected = match (said, is_silent) {
                    (Some(said), true) => Some(said + (now - heard)),
                    (None, true) => Some(now - heard),
                    (said, false) => said,
                };
                prop_assert_eq!(lag.behind(now), expected);
            }
        }
    }
}
