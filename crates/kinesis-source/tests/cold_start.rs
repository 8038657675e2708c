//! A thousand shards from cold: how soon the first record of each is there.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use kinesis_fake::{Fake, Fault, Operation};
use kinesis_source::{FanOut, MemoryCheckpointStore, Record, ShardId, StreamSource};
use stage_core::{Pipeline, Window, for_each};
use tokio::time::{Instant, sleep};

const SHARDS: u32 = 1_000;

/// Each call takes so long, and so does each event of a subscription.
fn fake(round_trip: Duration) -> Fake {
    let fake = Fake::instant(SHARDS);
    for shard in fake.shards() {
        for number in 0..5 {
            fake.put_on(&shard.id, "k", number.to_string()).unwrap();
        }
    }
    for operation in [
        Operation::DescribeStreamSummary,
        Operation::ListShards,
        Operation::GetShardIterator,
        Operation::GetRecords,
        Operation::SubscribeToShard,
    ] {
        fake.inject(Fault::delayed(operation, round_trip).always());
    }
    fake
}

/// When the first record of each shard came, and nothing was refused meanwhile.
async fn first_records(fake: &Fake, source: StreamSource) -> BTreeMap<ShardId, Duration> {
    let (start, first) = (Instant::now(), Arc::new(Mutex::new(BTreeMap::new())));
    let mut pipeline = Pipeline::new();
    let (records, _) = source.add_to(&mut pipeline);
    let noting = Arc::clone(&first);
    let note = for_each(move |event: Record| {
        let elapsed = start.elapsed();
        noting.lock().unwrap().entry(event.shard).or_insert(elapsed);
    });
    pipeline.consume(note, records.subscribe(Window::new(100)));
    pipeline
        .run_until(sleep(Duration::from_secs(8)))
        .await
        .unwrap();
    let calls = fake.calls();
    assert_eq!(calls.throttled(), 0);
    for operation in [
        Operation::GetRecords,
        Operation::GetShardIterator,
        Operation::ListShards,
    ] {
        assert_eq!(calls.of(operation).failed, 0, "{operation:?}");
    }
    Arc::into_inner(first).unwrap().into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_record_of_each_of_a_thousand_shards_is_there_within_two_seconds() {
    for millis in [0, 20, 50] {
        let round_trip = Duration::from_millis(millis);
        let fake = fake(round_trip);
        let api = Arc::new(fake.clone());
        let store = Arc::new(MemoryCheckpointStore::new());
        let source = StreamSource::new("orders", api).checkpoints(Arc::clone(&store) as _);
        let first = first_records(&fake, source).await;
        assert_eq!(first.len(), SHARDS as usize);
        let latest = first.values().max().unwrap();
        println!("{millis} ms a call: the last of the first records after {latest:?}");
        // Finding the stream, listing it (1,000 shards are a page), an iterator and a read.
        assert!(
            *latest <= Duration::from_secs(2) + 4 * round_trip,
            "{latest:?}"
        );
        let calls = fake.calls();
        assert_eq!(calls.of(Operation::ListShards).made, 1);
        assert_eq!(
            calls.of(Operation::GetShardIterator).made,
            u64::from(SHARDS)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn so_it_is_by_fan_out() {
    let round_trip = Duration::from_millis(50);
    let fake = fake(round_trip);
    let api = Arc::new(fake.clone());
    let fan_out = FanOut::new(api.clone(), "audit");
    let source = StreamSource::new("orders", api).fan_out(fan_out);
    let first = first_records(&fake, source).await;
    assert_eq!(first.len(), SHARDS as usize);
    let latest = first.values().max().unwrap();
    println!("by fan-out, the last of the first records after {latest:?}");
    assert!(
        *latest <= Duration::from_secs(2) + 4 * round_trip,
        "{latest:?}"
    );
}
