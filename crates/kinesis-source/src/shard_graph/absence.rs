//! Shards that there may be although no listing has had them.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::{Node, ShardGraph, State};
use crate::{HashRange, Shard, ShardId, Timestamp};

/// What is known of a parent that no listing has had.
#[derive(Clone, Copy, Debug)]
pub(super) enum Absence {
    /// The first listing without it came then.
    Doubtful(Instant),
    /// It has aged out.
    Proven,
}

/// So far apart are two listings that prove together that a shard has aged out.
pub(crate) const ABSENT_FOR: Duration = Duration::from_secs(1);

/// The same, of a shard that was being read when a checkpoint was stored, or that was closed less than the
/// retention time ago, by the numbers of its children: as a rule, it is there.
const ABSENT_THOUGH_READ_FOR: Duration = Duration::from_secs(60);

impl ShardGraph {
    /// A listing that was just [discovered](Self::discover) came now. Whether what it lacks has aged out, a later
    /// one proves, if that lacks it, too: parents of shards that wait, and shards that were not read to their
    /// ends. These are read as if they were listed then, so that somebody finds out what they have lost.
    /// What was closed after `kept_since` should be kept and listed: it is waited for longer, and then it is read, too.
    pub(crate) fn note_absent(&mut self, now: Instant, kept_since: Timestamp) {
        let doubts_ends = self.doubts_ends();
        let unfinished: BTreeSet<ShardId> = self.unfinished().cloned().collect();
        let Self {
            shards,
            waiting,
            checkpoints,
            absent,
            ..
        } = self;
        let nodes = waiting.iter().filter_map(|shard| shards.get(shard));
        let nodes = Vec::from_iter(nodes.filter(|node| !node.parents.is_empty()));
        let young = young_parents(&nodes, kept_since);
        let nodes = nodes.into_iter();
        let unread = |node: &&Node| matches!(&node.state, State::Waiting { resumed: None, .. });
        let parents = nodes.filter(unread).flat_map(|node| &node.parents);
        let parents = parents.filter(|&parent| !shards.contains_key(parent));
        let missing: BTreeSet<&ShardId> = parents.chain(&unfinished).collect();
        absent.retain(|shard, _| missing.contains(shard));
        for &shard in &missing {
            let lasts = match checkpoints.get(shard) {
                Some(it) if it.is_end() => Duration::ZERO,
                // There may be no such shard: see `take_imagined`.
                Some(it) if doubts_ends && it.is_untouched_child() => Duration::MAX,
                Some(_) => ABSENT_THOUGH_READ_FOR,
                None if young.contains(shard) => ABSENT_THOUGH_READ_FOR,
                None => ABSENT_FOR,
            };
            let absence = absent
                .entry(shard.clone())
                .or_insert(Absence::Doubtful(now));
            if let Absence::Doubtful(since) = *absence
                && now.saturating_duration_since(since) >= lasts
            {
                *absence = Absence::Proven;
            }
        }
        // What should be kept, and of which nothing is known, may be there all the same.
        let unknown = |shard: &&ShardId| !self.checkpoints.contains_key(shard);
        let young: Vec<ShardId> = young.iter().filter(unknown).cloned().collect();
        for shard in unfinished.iter().chain(&young) {
            if matches!(self.absent.get(shard), Some(Absence::Proven)) {
                self.adopt(shard);
            }
        }
    }

    /// The shards that were not read to their ends, and that no listing has had.
    fn unfinished(&self) -> impl Iterator<Item = &ShardId> {
        let stored = self.checkpoints.iter();
        stored.filter_map(|(shard, it)| (!it.is_end() && self.wants(shard)).then_some(shard))
    }

    /// Has a shard read that is not listed. Nothing is known of it but how far it is done.
    fn adopt(&mut self, shard: &ShardId) {
        let unlisted = Shard {
            id: shard.clone(),
            parent: None,
            adjacent_parent: None,
            hash_range: HashRange::ALL,
            starting_sequence_number: 0.into(),
            ending_sequence_number: None,
        };
        self.absent.remove(shard);
        self.discover_since(&[unlisted], None);
    }

    /// The shards that may be there although no listing has had them so far.
    pub(super) fn doubtful(&self) -> impl Iterator<Item = &ShardId> {
        let absent = self.absent.iter();
        absent.filter_map(|(shard, it)| matches!(it, Absence::Doubtful(_)).then_some(shard))
    }

    /// The shards that were announced, or are parents of others, and that no listing has had so far.
    pub(crate) fn lacking(&self) -> Vec<ShardId> {
        let lacking: BTreeSet<_> = self.expected.keys().chain(self.doubtful()).collect();
        lacking.into_iter().cloned().collect()
    }

    /// Whether there are such shards.
    pub(crate) fn lacks_expected(&self) -> bool {
        !self.expected.is_empty() || self.doubtful().next().is_some()
    }
}

/// The parents of those that were made after that moment, and so were closed after it.
fn young_parents(nodes: &[&Node], kept_since: Timestamp) -> BTreeSet<ShardId> {
    let is_young = |it: &&&Node| it.made_at.is_some_and(|made_at| made_at > kept_since);
    let young = nodes.iter().filter(is_young);
    young.flat_map(|it| &it.parents).cloned().collect()
}
