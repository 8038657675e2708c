use std::time::Duration;

use tokio::time::Instant;

use crate::headway::News;

/// Watches over the oldest record of a shard that was handed out and is not settled: whether another one
/// takes its place in time.
///
/// Pure: it is shown now and then what is in hand, and the time, and so is late by the time between two
/// looks at most, and never early. Records are settled far too often to tell it of each.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    /// What was in hand at the last look, and since when, at least, its first has been the oldest.
    last: Option<(InHand, Instant)>,
    is_late: bool,
}

/// What was handed out and is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InHand {
    /// In which life of the shard's reader it was, and its number there.
    pub(crate) oldest: (u64, u64),
    /// How many records after it are acknowledged.
    pub(crate) beyond: u64,
}

impl Unsettled {
    /// What is in hand now, if anything is. Whether something has been for too long, or that is over, if it
    /// is news.
    pub(crate) fn check(
        &mut self,
        in_hand: Option<InHand>,
        within: Duration,
        now: Instant,
    ) -> Option<News> {
        let before = self.last;
        let same = before.zip(in_hand);
        let same = same.filter(|((before, _), now)| before.oldest == now.oldest);
        let since = same.map_or(now, |((_, since), _)| since);
        self.last = in_hand.map(|in_hand| (in_hand, since));
        let was_late = self.is_late;
        let waited = now.saturating_duration_since(since);
        self.is_late = self.last.is_some() && waited > within;
        match (was_late, self.is_late) {
            (false, true) => Some(News::Stopped(waited)),
            (true, false) => before.map(|(_, since)| {
                let after = now.saturating_duration_since(since);
                News::Again(after)
            }),
            _ => None,
        }
    }

    /// Since when something has been in hand for too long, and how many records after it are acknowledged.
    pub(crate) fn late(&self, now: Instant) -> Option<(Duration, InHand)> {
        let (in_hand, since) = self.last.filter(|_| self.is_late)?;
        Some((now.saturating_duration_since(since), in_hand))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_takes_as_long_as_it_may_is_in_time() {
        let (mut unsettled, start) = (Unsettled::default(), Instant::now());
        let (within, millisecond) = (Duration::from_secs(120), Duration::from_millis(1));
        let in_hand = Some(InHand {
            oldest: (0, 1),
            beyond: 0,
        });
        assert_eq!(unsettled.check(in_hand, within, start), None);
        assert_eq!(unsettled.check(in_hand, within, start + within), None);
        let late = within + millisecond;
        let news = unsettled.check(in_hand, within, start + late);
        assert_eq!(news, Some(News::Stopped(late)));
    }

    proptest! {
        /// Whatever is in hand at each look: who is the oldest at all looks for longer than allowed is told
        /// once, and once when another is, or none.
        #[test]
        fn what_is_oldest_for_too_long_is_told_once_and_so_is_its_end(
            looks in prop::collection::vec((prop::option::of(0..3u64), 0..100u64), 0..60),
        ) {
            let within = Duration::from_secs(120);
            let mut unsettled = Unsettled::default();
            let mut now = Instant::now();
            // Which, since when, and whether that was told.
            let mut state: (Option<u64>, Instant, bool) = (None, now, false);
            for (oldest, after) in looks {
                now += Duration::from_secs(after);
                let in_hand = oldest.map(|number| InHand { oldest: (0, number), beyond: 7 });
                let news = unsettled.check(in_hand, within, now);
                if oldest == state.0 {
                    let is_late = oldest.is_some() && now - state.1 > within;
                    let is_news = is_late && !state.2;
                    prop_assert_eq!(news, is_news.then(|| News::Stopped(now - state.1)));
                    state.2 |= is_news;
                } else {
                    prop_assert_eq!(news, state.2.then(|| News::Again(now - state.1)));
                    state = (oldest, now, false);
                }
                prop_assert_eq!(unsettled.late(now).is_some(), state.2);
            }
        }
    }
}
