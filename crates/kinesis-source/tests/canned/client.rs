//! A client of a canned server, with a canary in each secret.
#![allow(dead_code)] // Not every test program needs all of it.

use aws_sdk_kinesis::config::{Builder, Credentials, Region};
use bytes::Bytes;
use kinesis_source::{ApiError, AwsKinesis, KinesisApi, PutEntry, RecordsPage, ShardIterator};

use crate::server::{Answer, CannedServer};

/// Stands in everything that nobody may read.
pub(crate) const CANARY: &str = "CANARY";

pub(crate) fn conf(url: &str) -> Builder {
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

pub(crate) fn client(server: &CannedServer, stream: &str) -> AwsKinesis {
    AwsKinesis::from_conf(conf(&server.url), stream).unwrap()
}

pub(crate) async fn get_records(api: &AwsKinesis) -> Result<RecordsPage, ApiError> {
    let iterator = ShardIterator::new("shardId-000000000000".into(), "iterator");
    api.get_records(&iterator, 100).await
}

/// What comes of a GetRecords that is answered with `body`.
pub(crate) async fn page_after(body: &str) -> Result<RecordsPage, ApiError> {
    let server = CannedServer::start([Answer::json(200, body)]).await;
    get_records(&client(&server, "orders")).await
}

pub(crate) fn entry(key: &str) -> PutEntry {
    PutEntry {
        partition_key: key.into(),
        explicit_hash_key: None,
        data: Bytes::from_static(b"payload-CANARY"),
    }
}
