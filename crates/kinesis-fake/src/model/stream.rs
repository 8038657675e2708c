use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use kinesis_source::{
    HashRange, SequenceNumber, Shard as ShardDescription, ShardId, StreamSummary, Timestamp,
};

use self::{
    capacity::Provision,
    consumers::Consumers,
    phase::{Change, Phase},
    ranges::even_ranges,
};
use super::{
    Metric, Moment, Operation, Owner, Refusal, StreamMode,
    encryption::Encryption,
    limits::Rate,
    sequence::Sequence,
    service::Labels,
    shard::{self, Birth, Shard},
    subscription::SubscriptionId,
};

mod capacity;
mod consumers;
mod listing;
mod phase;
mod ranges;
mod reshard;
mod resize;
mod write;

pub(crate) use listing::Filter;
pub use listing::ShardFilter;
#[cfg(feature = "serve")]
pub(crate) use listing::status_name;
pub(crate) use resize::Goal;
pub(crate) use write::bytes_of;

/// One stream: its shards, and what is being done to it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) owner: Owner,
    /// Tells it from others of its name.
    pub(crate) number: u64,
    created: Moment,
    retention_hours: u32,
    phase: Phase,
    /// By number. A shard that has expired stays here, empty.
    shards: Vec<Shard>,
    /// The open shards, by the start of their hash ranges.
    routes: BTreeMap<u128, u32>,
    /// The index of the newest record's number.
    newest_index: u64,
    /// What its shards keep.
    bytes: u64,
    /// The numbers of the records that retention took last, in the order in which they went.
    expired: VecDeque<Sequence>,
    /// The newest index of those before them.
    expired_forgotten: Option<u64>,
    pub(crate) provision: Provision,
    pub(crate) consumers: Consumers,
    pub(crate) labels: Labels,
    pub(crate) encryption: Encryption,
    /// Those that are wanted.
    pub(crate) metrics: BTreeSet<Metric>,
    /// The subscriptions that something happened to.
    pub(crate) news: BTreeSet<SubscriptionId>,
    /// The calls that were only to be checked.
    pub(crate) dry_runs: Rate,
    /// The limits that hold for the stream.
    rates: BTreeMap<Operation, Rate>,
}

/// What a new stream is to be.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) name: &'a str,
    pub(crate) owner: &'a Owner,
    pub(crate) number: u64,
    pub(crate) shards: u32,
    pub(crate) mode: StreamMode,
    pub(crate) retention_hours: u32,
    /// The second that the sequence numbers of its shards carry.
    pub(crate) second: u64,
    /// How long it takes.
    pub(crate) duration: Duration,
}

impl Stream {
    pub(crate) fn new(plan: &Plan<'_>, now: Moment) -> Self {
        let mut stream = Self {
            name: plan.name.to_owned(),
            owner: plan.owner.clone(),
            number: plan.number,
            created: now,
            retention_hours: plan.retention_hours,
            phase: Phase::Creating {
                until: now.plus(plan.duration),
            },
            shards: Vec::new(),
            routes: BTreeMap::new(),
            newest_index: 0,
            bytes: 0,
            expired: VecDeque::new(),
            expired_forgotten: None,
            provision: Provision::new(plan.mode),
            consumers: Consumers::default(),
            labels: Labels::default(),
            encryption: Encryption::default(),
            metrics: BTreeSet::new(),
            news: BTreeSet::new(),
            dry_runs: Rate::default(),
            rates: BTreeMap::new(),
        };
        for hash_range in even_ranges(plan.shards) {
            stream.open_shard(Vec::new(), hash_range, now, plan.second);
        }
        stream.settle(now);
        stream
    }

    /// Counts a call against the stream's limit on its operation.
    pub(crate) fn admit(
        &mut self,
        operation: Operation,
        per_second: Option<u32>,
        now: Moment,
    ) -> Result<(), Refusal> {
        let rate = self.rates.entry(operation).or_default();
        if rate.admit(per_second, now) {
            return Ok(());
        }
        Err(Refusal::limit_exceeded(format!(
            "Rate exceeded for {operation} on stream {} under account {}.",
            self.name,
            self.owner.account()
        )))
    }

    /// Who is subscribed to a shard; `None` if there is no such shard.
    pub(crate) fn subscribers(&self, shard: &ShardId) -> Option<&BTreeSet<SubscriptionId>> {
        let number = shard::number(shard)?;
        let shard = self.shards.get(number as usize)?;
        Some(&shard.subscribers)
    }

    pub(crate) fn forget_subscriber(&mut self, shard: u32, id: SubscriptionId) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.subscribers.remove(&id);
        }
        self.news.remove(&id);
    }

    pub(crate) fn summary(&self) -> StreamSummary {
        StreamSummary {
            name: self.name.clone(),
            arn: self.owner.arn(&self.name),
            status: self.status(),
            created: Some(self.created.timestamp()),
            retention_hours: self.retention_hours,
            open_shards: self.open_shards(),
        }
    }

    pub(crate) fn created(&self) -> Timestamp {
        self.created.timestamp()
    }

    pub(crate) fn open_shards(&self) -> u32 {
        u32::try_from(self.routes.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn open_range(&self, id: &ShardId, now: Moment) -> Option<HashRange> {
        let shard = self.shards.get(shard::number(id)? as usize)?;
        let open = shard.is_open() && !shard.has_expired(self.retention(), now);
        (open && shard.id == *id).then_some(shard.hash_range)
    }

    /// Of all open shards, in their order.
    pub(crate) fn open_ranges(&self) -> Vec<HashRange> {
        let open = self.routes.values();
        open.map(|shard| self.shards[*shard as usize].hash_range)
            .collect()
    }

    pub(crate) fn open_at(&self, start: u128) -> Option<ShardId> {
        let number = self.routes.get(&start)?;
        Some(self.shards[*number as usize].id.clone())
    }

    pub(crate) fn retention_hours(&self) -> u32 {
        self.retention_hours
    }

    /// Keeps records for `hours` from now on. What is too old goes at once and for good, also what was
    /// too old before.
    pub(crate) fn set_retention(&mut self, hours: u32, now: Moment) {
        self.trim(now);
        self.retention_hours = hours;
        self.trim(now);
    }

    /// Forgets what is too old, everywhere.
    pub(crate) fn trim(&mut self, now: Moment) {
        let retention = self.retention();
        for shard in &mut self.shards {
            self.bytes -= shard.trim(retention, now, &mut self.expired);
        }
        self.forget_expired();
    }

    /// Those of the records that retention took that it still knows.
    pub(crate) fn expired(&self) -> Vec<(ShardId, SequenceNumber)> {
        let expired = self.expired.iter();
        expired
            .map(|sequence| (shard::id(sequence.shard()), sequence.number()))
            .collect()
    }

    /// The first of some records that retention cannot have taken. Of the last that it took this is
    /// known; what is older need only have a number that its shard can have given.
    pub(crate) fn never_taken<'a>(
        &self,
        mut records: impl Iterator<Item = (&'a ShardId, &'a SequenceNumber)>,
    ) -> Option<(&'a ShardId, &'a SequenceNumber)> {
        let remembered: BTreeSet<_> = self.expired.iter().collect();
        let can_have_taken = |id: &ShardId, number: &SequenceNumber| {
            let shard = self.shards.get(shard::number(id)? as usize)?;
            let sequence = Sequence::parse(number)?;
            let newest = shard.trimmed()?;
            let given = sequence.shard() == shard.number
                && sequence.born() == shard.starting.born()
                && (shard.starting < sequence && sequence <= newest);
            let forgotten = self.expired_forgotten;
            let forgotten = forgotten.is_some_and(|newest| sequence.index() <= newest);
            Some(given && (forgotten || remembered.contains(&sequence)))
        };
        records.find(|(shard, number)| can_have_taken(shard, number) != Some(true))
    }

    /// Which shards each was split or merged from.
    pub(crate) fn lineage(&self) -> BTreeMap<ShardId, Vec<ShardId>> {
        let parents = |shard: &Shard| shard.parents.iter().copied().map(shard::id).collect();
        let shards = self.shards.iter();
        shards
            .map(|shard| (shard.id.clone(), parents(shard)))
            .collect()
    }

    /// Begins to have records encrypted with that key, or no longer.
    pub(crate) fn encrypt(&mut self, key: Option<String>, takes: Duration, now: Moment) {
        self.encryption.change(key, now.plus(takes));
        self.update(Vec::new(), None, takes, now);
        self.settle(now);
    }

    fn forget_expired(&mut self) {
        let more = self.expired.len().saturating_sub(EXPIRED_KNOWN);
        for sequence in self.expired.drain(..more) {
            let newest = self.expired_forgotten.get_or_insert(0);
            *newest = sequence.index().max(*newest);
        }
    }

    /// The bytes that it keeps: data and partition keys.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The latest second that any of its sequence numbers carries as its shard's.
    pub(crate) fn newest_second(&self) -> u64 {
        let seconds = self.shards.iter().map(|shard| shard.starting.born());
        seconds.max().unwrap_or(0)
    }

    /// The shard of that number, trimmed, if it has not expired.
    pub(crate) fn shard(&mut self, number: u32, now: Moment) -> Result<&mut Shard, Refusal> {
        let retention = self.retention();
        let missing = || not_found(&shard::id(number), &self.name, &self.owner);
        let Some(shard) = self.shards.get_mut(number as usize) else {
            return Err(missing());
        };
        self.bytes -= shard.trim(retention, now, &mut self.expired);
        if shard.has_expired(retention, now) {
            return Err(missing());
        }
        Ok(shard)
    }

    pub(crate) fn number_of(&self, id: &ShardId) -> Result<u32, Refusal> {
        shard::number(id).ok_or_else(|| not_found(id, &self.name, &self.owner))
    }

    pub(crate) fn describe(&self, shard: &Shard) -> ShardDescription {
        let id_of = |number: &u32| self.shards[*number as usize].id.clone();
        let closing = shard.closing.as_ref();
        ShardDescription {
            id: shard.id.clone(),
            parent: shard.parents.first().map(id_of),
            adjacent_parent: shard.parents.get(1).map(id_of),
            hash_range: shard.hash_range,
            starting_sequence_number: shard.starting.number(),
            ending_sequence_number: closing.map(|closing| closing.ending.number()),
        }
    }

    /// Refuses what was made for another stream of this name.
    pub(crate) fn check_number(&self, number: u64) -> Result<(), Refusal> {
        if number == self.number {
            return Ok(());
        }
        Err(Refusal::not_found(format!(
            "Stream {} is not the one that this was made for: that has gone.",
            self.name
        )))
    }

    /// All shards that have not expired, by number.
    pub(crate) fn living(&self, now: Moment) -> impl Iterator<Item = &Shard> {
        let retention = self.retention();
        let shards = self.shards.iter();
        shards.filter(move |shard| !shard.has_expired(retention, now))
    }

    fn retention(&self) -> Duration {
        Duration::from_secs(3_600 * u64::from(self.retention_hours))
    }

    fn open_shard(
        &mut self,
        parents: Vec<u32>,
        hash_range: HashRange,
        at: Moment,
        second: u64,
    ) -> u32 {
        let number =
            u32::try_from(self.shards.len()).expect("4 billion shards do not fit into memory");
        self.routes.insert(hash_range.start, number);
        self.shards.push(Shard::new(Birth {
            number,
            parents,
            hash_range,
            at,
            second,
        }));
        number
    }
}

/// Of the records that retention took, so many are known by their numbers: some 3 MiB.
const EXPIRED_KNOWN: usize = 100_000;

fn not_found(shard: &ShardId, stream: &str, owner: &Owner) -> Refusal {
    Refusal::not_found(format!(
        "Shard {shard} in stream {stream} under account {} does not exist",
        owner.account()
    ))
}
