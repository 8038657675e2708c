use std::{collections::BTreeSet, ops::Bound, time::Duration};

use kinesis_source::HashRange;

use super::{Change, Phase, Stream, even_ranges};
use crate::model::Moment;

/// How many shards a stream is to have in the end, and how long each round on the way takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) shards: u32,
    pub(crate) step: Duration,
}

impl Stream {
    /// The most shards that are open at once on the way to `shards`: those that are split are gone
    /// before the first are merged.
    pub(crate) fn peak_on_the_way_to(&self, shards: u32) -> u32 {
        let starts = even_ranges(shards).map(|range| range.start);
        let new = starts.filter(|start| !self.routes.contains_key(start));
        self.open_shards()
            .saturating_add(u32::try_from(new.count()).unwrap_or(u32::MAX))
    }

    /// Begins a series of splits and merges after which there are so many shards of equal size.
    pub(crate) fn resize(&mut self, goal: Goal, now: Moment) {
        let round = self.next_round(goal);
        self.update(round, Some(goal), goal.step, now);
    }

    /// Changes by `changes` in a while, and then goes on to the goal.
    pub(super) fn update(
        &mut self,
        changes: Vec<Change>,
        goal: Option<Goal>,
        takes: Duration,
        now: Moment,
    ) {
        // Whoever waits for news of these shards must know how long to wait at most.
        for shard in changes.iter().flat_map(|change| change.parents()) {
            self.news.extend(&self.shards[shard as usize].subscribers);
        }
        self.phase = Phase::Updating {
            until: now.plus(takes),
            changes,
            goal,
        };
        self.complete(now);
    }

    /// Completes the rounds of changes that are due.
    pub(super) fn complete(&mut self, now: Moment) {
        while let Phase::Updating {
            until,
            changes,
            goal,
        } = &mut self.phase
            && *until <= now
        {
            let (until, goal) = (*until, *goal);
            for change in std::mem::take(changes) {
                self.apply(change, until);
            }
            let round = goal.map_or_else(Vec::new, |goal| self.next_round(goal));
            self.phase = match goal {
                Some(goal) if !round.is_empty() => Phase::Updating {
                    until: until.plus(goal.step),
                    changes: round,
                    goal: Some(goal),
                },
                _ => Phase::Active,
            };
        }
    }

    /// What can be done at once on the way to a goal: splits at boundaries that are missing, and
    /// once there are none, merges at those that are too many. None if it is reached.
    fn next_round(&self, goal: Goal) -> Vec<Change> {
        let wanted: BTreeSet<_> = even_ranges(goal.shards).map(|range| range.start).collect();
        let splits: Vec<_> = self.splits(&wanted).collect();
        match splits.is_empty() {
            true => self.merges(&wanted),
            false => splits,
        }
    }

    fn splits(&self, wanted: &BTreeSet<u128>) -> impl Iterator<Item = Change> {
        self.routes.values().filter_map(|shard| {
            let HashRange { start, end } = self.shards[*shard as usize].hash_range;
            let within = wanted.range((Bound::Excluded(start), Bound::Included(end)));
            // In the middle, so that it takes few rounds. The other boundaries are left to those.
            let at = within.clone().nth(within.count() / 2)?;
            Some(Change::Split {
                shard: *shard,
                at: *at,
            })
        })
    }

    fn merges(&self, wanted: &BTreeSet<u128>) -> Vec<Change> {
        let mut merges = Vec::new();
        let mut free = None;
        for (start, shard) in &self.routes {
            free = match free {
                Some(before) if !wanted.contains(start) => {
                    merges.push(Change::Merge {
                        shard: before,
                        adjacent: *shard,
                    });
                    None
                }
                _ => Some(*shard),
            };
        }
        merges
    }

    /// Splits the widest shard in halves until there are so many.
    pub(super) fn split_widest(&mut self, shards: u32, at: Moment) {
        while self.open_shards() < shards {
            let open = self.routes.values();
            let width = |shard: &&u32| {
                let HashRange { start, end } = self.shards[**shard as usize].hash_range;
                end - start
            };
            // Of several, the first.
            let Some(widest) = open.rev().max_by_key(width) else {
                return;
            };
            let HashRange { start, end } = self.shards[*widest as usize].hash_range;
            if end - start < 4 {
                return;
            }
            let change = Change::Split {
                shard: *widest,
                at: start + (end - start) / 2 + 1,
            };
            self.apply(change, at);
        }
    }
}
