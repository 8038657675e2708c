use std::time::Duration;

use tokio::time::Instant;

/// Whether a shard gets anywhere that is not at its tip.
///
/// An answer may be empty although there is more: that is legal, and takes reading a bit further each
/// time, through hours in which nothing was put. One that is empty, and as far behind as before, is not.
///
/// Pure: it is told what comes, and the time. It says that nothing moves, once, and that it does again,
/// once.
#[derive(Debug, Default)]
pub(crate) struct Headway {
    /// Since when there is none.
    stopped: Option<Instant>,
    /// How far behind it was then.
    behind: Duration,
    is_told: bool,
}

/// What there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// There has been none for so long.
    Stopped(Duration),
    /// There is again, after so long.
    Again(Duration),
}

/// After so long it is told.
pub(crate) const LONG: Duration = Duration::from_secs(300);

impl Headway {
    /// Something has come, with records or without, so far behind the tip if that is known.
    pub(crate) fn heard(
        &mut self,
        has_records: bool,
        behind: Option<Duration>,
        now: Instant,
    ) -> Option<News> {
        let behind = behind.unwrap_or_default();
        let is_at_rest = !has_records && !behind.is_zero();
        if let Some(stopped) = self.stopped.filter(|_| is_at_rest && behind >= self.behind) {
            let after = now.saturating_duration_since(stopped);
            let is_news = after >= LONG && !self.is_told;
            self.is_told |= is_news;
            return is_news.then_some(News::Stopped(after));
        }
        let told = std::mem::take(&mut self.is_told);
        let before = self.stopped.take();
        if is_at_rest {
            self.stopped = Some(now);
            self.behind = behind;
        }
        let before = before.filter(|_| told)?;
        Some(News::Again(now.saturating_duration_since(before)))
    }

    /// For how long there has been none, if that was told.
    pub(crate) fn told(&self, now: Instant) -> Option<Duration> {
        let stopped = self.stopped.filter(|_| self.is_told)?;
        Some(now.saturating_duration_since(stopped))
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
    fn a_way_through_empty_hours_is_headway_and_the_same_place_again_is_none() {
        let (mut headway, start) = (Headway::default(), Instant::now());
        for step in 0..1_000 {
            let behind = Some(secs(10_000 - step * 10));
            assert_eq!(headway.heard(false, behind, start + secs(step)), None);
        }
        let mut told = Vec::new();
        for step in 1_000..2_000 {
            let behind = Some(secs(10 + step - 1_000));
            told.extend(headway.heard(false, behind, start + secs(step)));
        }
        assert_eq!(told, [News::Stopped(LONG)]);
        let again = headway.heard(true, Some(secs(900)), start + secs(2_000));
        assert_eq!(again, Some(News::Again(secs(1_001))));
        assert_eq!(
            headway.heard(false, Some(secs(0)), start + secs(9_000)),
            None
        );
    }

    proptest! {
        /// Whatever comes: stopped and again take turns.
        #[test]
        fn each_stop_is_said_once_and_so_is_its_end(
            steps in prop::collection::vec((any::<bool>(), 0..5u64, 0..400u64), 0..100),
        ) {
            let (mut headway, mut now, mut is_stopped) = (Headway::default(), Instant::now(), false);
            for (has_records, behind, pause) in steps {
                now += secs(pause);
                match headway.heard(has_records, Some(secs(behind)), now) {
                    Some(News::Stopped(after)) => {
                        prop_assert!(!is_stopped && !has_records && behind > 0 && after >= LONG);
                        is_stopped = true;
                    }
                    Some(News::Again(_)) => {
                        prop_assert!(is_stopped);
                        is_stopped = false;
                    }
                    None => {}
                }
                prop_assert!(!is_stopped || (!has_records && behind > 0));
                prop_assert_eq!(headway.told(now).is_some(), is_stopped);
                prop_assert!(headway.told(now).is_none_or(|stopped| stopped >= LONG));
            }
        }
    }
}
