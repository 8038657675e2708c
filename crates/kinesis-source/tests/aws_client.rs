//! What comes of every kind of answer, and of none, over a real connection.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

#[path = "aws_client/canned_server.rs"]
mod canned_server;

use std::{error::Error, time::Duration};

use aws_credential_types::provider::{error::CredentialsError, future};
use aws_sdk_kinesis::config::{
    Builder, Credentials, ProvideCredentials, Region, timeout::TimeoutConfig,
};
use bytes::Bytes;
use kinesis_source::{
    ApiError, AwsConfigError, AwsKinesis, HashRange, KinesisApi, KinesisWriteApi, NextToken,
    Position, PutEntry, PutOutcome, RecordsPage, Remedy, ShardIterator, StreamStatus, Timestamp,
};

use self::canned_server::{Answer, CannedServer};

const ARN: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/orders";
const CANARY: &str = "CANARY";

fn conf(url: &str) -> Builder {
    let credentials = Credentials::new(
        "AKIDCANARY",
        "secretCANARY",
        Some("tokenCANARY".into()),
        None,
        "test",
    );
    Builder::new()
        .region(Region::new("eu-central-1"))
        .endpoint_url(url)
        .credentials_provider(credentials)
}

fn client(server: &CannedServer, stream: &str) -> AwsKinesis {
    AwsKinesis::from_conf(conf(&server.url), stream).unwrap()
}

async fn get_records(api: &AwsKinesis) -> Result<RecordsPage, ApiError> {
    api.get_records(&ShardIterator::new("iterator"), 100).await
}

/// The error of a GetRecords that is given `answer`, after seeing that one attempt was made.
async fn error_after(answer: Answer) -> ApiError {
    let server = CannedServer::start([answer]).await;
    let error = get_records(&client(&server, "orders")).await.unwrap_err();
    assert_eq!(server.requests().len(), 1, "{error}");
    error
}

async fn page_after(body: &str) -> Result<RecordsPage, ApiError> {
    let server = CannedServer::start([Answer::json(200, body)]).await;
    get_records(&client(&server, "orders")).await
}

fn entry(key: &str) -> PutEntry {
    PutEntry {
        partition_key: key.into(),
        explicit_hash_key: None,
        data: Bytes::from_static(b"payload-CANARY"),
    }
}

/// An error as a log would show it: every level, both ways.
fn all_text(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain
        .map(|error| format!("{error} | {error:?} | "))
        .collect()
}

#[tokio::test]
async fn each_code_has_its_remedy_after_one_attempt() {
    for (status, code, remedy) in [
        (400, "ProvisionedThroughputExceededException", Remedy::Wait),
        (400, "LimitExceededException", Remedy::Wait),
        (400, "KMSThrottlingException", Remedy::Wait),
        (400, "ExpiredIteratorException", Remedy::RenewIterator),
        (400, "ExpiredNextTokenException", Remedy::RestartListing),
        (400, "ResourceInUseException", Remedy::AwaitActive),
        (400, "ResourceNotFoundException", Remedy::Verify),
        (
            400,
            "com.amazonaws.kinesis.v20131202#ResourceNotFoundException",
            Remedy::Verify,
        ),
        (400, "InvalidArgumentException", Remedy::Correct),
        (400, "ValidationException", Remedy::Correct),
        (400, "AccessDeniedException", Remedy::Authorize),
        (400, "UnrecognizedClientException", Remedy::Authorize),
        (400, "ExpiredTokenException", Remedy::Authorize),
        (403, "InvalidSignatureException", Remedy::Authorize),
        (400, "KMSDisabledException", Remedy::MendKey),
        (400, "KMSOptInRequired", Remedy::MendKey),
        (400, "BrandNewException", Remedy::Retry),
        (500, "InternalFailure", Remedy::Retry),
        (503, "ServiceUnavailable", Remedy::Retry),
    ] {
        let error = error_after(Answer::error(status, code, "so it is")).await;
        assert_eq!(error.remedy(), remedy, "{error}");
        let short = code.rsplit('#').next();
        assert_eq!(error.code(), short, "{error}");
        assert_eq!(error.message(), Some("so it is"), "{error}");
        assert_eq!(error.operation(), "GetRecords");
    }
}

#[tokio::test]
async fn answers_that_cannot_be_read_are_worth_another_try() {
    for (answer, status) in [
        (Answer::empty(500), "500"),
        (Answer::html(500), "500"),
        (Answer::html(502), "502"),
        (Answer::html(400), "400"),
        (Answer::json(400, "{}"), "400"),
        (Answer::json(503, "[1,2"), "503"),
        (Answer::html(200), "200"),
        (
            Answer::json(200, "{\"Records\":[{\"SequenceNumber\":"),
            "200",
        ),
    ] {
        let error = error_after(answer).await;
        assert_eq!(error.remedy(), Remedy::Retry, "{error}");
        assert!(error.to_string().contains(status), "{status}: {error}");
    }
}

#[tokio::test]
async fn what_a_proxy_says_is_judged_by_its_status() {
    let refused = error_after(Answer::html(403)).await;
    assert_eq!(refused.remedy(), Remedy::Authorize, "{refused}");
    let limited = error_after(Answer::empty(429)).await;
    assert_eq!(limited.remedy(), Remedy::Wait, "{limited}");
}

#[tokio::test]
async fn a_broken_connection_is_worth_another_try() {
    for answer in [Answer::Broken, Answer::Closed] {
        let error = error_after(answer).await;
        assert_eq!(error.remedy(), Remedy::Retry, "{error}");
    }
    let server = CannedServer::start([]).await;
    let api = client(&server, "orders");
    drop(server);
    tokio::task::yield_now().await;
    let error = get_records(&api).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::Retry, "{error}");
    let beneath = error.source().unwrap().to_string();
    assert!(beneath.contains("refused"), "{beneath}");
}

#[tokio::test]
async fn the_next_call_after_a_broken_one_goes_well() {
    let well = Answer::json(200, r#"{"Records":[],"NextShardIterator":"next"}"#);
    let server = CannedServer::start([Answer::Broken, Answer::empty(500), well]).await;
    let api = client(&server, "orders");
    get_records(&api).await.unwrap_err();
    get_records(&api).await.unwrap_err();
    assert_eq!(
        get_records(&api).await.unwrap().next,
        Some(ShardIterator::new("next"))
    );
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let short = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(100));
    let slow_head = TimeoutConfig::builder().read_timeout(Duration::from_millis(100));
    for timeouts in [short, slow_head] {
        let server = CannedServer::start([Answer::Silence]).await;
        let conf = conf(&server.url).timeout_config(timeouts.build());
        let error = get_records(&AwsKinesis::from_conf(conf, "orders").unwrap())
            .await
            .unwrap_err();
        assert_eq!(error.remedy(), Remedy::Retry, "{error}");
        assert!(error.source().is_some());
        assert_eq!(server.requests().len(), 1);
    }
}

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
    assert_eq!(page.next, Some(ShardIterator::new("next")));
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
async fn numbers_that_are_none_are_reported_and_never_shown_as_records() {
    for body in [
        r#"{"Records":[{"Data":"Q0FOQVJZ","PartitionKey":"CANARY"}]}"#,
        r#"{"Records":[{"SequenceNumber":"x","Data":"Q0FOQVJZ","PartitionKey":"CANARY"}]}"#,
        r#"{"Records":[],"ChildShards":[{"ShardId":"s","ParentShards":[]}]}"#,
        r#"{"Records":[],"ChildShards":[{"ShardId":"s","ParentShards":[],
            "HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"340282366920938463463374607431768211456"}}]}"#,
    ] {
        let error = page_after(body).await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Retry, "{error}");
        assert!(error.to_string().contains("makes no sense"), "{error}");
        assert!(!all_text(&error).contains(CANARY), "{error:?}");
    }
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

#[derive(Debug)]
struct Failing;

impl ProvideCredentials for Failing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let error = CredentialsError::provider_error("the role cannot be assumed");
        future::ProvideCredentials::ready(Err(error))
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_loaded_are_for_people_to_mend() {
    let server = CannedServer::start([]).await;
    let failing = conf(&server.url).credentials_provider(Failing);
    let error = get_records(&AwsKinesis::from_conf(failing, "orders").unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.remedy(), Remedy::Authorize, "{error}");
    let beneath = error.source().unwrap().to_string();
    assert!(beneath.contains("the role cannot be assumed"), "{beneath}");

    let none = Builder::new()
        .region(Region::new("eu-central-1"))
        .endpoint_url(&server.url);
    let error = get_records(&AwsKinesis::from_conf(none, "orders").unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        error.remedy(),
        Remedy::Authorize,
        "{error}: {:?}",
        error.source()
    );
    assert!(server.requests().is_empty());
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

#[tokio::test]
async fn neither_what_is_put_nor_a_secret_gets_into_any_text() {
    let quoting = "Value 'key-CANARY' at 'records.1.member.partitionKey' failed\n\
                   x-amz-security-token:tokenCANARY";
    for answer in [
        Answer::error(400, "ValidationException", quoting),
        Answer::error(500, "InternalFailure", quoting),
        Answer::json(200, r#"{"Records":[{"SequenceNumber":"CANARY"#),
        Answer::json(400, "key-CANARY"),
        Answer::Broken,
        Answer::Closed,
    ] {
        let server = CannedServer::start([answer]).await;
        let api = client(&server, "orders");
        let error = api.put_records(&[entry("key-CANARY")]).await.unwrap_err();
        let text = all_text(&error);
        assert!(!text.contains(CANARY), "{text}");
        assert!(!text.contains("Q0FOQVJZ"), "{text}");
        let debug = format!("{api:?} {:?}", AwsKinesis::builder("orders"));
        assert!(!debug.contains(CANARY), "{debug}");
    }
}
