use std::{collections::BTreeMap, mem, time::Duration};

use metrics::{Label, counter, gauge};
use tokio::time::Instant;

use crate::{
    ByteBudget, ShardExplanation, ShardId, ShardState, ShardStatus, metric_names as names,
    source_watch::SourceWatch,
};

/// Brings a source's numbers up to date with the metrics facade.
#[derive(Debug)]
pub(crate) struct Meters {
    stream: Label,
    budget: ByteBudget,
    /// What was counted of each shard until the last time. The sum would go back when one is forgotten.
    counted: BTreeMap<ShardId, Counted>,
    /// Whether the numbers of each are wanted.
    by_shard: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    records: u64,
    bytes: u64,
    reads: u64,
    throttles: u64,
    retries: u64,
    restarts: u64,
}

/// What is so at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Levels {
    in_flight: u64,
    /// Of the shard that is farthest behind.
    behind: Option<Duration>,
    /// Of the shard that has the least.
    headroom: Option<Duration>,
}

/// All states that shards are counted by.
const STATES: [(ShardState, &str); 7] = [
    (ShardState::WaitingForParents, "waiting_for_parents"),
    (ShardState::Reading, "reading"),
    (ShardState::AtTip, "at_tip"),
    (ShardState::Draining, "draining"),
    (ShardState::Finished, "finished"),
    (ShardState::Complete, "complete"),
    (ShardState::Stopped, "stopped"),
];

impl Meters {
    pub(crate) fn new(stream: &str, by_shard: bool, budget: ByteBudget) -> Self {
        names::describe();
        Self {
            stream: Label::new("stream", stream.to_owned()),
            budget,
            counted: BTreeMap::new(),
            by_shard,
        }
    }

    /// Publishes what was counted since the last time, and how it is now.
    pub(crate) fn publish(
        &mut self,
        shards: &[ShardExplanation],
        source: &SourceWatch,
        now: Instant,
    ) {
        let (mut news, mut levels) = (Counted::default(), Levels::default());
        let before = mem::take(&mut self.counted);
        for it in shards {
            let (shard, counted) = (&it.status.shard, Counted::of(&it.status));
            let of_shard = counted.since(before.get(shard).copied().unwrap_or_default());
            news = news.plus(of_shard);
            let level = Levels::of(it);
            levels = levels.and(level);
            if self.by_shard {
                let name = shard.to_string();
                let labels = vec![self.stream.clone(), Label::new("shard", name)];
                of_shard.publish(&labels);
                level.publish(&labels);
            }
            self.counted.insert(shard.clone(), counted);
        }
        let labels = vec![self.stream.clone()];
        news.publish(&labels);
        levels.publish(&labels);
        for (name, level) in [
            (names::BUDGET, self.budget.bytes()),
            (names::BUDGET_IN_USE, self.budget.in_use()),
            (names::BUDGET_WAITING, self.budget.waiting() as u64),
        ] {
            gauge!(name, labels.clone()).set(level as f64);
        }
        if let Some(age) = source.checkpoint_age(now) {
            gauge!(names::CHECKPOINT_AGE, labels).set(age.as_secs_f64());
        }
        for (state, name) in STATES {
            let of_state = shards.iter().filter(|it| it.status.state == state);
            let labels = vec![self.stream.clone(), Label::new("state", name)];
            gauge!(names::SHARDS, labels).set(of_state.count() as f64);
        }
    }
}

impl Counted {
    fn of(status: &ShardStatus) -> Self {
        Self {
            records: status.records_read,
            bytes: status.bytes_read,
            reads: status.reads,
            throttles: status.throttled,
            retries: status.retries,
            restarts: status.restarts,
        }
    }

    fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    fn since(self, earlier: Self) -> Self {
        self.zip(earlier, u64::saturating_sub)
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            records: with(self.records, other.records),
            bytes: with(self.bytes, other.bytes),
            reads: with(self.reads, other.reads),
            throttles: with(self.throttles, other.throttles),
            retries: with(self.retries, other.retries),
            restarts: with(self.restarts, other.restarts),
        }
    }

    fn publish(self, labels: &[Label]) {
        for (name, count) in [
            (names::RECORDS, self.records),
            (names::BYTES, self.bytes),
            (names::READS, self.reads),
            (names::THROTTLES, self.throttles),
            (names::RETRIES, self.retries),
            (names::RESTARTS, self.restarts),
        ] {
            counter!(name, labels.to_vec()).increment(count);
        }
    }
}

impl Levels {
    fn of(shard: &ShardExplanation) -> Self {
        Self {
            in_flight: shard.status.in_flight,
            behind: shard.behind,
            headroom: shard.headroom,
        }
    }

    fn and(self, other: Self) -> Self {
        let least = |a: Duration, b: Option<Duration>| b.map_or(a, |b| a.min(b));
        Self {
            in_flight: self.in_flight + other.in_flight,
            behind: self.behind.max(other.behind),
            headroom: match self.headroom {
                Some(headroom) => Some(least(headroom, other.headroom)),
                None => other.headroom,
            },
        }
    }

    fn publish(self, labels: &[Label]) {
        gauge!(names::IN_FLIGHT, labels.to_vec()).set(self.in_flight as f64);
        if let Some(behind) = self.behind {
            gauge!(names::MILLIS_BEHIND_LATEST, labels.to_vec()).set(behind.as_millis() as f64);
        }
        if let Some(headroom) = self.headroom {
            gauge!(names::RETENTION_HEADROOM, labels.to_vec()).set(headroom.as_secs_f64());
        }
    }
}
