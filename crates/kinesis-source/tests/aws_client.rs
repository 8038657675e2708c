//! What is asked of the service, and what is made of its answers, over a real connection.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

#[path = "canned/client.rs"]
mod client;
#[path = "canned/server.rs"]
mod server;

use std::time::Duration;

use aws_sdk_kinesis::config::Region;
use kinesis_source::{
    AwsConfigError, AwsKinesis, HashRange, KinesisApi, KinesisWriteApi, NextToken, Position,
    PutOutcome, RecordsPage, Remedy, ShardIterator, StreamStatus, Timestamp,
};

use self::{
    client::{client, conf, entry, get_records, page_after},
    server::{Answer, CannedServer},
};

const ARN: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/orders";

#[tokio::test]
async fn records_arrive_as_they_were_put() {
    let page = page_after(
        r#"{"Records":[
            {"SequenceNumber":"49590338271490256608559692538361571095921575989136588898",
             "ApproximateArrivalTimestamp":1.700000000123E9,
             "Data":"AP8B","PartitionKey":"k","EncryptionType":"NONE"},
            {"SequenceNumber":"49590338271490256608559692538361571095921575989136588899","Data":""}],
          "NextShardIterator":"next","MillisBehindLatest":1500}"#,
    )
    .await
    .unwrap();
    let [full, bare] = &page.records[..] else {
        panic!("{page:?}");
    };
    assert!(full.sequence_number < bare.sequence_number);
    assert_eq!(full.data.as_ref(), [0, 255, 1]);
    assert_eq!(full.partition_key.as_deref(), Some("k"));
    let moment = Timestamp::from_millis(1_700_000_000_123);
    assert_eq!(full.approximate_arrival, Some(moment));
    assert_eq!(
        (&bare.partition_key, bare.approximate_arrival),
        (&None, None)
    );
    assert!(bare.data.is_empty());
    assert_eq!(page.millis_behind_latest, Some(1_500));
    assert_eq!(
        page.next,
        Some(ShardIterator::new("shardId-000000000000".into(), "next"))
    );
}

#[tokio::test]
async fn a_page_may_leave_everything_out() {
    for body in [
        "{}",
        r#"{"Records":[],"MillisBehindLatest":-1,"Unheard":{"of":[1]}}"#,
    ] {
        assert_eq!(
            page_after(body).await.unwrap(),
            RecordsPage::default(),
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_end_of_a_shard_names_its_children() {
    let page = page_after(
        r#"{"Records":[],"MillisBehindLatest":0,"ChildShards":[
            {"ShardId":"shardId-000000000002","ParentShards":["shardId-000000000000","shardId-000000000001"],
             "HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"340282366920938463463374607431768211455"}}]}"#,
    )
    .await
    .unwrap();
    assert_eq!(page.next, None);
    assert_eq!(page.children[0].hash_range, HashRange::ALL);
    assert_eq!(page.children[0].parents.len(), 2);
}

#[tokio::test]
async fn a_listing_goes_on_by_its_token_alone() {
    let first = r#"{"NextToken":"token","Shards":[{"ShardId":"shardId-000000000000",
        "HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"},
        "SequenceNumberRange":{"StartingSequenceNumber":"1","EndingSequenceNumber":"5"}}]}"#;
    let last = r#"{"Shards":[{"ShardId":"shardId-000000000001","ParentShardId":"shardId-000000000000",
        "HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"},
        "SequenceNumberRange":{"StartingSequenceNumber":"6"}}]}"#;
    for (stream, address) in [("orders", r#""StreamName":"orders""#), (ARN, ARN)] {
        let answers = [first, last].map(|body| Answer::json(200, body));
        let server = CannedServer::start(answers).await;
        let api = client(&server, stream);
        let page = api.list_shards(None).await.unwrap();
        assert_eq!(page.next, Some(NextToken("token".into())));
        assert!(page.shards[0].is_closed());
        let page = api.list_shards(page.next).await.unwrap();
        assert_eq!(page.next, None);
        assert!(
            page.shards[0]
                .parents()
                .eq([&"shardId-000000000000".into()])
        );
        assert!(!page.shards[0].is_closed());

        let requests = server.requests();
        assert!(requests[0].body.contains(address), "{}", requests[0].body);
        let second = &requests[1].body;
        assert!(second.contains(r#""NextToken":"token""#), "{second}");
        assert!(
            !second.contains("Stream") && !second.contains("Filter"),
            "{second}"
        );
        assert!(
            requests
                .iter()
                .all(|request| request.body.contains(r#""MaxResults":1000"#))
        );
    }
}

#[tokio::test]
async fn an_arn_goes_into_every_call_in_place_of_the_name() {
    let server = CannedServer::start((0..9).map(|_| Answer::empty(500))).await;
    let api = client(&server, ARN);
    let shard = "shardId-000000000000".into();
    let _ = api.describe_stream_summary().await;
    let _ = api.list_shards(None).await;
    let _ = api.get_shard_iterator(&shard, &Position::Latest).await;
    let _ = get_records(&api).await;
    let _ = api.put_records(&[entry("k")]).await;
    let _ = api.split_shard(&shard, 7).await;
    let _ = api.merge_shards(&shard, &shard).await;
    let _ = api.delete_stream().await;
    let requests = server.requests();
    assert_eq!(requests.len(), 8);
    for request in requests {
        let arn = format!(r#""StreamARN":"{ARN}""#);
        assert!(request.body.contains(&arn), "{request:?}");
        assert!(!request.body.contains("StreamName"), "{request:?}");
    }
    let _ = api.create_stream(2).await;
    let create = &server.requests()[8].body;
    assert!(create.contains(r#""StreamName":"orders""#) && create.contains(r#""ShardCount":2"#));
}

#[tokio::test]
async fn positions_are_sent_in_the_services_terms() {
    let well = || Answer::json(200, r#"{"ShardIterator":"iterator"}"#);
    let server = CannedServer::start((0..5).map(|_| well())).await;
    let api = client(&server, "orders");
    for (position, sent) in [
        (
            Position::TrimHorizon,
            r#""ShardIteratorType":"TRIM_HORIZON""#,
        ),
        (Position::Latest, r#""ShardIteratorType":"LATEST""#),
        (
            Position::AtTimestamp(Timestamp::from_millis(1_700_000_000_123)),
            r#""Timestamp":1700000000.123"#,
        ),
        (
            Position::AtSequenceNumber(7.into()),
            r#""ShardIteratorType":"AT_SEQUENCE_NUMBER""#,
        ),
        (
            Position::AfterSequenceNumber(7.into()),
            r#""StartingSequenceNumber":"7""#,
        ),
    ] {
        let iterator = api
            .get_shard_iterator(&"shard".into(), &position)
            .await
            .unwrap();
        assert_eq!(iterator.as_str(), "iterator");
        let body = server.requests().pop().unwrap().body;
        assert!(body.contains(sent), "{position:?}: {body}");
    }
}

#[tokio::test]
async fn some_records_may_be_refused() {
    let body = r#"{"FailedRecordCount":1,"Records":[
        {"SequenceNumber":"21","ShardId":"shardId-000000000001"},
        {"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"slow down"}]}"#;
    let server = CannedServer::start([Answer::json(200, body)]).await;
    let outcomes = client(&server, "orders")
        .put_records(&[entry("a"), entry("b")])
        .await
        .unwrap();
    assert_eq!(
        outcomes,
        [
            PutOutcome::Stored {
                shard: "shardId-000000000001".into(),
                sequence_number: 21.into(),
            },
            PutOutcome::Refused {
                code: "ProvisionedThroughputExceededException".into(),
                message: "slow down".into(),
            },
        ]
    );
    let request = server.requests().pop().unwrap();
    assert!(
        request.body.contains(r#""PartitionKey":"a""#),
        "{}",
        request.body
    );
}

#[tokio::test]
async fn a_record_without_a_key_is_sent_without_one() {
    let stored = r#"{"Records":[{"SequenceNumber":"1","ShardId":"s"}]}"#;
    let server = CannedServer::start([stored, stored].map(|it| Answer::json(200, it))).await;
    let api = client(&server, "orders");
    for key in ["", "k"] {
        api.put_records(&[entry(key)]).await.unwrap();
    }
    let requests = server.requests();
    let has_key = requests.iter().map(|it| it.body.contains("PartitionKey"));
    assert_eq!(has_key.collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn an_answer_about_other_records_than_were_put_is_an_error() {
    for body in [
        r#"{"Records":[{"SequenceNumber":"1","ShardId":"s"}]}"#,
        r#"{"Records":[{"SequenceNumber":"1","ShardId":"s"},{"ShardId":"s"}]}"#,
        r#"{"Records":[{"SequenceNumber":"1","ShardId":"s"},{}]}"#,
    ] {
        let server = CannedServer::start([Answer::json(200, body)]).await;
        let put = client(&server, "orders")
            .put_records(&[entry("a"), entry("b")])
            .await;
        assert_eq!(put.unwrap_err().remedy(), Remedy::Retry, "{body}");
    }
}

#[tokio::test]
async fn a_stream_is_described() {
    let body = format!(
        r#"{{"StreamDescriptionSummary":{{"StreamName":"orders","StreamARN":"{ARN}",
            "StreamStatus":"UPDATING","RetentionPeriodHours":48,"OpenShardCount":3,
            "StreamCreationTimestamp":1.7E9,"EnhancedMonitoring":[]}}}}"#
    );
    let strange = body.replace("UPDATING", "BRAND_NEW");
    let answers = [body, strange, "{}".into()].map(|body| Answer::json(200, body));
    let server = CannedServer::start(answers).await;
    let api = client(&server, "orders");
    let summary = api.describe_stream_summary().await.unwrap();
    assert_eq!((&*summary.name, &*summary.arn), ("orders", ARN));
    assert_eq!(summary.status, StreamStatus::Updating);
    assert_eq!((summary.retention_hours, summary.open_shards), (48, 3));
    assert_eq!(
        summary.created,
        Some(Timestamp::from_millis(1_700_000_000_000))
    );
    for _ in 0..2 {
        let error = api.describe_stream_summary().await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Retry, "{error}");
    }
}

#[tokio::test]
async fn the_services_date_puts_the_clock_right() {
    let answer = Answer::error(400, "ExpiredIteratorException", "x");
    let answer = answer.with_header("date: Tue, 01 Jan 2030 00:00:00 GMT");
    let server = CannedServer::start([answer]).await;
    let api = client(&server, "orders");
    get_records(&api).await.unwrap_err();
    let new_year = Timestamp::from_millis(1_893_456_000_000);
    assert!(api.now().since(new_year) < Duration::from_secs(60));
    assert!(api.now() > new_year);
}

#[tokio::test]
async fn a_configuration_without_a_region_takes_that_of_the_arn() {
    let without_region = || conf("http://localhost:1").region(None::<Region>);
    let by_name = AwsKinesis::from_conf(without_region(), "orders");
    assert!(
        matches!(by_name, Err(AwsConfigError::NoRegion)),
        "{by_name:?}"
    );
    AwsKinesis::from_conf(without_region(), ARN).unwrap();
    let invalid = AwsKinesis::from_conf(without_region(), "or ders");
    assert!(
        matches!(invalid, Err(AwsConfigError::InvalidStream { .. })),
        "{invalid:?}"
    );
}
