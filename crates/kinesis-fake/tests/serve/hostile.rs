//! What no client should do.

use proptest::prelude::RngExt as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use kinesis_source::KinesisFanOutApi;

use super::*;

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_its_code() {
    let running = serve(Fake::instant(1)).await;
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
        ("GetRecords", json!({}), "Validation"),
        ("GetRecords", json!([]), "Serialization"),
        ("DescribeLimits", json!([]), "Serialization"),
        ("GetRecords", json!(["x", 1]), "Serialization"),
        (
            "PutRecords",
            json!({"StreamName": "stream", "Records": [["eA==", "k", null]]}),
            "Serialization",
        ),
        (
            "ListShards",
            json!({"StreamName": "stream", "ShardFilter": ["AT_LATEST", null, null]}),
            "Serialization",
        ),
        (
            "CreateStream",
            json!({"StreamName": "x", "StreamModeDetails": ["ON_DEMAND"]}),
            "Serialization",
        ),
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
            "Validation",
        ),
        (
            "PutRecord",
            json!({"StreamName": "stream", "PartitionKey": "k", "Data": "", "ExplicitHashKey": "9".repeat(40)}),
            "Validation",
        ),
        (
            "PutRecord",
            json!({"StreamName": "stream", "PartitionKey": "k", "Data": "", "ExplicitHashKey": "9".repeat(39)}),
            "InvalidArgument",
        ),
        (
            "PutRecords",
            json!({"StreamName": "stream", "Records": [{}]}),
            "Validation",
        ),
        (
            "PutRecords",
            json!({"StreamName": "stream", "Records": [[]]}),
            "Serialization",
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
            "Validation",
        ),
        (
            "ListShards",
            json!({"StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/x"}),
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
            json!({"StreamName": "x", "ShardCount": 1, "StreamModeDetails": {"StreamMode": "x"}}),
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
            "Validation",
        ),
        (
            "SplitShard",
            json!({"StreamName": "stream", "ShardToSplit": shard, "NewStartingHashKey": "x"}),
            "Validation",
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
async fn all_that_is_wrong_is_told_in_the_services_words() {
    let running = serve(Fake::instant(1)).await;
    for (target, body, message) in [
        (
            "GetShardIterator",
            json!({"StreamName": "a b", "ShardIteratorType": "SOMEWHERE"}),
            "3 validation errors detected: Value 'a b' at 'streamName' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value \
             null at 'shardId' failed to satisfy constraint: Member must not be null; Value \
             'SOMEWHERE' at 'shardIteratorType' failed to satisfy constraint: Member must satisfy \
             enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, \
             TRIM_HORIZON]",
        ),
        (
            "PutRecords",
            json!({"StreamName": "stream", "Records": [
                {"PartitionKey": "k", "Data": ""}, {"Data": "", "ExplicitHashKey": "01"}]}),
            "2 validation errors detected: Value null at 'records.2.member.partitionKey' failed to \
             satisfy constraint: Member must not be null; Value '01' at \
             'records.2.member.explicitHashKey' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: 0|([1-9]\\d{0,38})",
        ),
        (
            "ListShards",
            json!({"StreamName": "stream", "MaxResults": 10_001}),
            "1 validation error detected: Value '10001' at 'maxResults' failed to satisfy \
             constraint: Member must have value less than or equal to 10000",
        ),
        (
            "DescribeStreamSummary",
            json!({"StreamName": "other"}),
            "Stream other under account 000000000000 not found.",
        ),
    ] {
        let answer = post(running.address, target, body).await;
        assert_eq!(answer.json()["message"], message);
    }
}

#[tokio::test]
async fn hostile_bytes_are_answered_or_dropped_and_the_server_lives() {
    let running = serve(Fake::instant(1)).await;
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
                "{post}{target}Content-Type: application/x-amz-ion\r\nContent-Length: 0\r\n\r\n"
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

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let running = serve(Fake::instant(1)).await;
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
    let running = serve(Fake::instant(1)).await;
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
async fn requests_with_bytes_changed_by_chance_are_answered() {
    let running = serve(Fake::instant(1)).await;
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let requests = [
        r#"{"StreamName":"stream","StreamARN":null,"ShardCount":1,"RetentionPeriodHours":24,"Limit":3}"#,
        r#"{"ShardIterator":"0123456789abcdef","Limit":100}"#,
        r#"{"StreamName":"stream","ShardId":"shardId-000000000000","ShardIteratorType":"AT_TIMESTAMP","Timestamp":1.5}"#,
        r#"{"StreamName":"stream","Data":"aGVsbG8=","PartitionKey":"k","ExplicitHashKey":"12","Records":[{"Data":"","PartitionKey":"k"}]}"#,
        r#"{"StreamName":"stream","ShardToSplit":"shardId-000000000000","NewStartingHashKey":"99","ShardToMerge":"shardId-000000000001","AdjacentShardToMerge":"shardId-000000000002"}"#,
        r#"{"StreamName":"stream","MaxResults":5,"ShardFilter":{"Type":"FROM_TIMESTAMP","Timestamp":1e9}}"#,
    ];
    for operation in Operation::ALL {
        for (request, round) in requests.iter().cycle().zip(0..60) {
            let mut body = request.as_bytes().to_vec();
            for _ in 0..round / 12 {
                let at = random.random_range(0..body.len());
                body[at] = random.random();
            }
            let bytes = super::request(operation.name(), &body, CLOSE);
            let answer = raw(running.address, &bytes).await.expect("an answer");
            let body = String::from_utf8_lossy(&body);
            assert!([200, 400].contains(&answer.status), "{operation} {body}");
        }
    }
    assert_eq!(
        post(running.address, "ListStreams", json!({"Limit": 0}))
            .await
            .status,
        400
    );
}

/// Each has announced more than needs no room, and there is room for eight.
#[tokio::test]
async fn bodies_that_stop_coming_keep_nobody_waiting_for_long() {
    let running = serve(Fake::instant(1)).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let bytes = request("PutRecords", &vec![b' '; 100_000], "");
        stream
            .write_all(&bytes[..bytes.len() - 90_000])
            .await
            .unwrap();
        stalled.push(stream);
    }
    // What has been sent on a connection of its own may still be overtaken.
    for _ in 0..20 {
        assert_eq!(post_ok(running.address).await, 200);
    }
    let data = "A".repeat(200_000);
    let body = json!({"StreamName": "stream", "PartitionKey": "k", "Data": data});
    ok(running.address, "PutRecord", body).await;
    for mut stream in stalled {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_at_once_until_another_ends() {
    let server = Server::on_loopback(Fake::instant(1)).await.unwrap();
    let server = server.most_connections(3);
    let address = server.local_addr();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run());
    let ask = request("ListStreams", b"{}", "");
    let mut connections = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&ask).await.unwrap();
        assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0);
        connections.push(stream);
    }
    // Also one that sends more than fits into what lies between.
    let large = vec![b' '; 8 << 20];
    for (format, body) in [("json", &b"{}"[..]), ("cbor", b"\xa0"), ("json", &large)] {
        let bytes = request_in(format, "ListStreams", body, "");
        let answer = raw(address, &bytes).await.expect("an answer");
        assert_eq!(answer.status, 503);
        let body = String::from_utf8_lossy(&answer.body);
        assert!(body.contains("ServiceUnavailable"), "{body}");
        assert!(body.contains("attends to 3 connections"), "{body}");
        assert!(answer.head.contains(&format!("x-amz-{format}-1.1")));
    }
    // Those that say nothing keep nobody from being told.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(post_status(address).await, 503);
    connections.pop();
    while post_status(address).await == 503 {
        tokio::task::yield_now().await;
    }
}

async fn post_status(address: SocketAddr) -> u16 {
    post(address, "ListStreams", json!({})).await.status
}

/// Time stands still, but while everybody waits for it.
#[tokio::test(start_paused = true)]
async fn who_has_been_idle_for_longest_makes_room_for_who_comes() {
    let fake = Fake::instant(1);
    let server = Server::on_loopback(fake.clone()).await.unwrap();
    let server = server.most_connections(4);
    let address = server.local_addr();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run());
    let consumer = fake.register_stream_consumer("audit").await.unwrap().arn;

    // One is sent events, one has begun a request, one has sent nothing, one has been answered.
    let subscribe = json!({"ConsumerARN": consumer.as_str(), "ShardId": "shardId-000000000000",
        "StartingPosition": {"Type": "LATEST"}});
    let subscribe = request("SubscribeToShard", subscribe.to_string().as_bytes(), "");
    let ask = request("ListStreams", b"{}", "");
    let mut answer = [0; 4_096];
    let mut streams = Vec::new();
    for bytes in [&subscribe[..], &ask[..50], b"", &ask] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        if bytes.len() > 50 {
            assert!(stream.read(&mut answer).await.unwrap() > 0);
        }
        streams.push(stream);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Nobody waits: nobody is let go.
    tokio::time::sleep(Duration::from_secs(60)).await;
    for stream in &streams[1..] {
        assert!(stream.try_read(&mut answer).is_err(), "it still stands");
    }
    // Each that comes takes the seat of the one that was idle for longest, and keeps it.
    let mut came = Vec::new();
    for gone in 1..4 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&ask).await.unwrap();
        assert!(stream.read(&mut answer).await.unwrap() > 0);
        came.push(stream);
        assert_eq!(streams[gone].read(&mut answer).await.unwrap_or(0), 0);
        for stream in streams[gone + 1..].iter().chain(&came) {
            assert!(stream.try_read(&mut answer).is_err(), "it still stands");
        }
    }
    fake.put("k", "x").unwrap();
    let mut events = Vec::new();
    while !String::from_utf8_lossy(&events).contains("Records\":[{") {
        let read = streams[0].read(&mut answer).await.unwrap();
        assert!(read > 0, "it was sent events all the time");
        events.extend_from_slice(&answer[..read]);
    }
}

/// Time stands still, but while everybody waits for it.
#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_waited_for_for_a_minute() {
    let running = serve(Fake::instant(1)).await;
    let begin = tokio::time::Instant::now();
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let bytes = request("ListStreams", &[b' '; 100], "");
    stream.write_all(&bytes[..bytes.len() - 50]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(begin.elapsed().as_secs(), 60);
}

/// As people report them: kinesis-aggregation #30, a8m/kinesis-producer #18, alpakka #983; the others
/// as kinesalite has them of the service.
#[tokio::test]
async fn what_real_clients_are_shown_of_sizes_tags_and_positions_is_what_this_server_says() {
    let running = serve(Fake::instant(1)).await;
    let shard = "shardId-000000000000";
    let record = |bytes: usize| json!({"PartitionKey": "k", "Data": "AAAA".repeat(bytes / 3)});
    let iterator = |kind: &str, number: Option<&str>| {
        json!({"StreamName": "stream", "ShardId": shard, "ShardIteratorType": kind,
            "StartingSequenceNumber": number})
    };
    let tags = |tags: Value| json!({"StreamName": "stream", "Tags": tags});
    let keys = |keys: Value| json!({"StreamName": "stream", "TagKeys": keys});
    let too_long = "constraint: Member must have length less than or equal to 1048576";
    let failed = "failed to satisfy constraint: Member must have length";
    let both = "Member must have length less than or equal to 128, Member must have length greater \
                than or equal to 1]";
    let long = "k".repeat(129);
    for (target, body, message) in [
        (
            "PutRecord",
            json!({"StreamName": "stream", "PartitionKey": "k", "Data": "AAAA".repeat(349_526)}),
            format!(
                "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1048578 \
                 cap=1048578]' at 'data' failed to satisfy {too_long}"
            ),
        ),
        (
            "PutRecords",
            json!({"StreamName": "stream", "Records": [record(1_048_578), record(3), record(1_048_581)]}),
            format!(
                "2 validation errors detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1048578 \
                 cap=1048578]' at 'records.1.member.data' failed to satisfy {too_long}; Value \
                 'java.nio.HeapByteBuffer[pos=0 lim=1048581 cap=1048581]' at \
                 'records.3.member.data' failed to satisfy {too_long}"
            ),
        ),
        (
            "PutRecords",
            json!({"StreamName": "stream", "Records": vec![record(3); 501]}),
            format!(
                "1 validation error detected: Value '[501 records]' at 'records' {failed} less \
                 than or equal to 500"
            ),
        ),
        (
            "PutRecords",
            json!({"StreamName": "stream", "Records": vec![record(1_048_572); 11]}),
            "Records size exceeds 10 MB limit".to_owned(),
        ),
        (
            "AddTagsToStream",
            tags(json!({})),
            format!(
                "1 validation error detected: Value '{{}}' at 'tags' {failed} greater than or \
                 equal to 1"
            ),
        ),
        (
            "AddTagsToStream",
            tags(json!({"a": "1", long.clone(): ""})),
            format!(
                "1 validation error detected: Value '{{a=1, {long}=}}' at 'tags' failed to \
                 satisfy constraint: Map keys must satisfy constraint: [{both}"
            ),
        ),
        (
            "AddTagsToStream",
            tags(json!({"aws:cloudformation:stack-name": "x"})),
            "Tag keys that begin with aws: are reserved: aws:cloudformation:stack-name.".to_owned(),
        ),
        (
            "RemoveTagsFromStream",
            keys(json!([])),
            format!(
                "1 validation error detected: Value '[]' at 'tagKeys' {failed} greater than or \
                 equal to 1"
            ),
        ),
        (
            "RemoveTagsFromStream",
            keys(json!(["a", long])),
            format!(
                "1 validation error detected: Value '[a, {long}]' at 'tagKeys' failed to satisfy \
                 constraint: Member must satisfy constraint: [{both}"
            ),
        ),
        (
            "GetShardIterator",
            iterator("AT_TIMESTAMP", None),
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current \
             request has no timestamp parameter."
                .to_owned(),
        ),
        (
            "GetShardIterator",
            iterator("AFTER_SEQUENCE_NUMBER", None),
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
             StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. \
             Request specified AFTER_SEQUENCE_NUMBER and no StartingSequenceNumber."
                .to_owned(),
        ),
        (
            "GetShardIterator",
            iterator("LATEST", Some("1")),
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
             StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. \
             Request specified LATEST and also a StartingSequenceNumber."
                .to_owned(),
        ),
    ] {
        let answer = post(running.address, target, body).await;
        assert_eq!(answer.json()["message"], message);
    }
}

/// Kinesalite and moto take them, and no document refuses them.
#[tokio::test]
async fn a_time_that_nobody_needs_and_the_number_of_no_record_are_no_faults() {
    let running = serve(Fake::instant(1)).await;
    let address = running.address;
    for kind in ["LATEST", "TRIM_HORIZON"] {
        let body = json!({"StreamName": "stream", "ShardId": "shardId-000000000000",
            "ShardIteratorType": kind, "Timestamp": 1.5});
        ok(address, "GetShardIterator", body).await;
    }
    let put = |number: String| {
        json!({"StreamName": "stream", "Data": "", "PartitionKey": "k",
            "SequenceNumberForOrdering": number})
    };
    for number in ["0", "12345"] {
        ok(address, "PutRecord", put(number.to_owned())).await;
    }
    let refusal = refused(address, "PutRecord", put("9".repeat(56))).await;
    assert_eq!(refusal, "InvalidArgumentException");
}

/// Reads one answer that says how long it is; the connection goes on.
async fn one_answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let (_, size) = head.split_once("content-length: ").unwrap();
            let size = size.lines().next().unwrap().parse::<usize>().unwrap();
            if body.len() == size {
                return text;
            }
        }
        let read = timeout(Duration::from_secs(20), stream.read_buf(&mut bytes)).await;
        assert!(
            read.expect("an answer").unwrap() > 0,
            "the connection broke"
        );
    }
}

#[tokio::test]
async fn a_connection_outlives_a_refusal_whose_body_nobody_wanted() {
    let running = serve(Fake::instant(1)).await;
    let body = vec![b' '; 100 * 1_024];
    let refused = [
        request("GetNothing", &body, ""),
        request_in("xml", "ListStreams", &body, ""),
    ];
    for refused in refused {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        for _ in 0..20 {
            stream.write_all(&refused).await.unwrap();
            let answer = one_answer(&mut stream).await;
            assert!(answer.contains("unknownoperationexception"), "{answer}");
            assert!(!answer.contains("connection: close"), "{answer}");
            let asked = request("DescribeLimits", b"{}", "");
            stream.write_all(&asked).await.unwrap();
            one_answer(&mut stream).await;
        }
    }
}

/// Who does not send what was announced, or announces too much, is told that it is over.
#[tokio::test]
async fn a_refusal_waits_neither_long_nor_for_much() {
    let running = serve(Fake::instant(1)).await;
    let head = |size: usize| {
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: Kinesis_20131202.GetNothing\r\nContent-Length: {size}\r\n\r\n"
        )
    };
    for size in [100_000, 1 << 40] {
        let answer = raw(running.address, head(size).as_bytes()).await.unwrap();
        assert_eq!(answer.code(), "UnknownOperationException");
        let head = answer.head.to_lowercase();
        assert!(head.contains("connection: close"), "{size}: {head}");
    }
}
