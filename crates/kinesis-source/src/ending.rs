use std::time::Duration;

use tokio::time::Instant;

/// Whether a closed shard has been read to its end, by answers that say so.
///
/// One such answer is no proof: it may come too early, with or without the names of children, and what
/// came after it would be lost. So reading goes on after the last record, by a fresh iterator or
/// subscription: if that has nothing either, a fifth of a second later, and says the same, there is no more. The
/// ending sequence number of a listing proves nothing: no record needs to have it.
///
/// Pure: it is told what comes, and when.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    said: Option<Said>,
    /// Since when listings have it otherwise.
    denied: Option<Instant>,
}

/// The shard is said to have no records after those that have come.
#[derive(Clone, Copy, Debug)]
struct Said {
    at: Instant,
    /// By so many answers that are far enough apart.
    times: u32,
}

/// So far apart are two answers that bear each other out.
const APART: Duration = Duration::from_millis(200);

/// And no farther: what is said of the end of an open shard is not borne out by a later error.
const TOGETHER: Duration = Duration::from_secs(300);

/// How many answers prove the end.
const PROOF: u32 = 2;

/// The same, if they also say that there is more to be read.
const PROOF_AGAINST_ITSELF: u32 = 5;

impl Ending {
    /// An answer says that it is the last. Returns whether that is proven now.
    pub(crate) fn heard(&mut self, has_records: bool, is_behind: bool, now: Instant) -> bool {
        let before = self
            .said
            .filter(|said| !has_records && now.saturating_duration_since(said.at) <= TOGETHER);
        let Some(said) = before else {
            self.said = Some(Said { at: now, times: 1 });
            return false;
        };
        if now < said.at + APART {
            return false;
        }
        let times = said.times + 1;
        self.said = Some(Said { at: now, times });
        times
            >= if is_behind {
                PROOF_AGAINST_ITSELF
            } else {
                PROOF
            }
    }

    /// When to ask again whether it is the end, if that was said.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        self.said.map(|said| said.at + APART)
    }

    /// Whether an answer has said that it is the last, and nothing since that it was not.
    pub(crate) fn is_said(&self) -> bool {
        self.said.is_some()
    }

    /// An answer says that it is the last, and a listing that the shard is open. Returns for how long that has
    /// been so: a listing may be late.
    pub(crate) fn denied(&mut self, now: Instant) -> Duration {
        self.said = None;
        let since = *self.denied.get_or_insert(now);
        now.saturating_duration_since(since)
    }

    /// A listing has the shard as closed, or an answer has more.
    pub(crate) fn no_longer_denied(&mut self) {
        self.denied = None;
    }

    /// There is more. Returns whether the end had been said.
    pub(crate) fn refute(&mut self) -> bool {
        self.said.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn an_end_is_proven_by_a_later_answer_without_records() {
        let (mut ending, start) = (Ending::default(), Instant::now());
        assert_eq!(ending.ask_at(), None);
        assert!(!ending.heard(true, false, start));
        assert_eq!(ending.ask_at(), Some(after(start, 200)));
        assert!(!ending.heard(false, false, after(start, 199)));
        assert!(ending.heard(false, false, after(start, 200)));
    }

    #[test]
    fn records_begin_it_anew() {
        let (mut ending, start) = (Ending::default(), Instant::now());
        assert!(!ending.heard(false, false, start));
        assert!(!ending.heard(true, false, after(start, 2_000)));
        assert!(ending.heard(false, false, after(start, 3_000)));
        assert!(ending.refute());
        assert!(!ending.refute());
        assert!(!ending.heard(false, false, after(start, 5_000)));
    }

    #[test]
    fn what_a_listing_denies_is_to_be_borne_out_anew() {
        let (mut ending, start) = (Ending::default(), Instant::now());
        assert!(!ending.heard(false, false, start));
        assert!(ending.is_said());
        for seconds in [1, 2, 90] {
            let denied = ending.denied(start + Duration::from_secs(seconds));
            assert_eq!(denied, Duration::from_secs(seconds - 1));
            assert!(!ending.is_said());
        }
        ending.no_longer_denied();
        assert!(!ending.heard(false, false, after(start, 100_000)));
        assert!(ending.heard(false, false, after(start, 100_200)));
        let denied = ending.denied(after(start, 200_000));
        assert_eq!(denied, Duration::ZERO);
    }

    #[test]
    fn answers_that_are_far_apart_do_not_bear_each_other_out() {
        let (mut ending, start) = (Ending::default(), Instant::now());
        assert!(!ending.heard(false, false, start));
        assert!(!ending.heard(false, false, after(start, 300_001)));
        assert!(ending.heard(false, false, after(start, 600_001)));
    }

    #[test]
    fn one_that_also_says_to_be_behind_is_to_be_borne_out_more_often() {
        let (mut ending, start) = (Ending::default(), Instant::now());
        for second in 0..4 {
            assert!(!ending.heard(false, true, after(start, second * 1_000)));
        }
        assert!(ending.heard(false, true, after(start, 4_000)));
    }
}
