use std::{mem, time::Duration};

use tokio::time::Instant;

use crate::{ApiError, ShardId, SourceEvent};

/// What is the matter with one shard, and which changes of that are news.
///
/// Pure: it is told what reads come to, and the time; it says what to report. It outlives the shard's
/// readers, so that what is the same for all of them is said once.
#[derive(Debug)]
pub(crate) struct Condition {
    shard: ShardId,
    standing: Standing,
    throttling: Option<Throttling>,
    trouble: Option<Trouble>,
    is_parked: bool,
}

/// Where the last answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nobody knows yet, or on its way from one to the other.
    Unsaid,
    CaughtUp,
    Behind,
}

#[derive(Debug)]
struct Throttling {
    refusals: u64,
    last: Instant,
}

/// It cannot be read, or only now and then.
#[derive(Debug)]
struct Trouble {
    failures: u64,
    since: Instant,
    last: Instant,
}

/// A shard so far behind its tip is behind. Below that, it comes and goes with each burst.
const BEHIND: Duration = Duration::from_secs(60);

/// Throttling is over when nothing was refused for so long: two readers of one shard are refused again
/// and again. So is trouble: what fails every third time is to be said once, and not each time.
const CALM: Duration = Duration::from_secs(60);

impl Condition {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self {
            shard,
            standing: Standing::Unsaid,
            throttling: None,
            trouble: None,
            is_parked: false,
        }
    }

    /// A read was answered, or a subscription has sent something.
    pub(crate) fn answered(&mut self, behind: Option<Duration>, now: Instant) -> Vec<SourceEvent> {
        let mut news = Vec::new();
        let was_parked = mem::take(&mut self.is_parked);
        let is_over =
            |it: &mut Trouble| was_parked || now.saturating_duration_since(it.last) >= CALM;
        if let Some(trouble) = self.trouble.take_if(is_over) {
            let shard = self.shard.clone();
            let failures = trouble.failures;
            news.push(if was_parked {
                SourceEvent::ShardResumed {
                    shard,
                    failures,
                    after: now.saturating_duration_since(trouble.since),
                }
            } else {
                SourceEvent::ShardRecovered {
                    shard,
                    failures,
                    after: trouble.last.saturating_duration_since(trouble.since),
                }
            });
        }
        news.extend(self.calmed(now));
        if let Some(behind) = behind.filter(|&behind| behind > BEHIND)
            && mem::replace(&mut self.standing, Standing::Behind) != Standing::Behind
        {
            let shard = self.shard.clone();
            news.push(SourceEvent::ShardBehind { shard, behind });
        }
        news
    }

    /// All up to its tip was read and handed out.
    pub(crate) fn reached_tip(&mut self) -> Option<SourceEvent> {
        let before = mem::replace(&mut self.standing, Standing::CaughtUp);
        let shard = || self.shard.clone();
        (before != Standing::CaughtUp).then(|| SourceEvent::ShardCaughtUp { shard: shard() })
    }

    /// A read was refused, as too much is read of the shard.
    pub(crate) fn refused(&mut self, now: Instant) -> Option<SourceEvent> {
        if let Some(throttling) = &mut self.throttling {
            throttling.refusals += 1;
            throttling.last = now;
            return None;
        }
        self.throttling = Some(Throttling {
            refusals: 1,
            last: now,
        });
        let shard = self.shard.clone();
        Some(SourceEvent::ThrottlingBegan { shard })
    }

    /// A read failed otherwise.
    pub(crate) fn failed(&mut self, error: &ApiError, now: Instant) -> Option<SourceEvent> {
        if let Some(trouble) = &mut self.trouble {
            trouble.failures += 1;
            trouble.last = now;
            return None;
        }
        self.trouble = Some(Trouble {
            failures: 1,
            since: now,
            last: now,
        });
        Some(SourceEvent::ShardFailing {
            shard: self.shard.clone(),
            error: error.clone(),
        })
    }

    /// It has failed so often that it is tried only about so often from now on, whoever reads it.
    pub(crate) fn parked(
        &mut self,
        error: &ApiError,
        probe_every: Duration,
    ) -> Option<SourceEvent> {
        if mem::replace(&mut self.is_parked, true) {
            return None;
        }
        Some(SourceEvent::ShardParked {
            shard: self.shard.clone(),
            error: error.clone(),
            probe_every,
        })
    }

    /// Whether throttling is over by now.
    pub(crate) fn calmed(&mut self, now: Instant) -> Option<SourceEvent> {
        let over = |it: &mut Throttling| now.saturating_duration_since(it.last) >= CALM;
        let Throttling { refusals, .. } = self.throttling.take_if(over)?;
        let shard = self.shard.clone();
        Some(SourceEvent::ThrottlingEnded { shard, refusals })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Remedy;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Answered(u64),
        Tip,
        Refused,
        Failed,
        FailedAgain,
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..200_000u64).prop_map(Step::Answered),
            Just(Step::Tip),
            Just(Step::Refused),
            Just(Step::Failed),
            Just(Step::FailedAgain),
            (0..90u64).prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// What its events say, put together again.
    #[derive(Debug, Default, PartialEq)]
    struct Told {
        behind: Option<bool>,
        throttled: bool,
        failing: bool,
        parked: bool,
        refusals: u64,
        failures: u64,
    }

    impl Told {
        /// An event changes what is known: none is said twice.
        fn learn(&mut self, event: &SourceEvent) {
            match event {
                SourceEvent::ShardCaughtUp { .. } => {
                    assert_ne!(self.behind.replace(false), Some(false));
                }
                SourceEvent::ShardBehind { .. } => {
                    assert_ne!(self.behind.replace(true), Some(true));
                }
                SourceEvent::ThrottlingBegan { .. } => {
                    assert!(!mem::replace(&mut self.throttled, true));
                }
                SourceEvent::ThrottlingEnded { refusals, .. } => {
                    assert!(mem::take(&mut self.throttled));
                    self.refusals += refusals;
                }
                SourceEvent::ShardFailing { .. } => {
                    assert!(!mem::replace(&mut self.failing, true));
                }
                SourceEvent::ShardRecovered { failures, .. } => {
                    assert!(mem::take(&mut self.failing) && !self.parked);
                    self.failures += failures;
                }
                SourceEvent::ShardParked { .. } => {
                    assert!(self.failing && !mem::replace(&mut self.parked, true));
                }
                SourceEvent::ShardResumed { failures, .. } => {
                    assert!(mem::take(&mut self.failing) && mem::take(&mut self.parked));
                    self.failures += failures;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        /// Whatever comes, each change is said once, and the counts add up in the end.
        #[test]
        fn each_change_is_said_once_and_the_counts_add_up(steps in steps()) {
            let mut now = Instant::now();
            let mut condition = Condition::new("s".into());
            let error = ApiError::new("GetRecords", Remedy::Retry);
            let (mut told, mut refusals, mut failures) = (Told::default(), 0, 0);
            let mut last_failure = now;
            for step in steps {
                let news = match step {
                    Step::Answered(millis) => {
                        let news = condition.answered(Some(Duration::from_millis(millis)), now);
                        prop_assert!(news.len() <= 3);
                        news
                    }
                    Step::Tip => condition.reached_tip().into_iter().collect(),
                    Step::Refused => {
                        refusals += 1;
                        condition.refused(now).into_iter().collect()
                    }
                    Step::Failed => {
                        failures += 1;
                        last_failure = now;
                        condition.failed(&error, now).into_iter().collect()
                    }
                    // Whoever parks has failed before.
                    Step::FailedAgain => {
                        failures += 1;
                        last_failure = now;
                        let failed = condition.failed(&error, now);
                        let parked = condition.parked(&error, CALM);
                        failed.into_iter().chain(parked).collect()
                    }
                    Step::Wait(seconds) => {
                        now += Duration::from_secs(seconds);
                        condition.calmed(now).into_iter().collect()
                    }
                };
                news.iter().for_each(|event| told.learn(event));
                match step {
                    Step::Answered(millis) => {
                        prop_assert!(!told.parked);
                        prop_assert!(!told.failing || now - last_failure < CALM);
                        prop_assert!(millis <= 60_000 || told.behind == Some(true));
                    }
                    Step::Tip => prop_assert_eq!(told.behind, Some(false)),
                    Step::Refused => prop_assert!(told.throttled),
                    Step::Failed => prop_assert!(told.failing),
                    Step::FailedAgain => prop_assert!(told.failing && told.parked),
                    Step::Wait(seconds) => prop_assert!(seconds < 60 || !told.throttled),
                }
            }
            now += CALM;
            condition.answered(None, now).iter().for_each(|event| told.learn(event));
            let over = !told.throttled && !told.failing;
            prop_assert!(over && told.refusals == refusals && told.failures == failures);
        }
    }
}
