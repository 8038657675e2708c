use std::{fmt, time::Duration};

use crate::{ShardStatus, WaitingFor};

/// What a source and each of its shards wait for at one moment, and for how long they have; from
/// [`StreamHandle::explain`](crate::StreamHandle::explain).
///
/// Its `Display` is a line for the source and one for each shard:
///
/// ```text
/// orders: waits for news, for 0.4 s
/// shardId-000000000000: reading, waits for demand, for 12.0 s; 1000 in flight, 3 ms behind
/// shardId-000000000001: at its tip, waits for new records, for 0.1 s; 0 in flight, 0 ms behind
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The source's name.
    pub source: String,
    /// What the stage waits for that finds shards and stores checkpoints.
    pub waiting: Waiting,
    /// Every shard that has been discovered, by name; those that wait for their parents come last.
    pub shards: Vec<ShardExplanation>,
}

/// What one shard waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardExplanation {
    /// How it is being read.
    pub status: ShardStatus,
    /// What its reader waits for.
    pub waiting: Waiting,
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

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.waiting)?;
        self.shards.iter().try_for_each(|it| write!(f, "\n{it}"))
    }
}

impl fmt::Display for ShardExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, waiting } = self;
        write!(f, "{}: {}, {waiting}; ", status.shard, status.state)?;
        write!(f, "{} in flight", status.in_flight)?;
        match status.millis_behind_latest {
            Some(millis) => write!(f, ", {millis} ms behind"),
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
