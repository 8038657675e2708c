use std::time::Duration;

use kinesis_source::{ChildShard, HashRange, ShardId};

use super::{Change, Stream};
use crate::model::{MergeOrder, Moment, Refusal, shard::Shard};

impl Stream {
    /// Begins to split `id`: its upper part starts at `at`.
    pub(crate) fn split(
        &mut self,
        id: &ShardId,
        at: u128,
        takes: Duration,
        now: Moment,
    ) -> Result<(), Refusal> {
        let shard = self.open_one(id, now)?;
        let HashRange { start, end } = shard.hash_range;
        // Not only must both parts have keys: the lower one has two at least, as seen on the service.
        if at <= start.saturating_add(1) || at >= end {
            return Err(Refusal::invalid_argument(format!(
                "NewStartingHashKey {at} used in SplitShard() on shard {id} in stream {} under \
                 account {} is not both greater than one plus the shard's StartingHashKey \
                 {start} and less than the shard's EndingHashKey {end}.",
                self.name,
                self.owner.account()
            )));
        }
        let shard = shard.number;
        self.begin(Change::Split { shard, at }, takes, now)
    }

    /// Begins to merge two shards whose ranges touch.
    pub(crate) fn merge(
        &mut self,
        (id, adjacent): (&ShardId, &ShardId),
        order: MergeOrder,
        takes: Duration,
        now: Moment,
    ) -> Result<(), Refusal> {
        // Whether both are there is looked at before anything else is, as on kinesalite.
        self.one(adjacent, now)?;
        let first = self.open_one(id, now)?;
        let second = self.open_one(adjacent, now)?;
        let follows =
            |a: &Shard, b: &Shard| a.hash_range.end.checked_add(1) == Some(b.hash_range.start);
        let touch = match order {
            MergeOrder::LowerFirst => follows(first, second),
            _ => follows(first, second) || follows(second, first),
        };
        if !touch {
            return Err(Refusal::invalid_argument(format!(
                "Shards {id} and {adjacent} in stream {} under account {} are not an \
                 adjacent pair of shards eligible for merging",
                self.name,
                self.owner.account()
            )));
        }
        let upper_first = follows(second, first);
        let (first, second) = match order {
            MergeOrder::ByHashKey if upper_first => (second, first),
            _ => (first, second),
        };
        let (shard, adjacent) = (first.number, second.number);
        self.begin(Change::Merge { shard, adjacent }, takes, now)
    }

    /// The children of a shard, each with all its parents.
    pub(crate) fn children(&self, shard: u32) -> Vec<ChildShard> {
        let Some(closing) = &self.shards[shard as usize].closing else {
            return Vec::new();
        };
        let child = |number: &u32| {
            let child = &self.shards[*number as usize];
            let id_of = |parent: &u32| self.shards[*parent as usize].id.clone();
            ChildShard {
                id: child.id.clone(),
                parents: child.parents.iter().map(id_of).collect(),
                hash_range: child.hash_range,
            }
        };
        closing.children.iter().map(child).collect()
    }

    pub(super) fn apply(&mut self, change: Change, at: Moment) {
        match change {
            Change::Split { shard, at: key } => {
                let HashRange { start, end } = self.shards[shard as usize].hash_range;
                let parts = [
                    HashRange {
                        start,
                        end: key - 1, // the key was checked to lie above `start`
                    },
                    HashRange { start: key, end },
                ];
                self.replace(&[shard], &parts, at);
            }
            Change::Merge { shard, adjacent } => {
                let [a, b] = [shard, adjacent].map(|it| self.shards[it as usize].hash_range);
                let whole = HashRange {
                    start: a.start.min(b.start),
                    end: a.end.max(b.end),
                };
                self.replace(&[shard, adjacent], &[whole], at);
            }
        }
    }

    /// Closes `parents` and opens their children, which take the puts from then on.
    fn replace(&mut self, parents: &[u32], ranges: &[HashRange], at: Moment) {
        let born = |parent: &u32| self.shards[*parent as usize].starting.born();
        let newest = parents.iter().map(born).max().unwrap_or(0);
        // Later than its parents', so that a child's numbers are larger than all of theirs.
        let second = newest.max(at.seconds()).saturating_add(1);
        for parent in parents {
            let start = self.shards[*parent as usize].hash_range.start;
            self.routes.remove(&start);
        }
        let children: Vec<_> = ranges
            .iter()
            .map(|range| self.open_shard(parents.to_vec(), *range, at, second))
            .collect();
        for parent in parents {
            self.shards[*parent as usize].close(at, children.clone());
        }
    }

    fn begin(&mut self, change: Change, takes: Duration, now: Moment) -> Result<(), Refusal> {
        self.check_active()?;
        self.update(vec![change], None, takes, now);
        Ok(())
    }

    fn one(&self, id: &ShardId, now: Moment) -> Result<&Shard, Refusal> {
        let number = self.number_of(id)?;
        let shard = self.shards.get(number as usize);
        let shard = shard.filter(|shard| !shard.has_expired(self.retention(), now));
        shard.ok_or_else(|| super::not_found(id, &self.name, &self.owner))
    }

    fn open_one(&self, id: &ShardId, now: Moment) -> Result<&Shard, Refusal> {
        let shard = self.one(id, now)?;
        if shard.is_open() {
            return Ok(shard);
        }
        Err(Refusal::invalid_argument(format!(
            "Shard {id} in stream {} under account {} has already been merged or split, \
             and thus is not eligible for merging or splitting.",
            self.name,
            self.owner.account()
        )))
    }
}
