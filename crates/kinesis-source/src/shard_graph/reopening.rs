//! Which shards were not over when they seemed to be.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::{ShardGraph, State};
use crate::{Checkpoint, PinnedPosition, Shard, ShardId, place::Mark, unread::CLOCK_SLACK};

/// Listings show a shard as open whose end is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// The first of them was asked for then. It may be out of date.
    first: Instant,
    /// So was the first that was asked for so much later that it cannot be.
    proof: Option<Instant>,
}

/// A shard that is to be read on after what had seemed to be its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reopened {
    pub(crate) shard: ShardId,
    pub(crate) from: PinnedPosition,
    /// Those of its children that are read already, or were.
    pub(crate) begun: Vec<ShardId>,
    /// Children that were announced by nobody else and that no listing has had: an open shard has none.
    pub(crate) imagined: BTreeSet<ShardId>,
}

impl ShardGraph {
    /// A listing that was just [discovered](Self::discover) had been asked for at that moment. Returns the shards
    /// that are to be read on, although their ends are stored: they wait to be read now.
    ///
    /// One listing proves nothing: it may be out of date, by [`CLOCK_SLACK`] at most, or wrong. So there has to be
    /// one that was asked for later than that after the first that showed the shard as open, which was itself asked
    /// for after the end, and another one later still by as much. That one may also show it as closed by now, or lack it.
    pub(crate) fn reopen(&mut self, listing: &[Shard], asked_at: Instant) -> Vec<Reopened> {
        let is_over = |id: &ShardId| self.shards.get(id).is_some_and(|node| node.end.is_some());
        let open = listing.iter().filter(|it| !it.is_closed()).map(|it| &it.id);
        let mut open: BTreeSet<ShardId> = open
            .filter(|it| is_over(it) && self.wants(it))
            .cloned()
            .collect();
        if !open.is_empty() {
            // Whoever has children is closed.
            listing.iter().flat_map(Shard::parents).for_each(|parent| {
                open.remove(parent);
            });
        }
        let known: BTreeSet<ShardId> = self.shown_open.keys().chain(&open).cloned().collect();
        let mut reopened = Vec::new();
        for shard in known {
            if self.is_proven_open(&shard, open.contains(&shard), asked_at) {
                self.shown_open.remove(&shard);
                reopened.extend(self.read_on(&shard));
            }
        }
        reopened
    }

    /// Whether there are shards whose end is stored and that the last listing that had them showed as open.
    pub(crate) fn doubts_ends(&self) -> bool {
        !self.shown_open.is_empty()
    }

    /// When to list next, if not before that moment: a listing that tells more about them is needed earlier.
    pub(crate) fn list_by(&self, moment: Instant) -> Instant {
        let shown = self.shown_open.values();
        let needed = shown.map(|it| it.proof.unwrap_or(it.first) + CLOCK_SLACK);
        needed.fold(moment, Instant::min)
    }

    fn is_proven_open(&mut self, shard: &ShardId, is_open: bool, asked_at: Instant) -> bool {
        let is_later = |than: Instant| asked_at >= than + CLOCK_SLACK;
        let shown = self.shown_open.get_mut(shard);
        match shown {
            Some(Shown {
                proof: Some(proof), ..
            }) => return is_later(*proof) || !is_open,
            Some(shown) if is_open => shown.proof = is_later(shown.first).then_some(asked_at),
            Some(_) => {
                self.shown_open.remove(shard);
            }
            None if is_open => {
                let shown = Shown {
                    first: asked_at,
                    proof: None,
                };
                self.shown_open.insert(shard.clone(), shown);
            }
            None => {}
        }
        false
    }

    fn read_on(&mut self, shard: &ShardId) -> Option<Reopened> {
        let node = self.shards.get_mut(shard)?;
        let (from, state) = match node.end.take()? {
            Checkpoint::EndAfter { sequence_number } => {
                let from = PinnedPosition::AfterSequenceNumber(sequence_number.clone());
                let done = Mark::whole(sequence_number);
                let state = State::resumed(done, None, &node.starting_sequence_number);
                (from, state)
            }
            _ => {
                let from = node.began.clone();
                let resumed = None;
                (from.position.clone(), State::Waiting { from, resumed })
            }
        };
        node.state = state;
        node.is_reopened = true;
        self.waiting.insert(shard.clone());
        self.waiting_changed = true;
        self.unlisted.remove(shard);
        Some(Reopened {
            shard: shard.clone(),
            from,
            begun: self.begun_children(shard),
            imagined: self.expect_no_more(shard),
        })
    }

    fn begun_children(&self, of: &ShardId) -> Vec<ShardId> {
        let children = self.shards.iter().filter(|(_, it)| it.parents.contains(of));
        let begun = children.filter(|(_, it)| !matches!(it.state, State::Waiting { .. }));
        begun.map(|(child, _)| child.clone()).collect()
    }

    /// What it announced is not expected any more.
    fn expect_no_more(&mut self, parent: &ShardId) -> BTreeSet<ShardId> {
        let imagined = self.expected.extract_if(.., |_, parents| {
            parents.remove(parent);
            parents.is_empty()
        });
        let imagined: BTreeSet<ShardId> = imagined.map(|(child, _)| child).collect();
        self.begun.retain(|child| !imagined.contains(child));
        imagined
    }
}
