//! What the environment says, and what is said when it says nothing.
//!
//! Each case is a child process of this test program, because the environment belongs to the whole
//! process. It runs [`child`], which prints what came of loading.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

#[path = "canned/server.rs"]
mod server;

use std::{
    error::Error,
    process::{Command, Stdio},
};

use kinesis_source::{AwsConfigError, AwsKinesis, AwsKinesisBuilder, KinesisApi};

use self::server::{Answer, CannedServer};

const ARN: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/orders";
const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "AKIDCANARY"),
    ("AWS_SECRET_ACCESS_KEY", "secretCANARY"),
];

/// Not a test of its own: without a case it does nothing.
#[tokio::test]
async fn child() {
    let Ok(case) = std::env::var("CASE") else {
        return;
    };
    let builder = match case.as_str() {
        "name" => AwsKinesis::builder("orders"),
        "arn" => AwsKinesis::builder(ARN),
        "profile" => AwsKinesis::builder("orders").profile("nobody"),
        "region" => AwsKinesis::builder("orders").region("eu-west-1"),
        "endpoint" => AwsKinesis::builder("orders").endpoint_url("localhost:4567"),
        "stream" => AwsKinesis::builder("or ders"),
        other => panic!("{other}"),
    };
    println!("RESULT {}", outcome(builder).await);
}

async fn outcome(builder: AwsKinesisBuilder) -> String {
    let api = match builder.load().await {
        Ok(api) => api,
        Err(error) => return format!("{} {error} {:?}", name(&error), error.source()),
    };
    match api.list_shards(None).await {
        Ok(page) => format!("listed {}", page.shards.len()),
        Err(error) => format!("called {error}"),
    }
}

fn name(error: &AwsConfigError) -> &'static str {
    match error {
        AwsConfigError::InvalidStream { .. } => "InvalidStream",
        AwsConfigError::InvalidEndpoint { .. } => "InvalidEndpoint",
        AwsConfigError::NoRegion => "NoRegion",
        AwsConfigError::NoCredentials => "NoCredentials",
        AwsConfigError::NoProfile { .. } => "NoProfile",
        AwsConfigError::CredentialsFailed { .. } => "CredentialsFailed",
        _ => "unheard of",
    }
}

/// What comes of `case` where these variables are all there is.
async fn with_environment(case: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env_clear()
        .env("CASE", case)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", "/nonexistent")
        .envs(variables.iter().copied())
        .stderr(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let text = String::from_utf8(output.await.unwrap().stdout).unwrap();
    let result = text.lines().find_map(|line| line.split_once("RESULT "));
    let (_, result) = result.unwrap_or_else(|| panic!("no result: {text}"));
    assert!(!result.contains("CANARY"), "{result}");
    result.to_owned()
}

#[tokio::test]
async fn everything_may_come_from_the_environment() {
    let server = CannedServer::start([Answer::json(200, r#"{"Shards":[]}"#)]).await;
    let [id, secret] = KEYS;
    for endpoint in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS"] {
        let server = CannedServer::start([Answer::json(200, r#"{"Shards":[]}"#)]).await;
        let region = ("AWS_REGION", "eu-central-1");
        let variables = [id, secret, region, (endpoint, &server.url)];
        assert_eq!(with_environment("name", &variables).await, "listed 0");
        assert_eq!(server.requests().len(), 1);
    }
    let variables = [id, secret, ("AWS_ENDPOINT_URL", &server.url)];
    assert_eq!(with_environment("arn", &variables).await, "listed 0");
    assert!(server.requests()[0].body.contains(ARN));
}

#[tokio::test]
async fn a_plain_endpoint_needs_no_certificates() {
    let server = CannedServer::start([Answer::json(200, r#"{"Shards":[]}"#)]).await;
    let [id, secret] = KEYS;
    let variables = [
        id,
        secret,
        ("AWS_ENDPOINT_URL", &*server.url),
        ("SSL_CERT_FILE", "/nonexistent"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    assert_eq!(with_environment("arn", &variables).await, "listed 0");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let no_region = with_environment("name", &KEYS).await;
    assert!(
        no_region.starts_with("NoRegion no AWS region found"),
        "{no_region}"
    );
    for case in ["arn", "region"] {
        let no_credentials = with_environment(case, &[]).await;
        let expected = "NoCredentials no AWS credentials found: set AWS_ACCESS_KEY_ID";
        assert!(no_credentials.starts_with(expected), "{no_credentials}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let [id, secret] = KEYS;
    let variables = [id, secret, ("AWS_REGION", "eu-central-1")];
    let profile = with_environment("profile", &variables).await;
    assert!(profile.starts_with("NoProfile"), "{profile}");
    assert!(profile.contains("nobody"), "{profile}");
    let endpoint = with_environment("endpoint", &KEYS).await;
    assert!(endpoint.starts_with("InvalidEndpoint"), "{endpoint}");
    let stream = with_environment("stream", &KEYS).await;
    assert!(stream.starts_with("InvalidStream"), "{stream}");
}

#[test]
fn a_local_stand_in_needs_nothing_but_its_address() {
    assert!(AwsKinesis::local("http://127.0.0.1:4567", "orders").is_ok());
    let error = AwsKinesis::local("127.0.0.1:4567", "orders").unwrap_err();
    assert!(
        matches!(error, AwsConfigError::InvalidEndpoint { .. }),
        "{error:?}"
    );
}
