//! What comes of every answer that is none, over a real connection: one attempt, one remedy.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

#[path = "canned/client.rs"]
mod client;
#[path = "canned/server.rs"]
mod server;

use std::{error::Error, time::Duration};

use aws_credential_types::provider::{error::CredentialsError, future};
use aws_sdk_kinesis::config::{Builder, ProvideCredentials, Region, timeout::TimeoutConfig};
use kinesis_source::{ApiError, AwsKinesis, KinesisWriteApi, Remedy, ShardIterator};

use self::{
    client::{CANARY, client, conf, entry, get_records, page_after},
    server::{Answer, CannedServer},
};

/// The error of a GetRecords that is given `answer`, after seeing that one attempt was made.
async fn error_after(answer: Answer) -> ApiError {
    let server = CannedServer::start([answer]).await;
    let error = get_records(&client(&server, "orders")).await.unwrap_err();
    assert_eq!(server.requests().len(), 1, "{error}");
    error
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
        Some(ShardIterator::new("shardId-000000000000".into(), "next"))
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

#[tokio::test]
async fn a_server_that_cannot_speak_tls_is_an_error() {
    let server = CannedServer::start([]).await;
    let url = server.url.replace("http://", "https://");
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(200));
    let conf = conf(&url).timeout_config(timeouts.build());
    let error = get_records(&AwsKinesis::from_conf(conf, "orders").unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.remedy(), Remedy::Retry, "{error}");
    assert!(server.requests().is_empty());
}
