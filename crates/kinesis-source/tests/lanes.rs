//! Records of a shard on several lanes: each key in order, each lane at its own pace, and no checkpoint
//! beyond what is not acknowledged.

#![allow(clippy::unwrap_used)]

#[path = "kpl/reference.rs"]
mod reference;
mod rig;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kinesis_fake::{Fake, Limits, RecordDistribution};
use kinesis_source::{
    Checkpoint, CheckpointStore, Deaggregation, KinesisApi, KinesisWriteApi, MemoryCheckpointStore,
    StreamHandle, StreamIdentity, StreamSource,
};
use proptest::prelude::*;
use reference::{Aggregated, UserRecord};
use rig::{Sink, everything};
use stage_core::{Pipeline, Window, protocol::lane_for};
use tokio::time::{sleep, timeout};

fn source(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

/// A pipeline with a sink for each lane.
fn laned(source: StreamSource, sinks: &[Sink], window: usize) -> (Pipeline, StreamHandle) {
    let mut pipeline = Pipeline::new();
    let (lanes, handle) = source.add_lanes_to(&mut pipeline, sinks.len());
    for (lane, sink) in lanes.into_iter().zip(sinks) {
        pipeline.consume(sink.clone(), lane.subscribe(Window::new(window)));
    }
    (pipeline, handle)
}

fn numbers(sinks: &[Sink]) -> Vec<u64> {
    let mut numbers: Vec<u64> = sinks.iter().flat_map(Sink::numbers).collect();
    numbers.sort_unstable();
    numbers
}

async fn stored(fake: &Fake, store: &MemoryCheckpointStore) -> Checkpoint {
    let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
    let stored = store.load(&stream).await.unwrap();
    stored[&"shardId-000000000000".into()].clone()
}

#[tokio::test(start_paused = true)]
async fn a_key_is_on_one_lane_and_in_order_there() {
    let fake = Fake::instant(3);
    for number in 0..1_000_u64 {
        fake.put(&format!("key-{}", number % 37), number.to_string())
            .unwrap();
    }
    let sinks: Vec<Sink> = [0, 30, 7, 110]
        .map(|millis| Sink::by(Duration::from_millis(millis)))
        .to_vec();
    let (pipeline, handle) = laned(source(&fake), &sinks, 20);
    pipeline
        .run_until(async move { handle.caught_up().await })
        .await
        .unwrap();
    assert_eq!(numbers(&sinks), everything(1_000));
    for (lane, sink) in sinks.iter().enumerate() {
        let mut last = BTreeMap::new();
        for event in sink.taken() {
            let key = event.partition_key.unwrap();
            assert_eq!(lane_for(key.as_str(), 4), lane);
            let number = event.sequence_number;
            assert!(last.insert(key, number.clone()) < Some(number));
        }
        assert!(last.len() > 3, "keys are spread");
    }
    assert_eq!(fake.calls().throttled(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_stands_still_holds_up_no_other_and_no_checkpoint_passes_it() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    // One record in a hundred is for the lane that stands still, and not the first one.
    let key_of = |lane| {
        (0..)
            .map(|n| format!("key-{n}"))
            .find(|key| lane_for(key, 2) == lane)
    };
    let (busy, still) = (key_of(0).unwrap(), key_of(1).unwrap());
    for number in 0..2_000_u64 {
        let key = if number % 100 == 50 { &still } else { &busy };
        fake.put(key, number.to_string()).unwrap();
    }
    let sinks = [Sink::default(), Sink::default()];
    let gate = sinks[1].close();
    let source = source(&fake).checkpoints(Arc::clone(&store) as _);
    let (pipeline, handle) = laned(source, &sinks, 200);
    let run = tokio::spawn(pipeline.run_until(async move { handle.caught_up().await }));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(
        sinks[0].numbers().len(),
        1_980,
        "all that is not on the other lane"
    );
    let records = fake.records().remove(0).1;
    let before = Checkpoint::after(records[49].sequence_number.clone());
    assert_eq!(stored(&fake, &store).await, before);
    drop(gate);
    run.await.unwrap().unwrap();
    assert_eq!(numbers(&sinks), everything(2_000));
    let all = stored(&fake, &store).await;
    assert_eq!(all.sequence_number(), Some(&records[1_999].sequence_number));
}

/// All records of the stream are of a few aggregated ones.
#[tokio::test(start_paused = true)]
async fn user_records_go_by_their_own_keys_and_checkpoints_are_within_an_aggregate() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    for first in (0..200_u64).step_by(50) {
        let record = |(index, number): (u64, u64)| UserRecord {
            partition_key_index: index,
            explicit_hash_key_index: None,
            data: number.to_string().into_bytes(),
            tags: Vec::new(),
        };
        let numbers = first..first + 50;
        let aggregated = Aggregated {
            partition_key_table: numbers
                .clone()
                .map(|n| format!("key-{n}").into_bytes())
                .collect(),
            explicit_hash_key_table: Vec::new(),
            records: (0..).zip(numbers).map(record).collect(),
        };
        fake.put("outer", aggregated.seal()).unwrap();
    }
    let apart = || {
        let source = source(&fake).deaggregate(Deaggregation::new());
        source.checkpoints(Arc::clone(&store) as _)
    };
    // Of the second aggregate, one user record is never taken in; the others of its lane wait.
    let lanes = 3;
    let bad = 73;
    let lane = lane_for("key-73", lanes);
    let sinks: Vec<Sink> = (0..lanes).map(|_| Sink::default()).collect();
    let gate = sinks[lane].close();
    let (pipeline, _) = laned(apart(), &sinks, 10);
    let run = tokio::spawn(pipeline.run());
    sleep(Duration::from_secs(30)).await;
    let on_lane = |n: &u64| lane_for(&format!("key-{n}"), lanes) == lane;
    let first_waiting = (0..bad + 1).find(on_lane).unwrap();
    let records = fake.records().remove(0).1;
    match stored(&fake, &store).await {
        Checkpoint::After {
            sequence_number,
            sub_sequence_number,
        } => {
            assert_eq!(sequence_number, records[0].sequence_number);
            assert_eq!(sub_sequence_number, first_waiting.checked_sub(1));
        }
        start => assert!(first_waiting == 0, "{start:?}"),
    }
    run.abort();
    drop(gate);
    // The next one goes on there: nothing is missing, and nothing before it comes again.
    let again: Vec<Sink> = (0..lanes).map(|_| Sink::default()).collect();
    let (pipeline, handle) = laned(apart(), &again, 10);
    pipeline
        .run_until(async move { handle.caught_up().await })
        .await
        .unwrap();
    assert_eq!(numbers(&again), (first_waiting..200).collect::<Vec<_>>());
}

/// Records without a key have no order; they are on all lanes.
#[tokio::test(start_paused = true)]
async fn records_without_a_key_are_spread() {
    let fake = Fake::builder().instant().on_demand().build();
    let auto = RecordDistribution::Auto;
    let set = fake.update_stream_record_distribution_strategy(auto);
    set.await.unwrap();
    for number in 0..400_u64 {
        fake.put("", number.to_string()).unwrap();
    }
    let sinks: Vec<Sink> = (0..4).map(|_| Sink::default()).collect();
    let (pipeline, handle) = laned(source(&fake), &sinks, 20);
    pipeline
        .run_until(async move { handle.caught_up().await })
        .await
        .unwrap();
    assert_eq!(numbers(&sinks), everything(400));
    for sink in &sinks {
        assert!(sink.numbers().len() > 50, "{}", sink.numbers().len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever the shards do meanwhile, and however often the process is killed.
    #[test]
    fn each_key_in_order_over_splits_and_kills(
        lanes in 1usize..6,
        delays in prop::collection::vec(0u64..120, 6),
        lives in prop::collection::vec(300u64..5_000, 1..4),
        splits in 0u32..4,
        window in 2usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut limits = Limits::default();
            limits.control_per_second = Limits::none().control_per_second;
            let fake = Fake::builder().instant().shards(1).limits(limits).build();
            let mut next = 0;
            let mut put = |fake: &Fake| {
                for number in next..next + 200_u64 {
                    let key = format!("key-{}", number % 13);
                    fake.put(&key, number.to_string()).unwrap();
                }
                next += 200;
                next
            };
            let mut count = put(&fake);
            for _ in 0..splits {
                let open = fake.shards().into_iter().rfind(|shard| !shard.is_closed()).unwrap();
                let range = open.hash_range;
                let middle = range.start + (range.end - range.start) / 2;
                fake.split_shard(&open.id, middle).await.unwrap();
                count = put(&fake);
            }
            let store = Arc::new(MemoryCheckpointStore::new());
            let start = || source(&fake).checkpoints(Arc::clone(&store) as _);
            let sinks = || -> Vec<Sink> {
                let millis = delays.iter().take(lanes);
                millis.map(|&millis| Sink::by(Duration::from_millis(millis))).collect()
            };
            let mut all = Vec::new();
            for millis in lives {
                let sinks = sinks();
                let (pipeline, _) = laned(start(), &sinks, window);
                let _killed = timeout(Duration::from_millis(millis), pipeline.run()).await;
                all.push(sinks);
            }
            let last = sinks();
            let (pipeline, handle) = laned(start(), &last, window);
            pipeline.run_until(async move { handle.caught_up().await }).await.unwrap();
            all.push(last);
            let mut seen = BTreeSet::new();
            for life in &all {
                let mut by_key = BTreeMap::<u64, Vec<u64>>::new();
                for number in life.iter().flat_map(Sink::numbers_in_order) {
                    by_key.entry(number % 13).or_default().push(number);
                    seen.insert(number);
                }
                for (key, numbers) in by_key {
                    prop_assert!(numbers.is_sorted(), "key {key}: {numbers:?}");
                }
            }
            prop_assert_eq!(seen.into_iter().collect::<Vec<_>>(), everything(count));
            Ok(())
        })?;
    }
}
