//! Enhanced fan-out over a real connection: what is asked of the service, and what is made of its
//! events.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

#[path = "canned/client.rs"]
mod client;
#[path = "canned/frames.rs"]
mod frames;
#[path = "canned/server.rs"]
mod server;

use std::{error::Error, time::Duration};

use kinesis_source::{
    ApiError, ConsumerAddress, ConsumerStatus, HashRange, KinesisFanOutApi, NextToken, Position,
    Remedy, ShardSubscription, Timestamp,
};
use tokio::time::timeout;

use self::{
    client::{CANARY, client},
    frames::{event, exception, frame, records},
    server::{Answer, CannedServer},
};

const STREAM: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/orders";
const CONSUMER: &str =
    "arn:aws:kinesis:eu-central-1:123456789012:stream/orders/consumer/audit:1700000000";

async fn subscribe(server: &CannedServer, position: Position) -> ShardSubscription {
    let api = client(server, "orders");
    let shard = "shardId-000000000000".into();
    let consumer = CONSUMER.into();
    let subscription = api.subscribe_to_shard(&consumer, &shard, &position);
    subscription.await.unwrap()
}

/// What comes of a subscription that is sent `frames`.
async fn after(frames: impl IntoIterator<Item = Vec<u8>>) -> (ShardSubscription, CannedServer) {
    let server = CannedServer::start([Answer::events(frames)]).await;
    (subscribe(&server, Position::Latest).await, server)
}

async fn error_of(subscription: &mut ShardSubscription) -> ApiError {
    let error = subscription.next().await.unwrap().unwrap_err();
    assert!(subscription.next().await.is_none(), "an error is the last");
    error
}

fn answered_consumer(field: &str, status: &str) -> Answer {
    Answer::json(
        200,
        format!(
            r#"{{"{field}":{{"ConsumerName":"audit","ConsumerARN":"{CONSUMER}","ConsumerStatus":"{status}",
            "ConsumerCreationTimestamp":1.7E9,"StreamARN":"{STREAM}"}}}}"#
        ),
    )
}

#[tokio::test]
async fn a_consumer_is_registered_described_and_taken_away() {
    let server = CannedServer::start([
        answered_consumer("Consumer", "CREATING"),
        answered_consumer("ConsumerDescription", "ACTIVE"),
        answered_consumer("ConsumerDescription", "DELETING"),
        Answer::json(200, "{}"),
        Answer::json(200, "{}"),
    ])
    .await;
    let api = client(&server, STREAM);
    let consumer = api.register_stream_consumer("audit").await.unwrap();
    assert_eq!(consumer.status, ConsumerStatus::Creating);
    assert_eq!(consumer.arn, CONSUMER.into());
    assert_eq!(
        consumer.created,
        Some(Timestamp::from_millis(1_700_000_000_000))
    );
    let by_name = ConsumerAddress::Name("audit".into());
    let by_arn = ConsumerAddress::Arn(consumer.arn);
    let status = |consumer: kinesis_source::StreamConsumer| consumer.status;
    let active = api.describe_stream_consumer(&by_name).await.map(status);
    assert_eq!(active.unwrap(), ConsumerStatus::Active);
    let deleting = api.describe_stream_consumer(&by_arn).await.map(status);
    assert_eq!(deleting.unwrap(), ConsumerStatus::Deleting);
    api.deregister_stream_consumer(&by_name).await.unwrap();
    api.deregister_stream_consumer(&by_arn).await.unwrap();
    let asked: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| (request.operation, request.body))
        .collect();
    let named = format!(r#"{{"StreamARN":"{STREAM}","ConsumerName":"audit"}}"#);
    let addressed = format!(r#"{{"ConsumerARN":"{CONSUMER}"}}"#);
    let expected = [
        ("RegisterStreamConsumer", &named),
        ("DescribeStreamConsumer", &named),
        ("DescribeStreamConsumer", &addressed),
        ("DeregisterStreamConsumer", &named),
        ("DeregisterStreamConsumer", &addressed),
    ];
    let expected = expected.map(|(operation, body)| (operation.to_owned(), body.clone()));
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn a_stream_known_by_its_name_is_asked_for_its_arn_once() {
    let summary = format!(
        r#"{{"StreamDescriptionSummary":{{"StreamName":"orders","StreamARN":"{STREAM}",
        "StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":1.7E9,
        "EnhancedMonitoring":[],"OpenShardCount":1}}}}"#
    );
    let server = CannedServer::start([
        Answer::error(400, "LimitExceededException", "slow down"),
        Answer::json(200, summary),
        Answer::json(200, r#"{"Consumers":[],"NextToken":"more"}"#),
        Answer::json(200, r#"{"Consumers":[]}"#),
    ])
    .await;
    let api = client(&server, "orders");
    let error = api.list_stream_consumers(None).await.unwrap_err();
    assert_eq!(error.operation(), "DescribeStreamSummary");
    let first = api.list_stream_consumers(None).await.unwrap();
    assert_eq!(first.next, Some(NextToken("more".into())));
    let last = api.list_stream_consumers(first.next).await.unwrap();
    assert_eq!(last.next, None);
    let requests = server.requests();
    let operations: Vec<_> = requests.iter().map(|it| it.operation.as_str()).collect();
    let (summary, list) = ("DescribeStreamSummary", "ListStreamConsumers");
    assert_eq!(operations, [summary, summary, list, list]);
    let last = format!(r#"{{"StreamARN":"{STREAM}","NextToken":"more"}}"#);
    assert_eq!(requests[3].body, last);
}

#[tokio::test]
async fn a_subscription_begins_where_it_is_told_to() {
    for (position, sent) in [
        (Position::TrimHorizon, r#"{"Type":"TRIM_HORIZON"}"#),
        (Position::Latest, r#"{"Type":"LATEST"}"#),
        (
            Position::AtTimestamp(Timestamp::from_millis(1_700_000_000_123)),
            r#"{"Type":"AT_TIMESTAMP","Timestamp":1700000000.123}"#,
        ),
        (
            Position::AtSequenceNumber(7.into()),
            r#"{"Type":"AT_SEQUENCE_NUMBER","SequenceNumber":"7"}"#,
        ),
        (
            Position::AfterSequenceNumber(7.into()),
            r#"{"Type":"AFTER_SEQUENCE_NUMBER","SequenceNumber":"7"}"#,
        ),
    ] {
        let server = CannedServer::start([Answer::events([])]).await;
        let mut subscription = subscribe(&server, position).await;
        assert!(subscription.next().await.is_none());
        let [request] = &server.requests()[..] else {
            panic!("one attempt");
        };
        let expected = format!(
            r#"{{"ConsumerARN":"{CONSUMER}","ShardId":"shardId-000000000000","StartingPosition":{sent}}}"#
        );
        assert_eq!(
            (request.operation.as_str(), &request.body),
            ("SubscribeToShard", &expected)
        );
    }
}

#[tokio::test]
async fn events_arrive_as_they_were_sent_and_then_the_end() {
    // With the frame that the service sends first, and without as some servers do.
    for first in [vec![event("initial-response", "{}")], Vec::new()] {
        let frames = [
            records(
                r#"{"Records":[{"SequenceNumber":"17","Data":"AP8B","PartitionKey":"k",
                "ApproximateArrivalTimestamp":1.700000000123E9}],
                "ContinuationSequenceNumber":"18","MillisBehindLatest":1500}"#,
            ),
            event("SomethingNew", "{}"),
            records(r#"{"Records":[],"ContinuationSequenceNumber":"19","MillisBehindLatest":0}"#),
            records(
                r#"{"Records":[],"ContinuationSequenceNumber":null,"MillisBehindLatest":0,
                "ChildShards":[{"ShardId":"shardId-000000000002",
                "ParentShards":["shardId-000000000000","shardId-000000000001"],
                "HashKeyRange":{"StartingHashKey":"0",
                "EndingHashKey":"340282366920938463463374607431768211455"}}]}"#,
            ),
        ];
        let (mut subscription, _server) = after(first.into_iter().chain(frames)).await;
        let full = subscription.next().await.unwrap().unwrap();
        assert_eq!(full.records[0].data.as_ref(), [0, 255, 1]);
        assert_eq!(full.records[0].sequence_number, 17.into());
        assert_eq!(full.continuation_sequence_number, Some(18.into()));
        assert_eq!(full.millis_behind_latest, Some(1_500));
        let empty = subscription.next().await.unwrap().unwrap();
        assert_eq!(
            (empty.records.len(), empty.millis_behind_latest),
            (0, Some(0))
        );
        let end = subscription.next().await.unwrap().unwrap();
        assert_eq!(end.continuation_sequence_number, None);
        assert_eq!(end.children[0].hash_range, HashRange::ALL);
        assert_eq!(end.children[0].parents.len(), 2);
        assert!(subscription.next().await.is_none());
        assert!(subscription.next().await.is_none());
    }
}

#[tokio::test]
async fn an_end_without_its_continuation_field_is_an_end_too() {
    let end = records(r#"{"Records":[],"MillisBehindLatest":0,"ChildShards":[]}"#);
    let (mut subscription, _server) = after([end]).await;
    let end = subscription.next().await.unwrap().unwrap();
    assert_eq!(end.continuation_sequence_number, None);
}

#[tokio::test]
async fn each_exception_in_the_stream_has_its_remedy() {
    for (code, remedy) in [
        ("InternalFailureException", Remedy::Retry),
        ("KMSThrottlingException", Remedy::Wait),
        ("KMSDisabledException", Remedy::MendKey),
        ("KMSAccessDeniedException", Remedy::MendKey),
        ("KMSInvalidStateException", Remedy::MendKey),
        ("KMSNotFoundException", Remedy::MendKey),
        ("KMSOptInRequired", Remedy::MendKey),
        ("ResourceInUseException", Remedy::AwaitActive),
        ("ResourceNotFoundException", Remedy::Verify),
        // These are not in the SDK's list of what a stream may say.
        ("LimitExceededException", Remedy::Wait),
        ("InvalidArgumentException", Remedy::Correct),
        ("BrandNewException", Remedy::Retry),
    ] {
        let (mut subscription, _server) = after([exception(code, "because")]).await;
        let error = error_of(&mut subscription).await;
        assert_eq!(error.remedy(), remedy, "{code}");
        assert_eq!(
            (error.code(), error.operation()),
            (Some(code), "SubscribeToShard")
        );
    }
}

#[tokio::test]
async fn an_error_that_is_no_exception_has_its_code_in_the_frame() {
    let headers = [
        (":message-type", "error"),
        (":error-code", "InternalFailure"),
        (":error-message", "it broke"),
    ];
    let (mut subscription, _server) = after([frame(&headers, "")]).await;
    let error = error_of(&mut subscription).await;
    assert_eq!(error.remedy(), Remedy::Retry);
    assert_eq!(
        (error.code(), error.message()),
        (Some("InternalFailure"), Some("it broke"))
    );
}

#[tokio::test]
async fn a_call_that_is_refused_says_why() {
    for (code, remedy) in [
        ("ResourceInUseException", Remedy::AwaitActive),
        ("LimitExceededException", Remedy::Wait),
        ("ResourceNotFoundException", Remedy::Verify),
    ] {
        let server = CannedServer::start([Answer::error(400, code, "no")]).await;
        let api = client(&server, "orders");
        let shard = "shardId-000000000000".into();
        let (consumer, position) = (CONSUMER.into(), Position::Latest);
        let answer = api.subscribe_to_shard(&consumer, &shard, &position).await;
        let error = answer.unwrap_err();
        assert_eq!((error.remedy(), error.code()), (remedy, Some(code)));
        assert_eq!(server.requests().len(), 1, "one attempt");
    }
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_subscription_without_a_word_of_what_was_put() {
    let good = records(r#"{"Records":[],"ContinuationSequenceNumber":"1","MillisBehindLatest":0}"#);
    let with_canary = |data: &str| {
        records(&format!(
            r#"{{"Records":[{{"SequenceNumber":"no number","Data":"{data}","PartitionKey":"{CANARY}"}}],
            "ContinuationSequenceNumber":"1","MillisBehindLatest":0}}"#
        ))
    };
    let mut damaged = with_canary("AP8B");
    let at = damaged.len() - 20;
    damaged[at] ^= 1; // its checksum says so
    for bad in [
        with_canary("AP8B"),
        with_canary(CANARY),
        damaged,
        vec![0; 40],
        vec![0xff; 40],
    ] {
        let (mut subscription, _server) = after([good.clone(), bad]).await;
        assert!(subscription.next().await.unwrap().is_ok());
        let error = error_of(&mut subscription).await;
        assert_eq!(error.remedy(), Remedy::Retry, "{error}");
        let levels = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
        let text: String = levels.map(|it| format!("{it} {it:?}")).collect();
        assert!(!text.contains(CANARY) && text.len() < 2_000, "{text}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_worth_another_try() {
    let good = records(r#"{"Records":[],"ContinuationSequenceNumber":"1","MillisBehindLatest":0}"#);
    let half = [good.clone(), good[..good.len() / 2].to_vec()].concat();
    for frames in [good, half] {
        let server = CannedServer::start([Answer::BrokenEvents(frames)]).await;
        let mut subscription = subscribe(&server, Position::Latest).await;
        assert!(subscription.next().await.unwrap().is_ok());
        let error = error_of(&mut subscription).await;
        assert_eq!(error.remedy(), Remedy::Retry, "{error}");
    }
}

#[tokio::test]
async fn a_wait_that_is_dropped_loses_no_event() {
    let good = |number: u32| {
        records(&format!(
            r#"{{"Records":[],"ContinuationSequenceNumber":"{number}","MillisBehindLatest":0}}"#
        ))
    };
    let frames = (1..=20).flat_map(good).collect();
    let server = CannedServer::start([Answer::EventsAndSilence(frames)]).await;
    let mut subscription = subscribe(&server, Position::Latest).await;
    let mut numbers = Vec::new();
    while numbers.len() < 20 {
        // Polled once and dropped, again and again.
        let event = tokio::select! {
            biased;
            event = subscription.next() => event,
            () = tokio::task::yield_now() => continue,
        };
        numbers.push(
            event
                .unwrap()
                .unwrap()
                .continuation_sequence_number
                .unwrap(),
        );
    }
    let expected: Vec<_> = (1..=20_u128).map(Into::into).collect();
    assert_eq!(numbers, expected);
    // Then the server is silent, and so is the subscription: its reader needs a deadline.
    let silence = timeout(Duration::from_millis(50), subscription.next()).await;
    assert!(silence.is_err());
}
