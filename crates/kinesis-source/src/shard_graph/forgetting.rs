//! Which shards need not be remembered any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{ShardGraph, State, ancestors};
use crate::{Shard, ShardId, Timestamp, unread::CLOCK_SLACK};

/// For so long complete listings have to lack a shard before it is forgotten: no listing is as stale as that.
pub(crate) const UNLISTED_FOR: Duration = Duration::from_secs(600);

impl ShardGraph {
    /// A complete listing that was just [discovered](Self::discover) came now.
    pub(crate) fn note_unlisted(&mut self, listing: &[Shard], now: Instant) {
        let nodes = self.shards.iter();
        let ended = nodes.filter_map(|(id, node)| node.end.is_some().then_some(id));
        let stored = self.checkpoints.iter();
        let never_listed = stored.filter_map(|(id, it)| it.is_end().then_some(id));
        let mut over = ended.chain(never_listed).peekable();
        // A thousand shards that are read need not be looked for among a thousand that are listed.
        let listed: BTreeSet<&ShardId> = match over.peek() {
            Some(_) => listing.iter().map(|shard| &shard.id).collect(),
            None => BTreeSet::new(),
        };
        let lacking = over.filter(|id| !listed.contains(id));
        let before = &self.unlisted;
        let since = |id: &ShardId| before.get(id).copied().unwrap_or(now);
        let unlisted = lacking.map(|id| (id.clone(), since(id))).collect();
        self.unlisted = unlisted;
    }

    /// The shards that may be forgotten once a complete listing has come: their ends are stored, and where
    /// their children begin; the service has lacked them for long, and does not keep anything of them. `at` is
    /// its clock.
    pub(crate) fn forgettable(
        &self,
        now: Instant,
        at: Timestamp,
        retention: Duration,
    ) -> BTreeSet<ShardId> {
        let unlisted = self.unlisted.iter();
        let old =
            unlisted.filter(|(_, since)| now.saturating_duration_since(**since) >= UNLISTED_FOR);
        let is_kept = |shard: &ShardId| {
            let closed_after = self.shards.get(shard).and_then(|node| node.closed_after);
            closed_after.is_some_and(|moment| at.since(moment) < retention + CLOCK_SLACK)
        };
        let gone = old.map(|(shard, _)| shard).filter(|shard| !is_kept(shard));
        let mut gone: BTreeSet<ShardId> = gone.cloned().collect();
        if !gone.is_empty() {
            for (child, node) in &self.shards {
                if self.unstored.contains_key(child) {
                    node.parents.iter().for_each(|parent| {
                        gone.remove(parent);
                    });
                }
            }
        }
        gone
    }

    /// Forgets these shards. A listing that shows them again changes nothing, as long as one of their children
    /// is known.
    pub(crate) fn forget(&mut self, shards: &BTreeSet<ShardId>) {
        let mut closed_after = BTreeMap::new();
        for shard in shards {
            if let Some(node) = self.shards.remove(shard) {
                closed_after.insert(shard, node.closed_after);
            }
            self.checkpoints.remove(shard);
            self.unlisted.remove(shard);
            self.absent.remove(shard);
            self.shown_open.remove(shard);
            self.left_behind.remove(shard);
        }
        for node in self.shards.values_mut() {
            for parent in node.parents.extract_if(.., |it| shards.contains(it)) {
                // It would have been asked for that when this one is started.
                if let (State::Waiting { .. }, Some(moment)) =
                    (&node.state, closed_after.get(&parent))
                {
                    node.none_until = node.none_until.max(*moment);
                }
                node.outlived.push(parent);
            }
        }
    }

    /// The shards of a listing that are forgotten: children of theirs have been read after them. What is not
    /// known and led to these is older still.
    pub(super) fn past(&self, listing: &[Shard]) -> BTreeSet<ShardId> {
        let outlived: BTreeSet<ShardId> = self
            .shards
            .values()
            .flat_map(|node| &node.outlived)
            .cloned()
            .collect();
        if outlived.is_empty() {
            return outlived;
        }
        let mut past = ancestors(listing, &outlived);
        past.extend(outlived);
        past.retain(|shard| !self.knows(shard));
        past
    }

    /// How many shards it remembers, in any way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let Self {
            shards,
            checkpoints,
            expected,
            absent,
            unstored,
            unlisted,
            shown_open,
            left_behind,
            ..
        } = self;
        let others = [
            left_behind.iter().collect(),
            checkpoints.keys().collect::<Vec<_>>(),
            expected.keys().collect(),
            shown_open.keys().collect(),
            absent.keys().collect(),
            unstored.keys().collect(),
            unlisted.keys().collect(),
        ];
        let all: BTreeSet<_> = shards.keys().chain(others.into_iter().flatten()).collect();
        all.len()
    }
}
