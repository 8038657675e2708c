use std::{cmp::Reverse, time::Duration};

use kinesis_source::WaitingFor;

use super::{
    past::Trouble,
    snapshot::{ShardView, Wait},
};

/// Why somebody should look at a shard. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concern {
    /// What it waits for should have happened by now.
    Stuck,
    /// Calls or readers of it fail, or have failed of late.
    Failing,
    /// It is throttled each time, and nothing comes of it.
    Unanswered,
    /// It is so far behind that records will soon be lost.
    Expiring,
}

/// How little time there may be until records are lost.
const LEAST_HEADROOM: Duration = Duration::from_secs(3_600);

impl Concern {
    pub(super) fn of(
        waiting: Wait,
        headroom: Option<Duration>,
        trouble: Option<Trouble>,
    ) -> Option<Self> {
        let fails = matches!(
            waiting.waiting_for,
            WaitingFor::Probe
                | WaitingFor::Restart
                | WaitingFor::Headway
                | WaitingFor::OtherSubscriber
        );
        if waiting.is_stuck {
            return Some(Self::Stuck);
        }
        match trouble {
            Some(Trouble::Failing) => Some(Self::Failing),
            _ if fails => Some(Self::Failing),
            Some(Trouble::Unanswered { .. }) => Some(Self::Unanswered),
            None if headroom.is_some_and(|headroom| headroom < LEAST_HEADROOM) => {
                Some(Self::Expiring)
            }
            None => None,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::Failing => "failing",
            Self::Unanswered => "unanswered",
            Self::Expiring => "soon losing records",
        }
    }
}

/// In which order shards are shown: those of concern, then those that are furthest behind. Lags that are much
/// the same do not count, nor does anything that changes from one moment to the next: lines are to stand still.
pub(super) fn rank(shard: &ShardView) -> impl Ord + '_ {
    let concern = shard
        .concern
        .map_or((1, None), |concern| (0, Some(concern)));
    (concern, Reverse(lag_class(shard.behind)), &shard.shard)
}

/// All below ten seconds are one class, then each is twice as long as the one before.
fn lag_class(behind: Option<Duration>) -> u32 {
    let tens = behind.map_or(0, |behind| behind.as_secs() / 10);
    tens.checked_ilog2().map_or(0, |log| log + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(waiting_for: WaitingFor, is_stuck: bool) -> Wait {
        Wait {
            waiting_for,
            since: Duration::ZERO,
            is_stuck,
        }
    }

    #[test]
    fn the_worst_is_what_is_said() {
        let (demand, retry) = (WaitingFor::Demand, WaitingFor::Retry);
        let hours = |hours: u64| Some(Duration::from_secs(3_600 * hours));
        let (expiring, failing) = (Some(Concern::Expiring), Some(Concern::Failing));
        let (unanswered, stuck) = (Some(Concern::Unanswered), Some(Concern::Stuck));
        let fails = Some(Trouble::Failing);
        let throttled_for = None;
        let throttled = Some(Trouble::Unanswered { throttled_for });
        for (waiting, headroom, trouble, concern) in [
            (wait(demand, false), hours(23), None, None),
            (wait(demand, false), None, None, None),
            (wait(demand, false), hours(0), None, expiring),
            (wait(demand, false), hours(0), throttled, unanswered),
            (wait(demand, false), hours(0), fails, failing),
            (wait(retry, false), hours(23), None, None),
            (wait(retry, false), hours(23), fails, failing),
            (wait(WaitingFor::Probe, false), hours(0), throttled, failing),
            (wait(retry, true), hours(0), fails, stuck),
        ] {
            assert_eq!(Concern::of(waiting, headroom, trouble), concern);
        }
        assert!(stuck < failing && failing < unanswered && unanswered < expiring);
    }

    /// What waits for something to be mended, or for somebody else, does not go on by itself.
    #[test]
    fn who_waits_for_what_should_not_be_is_failing() {
        use WaitingFor::{
            Acknowledgements, CheckpointStore, Consumer, Demand, Headway, NewRecords, Nothing,
            OtherSubscriber, Parents, Probe, Restart, Retry, Subscription, Turn,
        };
        let of = |waiting_for| Concern::of(wait(waiting_for, false), None, None);
        for waiting_for in [Probe, Restart, Headway, OtherSubscriber] {
            assert_eq!(of(waiting_for), Some(Concern::Failing), "{waiting_for}");
        }
        for waiting_for in [
            Nothing,
            Demand,
            Acknowledgements,
            Parents,
            Turn,
            Subscription,
            Consumer,
            NewRecords,
            Retry,
            CheckpointStore,
        ] {
            assert_eq!(of(waiting_for), None, "{waiting_for}");
        }
    }

    #[test]
    fn records_that_are_lost_within_an_hour_are_of_concern() {
        let demand = wait(WaitingFor::Demand, false);
        let of = |seconds| Concern::of(demand, Some(Duration::from_secs(seconds)), None);
        assert_eq!(of(3_599), Some(Concern::Expiring));
        assert_eq!(of(3_600), None);
    }

    #[test]
    fn a_small_change_of_lag_moves_no_line() {
        let class = |seconds| lag_class(Some(Duration::from_secs(seconds)));
        assert_eq!((lag_class(None), class(9)), (0, 0));
        assert_eq!((class(10), class(19), class(20), class(39)), (1, 1, 2, 2));
        assert!(class(86_400) > class(3_600));
    }
}
