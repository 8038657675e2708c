//! Many shards, and many hours.
#![allow(clippy::unwrap_used)]

use std::{alloc::System, sync::Mutex, time::Duration};

use kinesis_fake::{Fake, Limits, Operation, Resharding};
use kinesis_source::{ApiError, KinesisApi, KinesisFanOutApi, Position, Remedy, ShardId};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One at a time, so that one's memory is not taken for another's.
static ALONE: Mutex<()> = Mutex::new(());

fn live_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    // Both have what reallocation took and gave.
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated)
}

fn paused() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// Polls a shard until a moment; how many records it read.
async fn poll(fake: &Fake, shard: &ShardId, idle: Duration, end: Instant) -> Result<u64, ApiError> {
    let position = Position::TrimHorizon;
    let mut iterator = fake.get_shard_iterator(shard, &position).await?;
    let mut records = 0;
    while Instant::now() < end {
        match fake.get_records(&iterator, 1_000).await {
            Ok(page) => {
                records += page.records.len() as u64;
                iterator = page.next.unwrap();
            }
            Err(error) => assert_eq!(error.remedy(), Remedy::Wait, "{error}"),
        }
        sleep(idle).await;
    }
    Ok(records)
}

/// Each shard is read every two minutes, as a call costs some ten times as much without optimizations. With
/// them, the example `day` reads each once a second, as consumers do: two hours of that, 7.2 million calls,
/// took 6.4 s of one core (`cargo run --release -p kinesis-fake --example day -- 1000 2 1`).
#[test]
fn a_thousand_shards_are_read_for_a_day() {
    const SHARDS: u32 = 1_000;
    const IDLE: Duration = Duration::from_secs(120);
    let _alone = ALONE.lock();
    let before = live_bytes();
    paused().block_on(async {
        let mut limits = Limits::default();
        limits.open_shards = SHARDS;
        let fake = Fake::builder().shards(SHARDS).limits(limits).build();
        let end = Instant::now() + Duration::from_secs(24 * 3_600);
        let mut readers = JoinSet::new();
        for shard in fake.shards() {
            let fake = fake.clone();
            readers.spawn(async move { poll(&fake, &shard.id, IDLE, end).await });
        }
        let mut put = 0;
        while Instant::now() + IDLE < end {
            fake.put_numbered(put..put + 10).unwrap();
            put += 10;
            sleep(Duration::from_secs(10)).await;
        }
        let mut read = 0;
        while let Some(records) = readers.join_next().await {
            read += records.unwrap().unwrap();
        }
        assert_eq!(read, put);
        let calls = fake.calls();
        assert_eq!(
            calls.of(Operation::GetRecords).made,
            720 * u64::from(SHARDS)
        );
        assert_eq!(calls.throttled(), 0);
    });
    let left = live_bytes().saturating_sub(before);
    assert!(left < 1_024 * 1_024, "{left} bytes are left");
}

#[test]
fn ten_thousand_shards_and_half_a_million_records_take_less_than_a_gib() {
    const SHARDS: u32 = 10_000;
    let _alone = ALONE.lock();
    let before = live_bytes();
    let most = paused().block_on(async {
        let mut limits = Limits::default();
        limits.open_shards = SHARDS;
        let fake = Fake::builder()
            .instant()
            .shards(SHARDS)
            .limits(limits)
            .build();
        let consumer = fake.register_stream_consumer("audit").await.unwrap().arn;
        let end = Instant::now() + Duration::from_secs(60);
        let mut readers = JoinSet::new();
        // Each shard is both polled and subscribed to.
        for shard in fake.shards() {
            let (polled, sent) = (fake.clone(), fake.clone());
            let (id, consumer) = (shard.id.clone(), consumer.clone());
            let idle = Duration::from_secs(5);
            readers.spawn(async move { poll(&polled, &id, idle, end).await.unwrap() });
            readers.spawn(async move {
                let position = Position::TrimHorizon;
                let subscription = sent.subscribe_to_shard(&consumer, &shard.id, &position);
                let mut subscription = subscription.await.unwrap();
                let mut records = 0;
                while Instant::now() < end {
                    let event = subscription.next().await.unwrap().unwrap();
                    records += event.records.len() as u64;
                }
                records
            });
        }
        let (mut put, mut most) = (0, 0);
        for _ in 0..50 {
            fake.put_numbered(put..put + u64::from(SHARDS)).unwrap();
            put += u64::from(SHARDS);
            sleep(Duration::from_secs(1)).await;
            most = most.max(live_bytes());
        }
        let mut read = 0;
        while let Some(records) = readers.join_next().await {
            read += records.unwrap();
        }
        assert_eq!(read, 2 * put);
        assert_eq!(fake.calls().throttled(), 0);
        most
    });
    let most = most.saturating_sub(before);
    println!("{most} bytes at most");
    assert!(most < 1_024 * 1_024 * 1_024, "{most} bytes");
}

/// Each looks at one shard, not at all of them.
#[test]
fn a_put_on_one_of_many_shards_describes_none_of_the_others() {
    let _alone = ALONE.lock();
    paused().block_on(async {
        let fake = Fake::builder().shards(2_000).without_limits().build();
        let shard = "shardId-000000001999".into();
        fake.put_on(&shard, "k", "x").unwrap();
        let before = ALLOCATOR.stats().allocations;
        fake.put_on(&shard, "k", "x").unwrap();
        let allocations = ALLOCATOR.stats().allocations - before;
        assert!(allocations < 100, "{allocations}");
    });
}

#[test]
fn a_reshard_of_many_shards_describes_only_those_that_it_changes() {
    let _alone = ALONE.lock();
    paused().block_on(async {
        let fake = Fake::builder().shards(2_000).without_limits().build();
        let mut resharding = Resharding::new(7).shards(1..=4_000);
        let before = ALLOCATOR.stats().allocations;
        resharding.step(&fake).await.unwrap().unwrap();
        let allocations = ALLOCATOR.stats().allocations - before;
        assert!(allocations < 200, "{allocations}");
    });
}
