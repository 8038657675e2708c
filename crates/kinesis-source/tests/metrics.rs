//! The numbers that a source gives to the metrics facade.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kinesis_fake::{Fake, Fault, Operation};
use kinesis_source::{
    ByteBudget, Checkpoint, CheckpointStore, Explanation, KinesisApi, KinesisWriteApi,
    MemoryCheckpointStore, ShardExplanation, ShardId, ShardState, StreamIdentity, StreamSource,
    WaitingFor, metric_names as names,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use rig::{FailingStore, Sink};
use stage_core::{Pipeline, Window};
use tokio::time::sleep;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn source(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

/// What has been told: by name and labels. Counters count from the last time, and gauges are 0 until they are set again.
fn told(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.map(|(key, _, _, value)| {
        let (_, key) = key.into_parts();
        let labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(level) => level.into_inner(),
            DebugValue::Histogram(_) => panic!("there are none"),
        };
        (format!("{}{{{}}}", key.name(), labels.join(",")), value)
    })
    .collect()
}

/// Shards that have aged out are not told of any more; what was read of them is counted still.
#[tokio::test(start_paused = true)]
async fn what_was_counted_of_a_shard_that_is_forgotten_stays_counted() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (fake, sink) = (Fake::instant(1), Sink::default());
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let snapshotter = recorder.snapshotter();
    let throttle = "ProvisionedThroughputExceededException";
    fake.inject(Fault::refusal(Operation::GetRecords, throttle).times(3));
    let story = async {
        fake.put_numbered(0..100).unwrap();
        sleep(seconds(10)).await;
        let parent = handle.status().remove(0);
        assert_eq!((parent.records_read, parent.throttled), (100, 3));
        fake.split_shard(&"shardId-000000000000".into(), 1 << 127)
            .await
            .unwrap();
        sleep(seconds(24 * 3_600)).await;
        assert_eq!(handle.status().len(), 3);
        for number in 100..500 {
            fake.put_numbered(number..number + 1).unwrap();
            sleep(seconds(3)).await;
        }
        assert_eq!(handle.status().len(), 2, "it is forgotten");
        sleep(seconds(10)).await;
        let totals = handle.explain().totals;
        assert_eq!((totals.records_read, totals.acked), (500, 500));
        let children: u64 = handle.status().iter().map(|it| it.bytes_read).sum();
        let bytes = parent.bytes_read + children;
        assert_eq!((totals.bytes_read, totals.throttled), (bytes, 3));
        let told = told(&snapshotter);
        for (name, count) in [
            (names::RECORDS, 500),
            (names::ACKED, 500),
            (names::BYTES, bytes),
            (names::THROTTLES, 3),
        ] {
            assert_eq!(told[&of_stream(name)], count as f64, "{name}");
        }
    };
    pipeline.run_until(story).await.unwrap();
}

/// Whoever asks what is waited for is given the same numbers, but for what has changed since these were told.
fn assert_explained(explained: &Explanation, told: &BTreeMap<String, f64>) {
    let budget = &explained.budget;
    assert_eq!(told[&of_stream(names::BUDGET)], budget.bytes as f64);
    assert_eq!(told[&of_stream(names::BUDGET_IN_USE)], budget.in_use as f64);
    assert_eq!(
        told[&of_stream(names::BUDGET_WAITING)],
        budget.waiting as f64
    );
    let shards = &explained.shards;
    let behind = shards.iter().filter_map(|it| it.behind).max().unwrap();
    let headroom = shards.iter().filter_map(|it| it.headroom).min().unwrap();
    for (name, explained, unit) in [
        (names::MILLIS_BEHIND_LATEST, behind, 1_000.0),
        (names::RETENTION_HEADROOM, headroom, 1.0),
        (
            names::CHECKPOINT_AGE,
            explained.checkpoint_age.unwrap(),
            1.0,
        ),
    ] {
        let told = told[&of_stream(name)] / unit;
        let explained = explained.as_secs_f64();
        assert!((told - explained).abs() < 6.0, "{name}: {told} {explained}");
    }
    let in_flight: u64 = shards.iter().map(|it| it.status.in_flight).sum();
    assert_eq!(told[&of_stream(names::IN_FLIGHT)], in_flight as f64);
    let millis = behind.as_millis();
    assert!(
        explained
            .to_string()
            .contains(&format!("{millis} ms behind"))
    );
}

fn of_stream(name: &str) -> String {
    format!("{name}{{stream=orders}}")
}

#[tokio::test(start_paused = true)]
async fn what_is_read_is_counted_and_how_far_it_is_behind() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let fake = Fake::instant(2);
    fake.put_numbered(0..1_000).unwrap();
    let bytes: u64 = fake
        .records()
        .iter()
        .flat_map(|(_, records)| records)
        .map(|record| (record.data.len() + record.partition_key.as_ref().unwrap().len()) as u64)
        .sum();
    let get = Operation::GetRecords;
    let throttle = "ProvisionedThroughputExceededException";
    fake.inject(Fault::refusal(get, throttle).after(4).times(3));
    fake.inject(Fault::refusal(get, "InternalFailure").after(9).times(2));
    let sink = Sink::default();
    let gate = sink.close();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let running = pipeline.run_until(sleep(seconds(7_300)));
    let snapshotter = recorder.snapshotter();
    let looking = async {
        // It is told soon, and not only once it is long.
        sleep(seconds(30)).await;
        for shard in handle.explain().shards {
            let behind = shard.behind.unwrap();
            assert!((20..=30).contains(&behind.as_secs()), "{behind:?}");
        }
        sleep(seconds(7_170)).await;
        let told = told(&snapshotter);
        assert_eq!(told[&of_stream(names::IN_FLIGHT)], 200.0);
        assert_eq!(told[&of_stream(names::BUDGET)], (256 << 20) as f64);
        assert!(told[&of_stream(names::BUDGET_IN_USE)] >= 200.0);
        assert_eq!(told[&of_stream(names::BUDGET_WAITING)], 0.0);
        let behind = told[&of_stream(names::MILLIS_BEHIND_LATEST)];
        assert!(behind >= 7_180_000.0, "nobody asks for records: {behind}");
        let headroom = told[&of_stream(names::RETENTION_HEADROOM)];
        assert!(
            (headroom + behind / 1_000.0 - 86_400.0).abs() < 1.0,
            "{headroom}"
        );
        assert_eq!(
            told["kinesis_source_shards{stream=orders,state=reading}"],
            2.0
        );
        assert_explained(&handle.explain(), &told);
        drop(gate);
        told
    };
    let (ended, before) = tokio::join!(running, looking);
    ended.unwrap();
    sink.assert_complete(&fake);
    let told = told(&snapshotter);
    let total = |name: &str| before[&of_stream(name)] + told[&of_stream(name)];
    assert_eq!(total(names::RECORDS), 1_000.0);
    assert_eq!(total(names::ACKED), 1_000.0);
    assert_eq!(
        before[&of_stream(names::ACKED)],
        0.0,
        "none is acknowledged"
    );
    assert_eq!(total(names::BYTES), bytes as f64);
    assert_eq!(total(names::THROTTLES), 3.0);
    assert_eq!(total(names::RETRIES), 2.0);
    assert_eq!(total(names::RESTARTS), 0.0);
    let answered = fake.calls().of(get).made - 5;
    assert_eq!(total(names::READS), answered as f64);
    assert_eq!(told[&of_stream(names::IN_FLIGHT)], 0.0);
    assert_eq!(told[&of_stream(names::BUDGET_IN_USE)], 0.0);
    let totals = handle.explain().totals;
    assert_eq!((totals.records_read, totals.acked), (1_000, 1_000));
    assert_eq!((totals.bytes_read, totals.throttled), (bytes, 3));
    let event = |name: &str| {
        let key = format!("{}{{stream=orders,event={name}}}", names::EVENTS);
        before.get(&key).unwrap_or(&0.0) + told.get(&key).unwrap_or(&0.0)
    };
    assert_eq!(event("shard_started"), 2.0);
    assert_eq!(event("shard_caught_up"), 2.0);
    // Shards are labels only of whoever asks for it.
    assert!(!told.keys().any(|key| key.contains("shard=")), "{told:#?}");
}

#[tokio::test(start_paused = true)]
async fn each_shard_has_numbers_of_its_own_if_that_is_wanted() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let fake = Fake::instant(3);
    fake.put_numbered(0..300).unwrap();
    let mut pipeline = Pipeline::new();
    let (records, _) = source(&fake).metrics_by_shard().add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(100)));
    pipeline.run_until(sleep(seconds(30))).await.unwrap();
    let told = told(&recorder.snapshotter());
    for (shard, records) in fake.records() {
        for name in [names::RECORDS, names::ACKED] {
            let told = told[&of_shard(name, &shard.to_string())];
            assert_eq!(told, records.len() as f64, "{shard}");
        }
    }
    assert_eq!(told[&of_stream(names::RECORDS)], 300.0);
    assert_eq!(told[&of_stream(names::ACKED)], 300.0);
}

/// What is nacked is read again, and is done once.
#[tokio::test(start_paused = true)]
async fn what_is_nacked_is_not_done() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (fake, sink) = (Fake::instant(1), Sink::default().refusing_once(9));
    fake.put_numbered(0..10).unwrap();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    pipeline.run_until(sleep(seconds(60))).await.unwrap();
    sink.assert_complete(&fake);
    let told = told(&recorder.snapshotter());
    assert_eq!(told[&of_stream(names::RECORDS)], 11.0);
    assert_eq!(told[&of_stream(names::ACKED)], 10.0);
    let totals = handle.explain().totals;
    assert_eq!((totals.records_read, totals.acked), (11, 10));
}

fn of_shard(name: &str, shard: &str) -> String {
    format!("{name}{{stream=orders,shard={shard}}}")
}

/// Of all who share the budget.
#[tokio::test(start_paused = true)]
async fn reads_that_wait_for_room_are_told() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (fake, sink) = (Fake::instant(8), Sink::default());
    fake.put_numbered(0..5_000).unwrap();
    let gate = sink.close();
    let budget = ByteBudget::with_fetches(4_000, 8);
    let mut pipeline = Pipeline::new();
    let source = source(&fake).byte_budget(&budget);
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(5_000)));
    let snapshotter = recorder.snapshotter();
    let story = async {
        sleep(seconds(60)).await;
        let explained = handle.explain();
        let is_waiting =
            |it: &&ShardExplanation| matches!(it.waiting.waiting_for, WaitingFor::Budget { .. });
        let waiting = explained.shards.iter().filter(is_waiting).count();
        assert!(waiting > 0, "{explained}");
        assert_eq!(explained.budget.waiting, waiting);
        assert_explained(&explained, &told(&snapshotter));
        drop(gate);
        handle.caught_up().await;
        assert_eq!(handle.explain().budget.waiting, 0);
    };
    pipeline.run_until(story).await.unwrap();
    sink.assert_complete(&fake);
}

/// Its records are not read in this run: what it is behind does not hide how the others are.
#[tokio::test(start_paused = true)]
async fn a_shard_that_has_stopped_is_not_behind() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (fake, store) = (Fake::instant(2), Arc::<MemoryCheckpointStore>::default());
    fake.put_numbered(0..100).unwrap();
    let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
    let shard = ShardId::from("shardId-000000000000");
    // There is no such record.
    let foreign = Checkpoint::after(123_456.into());
    let foreign = BTreeMap::from([(shard.clone(), foreign)]);
    store.save(&stream, &foreign).await.unwrap();
    let source = source(&fake).checkpoints(store).metrics_by_shard();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(100)));
    let snapshotter = recorder.snapshotter();
    let story = async {
        sleep(seconds(300)).await;
        let explained = handle.explain().shards;
        let figures = |it: &ShardExplanation| (it.status.state, it.behind, it.headroom);
        let at_tip = (Some(Duration::ZERO), Some(seconds(86_400)));
        let expected = [
            (ShardState::Stopped, None, None),
            (ShardState::AtTip, at_tip.0, at_tip.1),
        ];
        assert_eq!(
            expected.as_slice(),
            explained.iter().map(figures).collect::<Vec<_>>()
        );
        let told = told(&snapshotter);
        assert_eq!(told[&of_stream(names::MILLIS_BEHIND_LATEST)], 0.0);
        assert_eq!(told[&of_stream(names::RETENTION_HEADROOM)], 86_400.0);
        let lag = of_shard(names::MILLIS_BEHIND_LATEST, &shard.to_string());
        assert!(!told.contains_key(&lag), "{told:#?}");
    };
    // It is said in the end that it has stopped.
    pipeline.run_until(story).await.unwrap_err();
}

/// Whoever looks at the worst of all shards is to see that a shard is over, and whoever stops reading knows nothing more.
#[tokio::test(start_paused = true)]
async fn gauges_of_a_shard_that_is_over_do_not_stand_at_what_they_were() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (fake, sink) = (Fake::instant(1), Sink::default());
    fake.put_numbered(0..100).unwrap();
    let gate = sink.close();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).metrics_by_shard().add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let snapshotter = recorder.snapshotter();
    let (parent, child) = ("shardId-000000000000", "shardId-000000000001");
    let of = |told: &BTreeMap<String, f64>, shard: &str| {
        let names = [names::MILLIS_BEHIND_LATEST, names::RETENTION_HEADROOM];
        names.map(|name| told[&of_shard(name, shard)])
    };
    let story = async {
        sleep(seconds(60)).await;
        fake.split_shard(&parent.into(), 1 << 127).await.unwrap();
        let [behind, headroom] = of(&told(&snapshotter), parent);
        assert!((50_000.0..60_000.0).contains(&behind), "{behind}");
        assert!((headroom + behind / 1_000.0 - 86_400.0).abs() < 1.0);
        drop(gate);
        sleep(seconds(60)).await;
        let told = told(&snapshotter);
        for shard in [parent, child] {
            assert_eq!(of(&told, shard), [0.0, 86_400.0], "{shard}");
        }
        assert_eq!(told[&of_stream(names::MILLIS_BEHIND_LATEST)], 0.0);
        let over = &handle.explain().shards[0];
        assert_eq!((over.behind, over.headroom), (None, None));
    };
    pipeline.run_until(story).await.unwrap();
    sink.assert_complete(&fake);
    let told = told(&snapshotter);
    assert_eq!(of(&told, parent), [0.0, 0.0], "it was not told again");
    assert!(of(&told, child).iter().all(|it| it.is_nan()), "{told:#?}");
    for name in [names::MILLIS_BEHIND_LATEST, names::RETENTION_HEADROOM] {
        assert!(told[&of_stream(name)].is_nan(), "{told:#?}");
    }
}

/// Nobody knows how far behind it is: no answer has ever said so. Its records lie there all the while.
#[tokio::test(start_paused = true)]
async fn a_shard_that_was_never_answered_is_behind_for_as_long() {
    let throttle = "ProvisionedThroughputExceededException";
    for operation in [Operation::GetRecords, Operation::GetShardIterator] {
        let recorder = DebuggingRecorder::new();
        let _guard = metrics::set_default_local_recorder(&recorder);
        let (fake, sink) = (Fake::instant(2), Sink::default());
        fake.put_numbered(0..100).unwrap();
        let silent = "shardId-000000000000";
        let fault = Fault::refusal(operation, throttle).on_shard(&silent.into());
        fake.inject(fault.always());
        let mut pipeline = Pipeline::new();
        let (records, handle) = source(&fake).metrics_by_shard().add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
        let snapshotter = recorder.snapshotter();
        let story = async {
            sleep(seconds(8)).await;
            let silent_one = handle.explain().shards.remove(0);
            assert_eq!((silent_one.behind, silent_one.headroom), (None, None));
            let lag = of_shard(names::MILLIS_BEHIND_LATEST, silent);
            assert!(!told(&snapshotter).contains_key(&lag), "it is not known");
            sleep(seconds(300)).await;
            let silent_one = handle.explain().shards.remove(0);
            let behind = silent_one.behind.unwrap();
            assert!((307..=308).contains(&behind.as_secs()), "{behind:?}");
            assert_eq!(silent_one.headroom.unwrap() + behind, seconds(86_400));
            assert_eq!(silent_one.status.millis_behind_latest, None);
            let now = told(&snapshotter);
            for lag in [lag.clone(), of_stream(names::MILLIS_BEHIND_LATEST)] {
                assert!((300_000.0..=308_000.0).contains(&now[&lag]), "{now:#?}");
            }
            let headroom = now[&of_stream(names::RETENTION_HEADROOM)];
            assert!(headroom <= 86_100.0, "{headroom}");
            fake.clear_faults();
            sleep(seconds(60)).await;
            assert_eq!(told(&snapshotter)[&lag], 0.0);
            assert_eq!(handle.explain().shards[0].behind, Some(Duration::ZERO));
        };
        pipeline.run_until(story).await.unwrap();
        sink.assert_complete(&fake);
    }
}

#[tokio::test(start_paused = true)]
async fn checkpoints_grow_old_while_they_are_not_stored() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let fake = Fake::instant(1);
    let store = Arc::new(FailingStore::default());
    let mut pipeline = Pipeline::new();
    let source = source(&fake).checkpoints(store.clone());
    let (records, _) = source.add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(100)));
    let running = pipeline.run_until(sleep(seconds(1_000)));
    let snapshotter = recorder.snapshotter();
    let age = || told(&snapshotter)[&of_stream(names::CHECKPOINT_AGE)];
    let looking = async {
        sleep(seconds(60)).await;
        assert!(age() <= 2.0);
        store.fail(true);
        fake.put_numbered(0..10).unwrap();
        sleep(seconds(600)).await;
        assert!((590.0..=601.0).contains(&age()));
        store.fail(false);
        sleep(seconds(10)).await;
        assert!(age() <= 2.0);
    };
    tokio::join!(running, looking).0.unwrap();
}

/// Each name is in the table, with its kind.
#[test]
fn every_number_is_documented() {
    let source = include_str!("../src/metric_names.rs");
    let constants = source.lines().filter(|line| line.starts_with("pub const "));
    let mut count = 0;
    for line in constants {
        let name = line.split('"').nth(1).unwrap();
        let kind = if name.ends_with("_total") {
            "counter"
        } else {
            "gauge"
        };
        let row = format!("//! | `{name}` | {kind} | ");
        assert!(source.contains(&row), "{name}");
        count += 1;
    }
    assert_eq!(count, source.matches("//! | `").count());
}
