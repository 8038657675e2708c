use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use kinesis_source::{Aggregation, HashRange, Record, SequenceNumber, ShardId, Timestamp};

use super::{
    Limits, Moment, Refusal,
    iterator::Place,
    limits::{Allowance, Debt, Rate},
    sequence::{LAST_INDEX, Sequence},
    subscription::SubscriptionId,
};

mod read;
mod seek;

pub(crate) use read::{Extent, Read};

/// One shard: its records, where it stands among the others, and what it still allows.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) number: u32,
    pub(crate) id: ShardId,
    /// None, one after a split, two after a merge.
    pub(crate) parents: Vec<u32>,
    pub(crate) hash_range: HashRange,
    /// When it came to be.
    pub(crate) created: Moment,
    pub(crate) starting: Sequence,
    pub(crate) closing: Option<Closing>,
    records: VecDeque<Stored>,
    /// The newest number it gave, or its starting one.
    newest: Sequence,
    newest_arrival: Timestamp,
    /// The newest number whose record has gone.
    trimmed: Option<Sequence>,
    answers: u64,
    /// Who wants to know when something happens to it.
    pub(crate) subscribers: BTreeSet<SubscriptionId>,
    gets: Rate,
    iterators: Rate,
    read_debt: Debt,
    read_records_debt: Debt,
    write_bytes: Allowance,
    /// What large records draw on, and all others too.
    tank: Allowance,
    write_records: Allowance,
}

/// How a shard ended.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) at: Moment,
    pub(crate) ending: Sequence,
    pub(crate) children: Vec<u32>,
    /// Whether it has been seen to have expired: then it has gone, however long retention is now.
    gone: bool,
}

#[derive(Debug)]
struct Stored {
    sequence: Sequence,
    arrival: Timestamp,
    record: Record,
}

/// Where a shard comes from.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) number: u32,
    pub(crate) parents: Vec<u32>,
    pub(crate) hash_range: HashRange,
    pub(crate) at: Moment,
    /// The second that its sequence numbers carry.
    pub(crate) second: u64,
}

impl Shard {
    pub(crate) fn new(birth: Birth) -> Self {
        let starting = Sequence::new(birth.second, birth.number, 0, birth.second);
        Self {
            number: birth.number,
            id: id(birth.number),
            parents: birth.parents,
            hash_range: birth.hash_range,
            created: birth.at,
            starting,
            closing: None,
            records: VecDeque::new(),
            newest: starting,
            newest_arrival: birth.at.timestamp(),
            trimmed: None,
            answers: 0,
            subscribers: BTreeSet::new(),
            gets: Rate::default(),
            iterators: Rate::default(),
            read_debt: Debt::default(),
            read_records_debt: Debt::default(),
            write_bytes: Allowance::default(),
            tank: Allowance::default(),
            write_records: Allowance::default(),
        }
    }

    /// The newest number it gave, or its starting one.
    pub(crate) fn newest(&self) -> Sequence {
        self.newest
    }

    pub(crate) fn is_open(&self) -> bool {
        self.closing.is_none()
    }

    /// Whether the last record that it can have had is older than `retention`.
    ///
    /// An empty shard stays as long: whoever reads its parent must still find it.
    pub(crate) fn has_expired(&self, retention: Duration, now: Moment) -> bool {
        let closing = self.closing.as_ref();
        closing.is_some_and(|closing| closing.gone || now.since(closing.at) > retention)
    }

    /// The newest number whose record retention took.
    pub(crate) fn trimmed(&self) -> Option<Sequence> {
        self.trimmed
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().map(|stored| &stored.record)
    }

    /// Whether it still takes a record of `bytes` at `now`, and takes it into account.
    pub(crate) fn admit_write(&mut self, bytes: u64, limits: &Limits, now: Moment) -> bool {
        let (per_second, records) = (
            limits.write_bytes_per_second,
            limits.write_records_per_second,
        );
        // A large record draws on the tank alone: it never fits into a second.
        let is_large = per_second.is_some_and(|per_second| bytes > per_second);
        let admitted = (is_large || self.write_bytes.has(bytes, per_second, now))
            && self
                .tank
                .holds(bytes, limits.write_burst_bytes, per_second, now)
            && self.write_records.has(1, records, now);
        if admitted {
            if !is_large {
                self.write_bytes.take(bytes, per_second, now);
            }
            self.tank.take(bytes, per_second, now);
            self.write_records.take(1, records, now);
        }
        admitted
    }

    pub(crate) fn admit_iterator(&mut self, limits: &Limits, now: Moment) -> Result<(), Refusal> {
        if self
            .iterators
            .admit(limits.get_shard_iterator_per_second, now)
        {
            return Ok(());
        }
        Err(self.rate_exceeded())
    }

    /// Whether it can be read at `now`; if so, the call counts.
    pub(crate) fn admit_read(&mut self, limits: &Limits, now: Moment) -> Result<(), Refusal> {
        let (bytes, records) = (limits.read_bytes_per_second, limits.read_records_per_second);
        let paid = self.read_debt.is_free(bytes, limits.read_burst, now)
            && (self.read_records_debt).is_free(records, limits.read_burst, now);
        if paid && self.gets.admit(limits.get_records_per_second, now) {
            return Ok(());
        }
        Err(self.rate_exceeded())
    }

    pub(crate) fn rate_exceeded(&self) -> Refusal {
        Refusal::throughput_exceeded(format!("Rate exceeded for shard {}.", self.id))
    }

    /// Appends a record that arrives `now`, and says so or that it was `earlier`; `index` is larger
    /// than any that the stream used.
    pub(crate) fn append(
        &mut self,
        index: u64,
        now: Moment,
        earlier: Duration,
        partition_key: Option<String>,
        data: bytes::Bytes,
    ) -> SequenceNumber {
        let born = self.starting.born();
        self.newest = Sequence::new(born, self.number, index, now.seconds());
        // Kept in order, so that a time can be found by halving.
        self.newest_arrival = now.timestamp().max(self.newest_arrival);
        let told = self.newest_arrival.as_millis();
        let earlier = i64::try_from(earlier.as_millis()).unwrap_or(i64::MAX);
        let told = Timestamp::from_millis(told.saturating_sub(earlier));
        let sequence_number = self.newest.number();
        self.records.push_back(Stored {
            sequence: self.newest,
            arrival: self.newest_arrival,
            record: Record {
                shard: self.id.clone(),
                sequence_number: sequence_number.clone(),
                partition_key,
                data,
                approximate_arrival: Some(told),
                aggregation: Aggregation::None,
            },
        });
        sequence_number
    }

    pub(crate) fn close(&mut self, at: Moment, children: Vec<u32>) {
        let ending = Sequence::new(self.starting.born(), self.number, LAST_INDEX, at.seconds());
        self.closing = Some(Closing {
            at,
            ending,
            children,
            gone: false,
        });
    }

    /// Forgets what is older than `retention`, for good and itself if it has expired; adds the numbers
    /// of the records to `gone`, and returns how many bytes they had.
    pub(crate) fn trim(
        &mut self,
        retention: Duration,
        now: Moment,
        gone: &mut VecDeque<Sequence>,
    ) -> u64 {
        let expired = self.has_expired(retention, now);
        if let Some(closing) = &mut self.closing {
            closing.gone = expired;
        }
        let now = now.timestamp();
        let mut bytes = 0;
        while let Some(oldest) = self.records.front() {
            if now.since(oldest.arrival) <= retention {
                break;
            }
            self.trimmed = Some(oldest.sequence);
            gone.push_back(oldest.sequence);
            bytes += stored_bytes(&oldest.record) + BESIDES;
            self.records.pop_front();
        }
        bytes
    }
}

/// What a record takes of memory besides its data and its key, in bytes: about what two million records
/// of one byte were seen to take.
pub(crate) const BESIDES: u64 = 168;

/// `shardId-000000000003` for 3.
pub(crate) fn id(number: u32) -> ShardId {
    ShardId::new(format!("{PREFIX}{number:012}"))
}

/// 3 for `shardId-000000000003`.
pub(crate) fn number(id: &ShardId) -> Option<u32> {
    id.number()?.try_into().ok()
}

/// What a record counts against limits: its data and its partition key.
pub(crate) fn stored_bytes(record: &Record) -> u64 {
    let key = record.partition_key.as_ref().map_or(0, String::len);
    (record.data.len() + key) as u64
}

const PREFIX: &str = "shardId-";

/// A place is where its number stands or would stand.
impl Shard {
    fn index_of(&self, place: Place) -> usize {
        // Most readers are at the tip: no need to look for that among the records.
        let at_tip = match place {
            Place::At(from) => from > self.newest,
            Place::After(from) => from >= self.newest,
        };
        if at_tip {
            return self.records.len();
        }
        match place {
            Place::At(from) => self.records.partition_point(|it| it.sequence < from),
            Place::After(from) => self.records.partition_point(|it| it.sequence <= from),
        }
    }
}
