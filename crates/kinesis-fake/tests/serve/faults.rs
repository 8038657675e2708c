//! What goes wrong on purpose, as it looks on the wire.

use super::*;

fn put() -> Value {
    json!({"StreamName": "stream", "PartitionKey": "k", "Data": ""})
}

/// Everything that comes back on a connection, and how that ends.
async fn bytes_and_end(address: SocketAddr, request: &[u8]) -> (Vec<u8>, std::io::Result<()>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let end = timeout(Duration::from_secs(20), read).await.unwrap();
    (bytes, end.map(drop))
}

#[tokio::test]
async fn a_refusal_is_a_400_or_a_500_and_a_lost_answer_a_broken_connection() {
    let running = serve(Fake::instant(1)).await;
    for (code, status) in [
        ("InternalFailure", 500),
        ("ServiceUnavailable", 503),
        ("KMSThrottlingException", 400),
        ("UnheardOfException", 400),
    ] {
        running
            .fake
            .inject(Fault::refusal(Operation::PutRecord, code));
        let failed = post(running.address, "PutRecord", put()).await;
        assert_eq!((failed.status, failed.code()), (status, code.into()));
    }
    running
        .fake
        .inject(Fault::lost_answer(Operation::PutRecord));
    let bytes = request("PutRecord", &serde_json::to_vec(&put()).unwrap(), CLOSE);
    assert!(raw(running.address, &bytes).await.is_none());
    assert_eq!(running.fake.records()[0].1.len(), 1, "it was stored");
}

#[tokio::test]
async fn a_connection_is_reset_after_any_number_of_bytes() {
    let running = serve(Fake::instant(1)).await;
    let request = request("ListStreams", b"{}", CLOSE);
    let (whole, end) = bytes_and_end(running.address, &request).await;
    end.unwrap();
    assert!(whole.ends_with(b"}"));
    for cut in 0..whole.len() as u64 {
        running.fake.set_limits(Limits::none());
        running
            .fake
            .inject(Fault::cut_answer(Operation::ListStreams, cut));
        let (bytes, end) = bytes_and_end(running.address, &request).await;
        assert!(end.is_err() || bytes.is_empty(), "cut after {cut}: {end:?}");
        assert!(bytes.len() as u64 <= cut, "cut after {cut}");
    }
    let cut = whole.len() as u64;
    running
        .fake
        .inject(Fault::cut_answer(Operation::ListStreams, cut));
    let (bytes, end) = bytes_and_end(running.address, &request).await;
    end.unwrap();
    assert_eq!(bytes.len(), whole.len(), "nothing was left to be cut off");

    // What an answer was too short for does not meet the next one.
    running
        .fake
        .inject(Fault::cut_answer(Operation::ListStreams, cut + 100));
    let first = self::request("ListStreams", b"{}", "");
    let (bytes, end) = bytes_and_end(running.address, &[first, request].concat()).await;
    end.unwrap();
    assert!(bytes.len() > whole.len() + 100);
}

#[tokio::test]
async fn a_garbled_answer_is_a_success_that_nobody_can_read() {
    let running = serve(Fake::instant(1)).await;
    let garbled = Fault::garbled_answer(Operation::ListShards).times(50);
    running.fake.inject(garbled);
    for _ in 0..50 {
        let body = json!({"StreamName": "stream"});
        let answer = post(running.address, "ListShards", body).await;
        assert_eq!(answer.status, 200);
        let value: Result<Value, _> = serde_json::from_slice(&answer.body);
        let shards = value.map(|value| value["Shards"].is_array());
        assert!(!shards.unwrap_or(false), "{:?}", answer.body);
    }
}

#[tokio::test]
async fn answers_are_rewritten_over_http_too() {
    let running = serve(Fake::instant(2)).await;
    let address = running.address;
    let missing = Fault::rewritten(Operation::ListShards, Rewrite::MISSING_SHARD);
    running.fake.inject(missing);
    let listed = ok(address, "ListShards", json!({"StreamName": "stream"})).await;
    assert_eq!(listed["Shards"].as_array().unwrap().len(), 1);

    let shard = "shardId-000000000000";
    let at = json!({"StreamName": "stream", "ShardId": shard, "ShardIteratorType": "LATEST"});
    let at = ok(address, "GetShardIterator", at).await;
    let end = Fault::rewritten(Operation::GetRecords, Rewrite::NO_NEXT_ITERATOR);
    running.fake.inject(end.on_shard(&shard.into()));
    let page = ok(address, "GetRecords", at.clone()).await;
    assert_eq!(page.get("NextShardIterator"), None);
    let page = ok(address, "GetRecords", at).await;
    assert!(page["NextShardIterator"].is_string());
}

#[tokio::test]
async fn a_hung_call_holds_up_nobody_else_and_no_stop() {
    let mut running = serve(Fake::instant(1)).await;
    running.fake.inject(Fault::hung(Operation::PutRecord));
    let mut hung = TcpStream::connect(running.address).await.unwrap();
    let body = serde_json::to_vec(&put()).unwrap();
    hung.write_all(&request("PutRecord", &body, ""))
        .await
        .unwrap();
    while running.fake.calls().of(Operation::PutRecord).made == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(post_ok(running.address).await, 200);
    running.stop.send(()).unwrap();
    let ended = timeout(Duration::from_secs(20), running.tasks.join_next());
    ended.await.unwrap().unwrap().unwrap();
}

/// A dozen bodies of 13 MiB are more than there is room for.
#[tokio::test]
async fn what_hung_calls_have_sent_keeps_no_others_from_sending() {
    let running = serve(Fake::instant(1)).await;
    running
        .fake
        .inject(Fault::hung(Operation::PutRecords).always());
    let data = "A".repeat(1 << 20);
    let records = vec![json!({"PartitionKey": "k", "Data": data}); 13];
    let body = json!({"StreamName": "stream", "Records": records}).to_string();
    let mut hung = Vec::new();
    for made in 1..=12 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let bytes = request("PutRecords", body.as_bytes(), "");
        let sent = timeout(Duration::from_secs(25), stream.write_all(&bytes)).await;
        sent.expect("its body is read").unwrap();
        while running.fake.calls().of(Operation::PutRecords).made < made {
            tokio::task::yield_now().await;
        }
        hung.push(stream);
    }
    let put = json!({"StreamName": "stream", "PartitionKey": "k", "Data": "A".repeat(200_000)});
    ok(running.address, "PutRecord", put).await;
}

#[tokio::test]
async fn a_part_of_a_put_fails_over_http_too() {
    let running = serve(Fake::instant(1)).await;
    let records: Vec<_> = (0..3)
        .map(|_| json!({"PartitionKey": "k", "Data": ""}))
        .collect();
    let put = json!({"StreamName": "stream", "Records": records});
    let all = Fault::refused_records(1.0, "InternalFailure");
    running.fake.inject(all);
    let answer = ok(running.address, "PutRecords", put.clone()).await;
    assert_eq!(answer["FailedRecordCount"], 3);
    assert_eq!(answer["Records"][2]["ErrorCode"], "InternalFailure");
    let one_less = Rewrite::MISSING_OUTCOME;
    running
        .fake
        .inject(Fault::rewritten(Operation::PutRecords, one_less));
    let answer = ok(running.address, "PutRecords", put).await;
    assert_eq!(answer["FailedRecordCount"], 0);
    assert_eq!(answer["Records"].as_array().unwrap().len(), 2);
}
