//! Where reading a stream begins, and what becomes of a place where it cannot.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kinesis_fake::{Choices, Fake, Fault, FutureTimestamp, Operation, Rewrite};
use kinesis_source::{
    Checkpoint, CheckpointStore, KinesisApi, MemoryCheckpointStore, PinnedPosition, ShardError,
    StartPosition, StreamError, StreamIdentity, StreamSource,
};
use rig::{Sink, everything, run_until_caught_up, shard_error, stream_error};
use stage_core::Window;
use tokio::time::{Instant, timeout};

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
        let (fake, store) = (Fake::new(2), Arc::new(MemoryCheckpointStore::new()));
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
    let fake = Fake::builder().choices(choices).build();
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
        let fake = Fake::new(2);
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
        let fake = Fake::new(2);
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
    let fake = Fake::new(1);
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
        let (fake, store) = (Fake::new(1), Arc::new(MemoryCheckpointStore::new()));
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
        assert!(begun.elapsed() < Duration::from_millis(100));
        assert!(sink.numbers().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_without_shards_is_no_stream_without_shards() {
    let fake = Fake::new(2);
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
    let fake = Fake::new(2);
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
