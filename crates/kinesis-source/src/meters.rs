use std::{collections::BTreeMap, mem, slice, time::Duration};

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
    /// What was told of the stream as a whole the last time.
    levels: Levels,
    /// What was told of each shard, if that is wanted.
    of_shards: BTreeMap<ShardId, Levels>,
    /// Whether the numbers of each are wanted.
    by_shard: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    records: u64,
    bytes: u64,
    acked: u64,
    reads: u64,
    throttles: u64,
    retries: u64,
    restarts: u64,
}

/// What is so at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Levels {
    in_flight: u64,
    /// Of the shard that is farthest behind, if anything is known of any.
    behind: Option<Duration>,
    /// Of the shard that has the least, likewise.
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
            levels: Levels::default(),
            of_shards: BTreeMap::new(),
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
        let (mut news, retention) = (Counted::default(), source.retention());
        let before = mem::take(&mut self.counted);
        let mut levels_before = mem::take(&mut self.of_shards);
        // Made from all at once it has no gaps.
        let counted = shards.iter();
        let counted = counted.map(|it| (it.status.shard.clone(), Counted::of(&it.status)));
        self.counted = counted.collect();
        for it in shards {
            let (shard, counted) = (&it.status.shard, Counted::of(&it.status));
            let of_shard = counted.since(before.get(shard).copied().unwrap_or_default());
            news = news.plus(of_shard);
            if self.by_shard {
                let levels = Levels::of(slice::from_ref(it), retention);
                let last = levels_before.remove(shard);
                // A recorder may forget what stands still, and so a shard that is over.
                let stands_still = last == Some(levels) && of_shard == Counted::default();
                if !(it.is_over() && stands_still) {
                    let label = Label::new("shard", shard.to_string());
                    let labels = [self.stream.clone(), label];
                    of_shard.publish(&labels);
                    levels.publish(last.unwrap_or_default(), &labels);
                }
                self.of_shards.insert(shard.clone(), levels);
            }
        }
        let labels = vec![self.stream.clone()];
        news.publish(&labels);
        let levels = Levels::of(shards, retention);
        levels.publish(mem::replace(&mut self.levels, levels), &labels);
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
            acked: status.acked,
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
            acked: with(self.acked, other.acked),
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
            (names::ACKED, self.acked),
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
    /// Those of some shards together, of a stream that keeps records for so long.
    fn of(shards: &[ShardExplanation], retention: Option<Duration>) -> Self {
        // Nothing is left that could be behind, or lost.
        let is_done = !shards.is_empty() && shards.iter().all(ShardExplanation::is_done);
        let behind = shards.iter().filter_map(|it| it.behind).max();
        let headroom = shards.iter().filter_map(|it| it.headroom).min();
        Self {
            in_flight: shards.iter().map(|it| it.status.in_flight).sum(),
            behind: behind.or(is_done.then_some(Duration::ZERO)),
            headroom: headroom.or(retention.filter(|_| is_done)),
        }
    }

    fn publish(self, last: Self, labels: &[Label]) {
        gauge!(names::IN_FLIGHT, labels.to_vec()).set(self.in_flight as f64);
        let millis = |behind: Duration| behind.as_millis() as f64;
        let behind = known(self.behind.map(millis), last.behind.is_some());
        if let Some(behind) = behind {
            gauge!(names::MILLIS_BEHIND_LATEST, labels.to_vec()).set(behind);
        }
        let headroom = self.headroom.map(|it| it.as_secs_f64());
        if let Some(headroom) = known(headroom, last.headroom.is_some()) {
            gauge!(names::RETENTION_HEADROOM, labels.to_vec()).set(headroom);
        }
    }
}

/// What is to be said: a level that was known, and is not any more, does not stand at what it was.
fn known(level: Option<f64>, was_known: bool) -> Option<f64> {
    level.or(was_known.then_some(f64::NAN))
}
