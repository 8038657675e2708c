use kinesis_source::StreamStatus;

use super::{Goal, Stream};
use crate::model::Moment;

/// What is being done to a stream.
#[derive(Debug)]
pub(super) enum Phase {
    Active,
    Creating {
        until: Moment,
    },
    Updating {
        until: Moment,
        /// What is done to the shards then.
        changes: Vec<Change>,
        /// What for, if that is not enough.
        goal: Option<Goal>,
    },
    Deleting {
        until: Moment,
    },
}

/// A change of the shards.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Split { shard: u32, at: u128 },
    Merge { shard: u32, adjacent: u32 },
}

impl Change {
    /// The shards that it closes.
    pub(super) fn parents(self) -> impl Iterator<Item = u32> {
        let (first, second) = match self {
            Self::Split { shard, .. } => (shard, None),
            Self::Merge { shard, adjacent } => (shard, Some(adjacent)),
        };
        [first].into_iter().chain(second)
    }
}

impl Stream {
    /// Completes what is due.
    pub(crate) fn settle(&mut self, now: Moment) {
        self.consumers.settle(now);
        self.encryption.settle(self.newest_index + 1, now);
        if matches!(self.phase, Phase::Creating { until } if until <= now) {
            self.phase = Phase::Active;
        }
        self.complete(now);
    }

    pub(crate) fn has_gone(&self, now: Moment) -> bool {
        matches!(self.phase, Phase::Deleting { until } if until <= now)
    }

    /// When it changes by itself, if it does.
    pub(crate) fn next_change(&self) -> Option<Moment> {
        let completes = match self.phase {
            Phase::Updating { until, .. } => Some(until),
            Phase::Active | Phase::Creating { .. } | Phase::Deleting { .. } => None,
        };
        let times = [completes, self.provision.grows_at()];
        times.into_iter().flatten().min()
    }

    pub(crate) fn delete(&mut self, until: Moment) {
        self.phase = Phase::Deleting { until };
    }

    pub(crate) fn status(&self) -> StreamStatus {
        match self.phase {
            Phase::Active => StreamStatus::Active,
            Phase::Creating { .. } => StreamStatus::Creating,
            Phase::Updating { .. } => StreamStatus::Updating,
            Phase::Deleting { .. } => StreamStatus::Deleting,
        }
    }

    /// Whether it has records and shards to show.
    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Updating { .. })
    }
}
