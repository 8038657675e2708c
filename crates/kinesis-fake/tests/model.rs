//! What holds for the model whatever is done to it.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use kinesis_fake::{
    Limits,
    model::{Listing, Moment, Service, Settings, ShardFilter},
};
use kinesis_source::{
    HashRange, Position, PutEntry, PutOutcome, Record, SequenceNumber, Shard, ShardId, Timestamp,
};
use proptest::{collection::vec, prelude::*};

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
            let mut page = self.service.get_records(&at, limit, self.now).unwrap();
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

fn no_limits() -> Settings {
    let mut settings = Settings::default();
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn open_shards_cover_every_hash_key_once(shards in 1..5_u32, steps in vec(step(), 0..60)) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
            let open = life.open();
            prop_assert!(covers_everything(open.iter().map(|it| it.hash_range).collect()));
        }
        let roots = list(&mut life, ShardFilter::AtTrimHorizon);
        prop_assert!(covers_everything(roots.iter().map(|it| it.hash_range).collect()));
    }

    #[test]
    fn every_record_is_read_once_and_in_order_from_the_shard_it_fell_on(
        shards in 1..4_u32, steps in vec(step(), 0..60), limit in 1..20_usize,
    ) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
        }
        for shard in life.service.shards(STREAM, life.now) {
            let (records, announced) = life.read(&shard.id, &Position::TrimHorizon, limit);
            let data: Vec<_> = records.iter().map(|record| record.data.clone()).collect();
            prop_assert_eq!(data, life.put.remove(&shard.id).unwrap_or_default());
            prop_assert_eq!(announced, u32::from(shard.is_closed()));
            prop_assert!(records.is_sorted_by(|a, b| a.sequence_number < b.sequence_number));
            for record in &records {
                prop_assert!(shard.starting_sequence_number < record.sequence_number);
                let ending = shard.ending_sequence_number.as_ref();
                prop_assert!(ending.is_none_or(|ending| record.sequence_number < *ending));
            }
        }
        prop_assert!(life.put.is_empty());
    }

    #[test]
    fn every_key_is_in_order_along_the_lineage(
        shards in 1..4_u32, steps in vec(step(), 0..60),
    ) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
        }
        let mut newest = BTreeMap::<String, (Bytes, SequenceNumber)>::new();
        // By number, which is parents first.
        for shard in life.service.shards(STREAM, life.now) {
            for record in life.read(&shard.id, &Position::TrimHorizon, 100).0 {
                let count = record.data.slice(..4);
                let key = record.partition_key.unwrap();
                if let Some((before, number)) = newest.get(&key) {
                    prop_assert!(*before < count && *number < record.sequence_number);
                }
                newest.insert(key, (count, record.sequence_number));
            }
        }
    }

    #[test]
    fn every_shard_names_its_parents_and_is_named_by_them(
        shards in 1..4_u32, steps in vec(step(), 0..60),
    ) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
        }
        let shards = life.service.shards(STREAM, life.now);
        for parent in shards.iter().filter(|shard| shard.is_closed()) {
            let at = life.iterator(&parent.id, &Position::Latest);
            let page = life.service.get_records(&at, 1, life.now).unwrap();
            let named: Vec<_> = page.children.iter().map(|child| &child.id).collect();
            let naming = shards.iter().filter(|shard| shard.parents().any(|id| *id == parent.id));
            let naming: Vec<_> = naming.collect();
            prop_assert_eq!(named, naming.iter().map(|shard| &shard.id).collect::<Vec<_>>());
            for (child, shard) in page.children.iter().zip(naming) {
                prop_assert_eq!(child.parents.iter().collect::<Vec<_>>(), shard.parents().collect::<Vec<_>>());
                prop_assert_eq!(child.hash_range, shard.hash_range);
                prop_assert!(shard.starting_sequence_number > parent.starting_sequence_number);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_position_in_a_shard_is_where_counting_says(
        waits in vec(0..50_u64, 1..40), at: prop::sample::Index, from in 0..2_500_i64,
    ) {
        let mut life = Life::new(1, no_limits());
        for wait in waits {
            life.now = life.now.plus(Duration::from_millis(wait));
            life.put(0, 1);
        }
        life.now = life.now.plus(Duration::from_secs(3));
        let shard = life.open()[0].id.clone();
        let (all, _) = life.read(&shard, &Position::TrimHorizon, 100);
        let index = at.index(all.len());
        let number = all[index].sequence_number.clone();
        let (rest, _) = life.read(&shard, &Position::AtSequenceNumber(number.clone()), 100);
        prop_assert_eq!(&rest, &all[index..]);
        let (rest, _) = life.read(&shard, &Position::AfterSequenceNumber(number), 100);
        prop_assert_eq!(&rest, &all[index + 1..]);
        let time = Timestamp::from_millis(START.timestamp().as_millis() + from);
        let (rest, _) = life.read(&shard, &Position::AtTimestamp(time), 100);
        let later = |record: &&Record| record.approximate_arrival.unwrap() >= time;
        prop_assert_eq!(&rest, &all.iter().filter(later).cloned().collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_obeys_is_never_throttled(
        sizes in vec(0..400_000_usize, 1..60), limit in 1..20_usize,
    ) {
        let mut life = Life::new(1, Settings::default());
        for size in sizes {
            life.put(0, size);
        }
        let shard = life.open()[0].id.clone();
        let mut at = life.iterator(&shard, &Position::TrimHorizon);
        loop {
            let page = life.service.get_records(&at, limit, life.now);
            let page = page.unwrap();
            // Five calls and two MiB a second: whichever takes longer.
            let bytes: usize = page.records.iter().map(|it| it.data.len() + 1).sum();
            let nanos = (bytes as u64 * 1_000_000_000).div_ceil(2 * 1_024 * 1_024);
            let wait = Duration::from_nanos(nanos).max(Duration::from_millis(200));
            life.now = life.now.plus(wait);
            at = page.next.unwrap();
            if page.millis_behind_latest == Some(0) {
                break;
            }
        }
    }

    #[test]
    fn a_greedy_reader_gets_no_more_than_five_answers_and_two_mib_a_second(
        size in 1..300_000_usize, gap in 1..150_u64, limit in 1..40_usize,
    ) {
        let mut life = Life::new(1, Settings::default());
        let data = Bytes::from(vec![0; size]);
        for _ in 0..(25 * 1_024 * 1_024 / size).clamp(1, 2_000) {
            life.put_data(0, &data);
        }
        let shard = life.open()[0].id.clone();
        let mut at = life.iterator(&shard, &Position::TrimHorizon);
        let (mut answers, mut paid, mut last) = (Vec::new(), 0, 0);
        let end = life.now.plus(Duration::from_secs(10));
        while life.now < end {
            if let Ok(page) = life.service.get_records(&at, limit, life.now) {
                answers.push(life.now);
                paid += last;
                last = page.records.iter().map(|it| it.data.len() + 1).sum::<usize>();
                at = page.next.unwrap();
            }
            life.now = life.now.plus(Duration::from_millis(gap));
        }
        for six in answers.windows(6) {
            prop_assert!(six[5].since(six[0]) >= Duration::from_secs(1));
        }
        // All answers but the last have been waited for.
        prop_assert!(paid <= 10 * 2 * 1_024 * 1_024 + 2_100, "{paid}");
        prop_assert!(answers.len() <= 50);
    }

    #[test]
    fn a_shard_never_takes_more_than_it_may(
        sizes in vec(1..200_000_usize, 1..200), gap in 0..100_u64,
    ) {
        let mut life = Life::new(1, Settings::default());
        let (mut stored, mut bytes) = (0_u64, 0_u64);
        for size in sizes {
            let entry = PutEntry {
                partition_key: "k".into(),
                explicit_hash_key: None,
                data: vec![0; size].into(),
            };
            let outcomes = life.service.put_records(STREAM, &[entry], life.now).unwrap();
            if matches!(outcomes[0], PutOutcome::Stored { .. }) {
                stored += 1;
                bytes += size as u64 + 1;
            }
            // The first second's worth may come at once.
            let seconds = life.now.since(START).as_secs_f64() + 1.0;
            prop_assert!(bytes as f64 <= seconds * 1_048_576.0 + 1.0);
            prop_assert!(stored as f64 <= seconds * 1_000.0 + 1.0);
            life.now = life.now.plus(Duration::from_millis(gap));
        }
    }

    #[test]
    fn what_is_old_goes_and_what_is_young_stays(
        shards in 1..3_u32, steps in vec(step(), 1..40), wait in 0..30_000_u64,
    ) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
        }
        let before = life.service.records(STREAM, life.now);
        let closed: Vec<_> = life.service.shards(STREAM, life.now).into_iter()
            .filter(Shard::is_closed).map(|shard| shard.id).collect();
        life.now = life.now.plus(DAY - Duration::from_secs(15)).plus(Duration::from_millis(wait));
        let kept: BTreeMap<_, _> = life.service.records(STREAM, life.now).into_iter().collect();
        let young = |record: &&Record| {
            life.now.timestamp().since(record.approximate_arrival.unwrap()) <= DAY
        };
        for (shard, records) in before {
            let expected: Vec<_> = records.iter().filter(young).cloned().collect();
            match kept.get(&shard) {
                Some(kept) => prop_assert_eq!(kept, &expected),
                // Closed no later than its last record came, it must have none left.
                None => prop_assert!(expected.is_empty() && closed.contains(&shard)),
            }
        }
        let roots = list(&mut life, ShardFilter::AtTrimHorizon);
        prop_assert!(covers_everything(roots.iter().map(|it| it.hash_range).collect()));
    }

    #[test]
    fn pages_of_a_listing_are_the_whole_listing(
        shards in 1..6_u32, steps in vec(step(), 0..40), size in 1..7_usize,
    ) {
        let mut life = Life::new(shards, no_limits());
        for step in &steps {
            life.take(step);
        }
        let whole = list(&mut life, ShardFilter::AtLatest);
        let max_results = Some(size);
        let first = Listing::First { stream: STREAM, filter: ShardFilter::AtLatest, max_results };
        let mut page = life.service.list_shards(&first, life.now).unwrap();
        let mut listed = page.shards;
        while let Some(token) = &page.next {
            let next = Listing::Next { token, max_results };
            page = life.service.list_shards(&next, life.now).unwrap();
            prop_assert!((1..=size).contains(&page.shards.len()));
            listed.append(&mut page.shards);
        }
        prop_assert_eq!(listed, whole);
    }

    #[test]
    fn the_same_calls_give_the_same_answers(shards in 1..4_u32, steps in vec(step(), 0..40)) {
        let run = |steps: &[Step]| {
            let mut life = Life::new(shards, no_limits());
            for step in steps {
                life.take(step);
            }
            let shard = life.open()[0].id.clone();
            let at = life.iterator(&shard, &Position::TrimHorizon);
            let page = life.service.get_records(&at, 10, life.now).unwrap();
            (at, page, life.service.shards(STREAM, life.now))
        };
        prop_assert_eq!(run(&steps), run(&steps));
    }
}

#[test]
fn a_shard_is_listed_from_its_first_moment_to_its_last() {
    let mut life = Life::new(1, no_limits());
    life.now = life.now.plus(Duration::from_millis(10));
    let at = 1 << 127;
    let parent = life.open()[0].id.clone();
    life.service
        .split_shard(STREAM, &parent, at, life.now)
        .unwrap();
    let split = START.timestamp().as_millis() + 10;
    life.now = life.now.plus(Duration::from_millis(10));
    for (time, at_time, from_time) in [
        (split - 11, 0, 3),
        (split - 1, 1, 3),
        (split, 3, 3),
        (split + 1, 2, 2),
    ] {
        let time = Timestamp::from_millis(time);
        let at = list(&mut life, ShardFilter::AtTimestamp(time));
        let from = list(&mut life, ShardFilter::FromTimestamp(time));
        assert_eq!((at.len(), from.len()), (at_time, from_time), "{time}");
    }
}

#[test]
fn arrivals_stay_in_order_should_time_run_backwards() {
    let mut life = Life::new(1, no_limits());
    life.now = START.plus(Duration::from_secs(1));
    life.put(0, 1);
    life.now = START;
    life.put(0, 1);
    let records = life.service.records(STREAM, life.now).remove(0).1;
    assert_eq!(
        records[0].approximate_arrival,
        records[1].approximate_arrival
    );
}
