//! Whole streams on the fake, on a paused clock.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kinesis_fake::{Fake, Fault, Limits, Operation, Rewrite};
use kinesis_source::{
    Checkpoint, CheckpointStore, FanOut, KinesisApi, KinesisWriteApi, MemoryCheckpointStore,
    OnShardFailure, Position, ShardId, ShardState, StartPosition, StreamError, StreamIdentity,
    StreamSource, Timestamp,
};
use rig::{Sink, everything, run_until_caught_up, stream_error};
use stage_core::{Pipeline, Window};
use tokio::time::{Instant, sleep, timeout};

fn source(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

async fn identity(fake: &Fake) -> StreamIdentity {
    StreamIdentity::from(&fake.describe_stream_summary().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn every_record_of_every_shard_arrives_once_and_in_order() {
    let fake = Fake::instant(4);
    fake.put_numbered(0..1_000).unwrap();
    let sink = Sink::default();
    run_until_caught_up(source(&fake), &sink, Window::new(50))
        .await
        .unwrap();
    sink.assert_complete(&fake);
    assert_eq!(fake.calls().throttled(), 0);
}

#[tokio::test(start_paused = true)]
async fn all_pages_of_the_shards_are_listed() {
    let fake = Fake::builder().instant().shards(25).page_size(3).build();
    fake.put_numbered(0..500).unwrap();
    let sink = Sink::default();
    run_until_caught_up(source(&fake), &sink, Window::new(50))
        .await
        .unwrap();
    sink.assert_complete(&fake);
}

#[tokio::test(start_paused = true)]
async fn children_follow_their_parents_over_a_split_and_a_merge() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..200).unwrap();
    let sink = Sink::by(Duration::from_millis(300));
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(120))));

    sleep(Duration::from_secs(1)).await;
    fake.split_shard(&"shardId-000000000000".into(), 1 << 125)
        .await
        .unwrap();
    fake.put_numbered(200..400).unwrap();
    sleep(Duration::from_secs(1)).await;
    fake.merge_shards(
        &"shardId-000000000001".into(),
        &"shardId-000000000003".into(),
    )
    .await
    .unwrap();
    fake.put_numbered(400..600).unwrap();
    run.await.unwrap().unwrap();

    sink.assert_complete(&fake);
    sink.assert_parents_before_children(&fake);
    let states: BTreeMap<String, ShardState> = handle
        .status()
        .into_iter()
        .map(|shard| (shard.shard.to_string(), shard.state))
        .collect();
    let finished = states
        .values()
        .filter(|&&state| state == ShardState::Finished);
    assert_eq!(finished.count(), 3, "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn a_merge_waits_for_both_its_parents() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..300).unwrap();
    fake.merge_shards(
        &"shardId-000000000000".into(),
        &"shardId-000000000001".into(),
    )
    .await
    .unwrap();
    fake.put_numbered(300..400).unwrap();
    // One of the parents is read late.
    let shard: ShardId = "shardId-000000000001".into();
    fake.inject(
        Fault::refusal(Operation::GetRecords, "InternalFailure")
            .on_shard(&shard)
            .times(8),
    );
    let sink = Sink::default();
    run_until_caught_up(source(&fake), &sink, Window::new(50))
        .await
        .unwrap();
    sink.assert_complete(&fake);
    sink.assert_parents_before_children(&fake);
}

#[tokio::test(start_paused = true)]
async fn children_are_told_to_wait_as_long_as_they_do() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..50).unwrap();
    fake.split_shard(&"shardId-000000000000".into(), 1 << 127)
        .await
        .unwrap();
    let sink = Sink::default();
    let gate = sink.close();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(120))));
    let states = || -> Vec<ShardState> { handle.status().iter().map(|it| it.state).collect() };

    sleep(Duration::from_secs(10)).await;
    let waits = ShardState::WaitingForParents;
    assert_eq!(states(), [ShardState::Draining, waits, waits]);
    drop(gate);
    sleep(Duration::from_secs(10)).await;
    let at_tip = ShardState::AtTip;
    assert_eq!(states(), [ShardState::Finished, at_tip, at_tip]);
    run.await.unwrap().unwrap();
}

/// One that is written to all the time is caught up with, too: each shard needs to have been at its
/// tip once, not all of them at the same moment with nothing under way.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_written_to_all_the_time_is_caught_up_with() {
    let fake = Fake::instant(16);
    fake.put_numbered(0..500).unwrap();
    let writing = tokio::spawn({
        let fake = fake.clone();
        async move {
            for number in 500.. {
                fake.put_numbered(number..number + 1).unwrap();
                sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let sink = Sink::default();
    let reading = run_until_caught_up(source(&fake), &sink, Window::new(50));
    timeout(Duration::from_secs(30), reading)
        .await
        .expect("it ends although it is written to")
        .unwrap();
    writing.abort();
    let numbers = sink.numbers();
    assert!(
        numbers.starts_with(&everything(500)),
        "what was there is read"
    );
}

/// Who asks whether all is dealt with wants to know that it is, and not that it is on its way.
#[tokio::test(start_paused = true)]
async fn nothing_is_caught_up_with_while_the_sink_holds_it() {
    for by_fan_out in [false, true] {
        let fake = Fake::instant(2);
        fake.put_numbered(0..10).unwrap();
        let source = match by_fan_out {
            true => source(&fake).fan_out(FanOut::new(Arc::new(fake.clone()), "audit")),
            false => source(&fake),
        };
        let sink = Sink::default();
        let gate = sink.close();
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
        let asking = async {
            let caught_up = timeout(Duration::from_secs(60), handle.caught_up()).await;
            assert!(caught_up.is_err(), "none is acknowledged");
            drop(gate);
            handle.caught_up().await;
            assert_eq!(sink.numbers(), everything(10));
        };
        pipeline.run_until(asking).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn latest_takes_what_comes_and_goes_on_from_its_moment() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..100).unwrap();
    sleep(Duration::from_secs(10)).await;
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, _) = source(&fake)
        .start(StartPosition::Latest)
        .add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(1_000))));
    sleep(Duration::from_secs(2)).await;
    // Nothing has been read when every iterator expires at once.
    fake.inject(Fault::refusal(Operation::GetRecords, "ExpiredIteratorException").times(4));
    fake.put_numbered(100..150).unwrap();
    sleep(Duration::from_secs(400)).await;
    fake.split_shard(&"shardId-000000000000".into(), 1 << 125)
        .await
        .unwrap();
    fake.put_numbered(150..250).unwrap();
    run.await.unwrap().unwrap();
    assert_eq!(sink.numbers(), (100..250).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_moment_is_where_to_start() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..100).unwrap();
    sleep(Duration::from_secs(10)).await;
    let moment = fake.now();
    fake.put_numbered(100..150).unwrap();
    sleep(Duration::from_secs(10)).await;
    let sink = Sink::default();
    let source = source(&fake).start(StartPosition::AtTimestamp(moment));
    run_until_caught_up(source, &sink, Window::new(10))
        .await
        .unwrap();
    assert_eq!(sink.numbers(), (100..150).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn after_a_record_only_what_follows_it_in_its_shard() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..100).unwrap();
    let (shard, records) = fake.records().remove(0);
    let sink = Sink::default();
    let source = source(&fake).start(StartPosition::After {
        shard,
        sequence_number: records[59].sequence_number.clone(),
    });
    run_until_caught_up(source, &sink, Window::new(10))
        .await
        .unwrap();
    assert_eq!(sink.numbers(), (60..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_shard_to_start_in_that_is_not_there_is_an_error() {
    let fake = Fake::instant(1);
    let source = source(&fake).start(StartPosition::After {
        shard: "shardId-000000000007".into(),
        sequence_number: 7.into(),
    });
    let error = run_until_caught_up(source, &Sink::default(), Window::new(10))
        .await
        .unwrap_err();
    let error = stream_error(&error);
    assert!(
        matches!(error, StreamError::NoSuchShard { .. }),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_next_run_goes_on_where_this_one_had_finished() {
    let (fake, store) = (Fake::instant(3), Arc::new(MemoryCheckpointStore::new()));
    let first = Sink::by(Duration::from_millis(100));
    fake.put_numbered(0..600).unwrap();
    let mut pipeline = Pipeline::new();
    let (records, _) = source(&fake)
        .checkpoints(store.clone())
        .add_to(&mut pipeline);
    pipeline.consume(first.clone(), records.subscribe(Window::new(10)));
    pipeline
        .run_until(sleep(Duration::from_secs(2)))
        .await
        .unwrap();
    let taken = first.numbers().len();
    assert!((10..600).contains(&taken), "{taken}");

    fake.split_shard(&"shardId-000000000000".into(), 1 << 124)
        .await
        .unwrap();
    fake.put_numbered(600..700).unwrap();
    let second = Sink::default();
    let again = source(&fake)
        .checkpoints(store.clone())
        .start(StartPosition::Latest);
    run_until_caught_up(again, &second, Window::new(50))
        .await
        .unwrap();
    // Nothing is read twice after a stop that drained.
    let mut all = [first.numbers(), second.numbers()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..700).collect::<Vec<_>>());

    let stored = store.load(&identity(&fake).await).await.unwrap();
    assert!(stored[&"shardId-000000000000".into()].is_end());
    assert_eq!(stored.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_loses_nothing_and_repeats_only_what_was_not_stored() {
    let (fake, store) = (Fake::instant(2), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..400).unwrap();
    let (mut sinks, mut stored_at) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let sink = Sink::by(Duration::from_millis(170));
        let mut pipeline = Pipeline::new();
        let (records, _) = source(&fake)
            .checkpoints(store.clone())
            .add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
        // Dropped as a kill would: no drain, no last checkpoint.
        assert!(
            timeout(Duration::from_millis(2_345), pipeline.run())
                .await
                .is_err()
        );
        stored_at.push(store.load(&identity(&fake).await).await.unwrap());
        sinks.push(sink);
    }
    let last = Sink::default();
    let again = source(&fake).checkpoints(store.clone());
    run_until_caught_up(again, &last, Window::new(50))
        .await
        .unwrap();
    sinks.push(last);

    let mut all: Vec<u64> = sinks.iter().flat_map(Sink::numbers).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (0..400).collect::<Vec<_>>());
    // What a run repeats lies after what the run before had stored.
    for (stored, sink) in stored_at.iter().zip(&sinks[1..]) {
        for event in sink.taken() {
            let seen = Checkpoint::after(event.sequence_number.clone());
            assert!(stored[&event.shard].is_behind(&seen), "{event:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_at_latest_is_stored_before_anything_is_read() {
    let (fake, store) = (Fake::instant(2), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..10).unwrap();
    sleep(Duration::from_secs(5)).await;
    let latest = || {
        source(&fake)
            .checkpoints(store.clone())
            .start(StartPosition::Latest)
    };
    let mut pipeline = Pipeline::new();
    let (records, _) = latest().add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(10)));
    // Killed before the first record comes.
    assert!(
        timeout(Duration::from_millis(500), pipeline.run())
            .await
            .is_err()
    );
    sleep(Duration::from_secs(5)).await;
    fake.put_numbered(10..60).unwrap();
    sleep(Duration::from_secs(5)).await;
    let sink = Sink::default();
    run_until_caught_up(latest(), &sink, Window::new(10))
        .await
        .unwrap();
    assert_eq!(sink.numbers(), (10..60).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_nacked_record_is_read_again_with_all_that_follows_it() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..100).unwrap();
    let sink = Sink::default().refusing_once(42);
    run_until_caught_up(source(&fake), &sink, Window::new(20))
        .await
        .unwrap();
    let numbers = sink.numbers_in_order();
    let again = numbers.iter().rposition(|&number| number == 42).unwrap();
    assert_eq!(numbers[again..], (42..100).collect::<Vec<_>>());
    let mut all = numbers;
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, everything(100));
}

#[tokio::test(start_paused = true)]
async fn a_nack_in_the_last_records_of_a_closed_shard_is_no_end() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..50).unwrap();
    fake.split_shard(&"shardId-000000000000".into(), 1 << 127)
        .await
        .unwrap();
    fake.put_numbered(50..60).unwrap();
    let sink = Sink::default().refusing_once(49);
    run_until_caught_up(source(&fake), &sink, Window::new(100))
        .await
        .unwrap();
    let mut numbers = sink.numbers();
    numbers.dedup();
    assert_eq!(numbers, everything(60));
    sink.assert_parents_before_children(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_never_taken_in_fails_the_pipeline_and_is_not_passed() {
    let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..100).unwrap();
    let sink = Sink::default().refusing_always(42);
    let source = source(&fake)
        .checkpoints(store.clone())
        .on_shard_failure(OnShardFailure::FailPipeline);
    let error = run_until_caught_up(source, &sink, Window::new(20))
        .await
        .unwrap_err();
    assert_eq!(error.stage(), "orders/shardId-000000000000");
    let stored = store.load(&identity(&fake).await).await.unwrap();
    let (shard, records) = fake.records().remove(0);
    assert_eq!(
        stored[&shard],
        Checkpoint::after(records[41].sequence_number.clone())
    );
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_stalls_for_six_hours_costs_nothing_and_goes_on() {
    let fake = Fake::instant(4);
    fake.put_numbered(0..2_000).unwrap();
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let gate = sink.close();
    let caught_up = handle.clone();
    let run = tokio::spawn(async move {
        pipeline
            .run_until(async move { caught_up.caught_up().await })
            .await
    });
    sleep(Duration::from_secs(60)).await;
    let in_flight = |handle: &kinesis_source::StreamHandle| -> u64 {
        handle.status().iter().map(|shard| shard.in_flight).sum()
    };
    let (before, calls) = (in_flight(&handle), fake.calls());
    assert!(before <= 4 * 100, "{before} in flight");
    sleep(Duration::from_secs(6 * 3600)).await;
    assert_eq!(in_flight(&handle), before, "nothing grows");
    let reads = fake.calls().of(Operation::GetRecords).made - calls.of(Operation::GetRecords).made;
    assert_eq!(reads, 0, "nobody asked for anything");
    assert_eq!(fake.calls().throttled(), 0);
    // Only the listing goes on, once a minute.
    let lists = fake.calls().of(Operation::ListShards).made - calls.of(Operation::ListShards).made;
    assert!((355..=361).contains(&lists), "{lists} listings");

    drop(gate);
    timeout(Duration::from_secs(3600), run)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    sink.assert_complete(&fake);
    assert_eq!(fake.calls().throttled(), 0);
    let iterators = fake.calls().of(Operation::GetShardIterator).made;
    assert!(
        iterators <= 8,
        "one at the start and one after the stall: {iterators}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_never_exceeds_the_windows() {
    let fake = Fake::builder()
        .instant()
        .shards(3)
        .limits(Limits::none())
        .build();
    fake.put_numbered(0..3_000).unwrap();
    let sink = Sink::by(Duration::from_millis(20));
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(
        sink.clone(),
        records.subscribe(Window::new(37).with_min(11)),
    );
    let watched = handle.clone();
    let watch = tokio::spawn(async move {
        let mut most = 0;
        loop {
            for shard in watched.status() {
                most = most.max(shard.in_flight);
                assert!(shard.in_flight <= 37, "{shard:?}");
            }
            if watched.status().iter().map(|s| s.records_read).sum::<u64>() == 3_000 {
                return most;
            }
            sleep(Duration::from_millis(1)).await;
        }
    });
    pipeline
        .run_until(async move { handle.caught_up().await })
        .await
        .unwrap();
    assert_eq!(watch.await.unwrap(), 37, "and the window is used");
    sink.assert_complete(&fake);
}

#[tokio::test(start_paused = true)]
async fn idle_shards_are_read_once_a_second() {
    let fake = Fake::instant(2);
    let mut pipeline = Pipeline::new();
    let (records, _) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(10)));
    pipeline
        .run_until(sleep(Duration::from_secs(3_600)))
        .await
        .unwrap();
    let reads = fake.calls().of(Operation::GetRecords).made;
    assert!((2 * 3_590..=2 * 3_605).contains(&reads), "{reads}");
    assert_eq!(fake.calls().throttled(), 0);
    assert_eq!(
        fake.calls().of(Operation::GetShardIterator).made,
        2,
        "none expires"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_shard_is_read_within_its_limits_without_being_throttled() {
    let fake = Fake::instant(1);
    for n in 0..2_000 {
        fake.put(&format!("key-{n}"), vec![b'x'; 10_000]).unwrap();
    }
    let (sink, start) = (Sink::default(), Instant::now());
    run_until_caught_up(source(&fake), &sink, Window::new(10_000))
        .await
        .unwrap();
    assert_eq!(sink.taken().len(), 2_000);
    assert_eq!(fake.calls().throttled(), 0);
    let took = start.elapsed().as_secs_f64();
    // 20 MB at 2 MiB a second.
    assert!(took < 12.0, "{took} s");
}

#[tokio::test(start_paused = true)]
async fn faults_of_every_kind_are_outlasted() {
    let fake = Fake::instant(3);
    fake.put_numbered(0..300).unwrap();
    for code in [
        "ProvisionedThroughputExceededException",
        "LimitExceededException",
        "KMSThrottlingException",
        "InternalFailure",
        "ServiceUnavailable",
        "ExpiredIteratorException",
        "ResourceInUseException",
        "KMSDisabledException",
        "NobodyKnowsThisException",
        "ExpiredTokenException",
        "ResourceNotFoundException",
    ] {
        for operation in [Operation::GetRecords, Operation::GetShardIterator] {
            fake.inject(Fault::refusal(operation, code).times(2));
        }
    }
    for operation in [
        Operation::GetRecords,
        Operation::GetShardIterator,
        Operation::ListShards,
    ] {
        fake.inject(Fault::lost_answer(operation).after(1).times(2));
    }
    let sink = Sink::default();
    run_until_caught_up(source(&fake), &sink, Window::new(10))
        .await
        .unwrap();
    sink.assert_complete(&fake);
    assert_eq!(fake.faults_waiting(), 0, "each has happened");
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_day_is_outlasted() {
    let fake = Fake::builder()
        .instant()
        .shards(2)
        .retention_hours(48)
        .build();
    fake.put_numbered(0..100).unwrap();
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, _) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(26 * 3600))));
    sleep(Duration::from_secs(10)).await;
    for operation in [
        Operation::GetRecords,
        Operation::GetShardIterator,
        Operation::ListShards,
    ] {
        fake.inject(Fault::refusal(operation, "InternalFailure").times(u32::MAX));
    }
    fake.put_numbered(100..200).unwrap();
    let before = fake.calls().of(Operation::GetRecords).made;
    sleep(Duration::from_secs(24 * 3600)).await;
    let tries = fake.calls().of(Operation::GetRecords).made - before;
    assert!(tries <= 2 * 24 * 360, "{tries} tries: no storm");
    fake.clear_faults();
    run.await.unwrap().unwrap();
    sink.assert_complete(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_deleted_while_it_is_read_is_an_error_within_seconds() {
    let fake = Fake::instant(3);
    fake.put_numbered(0..30).unwrap();
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, _) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let run = tokio::spawn(pipeline.run());
    sleep(Duration::from_secs(10)).await;
    for operation in [
        Operation::GetRecords,
        Operation::GetShardIterator,
        Operation::ListShards,
        Operation::DescribeStreamSummary,
    ] {
        fake.inject(Fault::refusal(operation, "ResourceNotFoundException").times(u32::MAX));
    }
    let deleted = Instant::now();
    let error = run.await.unwrap().unwrap_err();
    assert!(deleted.elapsed() < Duration::from_secs(5));
    let source = std::error::Error::source(&error).unwrap();
    let sentence = "stream `stream` was deleted while it was read";
    assert_eq!(source.to_string(), sentence, "{error}");
    assert_eq!(sink.numbers(), everything(30));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_mended_by_waiting_fails_with_a_sentence() {
    type Check = fn(&StreamError) -> bool;
    let cases: [(&str, u32, Check); 5] = [
        ("ResourceNotFoundException", 1, |e| {
            matches!(e, StreamError::NoSuchStream { .. })
        }),
        ("AccessDeniedException", 1, |e| {
            matches!(e, StreamError::NotAllowed { .. })
        }),
        ("UnrecognizedClientException", 1, |e| {
            matches!(e, StreamError::NotAllowed { .. })
        }),
        ("InvalidArgumentException", 1, |e| {
            matches!(e, StreamError::Refused { .. })
        }),
        ("InternalFailure", 100, |e| {
            matches!(e, StreamError::Unreachable { .. })
        }),
    ];
    for (code, times, is_right) in cases {
        for operation in [Operation::DescribeStreamSummary, Operation::ListShards] {
            let fake = Fake::instant(1);
            fake.inject(Fault::refusal(operation, code).times(times));
            let sink = Sink::default();
            let run = run_until_caught_up(source(&fake), &sink, Window::new(10));
            let error = timeout(Duration::from_secs(60), run)
                .await
                .unwrap()
                .unwrap_err();
            assert_eq!(error.stage(), "orders");
            let error = stream_error(&error);
            assert!(is_right(error), "{operation:?} {code}: {error:?}");
            assert!(error.to_string().contains("`orders`"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_store_that_fails_for_an_hour_stops_nothing() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..500).unwrap();
    let store = Arc::new(rig::FailingStore::default());
    let sink = Sink::by(Duration::from_secs(60));
    let mut pipeline = Pipeline::new().drain_within(Duration::MAX);
    let (records, _) = source(&fake)
        .checkpoints(store.clone())
        .add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(4_000))));
    sleep(Duration::from_secs(10)).await;
    store.fail(true);
    sleep(Duration::from_secs(3_600)).await;
    store.fail(false);
    run.await.unwrap().unwrap();
    let stored = store.load(&identity(&fake).await).await.unwrap();
    for (shard, records) in fake.records() {
        let taken = sink
            .taken()
            .into_iter()
            .filter(|event| event.shard == shard)
            .count();
        let last = records[taken - 1].sequence_number.clone();
        assert_eq!(stored[&shard], Checkpoint::after(last));
    }
}

#[tokio::test(start_paused = true)]
async fn last_checkpoints_that_cannot_be_stored_are_an_error() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..10).unwrap();
    let store = Arc::new(rig::FailingStore::default());
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake)
        .checkpoints(store.clone())
        .add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(10)));
    let result = pipeline.run_until(async move {
        sleep(Duration::from_millis(100)).await;
        store.fail(true);
        handle.caught_up().await;
    });
    let error = result.await.unwrap_err();
    assert!(matches!(
        stream_error(&error),
        StreamError::Checkpoint { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_position_older_than_the_horizon_and_a_future_moment_are_no_surprise() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..10).unwrap();
    let sink = Sink::default();
    let start = StartPosition::AtTimestamp(Timestamp::from_millis(0));
    run_until_caught_up(source(&fake).start(start), &sink, Window::new(10))
        .await
        .unwrap();
    assert_eq!(sink.numbers(), everything(10));
    let shard = "shardId-000000000000".into();
    assert!(
        fake.get_shard_iterator(&shard, &Position::Latest)
            .await
            .is_ok()
    );
}

/// An answer may say that the shard is at its end though it is not: then it names no children, and the
/// shard is listed as open. Nothing of it may be taken for finished.
#[tokio::test(start_paused = true)]
async fn an_end_that_is_none_is_not_believed() {
    let store = Arc::new(MemoryCheckpointStore::new());
    for by_fan_out in [false, true] {
        let fake = Fake::instant(1);
        let operation = if by_fan_out {
            Operation::SubscribeToShard
        } else {
            Operation::GetRecords
        };
        let fault = Fault::rewritten(operation, Rewrite::NO_NEXT_ITERATOR).times(3);
        fake.inject(if by_fan_out { fault.in_stream() } else { fault });
        let api = Arc::new(fake.clone());
        let store = Arc::new(MemoryCheckpointStore::new());
        let source = source(&fake).checkpoints(Arc::clone(&store) as _);
        let source = if by_fan_out {
            source.fan_out(FanOut::new(api, "audit"))
        } else {
            source
        };
        let sink = Sink::default();
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
        let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(200))));
        for round in 0..5 {
            fake.put_numbered(20 * round..20 * (round + 1)).unwrap();
            sleep(Duration::from_secs(20)).await;
        }
        assert_eq!(fake.faults_waiting(), 0);
        assert_eq!(handle.status()[0].state, ShardState::AtTip);
        run.await.unwrap().unwrap();
        sink.assert_complete(&fake);
    }
    // One that is closed ends, whether its children are named or not.
    let fake = Fake::instant(1);
    fake.put_numbered(0..50).unwrap();
    fake.split_shard(&"shardId-000000000000".into(), 1 << 127)
        .await
        .unwrap();
    fake.put_numbered(50..100).unwrap();
    fake.inject(Fault::rewritten(Operation::GetRecords, Rewrite::NO_CHILDREN).always());
    let sink = Sink::default();
    let source = source(&fake).checkpoints(store);
    run_until_caught_up(source, &sink, Window::new(10))
        .await
        .unwrap();
    sink.assert_complete(&fake);
}
