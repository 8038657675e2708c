//! Finding a stream and its shards, against a mock: what is called again, and what is not.

use std::{
    convert::Infallible,
    error::Error,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use stage_core::{Consumer, Pipeline, Window};
use tokio::time::timeout;

use super::*;
use crate::{
    ApiError, HashRange, MockKinesisApi, RecordsPage, Remedy, Shard, ShardIterator, ShardsPage,
    StreamStatus, StreamSummary, Timestamp,
};

struct Sink;

impl Consumer<Record> for Sink {
    type Error = Infallible;

    async fn consume(&mut self, _: &mut Batch<Record>) -> Result<(), Infallible> {
        Ok(())
    }
}

fn summary(status: StreamStatus) -> StreamSummary {
    StreamSummary {
        name: "orders".to_owned(),
        arn: "arn:aws:kinesis:us-east-1:000000000000:stream/orders".to_owned(),
        status,
        created: Some(Timestamp::from_millis(0)),
        retention_hours: 24,
        open_shards: 1,
    }
}

fn listing() -> ShardsPage {
    ShardsPage {
        shards: vec![Shard {
            id: "s".into(),
            parent: None,
            adjacent_parent: None,
            hash_range: HashRange::ALL,
            starting_sequence_number: 0.into(),
            ending_sequence_number: Some(9.into()),
        }],
        next: None,
    }
}

fn error(code: &str) -> ApiError {
    ApiError::new("Test", Remedy::for_code(code)).with_code(code)
}

/// A stream of one shard that is closed and empty, so that reading it ends by itself.
fn reading(mut api: MockKinesisApi) -> MockKinesisApi {
    api.expect_now().returning(|| Timestamp::from_millis(0));
    api.expect_get_shard_iterator()
        .returning(|shard, _| Ok(ShardIterator::new(shard.clone(), "0")));
    api.expect_get_records()
        .returning(|_, _| Ok(RecordsPage::default()));
    api
}

/// Fails the first `times` calls with `code`, then answers.
fn failing<T: Clone>(
    code: &'static str,
    times: usize,
    answer: T,
) -> impl Fn() -> Result<T, ApiError> {
    let calls = AtomicUsize::new(0);
    move || match calls.fetch_add(1, Ordering::SeqCst) {
        call if call < times => Err(error(code)),
        _ => Ok(answer.clone()),
    }
}

async fn run(api: MockKinesisApi) -> Result<(), StreamError> {
    let mut pipeline = Pipeline::new();
    let source = StreamSource::new("orders", Arc::new(reading(api)));
    let (records, _) = source.add_to(&mut pipeline);
    pipeline.consume(Sink, records.subscribe(Window::new(10)));
    let ended = timeout(Duration::from_secs(600), pipeline.run())
        .await
        .unwrap();
    ended.map_err(|error| {
        let text = error.source().unwrap().to_string();
        assert!(text.contains("`orders`"), "{text}");
        match error {
            stage_core::PipelineError::Failed { source, .. } => *source.downcast().unwrap(),
            other => panic!("{other:?}"),
        }
    })
}

/// Errors that pass, at either call.
const PASSING: [&str; 7] = [
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "KMSThrottlingException",
    "InternalFailureException",
    "ServiceUnavailable",
    "ResourceInUseException",
    "SomethingNobodyKnows",
];

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_out_at_each_call() {
    for code in PASSING {
        let mut api = MockKinesisApi::new();
        let answer = failing(code, 3, summary(StreamStatus::Active));
        api.expect_describe_stream_summary()
            .times(4)
            .returning(answer);
        let answer = failing(code, 3, listing());
        // Three failures and an answer, the two that confirm the shard's end, and the one after it.
        api.expect_list_shards()
            .times(7)
            .returning(move |_| answer());
        run(api)
            .await
            .unwrap_or_else(|error| panic!("{code}: {error:?}"));
    }
    let mut api = MockKinesisApi::new();
    api.expect_describe_stream_summary()
        .returning(|| Ok(summary(StreamStatus::Active)));
    let answer = failing("ExpiredNextTokenException", 2, listing());
    api.expect_list_shards()
        .times(6)
        .returning(move |_| answer());
    run(api).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_fails_at_once_with_its_remedy() {
    type Check = fn(&StreamError) -> bool;
    let cases: [(&[&str], Check); 4] = [
        (&["ResourceNotFoundException"], |e| {
            matches!(e, StreamError::NoSuchStream { .. })
        }),
        (
            &[
                "AccessDeniedException",
                "UnrecognizedClientException",
                "ExpiredTokenException",
            ],
            |e| matches!(e, StreamError::NotAllowed { .. }),
        ),
        (&["InvalidArgumentException", "ValidationException"], |e| {
            matches!(e, StreamError::Refused { .. })
        }),
        (&["KMSDisabledException"], |e| {
            matches!(e, StreamError::Refused { .. })
        }),
    ];
    for (codes, is_right) in cases {
        for &code in codes {
            let mut api = MockKinesisApi::new();
            api.expect_describe_stream_summary()
                .once()
                .returning(|| Err(error(code)));
            let failed = run(api).await.unwrap_err();
            assert!(is_right(&failed), "describe, {code}: {failed:?}");

            let mut api = MockKinesisApi::new();
            api.expect_describe_stream_summary()
                .returning(|| Ok(summary(StreamStatus::Active)));
            api.expect_list_shards()
                .once()
                .returning(|_| Err(error(code)));
            let failed = run(api).await.unwrap_err();
            assert!(is_right(&failed), "list, {code}: {failed:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_being_made_is_waited_for() {
    let mut api = MockKinesisApi::new();
    let calls = AtomicUsize::new(0);
    api.expect_describe_stream_summary()
        .times(31)
        .returning(move || {
            Ok(summary(match calls.fetch_add(1, Ordering::SeqCst) {
                0..30 => StreamStatus::Creating,
                _ => StreamStatus::Updating,
            }))
        });
    api.expect_list_shards().returning(|_| Ok(listing()));
    run(api).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_being_removed_is_none() {
    let mut api = MockKinesisApi::new();
    api.expect_describe_stream_summary()
        .returning(|| Ok(summary(StreamStatus::Deleting)));
    assert!(matches!(
        run(api).await,
        Err(StreamError::NoSuchStream { source: None, .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_fails_later_does_not_disturb_reading() {
    for code in PASSING
        .into_iter()
        .chain(["AccessDeniedException", "ValidationException"])
    {
        let mut api = MockKinesisApi::new();
        api.expect_describe_stream_summary()
            .returning(|| Ok(summary(StreamStatus::Active)));
        let calls = AtomicUsize::new(0);
        // The first, the two that confirm the shard's end, and those after it.
        api.expect_list_shards().times(24).returning(move |_| {
            match calls.fetch_add(1, Ordering::SeqCst) {
                3..=22 => Err(error(code)),
                _ => Ok(listing()),
            }
        });
        run(api)
            .await
            .unwrap_or_else(|error| panic!("{code}: {error:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_gone_ends_with_that() {
    let mut api = MockKinesisApi::new();
    api.expect_describe_stream_summary()
        .returning(|| Ok(summary(StreamStatus::Active)));
    let calls = AtomicUsize::new(0);
    api.expect_list_shards()
        .returning(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(listing()),
            _ => Err(error("ResourceNotFoundException")),
        });
    assert!(matches!(
        run(api).await,
        Err(StreamError::NoSuchStream {
            source: Some(_),
            ..
        })
    ));
}

/// An open shard with these hash keys.
fn open_shard(id: &str, hash_range: HashRange) -> Shard {
    Shard {
        id: id.into(),
        parent: None,
        adjacent_parent: None,
        hash_range,
        starting_sequence_number: 0.into(),
        ending_sequence_number: None,
    }
}

/// Asks at once whether everything was read, of a stream without records and with such listings. How many listings that
/// takes.
async fn listings_until_caught_up(listing: impl Fn(usize) -> Vec<Shard> + Send + 'static) -> usize {
    let mut api = MockKinesisApi::new();
    api.expect_now().returning(|| Timestamp::from_millis(0));
    api.expect_describe_stream_summary()
        .returning(|| Ok(summary(StreamStatus::Active)));
    api.expect_get_shard_iterator()
        .returning(|shard, _| Ok(ShardIterator::new(shard.clone(), "0")));
    api.expect_get_records().returning(|iterator, _| {
        let next = ShardIterator::new(iterator.shard().clone(), "0");
        Ok(RecordsPage {
            next: Some(next),
            millis_behind_latest: Some(0),
            ..RecordsPage::default()
        })
    });
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    api.expect_list_shards().returning(move |_| {
        let shards = listing(count.fetch_add(1, Ordering::SeqCst));
        Ok(ShardsPage { shards, next: None })
    });
    let mut pipeline = Pipeline::new();
    let (records, handle) = StreamSource::new("orders", Arc::new(api)).add_to(&mut pipeline);
    pipeline.consume(Sink, records.subscribe(Window::new(10)));
    let caught_up = async move { handle.caught_up().await };
    let ended = timeout(Duration::from_secs(30), pipeline.run_until(caught_up)).await;
    ended.unwrap().unwrap();
    calls.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn who_asks_at_the_beginning_is_answered_by_the_first_listing_if_that_is_complete() {
    let all = |_| vec![open_shard("a", HashRange::ALL)];
    assert_eq!(listings_until_caught_up(all).await, 1);
    let middle = u128::MAX / 2;
    let some_at_first = move |call| {
        let (start, end) = (0, middle);
        let a = open_shard("a", HashRange { start, end });
        let (start, end) = (middle + 1, u128::MAX);
        let b = open_shard("b", HashRange { start, end });
        if call == 0 { vec![a] } else { vec![a, b] }
    };
    assert_eq!(listings_until_caught_up(some_at_first).await, 2);
}
