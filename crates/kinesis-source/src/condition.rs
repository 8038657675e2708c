use std::{mem, time::Duration};

use tokio::time::Instant;

use crate::{
    ApiError, ParkReason, ShardId, SourceEvent,
    outage::{CALM, Outage},
};

/// What is the matter with one shard, and which changes of that are news.
///
/// Pure: it is told what reads come to, and the time; it says what to report. It outlives the shard's
/// readers, so that what is the same for all of them is said once.
#[derive(Debug)]
pub(crate) struct Condition {
    shard: ShardId,
    standing: Standing,
    throttling: Outage,
    trouble: Option<Trouble>,
    /// Whether it is parked, as it cannot be read.
    is_parked: bool,
    /// Or as what was read does not go on.
    halt: Option<Halt>,
}

/// What was read does not go on, each time.
#[derive(Debug)]
struct Halt {
    failures: u64,
    since: Instant,
}

/// Where the last answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nobody knows yet, or on its way from one to the other.
    Unsaid,
    CaughtUp,
    Behind,
}

/// It cannot be read, or only now and then.
#[derive(Debug)]
struct Trouble {
    failures: u64,
    since: Instant,
    last: Instant,
    /// Which of it was told: that reads fail, and that a subscription was lost.
    is_failing_told: bool,
    is_loss_told: bool,
}

/// A shard so far behind its tip is behind. Below that, it comes and goes with each burst.
const BEHIND: Duration = Duration::from_secs(60);

impl Condition {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self {
            shard,
            standing: Standing::Unsaid,
            throttling: Outage::default(),
            trouble: None,
            is_parked: false,
            halt: None,
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
            // It may be parked still, for another reason.
            news.push(if was_parked && self.halt.is_none() {
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
        let is_news = self.throttling.failed(now);
        let shard = || self.shard.clone();
        is_news.then(|| SourceEvent::ThrottlingBegan { shard: shard() })
    }

    /// A read failed otherwise.
    pub(crate) fn failed(&mut self, error: &ApiError, now: Instant) -> Option<SourceEvent> {
        let trouble = self.trouble(now);
        (!mem::replace(&mut trouble.is_failing_told, true)).then(|| SourceEvent::ShardFailing {
            shard: self.shard.clone(),
            error: error.clone(),
        })
    }

    /// Its subscription has gone by that error.
    pub(crate) fn lost(&mut self, error: &ApiError, now: Instant) -> Option<SourceEvent> {
        let trouble = self.trouble(now);
        (!mem::replace(&mut trouble.is_loss_told, true)).then(|| SourceEvent::SubscriptionLost {
            shard: self.shard.clone(),
            error: error.clone(),
        })
    }

    /// It has failed once more.
    fn trouble(&mut self, now: Instant) -> &mut Trouble {
        let trouble = self.trouble.get_or_insert(Trouble {
            failures: 0,
            since: now,
            last: now,
            is_failing_told: false,
            is_loss_told: false,
        });
        trouble.failures += 1;
        trouble.last = now;
        trouble
    }

    /// It has failed so often that it is tried only about so often from now on, whoever reads it.
    pub(crate) fn parked(
        &mut self,
        error: &ApiError,
        probe_every: Duration,
    ) -> Option<SourceEvent> {
        let was_parked = mem::replace(&mut self.is_parked, true) || self.halt.is_some();
        let error = error.clone();
        (!was_parked).then(|| self.is_now_parked(ParkReason::Failing { error }, probe_every))
    }

    /// What was read of it does not go on, so often that it is tried only about so often from now on.
    pub(crate) fn halted(
        &mut self,
        reason: ParkReason,
        probe_every: Duration,
        now: Instant,
    ) -> Option<SourceEvent> {
        if let Some(halt) = &mut self.halt {
            halt.failures += 1;
            return None;
        }
        self.halt = Some(Halt {
            failures: 1,
            since: now,
        });
        (!self.is_parked).then(|| self.is_now_parked(reason, probe_every))
    }

    /// What was read of it goes on again.
    pub(crate) fn went_on(&mut self, now: Instant) -> Option<SourceEvent> {
        let Halt { failures, since } = self.halt.take()?;
        // It may be parked still, for another reason.
        (!self.is_parked).then(|| SourceEvent::ShardResumed {
            shard: self.shard.clone(),
            failures,
            after: now.saturating_duration_since(since),
        })
    }

    fn is_now_parked(&self, reason: ParkReason, probe_every: Duration) -> SourceEvent {
        SourceEvent::ShardParked {
            shard: self.shard.clone(),
            reason,
            probe_every,
        }
    }

    /// Whether throttling is over by now. Two readers of one shard are refused again and again.
    pub(crate) fn calmed(&mut self, now: Instant) -> Option<SourceEvent> {
        let refusals = self.throttling.succeeded(now)?;
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
        Lost,
        LostAgain,
        Halted,
        WentOn,
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..200_000u64).prop_map(Step::Answered),
            Just(Step::Tip),
            Just(Step::Refused),
            Just(Step::Failed),
            Just(Step::FailedAgain),
            Just(Step::Lost),
            Just(Step::LostAgain),
            Just(Step::Halted),
            Just(Step::WentOn),
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
        lost: bool,
        parked: bool,
        /// Whether what is told next is the end of a halt.
        halted: bool,
        halts: u64,
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
                SourceEvent::SubscriptionLost { .. } => {
                    assert!(!mem::replace(&mut self.lost, true));
                }
                SourceEvent::ShardRecovered { failures, .. } => {
                    let (failing, lost) = (&mut self.failing, &mut self.lost);
                    assert!(mem::take(failing) | mem::take(lost));
                    self.failures += failures;
                }
                SourceEvent::ShardParked { .. } => {
                    assert!(!mem::replace(&mut self.parked, true));
                }
                SourceEvent::ShardResumed { failures, .. } => {
                    assert!(mem::take(&mut self.parked));
                    // Either way to be parked counts for itself.
                    if mem::take(&mut self.halted) {
                        self.halts += failures;
                    } else {
                        let (failing, lost) = (&mut self.failing, &mut self.lost);
                        assert!(mem::take(failing) | mem::take(lost));
                        self.failures += failures;
                    }
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
            let (mut last_failure, mut halts, mut reads_fail) = (now, 0_u64, false);
            for step in steps {
                let news = match step {
                    Step::Answered(millis) => {
                        reads_fail = false;
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
                    Step::Halted => {
                        halts += 1;
                        let reason = ParkReason::Nacked { records: 1, after: None };
                        condition.halted(reason, CALM, now).into_iter().collect()
                    }
                    Step::WentOn => {
                        let news: Vec<_> = condition.went_on(now).into_iter().collect();
                        prop_assert_eq!(news.len(), usize::from(halts > 0 && !reads_fail));
                        told.halted = !news.is_empty();
                        if news.is_empty() {
                            told.halts += halts;
                        }
                        halts = 0;
                        news
                    }
                    Step::Lost => {
                        failures += 1;
                        last_failure = now;
                        condition.lost(&error, now).into_iter().collect()
                    }
                    // Whoever parks has failed before.
                    Step::FailedAgain | Step::LostAgain => {
                        reads_fail = true;
                        failures += 1;
                        last_failure = now;
                        let failed = match step {
                            Step::LostAgain => condition.lost(&error, now),
                            _ => condition.failed(&error, now),
                        };
                        let parked = condition.parked(&error, CALM);
                        failed.into_iter().chain(parked).collect()
                    }
                    Step::Wait(seconds) => {
                        now += Duration::from_secs(seconds);
                        condition.calmed(now).into_iter().collect()
                    }
                };
                news.iter().for_each(|event| told.learn(event));
                prop_assert_eq!(told.parked, halts > 0 || reads_fail);
                match step {
                    Step::Answered(millis) => {
                        prop_assert!(!(told.failing || told.lost) || now - last_failure < CALM);
                        prop_assert!(millis <= 60_000 || told.behind == Some(true));
                    }
                    Step::Tip => prop_assert_eq!(told.behind, Some(false)),
                    Step::Refused => prop_assert!(told.throttled),
                    Step::Failed => prop_assert!(told.failing),
                    Step::FailedAgain => prop_assert!(told.failing && told.parked),
                    Step::Lost => prop_assert!(told.lost),
                    Step::LostAgain => prop_assert!(told.lost && told.parked),
                    Step::Halted | Step::WentOn => {}
                    Step::Wait(seconds) => prop_assert!(seconds < 60 || !told.throttled),
                }
            }
            now += CALM;
            condition.answered(None, now).iter().for_each(|event| told.learn(event));
            let over = !told.throttled && !told.failing && !told.lost;
            prop_assert!(over && told.refusals == refusals && told.failures == failures);
        }
    }
}
