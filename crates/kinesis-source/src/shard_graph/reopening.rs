//! Which shards were not over when they seemed to be.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use tokio::time::Instant;

use super::{Node, ShardGraph, State};
use crate::{
    Checkpoint, PinnedPosition, Shard, ShardId, lineage::holes, place::Mark, unread::CLOCK_SLACK,
};

/// Listings show a shard as open whose end is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// The first of them was asked for then. It may be out of date.
    first: Instant,
    /// So was the first that was asked for so much later that it cannot be.
    proof: Option<Instant>,
    /// Whether one before them had its children.
    is_late: bool,
}

/// How a listing has a shard whose end is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Open,
    Closed,
    /// Closed, with another number than before.
    ClosedElsewhere,
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
    ///
    /// One that is shown as closed before that is proven was closed after its end, or the listing that showed it as
    /// open was late; and so was one that is closed with another number than before. To read on costs little then,
    /// and there is nothing to be read but what is missing.
    pub(crate) fn reopen(&mut self, listing: &[Shard], asked_at: Instant) -> Vec<Reopened> {
        let mut seen = self.see(listing);
        if seen.values().any(|sight| *sight == Sight::Open) {
            // Whoever has children is closed.
            for parent in listing.iter().flat_map(Shard::parents) {
                seen.entry(parent.clone()).and_modify(|sight| {
                    if *sight == Sight::Open {
                        *sight = Sight::Closed;
                    }
                });
            }
        }
        let in_doubt = self.shown_open.keys();
        let known: BTreeSet<ShardId> = in_doubt.chain(seen.keys()).cloned().collect();
        let mut reopened = Vec::new();
        for shard in known {
            if self.is_proven_open(&shard, seen.get(&shard).copied(), asked_at) {
                self.shown_open.remove(&shard);
                reopened.extend(self.read_on(&shard));
            }
        }
        if let Some(last) = reopened.last_mut() {
            last.imagined.extend(self.take_imagined(listing));
        }
        reopened
    }

    /// How a listing has the shards whose ends are stored, and that are wanted.
    fn see(&mut self, listing: &[Shard]) -> BTreeMap<ShardId, Sight> {
        let mut seen = BTreeMap::new();
        if self.shards.values().all(|node| node.end.is_none()) {
            return seen;
        }
        for shard in listing {
            let is_wanted = self.wants(&shard.id);
            let node = self.shards.get_mut(&shard.id);
            let Some(node) = node.filter(|node| is_wanted && node.end.is_some()) else {
                continue;
            };
            let ending = shard.ending_sequence_number.as_ref();
            let before = node.ending.as_ref();
            // One that ends elsewhere each time is told nothing by that.
            let is_elsewhere = !node.is_reopened && before.is_some() && before != ending;
            let sight = match ending {
                None => Sight::Open,
                Some(_) if is_elsewhere => Sight::ClosedElsewhere,
                Some(_) => Sight::Closed,
            };
            if node.ending.is_none() {
                node.ending = ending.cloned();
            }
            seen.insert(shard.id.clone(), sight);
        }
        seen
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

    fn is_proven_open(&mut self, shard: &ShardId, sight: Option<Sight>, asked_at: Instant) -> bool {
        let is_later = |than: Instant| asked_at >= than + CLOCK_SLACK;
        match (self.shown_open.get_mut(shard), sight) {
            (_, Some(Sight::ClosedElsewhere)) => return true,
            (
                Some(Shown {
                    proof: Some(proof), ..
                }),
                _,
            ) => return is_later(*proof) || sight != Some(Sight::Open),
            (Some(shown), Some(Sight::Open)) => {
                shown.proof = is_later(shown.first).then_some(asked_at);
            }
            (Some(shown), Some(_)) => {
                let is_late = shown.is_late;
                self.shown_open.remove(shard);
                return !is_late;
            }
            // One that lacks it may be from before it was made.
            (Some(shown), None) if is_later(shown.first) => {
                self.shown_open.remove(shard);
            }
            (None, Some(Sight::Open)) => {
                let shown = Shown {
                    first: asked_at,
                    proof: None,
                    is_late: self.children(shard).next().is_some(),
                };
                self.shown_open.insert(shard.clone(), shown);
            }
            _ => {}
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
            end => {
                let from = match end {
                    Checkpoint::EndFrom { position } => position.into(),
                    _ => node.began.clone(),
                };
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

    fn children<'a>(&'a self, of: &'a ShardId) -> impl Iterator<Item = (&'a ShardId, &'a Node)> {
        self.shards.iter().filter(|(_, it)| it.parents.contains(of))
    }

    fn begun_children(&self, of: &ShardId) -> Vec<ShardId> {
        let begun = self
            .children(of)
            .filter(|(_, it)| !matches!(it.state, State::Waiting { .. }));
        begun.map(|(child, _)| child.clone()).collect()
    }

    /// A shard was not over, by this listing: what a former process has stored of the children that it had announced
    /// is about shards that there are not. Whose children they are nobody knows; but if the listing has all else of
    /// which something is stored, it would have those that there are, too: nothing has aged out meanwhile.
    fn take_imagined(&mut self, listing: &[Shard]) -> BTreeSet<ShardId> {
        let is_begin = |it: &Checkpoint| it.is_untouched_child();
        let is_sure = self.checkpoints.values().all(is_begin) && holes(listing).is_empty();
        if !is_sure {
            return BTreeSet::new();
        }
        let imagined: BTreeSet<ShardId> = mem::take(&mut self.checkpoints).into_keys().collect();
        self.absent.retain(|shard, _| !imagined.contains(shard));
        imagined
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
