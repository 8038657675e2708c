use std::time::Duration;

use kinesis_source::{ShardExplanation, ShardId, ShardState, Waiting, WaitingFor};

use super::{
    concern::Concern,
    past::{Lag, Trouble},
};

/// How a stream is being read at one moment, by what the source explains.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) source: String,
    /// Since the view began.
    pub(super) elapsed: Duration,
    /// What the source itself waits for.
    pub(super) waiting: Wait,
    /// Records that were acknowledged: their lines have been written and flushed.
    pub(super) done: u64,
    /// How many of these there were each second of late.
    pub(super) done_per_second: Option<u64>,
    pub(super) read: u64,
    pub(super) in_flight: u64,
    pub(super) throttled: u64,
    pub(super) budget: u64,
    pub(super) budget_in_use: u64,
    pub(super) checkpoint_age: Option<Duration>,
    /// How many shards are finished or complete.
    pub(super) over: usize,
    /// All others.
    pub(super) shards: Vec<ShardView>,
}

/// How one shard is being read.
#[derive(Clone, Debug)]
pub(super) struct ShardView {
    pub(super) shard: ShardId,
    pub(super) state: ShardState,
    pub(super) read: u64,
    pub(super) in_flight: u64,
    pub(super) throttled: u64,
    /// Whether the service has ever said how far reading is behind.
    pub(super) is_lag_said: bool,
    /// How far reading is behind, or was when it stopped, by what was said; at least, if nothing was.
    pub(super) behind: Option<Duration>,
    /// How long until records are lost; at most, if nothing was said.
    pub(super) headroom: Option<Duration>,
    pub(super) waiting: Wait,
    /// For how long it has been throttled and has no answer, if that is too long.
    pub(super) throttled_for: Option<Duration>,
    /// Why somebody should look at it.
    pub(super) concern: Option<Concern>,
}

/// A wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) waiting_for: WaitingFor,
    pub(super) since: Duration,
    pub(super) is_stuck: bool,
}

impl Wait {
    /// Of whoever waits for nothing any more.
    const OVER: Self = Self {
        waiting_for: WaitingFor::Nothing,
        since: Duration::ZERO,
        is_stuck: false,
    };
}

impl From<Waiting> for Wait {
    fn from(waiting: Waiting) -> Self {
        Self {
            waiting_for: waiting.waiting_for,
            since: waiting.since,
            is_stuck: waiting.is_stuck,
        }
    }
}

impl ShardView {
    /// `lag` is how far reading is behind, or was, and `trouble` what has been the matter with it of late.
    pub(super) fn new(explained: ShardExplanation, lag: Lag, trouble: Option<Trouble>) -> Self {
        let ShardExplanation {
            status, waiting, ..
        } = explained;
        let Lag { behind, headroom } = lag;
        // Who has stopped does not try any more.
        let has_stopped = status.state == ShardState::Stopped;
        let trouble = trouble.filter(|_| !has_stopped);
        let waiting = match has_stopped {
            true => Wait::OVER,
            false => Wait::from(waiting),
        };
        Self {
            concern: Concern::of(waiting, headroom, trouble),
            throttled_for: match trouble {
                Some(Trouble::Unanswered { throttled_for }) => throttled_for,
                _ => None,
            },
            shard: status.shard,
            state: status.state,
            read: status.records_read,
            in_flight: status.in_flight,
            throttled: status.throttled,
            is_lag_said: status.millis_behind_latest.is_some(),
            behind,
            headroom,
            waiting,
        }
    }

    /// Whether there may be something to read and nobody knows how much, or knew when it stopped.
    pub(super) fn is_lag_unknown(&self) -> bool {
        use ShardState::{AtTip, Reading, Stopped};
        !self.is_lag_said && matches!(self.state, Reading | AtTip | Stopped)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::live) fn snapshot_of(shards: Vec<ShardView>) -> Snapshot {
        Snapshot {
            source: "orders".to_owned(),
            elapsed: Duration::from_secs(83),
            waiting: Wait {
                waiting_for: WaitingFor::News,
                since: Duration::ZERO,
                is_stuck: false,
            },
            done: 1_000,
            done_per_second: Some(120),
            read: 1_100,
            in_flight: shards.iter().map(|it| it.in_flight).sum(),
            throttled: 3,
            budget: 256 << 20,
            budget_in_use: 3 << 19,
            checkpoint_age: Some(Duration::from_millis(400)),
            over: 0,
            shards,
        }
    }
}
