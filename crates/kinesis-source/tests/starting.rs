//! Where reading a stream begins, and what becomes of a place where it cannot.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use kinesis_fake::{Choices, Fake, Fault, FutureTimestamp, Operation, Rewrite, Worker};
use kinesis_source::{
    ApiError, Checkpoint, CheckpointStore, FanOut, KinesisApi, KinesisWriteApi,
    MemoryCheckpointStore, NextToken, PinnedPosition, Position, RecordsPage, ShardError, ShardId,
    ShardIterator, ShardsPage, SourceEvent, StartPosition, StreamError, StreamIdentity,
    StreamSource, StreamSummary, Timestamp,
};
use rig::{Sink, everything, run_until_caught_up, shard_error, stream_error};
use stage_core::{Pipeline, Window};
use tokio::time::{Instant, sleep, timeout};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn source(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

async fn identity(fake: &Fake) -> StreamIdentity {
    StreamIdentity::from(&fake.describe_stream_summary().await.unwrap())
}

fn made(fake: &Fake, operation: Operation) -> u64 {
    fake.calls().of(operation).made
}

/// Places in the first of two shards that no stream has: one that is no number of a record, one of
/// the other shard, and one that is yet to come.
fn refused(fake: &Fake) -> [StartPosition; 3] {
    let shards = fake.records();
    let after = |number| StartPosition::After {
        shard: shards[0].0.clone(),
        sequence_number: number,
    };
    [
        after(123_456.into()),
        after(shards[1].1[0].sequence_number.clone()),
        StartPosition::AtTimestamp(fake.now().plus(70 * YEAR)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_refused_is_found_before_anything_is_read_or_stored() {
    for case in 0..3 {
        let (fake, store) = (Fake::instant(2), Arc::new(MemoryCheckpointStore::new()));
        fake.put_numbered(0..100).unwrap();
        let start = refused(&fake)[case].clone();
        let sink = Sink::default();
        let bad = source(&fake)
            .checkpoints(store.clone())
            .start(start.clone());
        let run = run_until_caught_up(bad, &sink, Window::new(10)).await;
        let error = run.unwrap_err();
        assert_eq!(error.stage(), "orders", "{start:?}");
        let error = stream_error(&error);
        assert!(
            matches!(error, StreamError::InvalidStart { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("`orders`"), "{error}");
        assert!(error.to_string().contains(&start.to_string()), "{error}");
        assert!(sink.numbers().is_empty(), "{start:?}");
        assert_eq!(made(&fake, Operation::GetShardIterator), 1, "{start:?}");
        assert_eq!(made(&fake, Operation::GetRecords), 0, "{start:?}");
        let stored = store.load(&identity(&fake).await).await.unwrap();
        assert_eq!(stored, BTreeMap::new(), "{start:?}");

        // The same store is good for another start.
        let good = source(&fake).checkpoints(store);
        run_until_caught_up(good, &sink, Window::new(10))
            .await
            .unwrap();
        assert_eq!(sink.numbers(), everything(100));
    }
}

#[tokio::test(start_paused = true)]
async fn whether_a_moment_is_yet_to_come_is_for_the_service_to_say() {
    let mut choices = Choices::default();
    choices.future_timestamp = FutureTimestamp::StartAtEnd;
    let fake = Fake::builder().instant().choices(choices).build();
    fake.put_numbered(0..10).unwrap();
    let soon = StartPosition::AtTimestamp(fake.now().plus(Duration::from_secs(60)));
    let sink = Sink::default();
    run_until_caught_up(source(&fake).start(soon), &sink, Window::new(10))
        .await
        .unwrap();
    assert!(sink.numbers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn trouble_that_passes_says_nothing_about_a_start() {
    for code in ["InternalFailure", "ProvisionedThroughputExceededException"] {
        let fake = Fake::instant(2);
        fake.put_numbered(0..100).unwrap();
        let start = StartPosition::AtTimestamp(fake.now());
        fake.inject(Fault::refusal(Operation::GetShardIterator, code).times(4));
        let sink = Sink::default();
        run_until_caught_up(source(&fake).start(start.clone()), &sink, Window::new(10))
            .await
            .unwrap_or_else(|error| panic!("{code}: {error:?}"));
        assert_eq!(sink.numbers(), everything(100));

        fake.inject(Fault::refusal(Operation::GetShardIterator, code).times(100));
        let run = run_until_caught_up(source(&fake).start(start), &sink, Window::new(10));
        let error = run.await.unwrap_err();
        let error = stream_error(&error);
        assert!(
            matches!(error, StreamError::Unreachable { .. }),
            "{error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_ask_for_a_start_is_told_so_at_once() {
    for code in ["AccessDeniedException", "ExpiredTokenException"] {
        let fake = Fake::instant(2);
        let start = StartPosition::AtTimestamp(fake.now());
        fake.inject(Fault::refusal(Operation::GetShardIterator, code));
        let sink = Sink::default();
        let run = run_until_caught_up(source(&fake).start(start), &sink, Window::new(10));
        let error = run.await.unwrap_err();
        let error = stream_error(&error);
        assert!(matches!(error, StreamError::NotAllowed { .. }), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_to_start_in_that_ages_out_meanwhile_is_not_there() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..10).unwrap();
    let (shard, records) = fake.records().remove(0);
    fake.inject(Fault::refusal(
        Operation::GetShardIterator,
        "ResourceNotFoundException",
    ));
    let source = source(&fake).start(StartPosition::After {
        shard,
        sequence_number: records[3].sequence_number.clone(),
    });
    let sink = Sink::default();
    let run = run_until_caught_up(source, &sink, Window::new(10));
    let error = run.await.unwrap_err();
    let error = stream_error(&error);
    assert!(
        matches!(error, StreamError::NoSuchShard { .. }),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_foreign_checkpoint_fails_the_shard_at_once_instead_of_skipping() {
    let yet_to_come = |fake: &Fake| PinnedPosition::AtTimestamp(fake.now().plus(YEAR));
    for case in 0..2 {
        let (fake, store) = (Fake::instant(1), Arc::new(MemoryCheckpointStore::new()));
        fake.put_numbered(0..10).unwrap();
        let foreign = match case {
            0 => Checkpoint::after(123_456.into()),
            _ => Checkpoint::Start(yet_to_come(&fake)),
        };
        let shard = "shardId-000000000000";
        let checkpoints = BTreeMap::from([(shard.into(), foreign)]);
        store
            .save(&identity(&fake).await, &checkpoints)
            .await
            .unwrap();
        let (sink, begun) = (Sink::default(), Instant::now());
        let source = source(&fake).checkpoints(store);
        let run = run_until_caught_up(source, &sink, Window::new(10));
        let error = timeout(Duration::from_secs(600), run)
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(error.stage(), "orders");
        let error = shard_error(&error);
        let text = error.to_string();
        assert!(
            text.contains(shard) && text.contains("checkpoint"),
            "{text}"
        );
        assert!(
            matches!(error, ShardError::InvalidPosition { .. }),
            "{error:?}"
        );
        assert_eq!(made(&fake, Operation::GetShardIterator), 1);
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert!(sink.numbers().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_without_shards_is_no_stream_without_shards() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..100).unwrap();
    fake.inject(Fault::rewritten(Operation::ListShards, Rewrite::NO_SHARDS).times(2));
    let sink = Sink::default();
    run_until_caught_up(
        StreamSource::new("orders", Arc::new(fake.clone())),
        &sink,
        Window::new(50),
    )
    .await
    .unwrap();
    sink.assert_complete(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_lacks_a_shard_is_made_again_before_the_others_are_finished() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..100).unwrap();
    let first = fake.shards().remove(0);
    fake.inject(Fault::rewritten(
        Operation::ListShards,
        Rewrite::shards("only the first", move |page| {
            page.shards.retain(|shard| shard.id == first.id);
        }),
    ));
    let sink = Sink::default();
    let start = Instant::now();
    run_until_caught_up(
        StreamSource::new("orders", Arc::new(fake.clone())),
        &sink,
        Window::new(50),
    )
    .await
    .unwrap();
    sink.assert_complete(&fake);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

/// The first call for a shard is slow, or the first few fail, and records come meanwhile. They came after
/// the stream was opened at LATEST.
#[tokio::test(start_paused = true)]
async fn latest_skips_nothing_that_comes_before_the_first_call_is_answered() {
    let slow = |operation| Fault::delayed(operation, Duration::from_secs(8));
    let failing = |operation| Fault::refusal(operation, "InternalFailure").times(3);
    for by_fan_out in [false, true] {
        let operation = match by_fan_out {
            true => Operation::SubscribeToShard,
            false => Operation::GetShardIterator,
        };
        for fault in [slow(operation), failing(operation)] {
            let fake = Fake::instant(1);
            let shown = format!("{fault:?}");
            // The first iterator is the one that the moment is tried with.
            fake.inject(fault.after(u32::from(!by_fan_out)));
            fake.put_numbered(0..10).unwrap();
            sleep(Duration::from_secs(60)).await;
            let api = Arc::new(fake.clone());
            let source = source(&fake).start(StartPosition::Latest);
            let source = match by_fan_out {
                true => source.fan_out(FanOut::new(api, "audit")),
                false => source,
            };
            let sink = Sink::default();
            let mut pipeline = Pipeline::new();
            let (records, handle) = source.add_to(&mut pipeline);
            let mut events = handle.events();
            pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
            let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(60))));
            loop {
                match events.next().await.unwrap() {
                    SourceEvent::StreamOpened { .. } => break,
                    _ => continue,
                }
            }
            // The call is on its way by then.
            sleep(Duration::from_secs(2)).await;
            fake.put_numbered(10..20).unwrap();
            run.await.unwrap().unwrap();
            assert_eq!(sink.numbers(), (10..20).collect::<Vec<_>>(), "{shown}");
            assert!(fake.fault_report().all_fired(), "{shown}");
        }
    }
}

/// No reader asks for LATEST, whatever it was told: a wrapper around the service would see it.
#[tokio::test(start_paused = true)]
async fn no_reader_asks_for_latest() {
    #[derive(Debug)]
    struct Watched(Fake, Arc<Mutex<Vec<Position>>>);
    #[async_trait]
    impl KinesisApi for Watched {
        fn now(&self) -> Timestamp {
            self.0.now()
        }
        async fn describe_stream_summary(&self) -> Result<StreamSummary, ApiError> {
            self.0.describe_stream_summary().await
        }
        async fn list_shards(&self, token: Option<NextToken>) -> Result<ShardsPage, ApiError> {
            self.0.list_shards(token).await
        }
        async fn get_shard_iterator(
            &self,
            shard: &ShardId,
            position: &Position,
        ) -> Result<ShardIterator, ApiError> {
            self.1.lock().unwrap().push(position.clone());
            self.0.get_shard_iterator(shard, position).await
        }
        async fn get_records(
            &self,
            iterator: &ShardIterator,
            limit: usize,
        ) -> Result<RecordsPage, ApiError> {
            self.0.get_records(iterator, limit).await
        }
    }
    let (fake, asked) = (Fake::instant(2), Arc::default());
    fake.put_numbered(0..10).unwrap();
    sleep(Duration::from_secs(60)).await;
    let pin = fake.now();
    let api = Arc::new(Watched(fake.clone(), Arc::clone(&asked)));
    let source = StreamSource::new("orders", api).start(StartPosition::Latest);
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, _) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
    let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(600))));
    sleep(Duration::from_secs(10)).await;
    fake.inject(Fault::refusal(Operation::GetRecords, "ExpiredIteratorException").times(4));
    let open = fake.shards().remove(0);
    fake.split_shard(&open.id, 1 << 125).await.unwrap();
    fake.put_numbered(10..20).unwrap();
    run.await.unwrap().unwrap();
    assert_eq!(sink.numbers(), (10..20).collect::<Vec<_>>());
    let asked: Vec<Position> = asked.lock().unwrap().clone();
    assert!(asked.contains(&Position::AtTimestamp(pin)), "{asked:?}");
    assert!(
        asked.contains(&Position::TrimHorizon),
        "children: {asked:?}"
    );
    assert!(!asked.contains(&Position::Latest), "{asked:?}");
}

/// Our clock is ahead of the service's, and the transport does not know. LATEST is not put off by that.
#[tokio::test(start_paused = true)]
async fn latest_is_a_moment_that_the_service_has_reached() {
    for ahead in [0, 1, 10, 900] {
        let fake = Fake::instant(1);
        fake.put_numbered(0..10).unwrap();
        sleep(Duration::from_secs(3_600)).await;
        let worker = Worker::new(&fake);
        worker.clock_ahead(Duration::from_secs(ahead));
        let source = StreamSource::new("orders", worker.api()).start(StartPosition::Latest);
        let sink = Sink::default();
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        let mut events = handle.events();
        pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
        let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(1_800))));
        while !matches!(events.next().await, Some(SourceEvent::StreamOpened { .. })) {}
        fake.put_numbered(10..20).unwrap();
        run.await.unwrap().unwrap();
        assert_eq!(sink.numbers(), (10..20).collect::<Vec<_>>(), "{ahead} s");
        assert_eq!(fake.calls().throttled(), 0, "{ahead} s");
    }
}

/// Somebody has a stage of that name, or a reader that has ended has not left yet.
#[tokio::test(start_paused = true)]
async fn a_shard_is_read_whatever_other_stages_are_called() {
    let fake = Fake::new(2);
    fake.put_numbered(0..200).unwrap();
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    let stage = pipeline.stage("orders/shardId-000000000000");
    stage.consume(sink.clone(), records.subscribe(Window::new(50)));
    pipeline
        .run_until(async { handle.caught_up().await })
        .await
        .unwrap();
    sink.assert_complete(&fake);
}
