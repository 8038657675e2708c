//! The HTTP face, through a socket and by hand: what is sent and answered, byte by byte.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use kinesis_fake::{Fake, Fault, Limits, Operation, Server};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
    time::timeout,
};

/// A server, and what stops it.
struct Running {
    address: SocketAddr,
    fake: Fake,
    stop: oneshot::Sender<()>,
    tasks: JoinSet<()>,
}

async fn serve(fake: Fake) -> Running {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), fake.clone());
    let server = server.await.unwrap();
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run_until(async {
        let _ = stopped.await;
    }));
    Running {
        address,
        fake,
        stop,
        tasks,
    }
}

async fn unlimited() -> Running {
    let fake = Fake::builder().without_stream().limits(Limits::none());
    serve(fake.build()).await
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn code(&self) -> String {
        self.json()["__type"].as_str().unwrap().to_owned()
    }
}

/// Sends bytes on a connection of their own and reads until the server closes it.
async fn raw(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have answered and gone before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    let _ = read.expect("an answer, or the end of the connection");
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1)?.parse().unwrap();
    let body = answer[end + 4..].to_vec();
    Some(Answer { status, head, body })
}

fn request(target: &str, body: &[u8], more_headers: &str) -> Vec<u8> {
    let mut bytes = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: Kinesis_20131202.{target}\r\nContent-Length: {}\r\n{more_headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

const CLOSE: &str = "Connection: close\r\n";

async fn post(address: SocketAddr, target: &str, body: Value) -> Answer {
    let body = serde_json::to_vec(&body).unwrap();
    let bytes = request(target, &body, CLOSE);
    raw(address, &bytes).await.expect("an answer")
}

async fn ok(address: SocketAddr, target: &str, body: Value) -> Value {
    let answer = post(address, target, body).await;
    assert_eq!(answer.status, 200, "{target}: {}", answer.json());
    answer.json()
}

async fn refused(address: SocketAddr, target: &str, body: Value) -> String {
    let answer = post(address, target, body).await;
    assert_eq!(answer.status, 400, "{target}");
    answer.code()
}

#[tokio::test]
async fn a_stream_is_made_filled_read_resharded_and_removed() {
    let running = unlimited().await;
    let address = running.address;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
    ok(
        address,
        "CreateStream",
        json!({"StreamName": "orders", "ShardCount": 1}),
    )
    .await;

    let put = json!({"StreamName": "orders", "PartitionKey": "k", "Data": "aGVsbG8="});
    let put = ok(address, "PutRecord", put).await;
    assert_eq!(put["ShardId"], "shardId-000000000000");
    let puts = json!({"StreamARN": arn, "Records": [
        {"PartitionKey": "k", "Data": "", "ExplicitHashKey": "0"},
        {"PartitionKey": "k", "Data": "d29ybGQ=", "ExplicitHashKey": u128::MAX.to_string()},
    ]});
    let puts = ok(address, "PutRecords", puts).await;
    assert_eq!(puts["FailedRecordCount"], 0);

    let half = (1_u128 << 127).to_string();
    let split = json!({"StreamName": "orders", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": half});
    ok(address, "SplitShard", split).await;
    let merge = json!({"StreamName": "orders", "ShardToMerge": "shardId-000000000001",
        "AdjacentShardToMerge": "shardId-000000000002"});
    ok(address, "MergeShards", merge).await;

    let at = json!({"StreamARN": arn, "ShardId": "shardId-000000000000",
        "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": put["SequenceNumber"]});
    let at = ok(address, "GetShardIterator", at).await;
    let page = json!({"ShardIterator": at["ShardIterator"], "Limit": 10});
    let page = ok(address, "GetRecords", page).await;
    let data: Vec<_> = page["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["Data"])
        .collect();
    assert_eq!(data, ["aGVsbG8=", "", "d29ybGQ="]);
    assert!(page["Records"][0]["ApproximateArrivalTimestamp"].is_f64());
    assert_eq!(page["MillisBehindLatest"], 0);
    assert_eq!(page.get("NextShardIterator"), None);
    assert_eq!(
        page["ChildShards"][1]["ParentShards"],
        json!(["shardId-000000000000"])
    );

    let summary = ok(
        address,
        "DescribeStreamSummary",
        json!({"StreamName": "orders"}),
    )
    .await;
    let summary = &summary["StreamDescriptionSummary"];
    assert_eq!(
        (&summary["StreamARN"], &summary["OpenShardCount"]),
        (&json!(arn), &json!(1))
    );
    assert_eq!(summary["StreamStatus"], "ACTIVE");
    ok(address, "DeleteStream", json!({"StreamARN": arn})).await;
    let gone = refused(address, "DescribeStream", json!({"StreamName": "orders"})).await;
    assert_eq!(gone, "ResourceNotFoundException");
}

#[tokio::test]
async fn shards_are_listed_in_pages_and_by_filter() {
    let running = unlimited().await;
    let (address, fake) = (running.address, running.fake.clone());
    ok(
        address,
        "CreateStream",
        json!({"StreamName": "s", "ShardCount": 3}),
    )
    .await;
    let first = ok(
        address,
        "ListShards",
        json!({"StreamName": "s", "MaxResults": 2}),
    )
    .await;
    assert_eq!(first["Shards"].as_array().unwrap().len(), 2);
    let token = &first["NextToken"];
    let both = refused(
        address,
        "ListShards",
        json!({"StreamName": "s", "NextToken": token}),
    );
    assert_eq!(both.await, "InvalidArgumentException");
    let second = ok(address, "ListShards", json!({"NextToken": token})).await;
    assert_eq!(second["Shards"][0]["ShardId"], "shardId-000000000002");
    assert_eq!(second.get("NextToken"), None);

    let split = json!({"StreamName": "s", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "5"});
    ok(address, "SplitShard", split).await;
    let now = kinesis_source::KinesisApi::now(&fake).as_millis() as f64 / 1_000.0;
    for (filter, shards) in [
        (json!({"Type": "AT_LATEST"}), 4),
        (json!({"Type": "AT_TRIM_HORIZON"}), 3),
        (json!({"Type": "FROM_TRIM_HORIZON"}), 5),
        (
            json!({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000001"}),
            3,
        ),
        (json!({"Type": "FROM_TIMESTAMP", "Timestamp": 0}), 5),
        (json!({"Type": "AT_TIMESTAMP", "Timestamp": now + 1.0}), 4),
    ] {
        let listed = ok(
            address,
            "ListShards",
            json!({"StreamName": "s", "ShardFilter": filter}),
        );
        assert_eq!(
            listed.await["Shards"].as_array().unwrap().len(),
            shards,
            "{filter}"
        );
    }
    let after = json!({"StreamName": "s", "ExclusiveStartShardId": "shardId-000000000003"});
    let after = ok(address, "DescribeStream", after).await;
    let description = &after["StreamDescription"];
    assert_eq!(description["Shards"].as_array().unwrap().len(), 1);
    assert_eq!(description["HasMoreShards"], false);
}

#[tokio::test]
async fn streams_are_listed_in_pages_and_keep_records_as_long_as_told() {
    let running = unlimited().await;
    let address = running.address;
    for name in ["a", "b", "c"] {
        ok(
            address,
            "CreateStream",
            json!({"StreamName": name, "ShardCount": 1}),
        )
        .await;
    }
    let first = ok(address, "ListStreams", json!({"Limit": 2})).await;
    assert_eq!(first["StreamNames"], json!(["a", "b"]));
    assert_eq!(first["HasMoreStreams"], true);
    let rest = ok(
        address,
        "ListStreams",
        json!({"NextToken": first["NextToken"]}),
    )
    .await;
    assert_eq!(rest["StreamNames"], json!(["c"]));

    let hours = |hours: i64| json!({"StreamName": "a", "RetentionPeriodHours": hours});
    ok(address, "IncreaseStreamRetentionPeriod", hours(48)).await;
    let shorter = refused(address, "IncreaseStreamRetentionPeriod", hours(24)).await;
    assert_eq!(shorter, "InvalidArgumentException");
    ok(address, "DecreaseStreamRetentionPeriod", hours(24)).await;
    for hours_out in [23, -1, i64::MAX] {
        refused(address, "DecreaseStreamRetentionPeriod", hours(hours_out)).await;
    }
}

#[tokio::test]
async fn the_limits_hold_over_http_too() {
    let running = serve(Fake::new(1)).await;
    let address = running.address;
    let at = json!({"StreamName": "stream", "ShardId": "shardId-000000000000", "ShardIteratorType": "LATEST"});
    let at = ok(address, "GetShardIterator", at).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(post(address, "GetRecords", at.clone()).await);
    }
    let last = statuses.pop().unwrap();
    assert!(statuses.iter().all(|answer| answer.status == 200));
    assert_eq!(last.code(), "ProvisionedThroughputExceededException");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_its_code() {
    let running = serve(Fake::new(1)).await;
    let address = running.address;
    let shard = "shardId-000000000000";
    for (target, body, code) in [
        (
            "GetRecords",
            json!({"ShardIterator": "x"}),
            "InvalidArgument",
        ),
        (
            "GetRecords",
            json!({"ShardIterator": "x", "Limit": i64::MAX}),
            "InvalidArgument",
        ),
        (
            "GetRecords",
            json!({"ShardIterator": "x", "Limit": -1}),
            "InvalidArgument",
        ),
        (
            "GetRecords",
            json!({"ShardIterator": "x", "Limit": 1e300}),
            "Serialization",
        ),
        ("GetRecords", json!({"ShardIterator": 7}), "Serialization"),
        ("GetRecords", json!({}), "Serialization"),
        ("GetRecords", json!([]), "Serialization"),
        (
            "PutRecord",
            json!({"StreamName": "stream", "PartitionKey": "k", "Data": "?"}),
            "Serialization",
        ),
        (
            "PutRecord",
            json!({"StreamName": "stream", "PartitionKey": "k", "Data": "a"}),
            "Serialization",
        ),
        (
            "PutRecord",
            json!({"StreamName": "stream", "PartitionKey": "", "Data": ""}),
            "Validation",
        ),
        (
            "PutRecord",
            json!({"StreamName": "stream", "PartitionKey": "k", "Data": "", "ExplicitHashKey": "-1"}),
            "InvalidArgument",
        ),
        (
            "PutRecord",
            json!({"StreamName": "stream", "PartitionKey": "k", "Data": "", "ExplicitHashKey": "9".repeat(40)}),
            "InvalidArgument",
        ),
        (
            "PutRecords",
            json!({"StreamName": "stream", "Records": []}),
            "Validation",
        ),
        (
            "PutRecord",
            json!({"StreamName": "other", "PartitionKey": "k", "Data": ""}),
            "ResourceNotFound",
        ),
        (
            "PutRecord",
            json!({"PartitionKey": "k", "Data": ""}),
            "InvalidArgument",
        ),
        (
            "ListShards",
            json!({"StreamARN": "arn:aws:kinesis:us-east-1:1:stream/x"}),
            "ResourceNotFound",
        ),
        (
            "ListShards",
            json!({"StreamName": "stream", "MaxResults": 0}),
            "Validation",
        ),
        (
            "ListShards",
            json!({"StreamName": "stream", "MaxResults": 10_001}),
            "Validation",
        ),
        ("ListShards", json!({"NextToken": "x"}), "InvalidArgument"),
        (
            "ListShards",
            json!({"StreamName": "stream", "ShardFilter": {"Type": "AT_TIMESTAMP"}}),
            "InvalidArgument",
        ),
        (
            "CreateStream",
            json!({"StreamName": "../x", "ShardCount": 1}),
            "Validation",
        ),
        (
            "CreateStream",
            json!({"StreamName": "x", "ShardCount": -5}),
            "Validation",
        ),
        (
            "CreateStream",
            json!({"StreamName": "x", "ShardCount": i64::MAX}),
            "LimitExceeded",
        ),
        (
            "CreateStream",
            json!({"StreamName": "stream", "ShardCount": 1}),
            "ResourceInUse",
        ),
        (
            "GetShardIterator",
            json!({"StreamName": "stream", "ShardId": shard, "ShardIteratorType": "x"}),
            "Validation",
        ),
        (
            "GetShardIterator",
            json!({"StreamName": "stream", "ShardId": "x", "ShardIteratorType": "LATEST"}),
            "ResourceNotFound",
        ),
        (
            "GetShardIterator",
            json!({"StreamName": "stream", "ShardId": shard, "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1e300}),
            "InvalidArgument",
        ),
        (
            "GetShardIterator",
            json!({"StreamName": "stream", "ShardId": shard, "ShardIteratorType": "AT_SEQUENCE_NUMBER"}),
            "InvalidArgument",
        ),
        (
            "GetShardIterator",
            json!({"StreamName": "stream", "ShardId": shard, "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "x"}),
            "InvalidArgument",
        ),
        (
            "SplitShard",
            json!({"StreamName": "stream", "ShardToSplit": shard, "NewStartingHashKey": "x"}),
            "InvalidArgument",
        ),
        (
            "DescribeStreamSummary",
            json!({"StreamName": null}),
            "InvalidArgument",
        ),
        ("TakeOverTheWorld", json!({}), "UnknownOperation"),
    ] {
        let got = refused(address, target, body.clone()).await;
        assert_eq!(got, format!("{code}Exception"), "{target} {body}");
    }
}

#[tokio::test]
async fn an_answer_has_a_type_and_an_id_of_its_own() {
    let running = serve(Fake::new(1)).await;
    let address = running.address;
    let id = |answer: Answer| {
        let head = answer.head.to_lowercase();
        assert!(
            head.contains("content-type: application/x-amz-json-1.1"),
            "{head}"
        );
        let line = head.lines().find(|it| it.starts_with("x-amzn-requestid: "));
        line.unwrap().to_owned()
    };
    let good = post(address, "ListStreams", json!({})).await;
    let bad = post(address, "GetRecords", json!({})).await;
    assert_ne!(id(good), id(bad));
}

#[tokio::test]
async fn hostile_bytes_are_answered_or_dropped_and_the_server_lives() {
    let running = serve(Fake::new(1)).await;
    let address = running.address;
    let nested = "[".repeat(100_000).into_bytes();
    let garbage: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let bodies: [&[u8]; 7] = [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"{\"ShardIterator\":\"\xff\"}",
        &nested,
        &garbage,
    ];
    for body in bodies {
        let answer = raw(address, &request("GetRecords", body, CLOSE))
            .await
            .unwrap();
        assert_eq!(
            (answer.status, answer.code()),
            (400, "SerializationException".into())
        );
    }

    let post = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let target = "X-Amz-Target: Kinesis_20131202.ListStreams\r\n";
    let json = "Content-Type: application/x-amz-json-1.1\r\n";
    let heads = [
        (
            String::from("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
            400,
        ),
        (format!("{post}Content-Length: 0\r\n\r\n"), 400),
        (format!("{post}{json}Content-Length: 2\r\n\r\n{{}}"), 400),
        (
            format!("{post}{json}X-Amz-Target: ListStreams\r\nContent-Length: 2\r\n\r\n{{}}"),
            400,
        ),
        (
            format!(
                "{post}{target}Content-Type: application/x-amz-cbor-1.1\r\nContent-Length: 0\r\n\r\n"
            ),
            400,
        ),
        (
            format!("{post}{json}{target}Content-Length: 99999999999999\r\n\r\n"),
            413,
        ),
        (
            format!("{post}{json}{target}Content-Length: 99999999999999999999999\r\n\r\n"),
            400,
        ),
        (
            format!("{post}{json}{target}Content-Length: -1\r\n\r\n"),
            400,
        ),
        (
            format!("{post}{json}{target}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            400,
        ),
        (
            format!("{post}{json}{target}X-Big: {}\r\n\r\n", "x".repeat(1 << 20)),
            431,
        ),
        (
            format!("{post}{json}{target}{}\r\n", "A: b\r\n".repeat(1_000)),
            431,
        ),
        (String::from("\0\0\0\0\r\n\r\n"), 400),
    ];
    for (bytes, status) in heads {
        if let Some(answer) = raw(address, bytes.as_bytes()).await {
            assert_eq!(answer.status, status, "{bytes:.200}");
        }
    }
    assert_eq!(post_ok(address).await, 200);
}

async fn post_ok(address: SocketAddr) -> u16 {
    post(
        address,
        "DescribeStreamSummary",
        json!({"StreamName": "stream"}),
    )
    .await
    .status
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let running = serve(Fake::new(1)).await;
    let mut bytes = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
        Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.PutRecord\r\n\r\n"
        .to_vec();
    for _ in 0..17 {
        bytes.extend_from_slice(b"100000\r\n");
        bytes.resize(bytes.len() + (1 << 20), b'x');
        bytes.extend_from_slice(b"\r\n");
    }
    // The server may break the connection before its answer has been read.
    if let Some(answer) = raw(running.address, &bytes).await {
        assert_eq!(answer.status, 413);
    }
    assert_eq!(post_ok(running.address).await, 200);
}

#[tokio::test]
async fn a_client_that_stands_still_keeps_nobody_waiting() {
    let running = serve(Fake::new(1)).await;
    let mut idle = Vec::new();
    for bytes in [
        &b""[..],
        b"POST / HT",
        &request("ListStreams", b"{}", "")[..100],
    ] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        idle.push(stream);
    }
    assert_eq!(post_ok(running.address).await, 200);
}

#[tokio::test]
async fn one_connection_takes_one_request_after_another() {
    let running = serve(Fake::new(1)).await;
    let mut bytes = request("ListStreams", b"{}", "");
    bytes.extend(request("ListStreams", b"{", ""));
    bytes.extend(request("ListStreams", b"{}", CLOSE));
    let answers = raw(running.address, &bytes).await.unwrap();
    let text = String::from_utf8(answers.body).unwrap();
    assert_eq!(answers.status, 200);
    assert_eq!(text.matches("HTTP/1.1 400").count(), 1, "{text}");
    assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
}

#[tokio::test]
async fn an_injected_failure_is_a_500_and_a_lost_answer_a_broken_connection() {
    let running = serve(Fake::new(1)).await;
    let body = json!({"StreamName": "stream", "PartitionKey": "k", "Data": ""});
    running
        .fake
        .inject(Fault::refusal(Operation::PutRecord, "InternalFailure"));
    let failed = post(running.address, "PutRecord", body.clone()).await;
    assert_eq!(
        (failed.status, failed.code()),
        (500, "InternalFailure".into())
    );

    running
        .fake
        .inject(Fault::lost_answer(Operation::PutRecord));
    let bytes = request("PutRecord", &serde_json::to_vec(&body).unwrap(), CLOSE);
    assert!(raw(running.address, &bytes).await.is_none());
    assert_eq!(running.fake.records()[0].1.len(), 1, "it was stored");
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_ends_though_clients_are_idle() {
    let mut running = serve(Fake::new(1)).await;
    let idle = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(post_ok(running.address).await, 200);
    running.stop.send(()).unwrap();
    let ended = timeout(Duration::from_secs(3), running.tasks.join_next());
    ended.await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
    drop(idle);
}
