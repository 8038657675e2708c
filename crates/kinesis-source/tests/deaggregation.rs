//! Aggregated records through a pipeline: each user record once, whatever stops in the middle.

#![allow(clippy::unwrap_used)]

#[path = "kpl/reference.rs"]
mod reference;
mod rig;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use kinesis_fake::{Fake, Limits};
use kinesis_source::{
    Aggregation, Checkpoint, CheckpointStore, Deaggregation, FanOut, KinesisWriteApi,
    MemoryCheckpointStore, OnShardFailure, OutsideRange, PinnedPosition, Record, ShardError,
    ShardId, ShardStatus, StreamIdentity, StreamSource,
    kpl::{Damage, MAGIC},
};
use md5::{Digest, Md5};
use reference::{Aggregated, UserRecord};
use rig::{Sink, everything, run_until_caught_up, shard_error};
use stage_core::{Pipeline, Window};
use tokio::time::{sleep, timeout};

/// Numbers as user records of one aggregated record, each under a key of its own, `key-n`.
fn aggregated(numbers: impl IntoIterator<Item = u64>) -> Bytes {
    let numbers: Vec<u64> = numbers.into_iter().collect();
    let key = |number: &u64| format!("key-{number}").into_bytes();
    let record = |(index, number): (u64, &u64)| UserRecord {
        partition_key_index: index,
        explicit_hash_key_index: None,
        data: number.to_string().into_bytes(),
        tags: Vec::new(),
    };
    let aggregated = Aggregated {
        partition_key_table: numbers.iter().map(key).collect(),
        explicit_hash_key_table: Vec::new(),
        records: (0..).zip(&numbers).map(record).collect(),
    };
    aggregated.seal()
}

fn source(fake: &Fake, store: &Arc<MemoryCheckpointStore>, outside: OutsideRange) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
        .checkpoints(Arc::clone(store) as _)
        .deaggregate(Deaggregation::new().outside_range(outside))
}

fn delivering(fake: &Fake, store: &Arc<MemoryCheckpointStore>) -> StreamSource {
    source(fake, store, OutsideRange::Deliver)
}

fn delivering_by_fan_out(fake: &Fake, store: &Arc<MemoryCheckpointStore>) -> StreamSource {
    let api = Arc::new(fake.clone());
    delivering(fake, store).fan_out(FanOut::new(api, "audit"))
}

/// A stream whose control calls are not limited: time is for reading.
fn fake(shards: u32) -> Fake {
    let mut limits = Limits::default();
    limits.control_per_second = Limits::none().control_per_second;
    Fake::builder()
        .instant()
        .shards(shards)
        .limits(limits)
        .build()
}

/// 600 numbers in aggregates of 30 and records of their own, over a split and a merge.
async fn resharded() -> Fake {
    let fake = fake(1);
    let mut next = 0;
    let put = |from: u64, fake: &Fake| {
        for first in (from..from + 200).step_by(40) {
            fake.put("outer", aggregated(first..first + 30)).unwrap();
            fake.put_numbered(first + 30..first + 40).unwrap();
        }
        from + 200
    };
    next = put(next, &fake);
    let root = fake.shards().remove(0);
    fake.split_shard(&root.id, root.hash_range.end / 2)
        .await
        .unwrap();
    next = put(next, &fake);
    let children = fake.shards();
    fake.merge_shards(&children[1].id, &children[2].id)
        .await
        .unwrap();
    assert_eq!(put(next, &fake), 600);
    fake
}

async fn stored(fake: &Fake, store: &MemoryCheckpointStore) -> BTreeMap<ShardId, Checkpoint> {
    let stream = StreamIdentity {
        name: fake.name().to_owned(),
        created: None,
    };
    // A name without a moment is anybody's of that name.
    store.load(&stream).await.unwrap()
}

fn is_within_a_record(checkpoint: &Checkpoint) -> bool {
    let Checkpoint::After {
        sub_sequence_number,
        ..
    } = checkpoint
    else {
        return false;
    };
    sub_sequence_number.is_some()
}

/// Whether an event is finished by a checkpoint of its shard.
fn is_done(event: &Record, checkpoints: &BTreeMap<ShardId, Checkpoint>) -> bool {
    let own = Checkpoint::After {
        sequence_number: event.sequence_number.clone(),
        sub_sequence_number: event.sub_sequence_number(),
    };
    let checkpoint = checkpoints.get(&event.shard);
    checkpoint.is_some_and(|checkpoint| !checkpoint.is_behind(&own))
}

#[tokio::test(start_paused = true)]
async fn what_stops_in_the_middle_of_an_aggregate_goes_on_there() {
    let (fake, store) = (resharded().await, Arc::default());
    let (mut numbers, mut within) = (Vec::new(), 0);
    let window = Window::new(7).with_min(3);
    for _ in 0..8 {
        let sink = Sink::by(Duration::from_millis(300));
        let mut pipeline = Pipeline::new();
        let (records, _) = delivering(&fake, &store).add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(window));
        let moment = sleep(Duration::from_millis(2_000));
        pipeline.run_until(moment).await.unwrap();
        assert!(!sink.taken().is_empty());
        numbers.extend(sink.numbers_in_order());
        within += stored(&fake, &store)
            .await
            .values()
            .filter(|it| is_within_a_record(it))
            .count();
    }
    assert!(within > 0, "no stop was in the middle of an aggregate");
    let last = Sink::default();
    run_until_caught_up(delivering(&fake, &store), &last, window)
        .await
        .unwrap();
    assert!(!last.taken().is_empty());
    numbers.extend(last.numbers_in_order());
    numbers.sort_unstable();
    assert_eq!(numbers, everything(600), "lost or twice");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_has_been_read_to_its_end_is_not_finished_while_anything_is_packed() {
    let (fake, store) = (fake(1), Arc::default());
    fake.put("outer", aggregated(0..30)).unwrap();
    let root = fake.shards().remove(0);
    fake.split_shard(&root.id, root.hash_range.end / 2)
        .await
        .unwrap();
    let sink = Sink::by(Duration::from_millis(90));
    let mut pipeline = Pipeline::new();
    let (records, _) = delivering(&fake, &store).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(7)));
    let moment = sleep(Duration::from_millis(200));
    pipeline.run_until(moment).await.unwrap();
    assert!(sink.taken().len() < 30);
    let checkpoint = stored(&fake, &store).await.remove(&root.id).unwrap();
    assert!(is_within_a_record(&checkpoint), "{checkpoint:?}");
    let rest = Sink::default();
    run_until_caught_up(delivering(&fake, &store), &rest, Window::new(7))
        .await
        .unwrap();
    let numbers = [sink.numbers_in_order(), rest.numbers_in_order()].concat();
    assert_eq!(numbers, everything(30));
}

#[tokio::test(start_paused = true)]
async fn what_is_killed_goes_on_right_after_its_checkpoint() {
    let polling: fn(&Fake, &Arc<MemoryCheckpointStore>) -> StreamSource = delivering;
    let by_fan_out: fn(&Fake, &Arc<MemoryCheckpointStore>) -> StreamSource = delivering_by_fan_out;
    for (before, after) in [
        (polling, polling),
        (by_fan_out, by_fan_out),
        (polling, by_fan_out),
        (by_fan_out, polling),
    ] {
        killed_and_resumed(before, after).await;
    }
}

async fn killed_and_resumed(
    before: fn(&Fake, &Arc<MemoryCheckpointStore>) -> StreamSource,
    after: fn(&Fake, &Arc<MemoryCheckpointStore>) -> StreamSource,
) {
    let mut within = 0;
    for millis in (1_000..9_000).step_by(370) {
        let (fake, store) = (resharded().await, Arc::default());
        let killed = Sink::by(Duration::from_millis(70));
        let mut pipeline = Pipeline::new();
        let (records, _) = before(&fake, &store).add_to(&mut pipeline);
        pipeline.consume(killed.clone(), records.subscribe(Window::new(7)));
        let run = timeout(Duration::from_millis(millis), pipeline.run()).await;
        assert!(run.is_err(), "{run:?}");
        let checkpoints = stored(&fake, &store).await;
        within += usize::from(checkpoints.values().any(is_within_a_record));
        let resumed = Sink::default();
        let window = Window::new(50);
        run_until_caught_up(after(&fake, &store), &resumed, window)
            .await
            .unwrap();
        // What is done by the checkpoints came before the kill, and does not come again.
        let is_done = |event: &Record| is_done(event, &checkpoints);
        assert!(!resumed.taken().iter().any(is_done));
        let taken = killed.taken();
        let done = taken.iter().zip(killed.numbers_in_order());
        let done = done.filter(|(event, _)| is_done(event));
        let mut numbers: Vec<u64> = done.map(|(_, number)| number).collect();
        numbers.extend(resumed.numbers());
        numbers.sort_unstable();
        assert_eq!(numbers, everything(600), "killed after {millis} ms");
    }
    assert!(
        within > 3,
        "{within} kills were in the middle of an aggregate"
    );
}

#[tokio::test(start_paused = true)]
async fn a_user_record_that_is_nacked_comes_again_with_what_follows_it() {
    let fake = fake(1);
    fake.put("outer", aggregated(0..30)).unwrap();
    let sink = Sink::default().refusing_once(17);
    run_until_caught_up(delivering(&fake, &Arc::default()), &sink, Window::new(5))
        .await
        .unwrap();
    let numbers = sink.numbers_in_order();
    assert_eq!(numbers[..17], everything(17));
    let last = numbers.iter().rposition(|&number| number == 17).unwrap();
    assert_eq!(numbers[last..], (17..30).collect::<Vec<_>>());
    let mut distinct = sink.numbers();
    distinct.dedup();
    assert_eq!(distinct, everything(30));
}

#[tokio::test(start_paused = true)]
async fn user_records_have_their_own_keys_and_the_records_number() {
    let fake = fake(1);
    let (_, number) = fake.put("outer", aggregated(0..3)).unwrap();
    fake.put("plain", "3").unwrap();
    let outer = fake.records().remove(0).1.remove(0);
    let sink = Sink::default();
    run_until_caught_up(delivering(&fake, &Arc::default()), &sink, Window::new(50))
        .await
        .unwrap();
    let taken = sink.taken();
    assert_eq!(sink.numbers_in_order(), everything(4));
    for (sub, event) in (0..3).zip(&taken) {
        assert_eq!(event.sequence_number, number);
        assert_eq!(event.sub_sequence_number(), Some(sub));
        assert_eq!(event.partition_key, Some(format!("key-{sub}")));
        let arrival = event.approximate_arrival;
        assert_eq!(arrival, outer.approximate_arrival);
        let aggregation = format!("{:?}", event.aggregation);
        let expected = format!(
            "UserRecord {{ sub_sequence_number: {sub}, has_explicit_hash_key: false, is_in_range: true }}"
        );
        assert_eq!(aggregation, expected);
    }
    assert_eq!(taken[3].sub_sequence_number(), None);
    assert_eq!(taken[3].aggregation, Aggregation::None);
}

#[tokio::test(start_paused = true)]
async fn records_are_left_as_they_are_unless_asked_otherwise() {
    let fake = fake(1);
    fake.put("outer", aggregated(0..3)).unwrap();
    let sink = Sink::default();
    let source = StreamSource::new("orders", Arc::new(fake.clone()));
    run_until_caught_up(source, &sink, Window::new(50))
        .await
        .unwrap();
    sink.assert_complete(&fake);
    assert_eq!(sink.taken()[0].aggregation, Aggregation::None);
}

#[tokio::test(start_paused = true)]
async fn without_it_a_record_that_is_done_in_part_comes_again_whole() {
    let (fake, store) = (fake(1), Arc::default());
    let (shard, number) = fake.put("outer", aggregated(0..3)).unwrap();
    fake.put("plain", "3").unwrap();
    let checkpoint = Checkpoint::After {
        sequence_number: number,
        sub_sequence_number: Some(1),
    };
    save(&fake, &store, &shard, checkpoint).await;
    let (sink, _) = run(&fake, &store, OutsideRange::Deliver).await;
    assert_eq!(sink.numbers_in_order(), [2, 3]);

    let (sink, store) = (Sink::default(), Arc::default());
    let checkpoint = Checkpoint::After {
        sequence_number: fake.records()[0].1[0].sequence_number.clone(),
        sub_sequence_number: Some(1),
    };
    save(&fake, &store, &shard, checkpoint).await;
    let source =
        StreamSource::new("orders", Arc::new(fake.clone())).checkpoints(Arc::clone(&store) as _);
    run_until_caught_up(source, &sink, Window::new(50))
        .await
        .unwrap();
    sink.assert_complete(&fake);
}

/// A checkpoint without a sub-sequence number is of the whole record, as it always was.
#[tokio::test(start_paused = true)]
async fn a_checkpoint_of_a_whole_record_leaves_it_out() {
    let (fake, store) = (fake(1), Arc::default());
    let (shard, number) = fake.put("outer", aggregated(0..3)).unwrap();
    fake.put("outer", aggregated(3..6)).unwrap();
    save(&fake, &store, &shard, Checkpoint::after(number)).await;
    let (sink, _) = run(&fake, &store, OutsideRange::Deliver).await;
    assert_eq!(sink.numbers_in_order(), [3, 4, 5]);
}

async fn save(fake: &Fake, store: &MemoryCheckpointStore, shard: &ShardId, checkpoint: Checkpoint) {
    let stream = StreamIdentity {
        name: fake.name().to_owned(),
        created: None,
    };
    let checkpoints = BTreeMap::from([(shard.clone(), checkpoint)]);
    store.save(&stream, &checkpoints).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_is_delivered_as_it_is_and_counted() {
    let fake = fake(1);
    let mut data = aggregated(0..3).to_vec();
    data[10] ^= 1;
    fake.put("outer", data).unwrap();
    let (sink, statuses) = run(&fake, &Arc::default(), OutsideRange::Deliver).await;
    sink.assert_complete(&fake);
    let damaged = Aggregation::Damaged(Damage::WrongDigest);
    assert_eq!(sink.taken()[0].aggregation, damaged);
    assert_eq!(sink.taken()[0].sub_sequence_number(), None);
    assert_eq!((statuses[0].damaged, statuses[0].user_records), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_bomb_of_10_mib_is_delivered_as_it_is_and_counted() {
    let fake = fake(1);
    let empty_record = [0x1A, 4, 0x08, 0, 0x1A, 0];
    let body = [&[0x0A, 1, b'k'][..], &empty_record.repeat((10 << 20) / 6)].concat();
    let digest = Md5::digest(&body);
    fake.put("outer", [&MAGIC[..], &body, &digest[..]].concat())
        .unwrap();
    let (sink, statuses) = run(&fake, &Arc::default(), OutsideRange::Deliver).await;
    sink.assert_complete(&fake);
    let damaged = Aggregation::Damaged(Damage::TooManyRecords);
    assert_eq!(sink.taken()[0].aggregation, damaged);
    assert_eq!((statuses[0].damaged, statuses[0].user_records), (1, 0));
}

/// Runs until caught up, and returns what the shards' status was at the end.
async fn run(
    fake: &Fake,
    store: &Arc<MemoryCheckpointStore>,
    outside: OutsideRange,
) -> (Sink, Vec<ShardStatus>) {
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(fake, store, outside).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(50)));
    let caught_up = handle.clone();
    let stop = async move { caught_up.caught_up().await };
    pipeline.run_until(stop).await.unwrap();
    (sink, handle.status())
}

/// Of two shards, the first has an aggregated record with records of both, after one that is sound
/// and before a plain one. Returns which numbers belong on the other shard.
fn misplaced() -> (Fake, Vec<u64>) {
    let fake = fake(2);
    let first = fake.shards().remove(0);
    let is_outside = |number: &u64| {
        let hash_key = u128::from_be_bytes(Md5::digest(format!("key-{number}")).into());
        !first.hash_range.contains(hash_key)
    };
    let (outside, inside): (Vec<u64>, Vec<u64>) = (0..20).partition(is_outside);
    assert!(!outside.is_empty() && inside.len() > 2);
    let put = |numbers: Vec<u64>| {
        let data = aggregated(numbers);
        fake.put_on(&first.id, "outer", data).unwrap();
    };
    put(inside[..2].to_vec());
    put(inside[2..].iter().chain(&outside).copied().collect());
    fake.put_on(&first.id, "plain", "20").unwrap();
    (fake, outside)
}

#[tokio::test(start_paused = true)]
async fn user_records_outside_the_range_are_delivered_and_say_so() {
    let (fake, outside) = misplaced();
    let (sink, statuses) = run(&fake, &Arc::default(), OutsideRange::Deliver).await;
    assert_eq!(sink.numbers(), everything(21));
    let says_so = |event: &Record| matches!(&event.aggregation, Aggregation::UserRecord { is_in_range, .. } if !is_in_range);
    let numbers = sink.numbers_in_order().into_iter();
    let flagged = numbers.zip(sink.taken()).filter(|(_, it)| says_so(it));
    let flagged: Vec<u64> = flagged.map(|(number, _)| number).collect();
    assert_eq!(flagged, outside);
    assert_eq!(statuses[0].outside_range, outside.len() as u64);
    assert_eq!((statuses[0].user_records, statuses[0].dropped), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn they_are_dropped_with_their_whole_record_as_the_kcl_does() {
    let (fake, outside) = misplaced();
    let store = Arc::default();
    let (sink, statuses) = run(&fake, &store, OutsideRange::DropLikeKcl).await;
    let inside: Vec<u64> = (0..20).filter(|it| !outside.contains(it)).collect();
    assert_eq!(sink.numbers_in_order(), [inside[0], inside[1], 20]);
    assert_eq!((statuses[0].user_records, statuses[0].dropped), (2, 18));
    // The checkpoint does not stay before what is dropped, even if nothing follows.
    let first = fake.shards().remove(0);
    let last = fake
        .put_on(&first.id, "outer", aggregated(outside))
        .unwrap();
    let (sink, _) = run(&fake, &store, OutsideRange::DropLikeKcl).await;
    assert!(sink.taken().is_empty());
    let stored = stored(&fake, &store).await;
    assert_eq!(stored.get(&first.id), Some(&Checkpoint::after(last)));
}

#[tokio::test(start_paused = true)]
async fn they_fail_the_pipeline_before_any_of_their_record_is_delivered() {
    let (fake, outside) = misplaced();
    let number = fake.records().remove(0).1[1].sequence_number.clone();
    let sink = Sink::default();
    let source = source(&fake, &Arc::default(), OutsideRange::Fail)
        .on_shard_failure(OnShardFailure::FailPipeline);
    let error = run_until_caught_up(source, &sink, Window::new(50))
        .await
        .unwrap_err();
    match shard_error(&error) {
        ShardError::OutsideRange {
            sequence_number, ..
        } => assert_eq!(*sequence_number, number),
        other => panic!("{other:?}"),
    }
    let inside: Vec<u64> = (0..20).filter(|it| !outside.contains(it)).collect();
    assert_eq!(sink.numbers_in_order(), inside[..2]);
}

#[tokio::test(start_paused = true)]
async fn a_large_aggregate_is_handed_out_as_it_is_asked_for() {
    let fake = fake(1);
    fake.put("outer", aggregated(0..3_000)).unwrap();
    let sink = Sink::default();
    let closed = sink.close();
    let mut pipeline = Pipeline::new();
    let (records, handle) = delivering(&fake, &Arc::default()).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let caught_up = handle.clone();
    let stop = async move { caught_up.caught_up().await };
    let run = tokio::spawn(pipeline.run_until(stop));
    sleep(Duration::from_secs(60)).await;
    let status = handle.status().remove(0);
    assert_eq!((status.in_flight, status.user_records), (10, 10));
    drop(closed);
    run.await.unwrap().unwrap();
    assert_eq!(sink.numbers_in_order(), everything(3_000));
}

/// What is packed yet when its shard is told to go on elsewhere is of the old place.
#[tokio::test(start_paused = true)]
async fn a_seek_in_the_middle_of_an_aggregate_forgets_its_rest() {
    for by_fan_out in [false, true] {
        let (fake, store) = (fake(1), Arc::default());
        for first in (0..200).step_by(40) {
            fake.put("outer", aggregated(first..first + 40)).unwrap();
        }
        let source = match by_fan_out {
            true => delivering_by_fan_out(&fake, &store),
            false => delivering(&fake, &store),
        };
        let sink = Sink::by(Duration::from_millis(300));
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(6)));
        let shard = fake.shards().remove(0).id;
        let seeking = async move {
            sleep(Duration::from_secs(1)).await;
            let horizon = PinnedPosition::TrimHorizon;
            handle.seek(&shard, horizon).await.unwrap();
            handle.caught_up().await;
        };
        pipeline.run_until(seeking).await.unwrap();
        let taken = sink.numbers_in_order();
        let before = (taken.len() as u64).saturating_sub(200);
        assert!((1..40).contains(&before), "{before} of the first aggregate");
        assert_eq!(taken, [everything(before), everything(200)].concat());
    }
}
