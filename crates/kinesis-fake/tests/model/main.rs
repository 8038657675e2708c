//! What holds for the model whatever is done to it.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use kinesis_fake::{
    Durations, Limits, TimeBeforeHorizon,
    model::{Listing, Moment, Owner, Service, Settings, ShardFilter},
};
use kinesis_source::{
    HashRange, Position, PutEntry, PutOutcome, Record, SequenceNumber, Shard, ShardId, Timestamp,
};
use proptest::{collection::vec, prelude::*};

mod chosen;
mod dry_run;
mod edges;
mod fan_out;
mod labels;
mod limits;
mod lineage;
mod listing;
mod places;
mod refusals;
mod resize;

const STREAM: &str = "orders";
const START: Moment = Moment::since_epoch(Duration::from_secs(1_767_225_600));
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// One step of a stream's life. Indices choose among the shards that are open at that time.
#[derive(Clone, Debug)]
enum Step {
    Put {
        key: u16,
        size: usize,
    },
    Split {
        shard: prop::sample::Index,
        at: u128,
    },
    Merge {
        shard: prop::sample::Index,
    },
    Wait(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..20_u16, 0..200_usize).prop_map(|(key, size)| Step::Put { key, size }),
        2 => (any::<prop::sample::Index>(), any::<u128>())
            .prop_map(|(shard, at)| Step::Split { shard, at }),
        2 => any::<prop::sample::Index>().prop_map(|shard| Step::Merge { shard }),
        2 => (0..2_000_u64).prop_map(|millis| Step::Wait(Duration::from_millis(millis))),
    ]
}

/// A service with one stream, the time, and what was put by whom.
struct Life {
    service: Service,
    now: Moment,
    put: BTreeMap<ShardId, Vec<Bytes>>,
    count: u32,
}

impl Life {
    fn new(shards: u32, settings: Settings) -> Self {
        let mut service = Service::new(settings);
        service.put_stream(STREAM, shards, START);
        Self {
            service,
            now: START,
            put: BTreeMap::new(),
            count: 0,
        }
    }

    fn open(&mut self) -> Vec<Shard> {
        let mut shards = self.service.shards(STREAM, self.now);
        shards.retain(|shard| !shard.is_closed());
        shards.sort_by_key(|shard| shard.hash_range);
        shards
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Put { key, size } => self.put(*key, *size),
            Step::Wait(span) => self.now = self.now.plus(*span),
            Step::Split { shard, at } => {
                let open = self.open();
                let shard = &open[shard.index(open.len())];
                let HashRange { start, end } = shard.hash_range;
                if end - start > 4 {
                    let at = start + 2 + at % (end - start - 2);
                    let split = self.service.split_shard(STREAM, &shard.id, at, self.now);
                    split.unwrap();
                }
            }
            Step::Merge { shard } => {
                let open = self.open();
                let first = shard.index(open.len());
                if let Some(second) = open.get(first + 1) {
                    let (a, b) = (&open[first].id, &second.id);
                    self.service.merge_shards(STREAM, a, b, self.now).unwrap();
                }
            }
        }
    }

    /// Puts a number of its own, padded to `size`.
    fn put(&mut self, key: u16, size: usize) {
        let mut data = self.count.to_be_bytes().to_vec();
        data.resize(data.len() + size, 0);
        self.count += 1;
        self.put_data(key, &data.into());
    }

    fn put_data(&mut self, key: u16, data: &Bytes) {
        let entry = PutEntry {
            partition_key: key.to_string(),
            explicit_hash_key: None,
            data: data.clone(),
        };
        let put = self.service.put_unlimited(STREAM, &entry, self.now);
        let on_shard = self.put.entry(put.unwrap().0).or_default();
        on_shard.push(data.clone());
    }

    fn iterator(&mut self, shard: &ShardId, position: &Position) -> kinesis_source::ShardIterator {
        let iterator = self
            .service
            .get_shard_iterator(STREAM, shard, position, self.now);
        iterator.unwrap()
    }

    /// Reads a shard from `position` to its end or tip, `limit` at once and without waiting.
    /// Returns the records and how many answers named children.
    fn read(&mut self, shard: &ShardId, position: &Position, limit: usize) -> (Vec<Record>, u32) {
        let mut at = self.iterator(shard, position);
        let (mut records, mut announced) = (Vec::new(), 0);
        loop {
            let mut page = self
                .service
                .get_records(at.as_str(), limit, self.now)
                .unwrap();
            records.append(&mut page.records);
            announced += u32::from(!page.children.is_empty());
            assert_eq!(page.next.is_none(), !page.children.is_empty());
            match page.next {
                Some(next) if page.millis_behind_latest != Some(0) => at = next,
                _ => return (records, announced),
            }
        }
    }
}

fn arn(stream: &str) -> String {
    Owner::default().arn(stream)
}

/// As on the service, but for changes, which take no time.
fn instant() -> Settings {
    let mut settings = Settings::default();
    settings.durations = Durations::instant();
    settings
}

fn no_limits() -> Settings {
    let mut settings = instant();
    settings.limits = Limits::none();
    settings
}

fn covers_everything(mut ranges: Vec<HashRange>) -> bool {
    ranges.sort_unstable();
    let touching = |pair: &[HashRange]| pair[0].end.checked_add(1) == Some(pair[1].start);
    let ends = (
        ranges.first().map(|it| it.start),
        ranges.last().map(|it| it.end),
    );
    ends == (Some(0), Some(u128::MAX)) && ranges.windows(2).all(touching)
}

fn list(life: &mut Life, filter: ShardFilter) -> Vec<Shard> {
    let listing = Listing::First {
        stream: STREAM,
        filter,
        max_results: Some(10_000),
    };
    life.service.list_shards(&listing, life.now).unwrap().shards
}
