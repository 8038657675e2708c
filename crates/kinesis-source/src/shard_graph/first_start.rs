//! Where shards begin that were there from the start.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{ShardGraph, ancestors};
use crate::{
    Checkpoint, PinnedPosition, Shard, ShardId, StartPosition, Timestamp, place::Place,
    unread::CLOSE,
};

/// When a stream was opened for the first time, and for how long it kept records then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) at: Timestamp,
    pub(crate) retention: Duration,
}

/// A [`StartPosition`] that has been decided, for shards that were there from the start.
#[derive(Clone, Debug)]
pub(crate) enum FirstStart {
    /// Everything that is kept, or all since a moment.
    At(PinnedPosition),
    /// What comes in open shards from now on. `now` is the moment that this was decided.
    Tip { now: Timestamp },
    /// After one record; what led to it is left out.
    After {
        shard: ShardId,
        position: PinnedPosition,
    },
    /// There were checkpoints: what is new has been made since.
    Resumed,
}

impl FirstStart {
    /// Decides where a stream begins that is read for the first time, or again.
    pub(crate) fn decide(
        wanted: &StartPosition,
        checkpoints: &BTreeMap<ShardId, Checkpoint>,
        now: Timestamp,
    ) -> Self {
        if !checkpoints.is_empty() {
            return Self::Resumed;
        }
        match wanted {
            StartPosition::TrimHorizon => Self::At(PinnedPosition::TrimHorizon),
            StartPosition::AtTimestamp(moment) => Self::At(PinnedPosition::AtTimestamp(*moment)),
            StartPosition::Latest => Self::Tip { now },
            StartPosition::After {
                shard,
                sequence_number,
            } => Self::After {
                shard: shard.clone(),
                position: PinnedPosition::AfterSequenceNumber(sequence_number.clone()),
            },
        }
    }
}

impl Opened {
    /// Where a stream begins that is opened then. A moment from which on nothing is kept any more is
    /// the horizon, and is stored as that: who goes on from it later has not lost what was gone by now.
    pub(crate) fn horizon_or(self, start: FirstStart) -> FirstStart {
        match start {
            FirstStart::At(PinnedPosition::AtTimestamp(moment))
                if self.at.since(moment) >= self.retention + CLOSE =>
            {
                FirstStart::At(PinnedPosition::TrimHorizon)
            }
            start => start,
        }
    }
}

impl ShardGraph {
    /// Where a shard is read from of which nothing is stored.
    pub(super) fn first_place(&self, shard: &Shard) -> Place {
        let position = match &self.first_start {
            FirstStart::At(position) => position.clone(),
            FirstStart::Tip { now } => PinnedPosition::AtTimestamp(*now),
            FirstStart::After {
                shard: wanted,
                position,
            } if *wanted == shard.id => position.clone(),
            FirstStart::After { .. } | FirstStart::Resumed => PinnedPosition::TrimHorizon,
        };
        position.into()
    }

    /// The shards that led to the one to start after, and those that were left behind.
    pub(super) fn left_out(&self, listing: &[Shard]) -> BTreeSet<ShardId> {
        let mut left_out = ancestors(listing, &self.left_behind);
        left_out.extend(self.left_behind.iter().cloned());
        if let FirstStart::After { shard, .. } = &self.first_start {
            left_out.extend(ancestors(listing, [shard]));
        }
        left_out
    }

    /// Takes note of the parents that the first listing lacks, of shards that are read from somewhere within
    /// them or are left out: they were closed before that, and are over, should a later listing have them.
    pub(super) fn leave_behind(&mut self, listing: &[Shard]) {
        let led_to = |of: &BTreeSet<ShardId>| {
            let shards = listing.iter().filter(|it| of.contains(&it.id));
            let parents: BTreeSet<ShardId> = shards.flat_map(Shard::parents).cloned().collect();
            parents
        };
        let mut parents = match &self.first_start {
            FirstStart::Tip { .. } => led_to(&listing.iter().map(|it| it.id.clone()).collect()),
            FirstStart::After { shard, .. } => {
                let mut of = ancestors(listing, [shard]);
                of.insert(shard.clone());
                led_to(&of)
            }
            FirstStart::At(_) | FirstStart::Resumed => return,
        };
        parents.retain(|parent| !listing.iter().any(|it| it.id == *parent));
        for parent in &parents {
            let end = match &self.first_start {
                FirstStart::Tip { now } => Checkpoint::end_from(&PinnedPosition::AtTimestamp(*now)),
                _ => Checkpoint::End,
            };
            self.checkpoints.insert(parent.clone(), end.clone());
            self.unstored.insert(parent.clone(), end);
        }
        self.left_behind.extend(parents);
    }
}
