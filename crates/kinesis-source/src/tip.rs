use std::time::Duration;

use tokio::time::Instant;

use crate::Timestamp;

/// When a shard was at its tip, by answers that have no records and say so.
///
/// An answer may have none although there are some; that is legal, and what it says of the tip is then
/// about the records that it should have had. So one such answer is no proof. The next one is made by
/// another iterator, or is another event: if that has none either, a second later, and says the same,
/// nothing had come by the first. What came between the two, the second may have left out: it proves
/// nothing about itself.
///
/// An answer *with* records that says so needs no other.
///
/// Pure: it is told what comes, and when.
#[derive(Debug, Default)]
pub(crate) struct Tip {
    last: Option<Voice>,
}

/// An answer without records that says to be at the tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voice {
    pub(crate) at: Instant,
    /// The same by the service's clock, if the service has said by itself that this is the tip.
    pub(crate) now: Option<Timestamp>,
    /// How often it had been asked, before the read, whether all has been read.
    pub(crate) asked: u64,
    /// Whether it was looked for a record that may not be kept.
    pub(crate) in_doubt: bool,
}

/// So far apart are two answers that bear each other out.
const APART: Duration = Duration::from_secs(1);

impl Tip {
    /// An answer without records says so. Returns an earlier one that this one proves.
    pub(crate) fn heard(&mut self, voice: Voice) -> Option<Voice> {
        let answers_the_same = |earlier: &Voice| {
            earlier.asked == voice.asked
                && earlier.in_doubt == voice.in_doubt
                && earlier.now.is_some() == voice.now.is_some()
        };
        let Some(earlier) = self.last.filter(answers_the_same) else {
            self.last = Some(voice);
            return None;
        };
        if voice.at.saturating_duration_since(earlier.at) < APART {
            return None;
        }
        self.last = Some(voice);
        Some(earlier)
    }

    /// An answer says otherwise, or has records.
    pub(crate) fn left(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(start: Instant, millis: u64, asked: u64, in_doubt: bool) -> Voice {
        Voice {
            at: start + Duration::from_millis(millis),
            now: Some(Timestamp::from_millis(0).plus(Duration::from_millis(millis))),
            asked,
            in_doubt,
        }
    }

    #[test]
    fn each_answer_is_proven_by_one_that_comes_a_second_later() {
        let (mut tip, start) = (Tip::default(), Instant::now());
        let voice = |millis| voice(start, millis, 0, false);
        assert_eq!(tip.heard(voice(0)), None);
        assert_eq!(tip.heard(voice(200)), None);
        assert_eq!(tip.heard(voice(1_000)), Some(voice(0)));
        assert_eq!(tip.heard(voice(1_999)), None);
        assert_eq!(tip.heard(voice(9_000)), Some(voice(1_000)));
        tip.left();
        assert_eq!(tip.heard(voice(20_000)), None);
        assert_eq!(tip.heard(voice(21_000)), Some(voice(20_000)));
    }

    #[test]
    fn one_that_answers_something_else_proves_nothing() {
        let (mut tip, start) = (Tip::default(), Instant::now());
        assert_eq!(tip.heard(voice(start, 0, 0, false)), None);
        assert_eq!(tip.heard(voice(start, 2_000, 1, false)), None);
        assert_eq!(tip.heard(voice(start, 4_000, 1, true)), None);
        let unsaid = Voice {
            now: None,
            ..voice(start, 6_000, 1, true)
        };
        assert_eq!(tip.heard(unsaid), None);
        assert_eq!(tip.heard(voice(start, 8_000, 1, true)), None);
    }
}
