use std::{fmt, time::Duration};

use crate::{ByteBudget, ShardState, ShardStatus, WaitingFor};

/// What a source and each of its shards wait for at one moment, and for how long they have; from
/// [`StreamHandle::explain`](crate::StreamHandle::explain).
///
/// The numbers are those that [`metric_names`](crate::metric_names) lists, where they are up to five seconds old, and some
/// more of each shard. What that lists and is not here: how many [events](crate::SourceEvent) there were; reads, retries and
/// restarts of shards that are forgotten; and what gauges say of a shard that is over.
///
/// Its `Display` is a line for the source and one for each shard:
///
/// ```text
/// orders: waits for news, for 0.4 s
/// shardId-000000000000: reading, waits for demand, for 12.0 s; 1000 in flight, 12003 ms behind
/// shardId-000000000001: at its tip, waits for new records, for 0.1 s; 0 in flight, 0 ms behind
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The source's name.
    pub source: String,
    /// What the stage waits for that finds shards and stores checkpoints.
    pub waiting: Waiting,
    /// What was counted of all shards together, since the start of this process.
    pub totals: Totals,
    /// How much of the budget of bytes is taken.
    pub budget: BudgetLevel,
    /// How long ago all checkpoints were stored or found to be, if ever. Without a store of one's own they
    /// are stored in memory.
    pub checkpoint_age: Option<Duration>,
    /// Every shard that has been discovered, by name; those that wait for their parents come last.
    pub shards: Vec<ShardExplanation>,
}

/// What one shard waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardExplanation {
    /// How it is being read.
    pub status: ShardStatus,
    /// What its reader waits for; or what the shard was told to be [stuck](crate::SourceEvent::Stuck) with, until that
    /// is told to be over, however busy the reader is meanwhile.
    pub waiting: Waiting,
    /// How far reading is behind the tip, if that is known and the shard is still read. One that is not read for more
    /// than ten seconds falls behind all the while. One that was never answered
    /// ([`millis_behind_latest`](ShardStatus::millis_behind_latest) is `None`) is behind for as long as it has not been,
    /// once that is more than ten seconds; how much was there before that, nobody knows.
    pub behind: Option<Duration>,
    /// How long until records are lost that are not read: what is left of the stream's retention time. At most, if the
    /// shard was never answered.
    pub headroom: Option<Duration>,
}

/// What was counted of all shards of a source together, those that have been
/// [forgotten](crate::SourceEvent::ShardForgotten) among them: these never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Records that were read.
    pub records_read: u64,
    /// Their size in bytes, keys and data.
    pub bytes_read: u64,
    /// Records that were acknowledged, each time that they were. User records, where records are taken
    /// apart.
    pub acked: u64,
    /// Calls that were refused because somebody exceeded a shard's throughput.
    pub throttled: u64,
}

/// How much of a [`ByteBudget`] is taken at one moment, by all sources that share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetLevel {
    /// How many bytes it has.
    pub bytes: u64,
    /// How many of them are in use; it may be [more](crate::ByteBudget#the-bound).
    pub in_use: u64,
    /// How many shards wait for room in it.
    pub waiting: usize,
}

/// A wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// For what.
    pub waiting_for: WaitingFor,
    /// How long it has been so.
    pub since: Duration,
    /// Whether that is longer than it should be: see [`Stuck`](crate::SourceEvent::Stuck).
    pub is_stuck: bool,
}

impl ShardExplanation {
    /// `behind` is how far its last answer was behind, and for how long there is none. Nobody is behind in a
    /// shard that is not read any more.
    pub(crate) fn new(
        status: ShardStatus,
        waiting: Waiting,
        behind: Option<Duration>,
        retention: Option<Duration>,
    ) -> Self {
        let mut explained = Self {
            status,
            waiting,
            behind: None,
            headroom: None,
        };
        if !explained.is_over() {
            let headroom = |behind| Some(retention?.saturating_sub(behind));
            explained.behind = behind;
            explained.headroom = behind.and_then(headroom);
        }
        explained
    }

    /// Whether it is not read any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_done() || self.status.state == ShardState::Stopped
    }

    /// Whether all that was to be read of it is acknowledged.
    pub fn is_done(&self) -> bool {
        let state = self.status.state;
        matches!(state, ShardState::Finished | ShardState::Complete)
    }
}

impl Totals {
    /// Counts a shard in.
    pub(crate) fn add(&mut self, shard: &ShardStatus) {
        self.records_read += shard.records_read;
        self.bytes_read += shard.bytes_read;
        self.acked += shard.acked;
        self.throttled += shard.throttled;
    }
}

impl BudgetLevel {
    pub(crate) fn of(budget: &ByteBudget) -> Self {
        Self {
            bytes: budget.bytes(),
            in_use: budget.in_use(),
            waiting: budget.waiting(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.waiting)?;
        self.shards.iter().try_for_each(|it| write!(f, "\n{it}"))
    }
}

impl fmt::Display for ShardExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status,
            waiting,
            behind,
            ..
        } = self;
        write!(f, "{}: {}, {waiting}; ", status.shard, status.state)?;
        write!(f, "{} in flight", status.in_flight)?;
        match behind {
            Some(behind) => write!(f, ", {} ms behind", behind.as_millis()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            waiting_for, since, ..
        } = self;
        write!(
            f,
            "waits for {waiting_for}, for {:.1} s",
            since.as_secs_f64()
        )?;
        match self.is_stuck {
            true => f.write_str(" (stuck)"),
            false => Ok(()),
        }
    }
}
