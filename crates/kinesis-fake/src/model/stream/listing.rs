use kinesis_source::{ShardId, StreamStatus, Timestamp};

use super::Stream;
use crate::model::{Moment, Refusal, TimeBeforeHorizon, shard::Shard};

/// Which shards of a stream to list. Those that have expired are never among them.
/// ([ShardFilter](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ShardFilter.html))
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShardFilter {
    /// All of them.
    #[default]
    FromTrimHorizon,
    /// Those that were open at the trim horizon: they have no parents any more.
    AtTrimHorizon,
    /// Those that are open.
    AtLatest,
    /// Those that were open at that moment.
    AtTimestamp(Timestamp),
    /// Those that were open at that moment or came later.
    FromTimestamp(Timestamp),
    /// Those after that one.
    AfterShardId(ShardId),
}

/// A filter with shards as numbers, so that it fits into a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    All,
    AtTrimHorizon,
    AtLatest,
    AtTimestamp(Timestamp),
    FromTimestamp(Timestamp),
}

impl Stream {
    /// At most `most` shards that pass `filter`, from number `from` on; with it the number at which
    /// the listing goes on, if it does.
    pub(crate) fn list(
        &self,
        filter: Filter,
        from: u32,
        most: usize,
        now: Moment,
    ) -> (Vec<kinesis_source::Shard>, Option<u32>) {
        // Numbers are indices: no need to look at those before.
        let rest = self.shards.iter().skip(from as usize);
        let mut passing = rest.filter(|shard| self.passes(shard, filter, now));
        let page = passing.by_ref().take(most);
        let page = page.map(|shard| self.describe(shard)).collect();
        (page, passing.next().map(|shard| shard.number))
    }

    /// What a filter stands for where the documents leave it open.
    pub(crate) fn adjust(
        &self,
        filter: Filter,
        before_horizon: TimeBeforeHorizon,
        now: Moment,
    ) -> Filter {
        let horizon = now.minus(self.retention()).max(self.created).timestamp();
        match (filter, before_horizon) {
            (Filter::AtTimestamp(time), TimeBeforeHorizon::TrimHorizon) if time < horizon => {
                Filter::AtTrimHorizon
            }
            _ => filter,
        }
    }

    fn passes(&self, shard: &Shard, filter: Filter, now: Moment) -> bool {
        let expired = |shard: &Shard| shard.has_expired(self.retention(), now);
        let closed_before = |time: Timestamp| {
            let closing = shard.closing.as_ref();
            closing.is_some_and(|closing| closing.at.timestamp() < time)
        };
        let orphan = || {
            let mut parents = shard.parents.iter();
            parents.all(|parent| expired(&self.shards[*parent as usize]))
        };
        let passes = match filter {
            Filter::All => true,
            Filter::AtTrimHorizon => orphan(),
            Filter::AtLatest => shard.is_open(),
            Filter::AtTimestamp(time) => shard.created.timestamp() <= time && !closed_before(time),
            Filter::FromTimestamp(time) => !closed_before(time),
        };
        passes && !expired(shard)
    }

    /// Refuses what needs shards to show while there are none.
    pub(crate) fn check_usable(&self) -> Result<(), Refusal> {
        if self.is_usable() {
            return Ok(());
        }
        Err(self.not_active())
    }

    pub(crate) fn not_active(&self) -> Refusal {
        Refusal::in_use(format!(
            "Stream {} under account {} not ACTIVE, instead in state {}",
            self.name,
            self.owner.account(),
            status_name(self.status())
        ))
    }
}

/// As the service writes it.
pub(crate) fn status_name(status: StreamStatus) -> &'static str {
    match status {
        StreamStatus::Creating => "CREATING",
        StreamStatus::Deleting => "DELETING",
        StreamStatus::Updating => "UPDATING",
        // The service has four; the type may know more one day.
        _ => "ACTIVE",
    }
}
