//! Consumers and their subscriptions, frame by frame.

use std::collections::BTreeMap;

use super::*;

/// One frame of a stream of events.
#[derive(Debug)]
struct Frame {
    headers: BTreeMap<String, String>,
    payload: Vec<u8>,
}

impl Frame {
    fn kind(&self) -> &str {
        let kind = self.headers.get(":event-type");
        kind.or(self.headers.get(":exception-type")).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap()
    }
}

/// Takes a frame off the front of `bytes`, if there is a whole one.
fn take_frame(bytes: &mut Vec<u8>) -> Option<Frame> {
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?;
        Some(u32::from_be_bytes(four.try_into().unwrap()) as usize)
    };
    let (length, headers) = (number(0)?, number(4)?);
    if bytes.len() < length {
        return None;
    }
    let rest = bytes.split_off(length);
    let frame = std::mem::replace(bytes, rest);
    let mut left = &frame[12..12 + headers];
    let mut found = BTreeMap::new();
    // A name has one byte for its length; a value has two, after one for its type.
    let mut text = |width: usize| {
        let (size, rest) = left[width - 1..].split_at(width);
        let size = size
            .iter()
            .fold(0, |size, byte| size << 8 | usize::from(*byte));
        let (text, rest) = rest.split_at(size);
        left = rest;
        (String::from_utf8(text.to_vec()).unwrap(), left.is_empty())
    };
    loop {
        let (name, _) = text(1);
        let (value, last) = text(2);
        found.insert(name, value);
        if last {
            break;
        }
    }
    Some(Frame {
        headers: found,
        payload: frame[12 + headers..length - 4].to_vec(),
    })
}

/// A subscription's connection.
struct Subscription {
    stream: TcpStream,
    /// What was received of the body and is not taken off yet.
    bytes: Vec<u8>,
}

impl Subscription {
    async fn open(address: SocketAddr, body: &Value) -> Self {
        let body = serde_json::to_vec(body).unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Of HTTP/1.0, so that the body comes as it is, and not in chunks.
        let request = request("SubscribeToShard", &body, "");
        let request = String::from_utf8(request).unwrap();
        let request = request.replace("HTTP/1.1", "HTTP/1.0");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let end = loop {
            let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
            match end {
                Some(end) => break end,
                None => assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "no answer"),
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec())
            .unwrap()
            .to_lowercase();
        let bytes = bytes.split_off(end + 4);
        assert!(head.starts_with("http/1.0 200"), "{head}");
        let events = "content-type: application/vnd.amazon.eventstream";
        assert!(head.contains(events), "{head}");
        Self { stream, bytes }
    }

    /// The next frame; `None` at the end of the stream.
    async fn next(&mut self) -> std::io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = take_frame(&mut self.bytes) {
                return Ok(Some(frame));
            }
            let read = self.stream.read_buf(&mut self.bytes);
            let read = timeout(Duration::from_secs(20), read).await;
            if read.expect("a frame, or the end")? == 0 {
                return Ok(None);
            }
        }
    }

    async fn event(&mut self) -> Value {
        let frame = self.next().await.unwrap().expect("an event");
        assert_eq!(frame.kind(), "SubscribeToShardEvent");
        frame.json()
    }
}

/// A stream `orders` of one shard with a consumer, without limits.
async fn with_consumer() -> (Running, Value) {
    let running = unlimited().await;
    let create = json!({"StreamName": "orders", "ShardCount": 1});
    ok(running.address, "CreateStream", create).await;
    let arn = ok(
        running.address,
        "RegisterStreamConsumer",
        json!({"StreamARN": ARN, "ConsumerName": "audit"}),
    )
    .await["Consumer"]["ConsumerARN"]
        .clone();
    let from_start = json!({"ConsumerARN": arn, "ShardId": "shardId-000000000000",
        "StartingPosition": {"Type": "TRIM_HORIZON"}});
    (running, from_start)
}

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";

#[tokio::test]
async fn consumers_are_registered_described_listed_and_taken_away() {
    let (running, _) = with_consumer().await;
    let address = running.address;
    let again = json!({"StreamARN": ARN, "ConsumerName": "audit"});
    let code = refused(address, "RegisterStreamConsumer", again.clone()).await;
    assert_eq!(code, "ResourceInUseException");
    let other = json!({"StreamARN": ARN, "ConsumerName": "billing"});
    let other = ok(address, "RegisterStreamConsumer", other).await;
    let arn = &other["Consumer"]["ConsumerARN"];
    assert!(
        arn.as_str()
            .unwrap()
            .starts_with(&format!("{ARN}/consumer/billing:"))
    );
    for body in [
        json!({"ConsumerARN": arn}),
        json!({"StreamARN": ARN, "ConsumerName": "billing"}),
    ] {
        let described = ok(address, "DescribeStreamConsumer", body).await;
        let described = &described["ConsumerDescription"];
        assert_eq!(described["ConsumerStatus"], "ACTIVE");
        assert_eq!(described["StreamARN"], ARN);
        assert_eq!(&described["ConsumerARN"], arn);
    }
    let page = json!({"StreamARN": ARN, "MaxResults": 1});
    let page = ok(address, "ListStreamConsumers", page).await;
    assert_eq!(page["Consumers"][0]["ConsumerName"], "audit");
    let rest = json!({"StreamARN": ARN, "NextToken": page["NextToken"]});
    let rest = ok(address, "ListStreamConsumers", rest).await;
    assert_eq!(rest["Consumers"][0]["ConsumerName"], "billing");
    assert_eq!(rest.get("NextToken"), None);
    let summary = ok(address, "DescribeStreamSummary", json!({"StreamARN": ARN})).await;
    assert_eq!(summary["StreamDescriptionSummary"]["ConsumerCount"], 2);
    ok(
        address,
        "DeregisterStreamConsumer",
        json!({"ConsumerARN": arn}),
    )
    .await;
    let gone = refused(
        address,
        "DescribeStreamConsumer",
        json!({"ConsumerARN": arn}),
    )
    .await;
    assert_eq!(gone, "ResourceNotFoundException");
    for (target, body, code) in [
        (
            "RegisterStreamConsumer",
            json!({"ConsumerName": "a b"}),
            "Validation",
        ),
        (
            "DescribeStreamConsumer",
            json!({"ConsumerName": "audit"}),
            "InvalidArgument",
        ),
        (
            "DescribeStreamConsumer",
            json!({"ConsumerARN": "x"}),
            "Validation",
        ),
        (
            "DescribeStreamConsumer",
            json!({"ConsumerARN": format!("{ARN}/consumer/none:1")}),
            "ResourceNotFound",
        ),
        ("SubscribeToShard", json!({}), "Validation"),
        (
            "SubscribeToShard",
            json!({"StartingPosition": 7}),
            "Serialization",
        ),
        (
            "SubscribeToShard",
            json!({"ConsumerARN": format!("{ARN}/consumer/none:1"), "ShardId": "shardId-000000000000",
                "StartingPosition": {"Type": "LATEST"}}),
            "ResourceNotFound",
        ),
    ] {
        let got = refused(address, target, body.clone()).await;
        assert_eq!(got, format!("{code}Exception"), "{target} {body}");
    }
    ok(
        address,
        "DeleteStream",
        json!({"StreamARN": ARN, "EnforceConsumerDeletion": true}),
    )
    .await;
}

#[tokio::test]
async fn a_subscription_begins_with_a_response_and_goes_on_with_events_to_the_shards_end() {
    let (running, from_start) = with_consumer().await;
    let fake = running.fake.stream("orders");
    fake.put("k", "first").unwrap();
    let mut subscription = Subscription::open(running.address, &from_start).await;
    let begin = subscription.next().await.unwrap().unwrap();
    assert_eq!(begin.kind(), "initial-response");
    assert_eq!(begin.headers[":message-type"], "event");
    assert_eq!(begin.headers[":content-type"], "application/x-amz-json-1.1");
    assert_eq!(begin.json(), json!({}));
    let event = subscription.event().await;
    assert_eq!(event["Records"][0]["Data"], "Zmlyc3Q=");
    assert_eq!(event["MillisBehindLatest"], 0);
    assert!(event["ContinuationSequenceNumber"].is_string());

    let (_, number) = fake.put("k", "second").unwrap();
    let event = subscription.event().await;
    assert_eq!(event["Records"][0]["SequenceNumber"], number.to_string());

    let split = json!({"StreamName": "orders", "ShardToSplit": "shardId-000000000000",
        "NewStartingHashKey": "9"});
    ok(running.address, "SplitShard", split).await;
    let mut event = subscription.event().await;
    while event.get("ChildShards").is_none() {
        event = subscription.event().await;
    }
    assert_eq!(event["ChildShards"].as_array().unwrap().len(), 2);
    assert_eq!(event.get("ContinuationSequenceNumber"), None);
    assert!(subscription.next().await.unwrap().is_none());
}

#[tokio::test]
async fn what_goes_wrong_in_a_stream_is_an_exception_among_its_events() {
    let (running, from_start) = with_consumer().await;
    running.fake.stream("orders").put("k", "at once").unwrap();
    for (code, sent) in [
        ("ResourceInUseException", "ResourceInUseException"),
        ("KMSThrottlingException", "KMSThrottlingException"),
        ("InternalFailure", "InternalFailureException"),
        ("UnheardOfException", "UnheardOfException"),
    ] {
        let fault = Fault::refusal(Operation::SubscribeToShard, code).in_stream();
        running.fake.inject(fault);
        let mut subscription = Subscription::open(running.address, &from_start).await;
        subscription.next().await.unwrap().unwrap();
        let frame = subscription.next().await.unwrap().unwrap();
        assert_eq!(frame.headers[":message-type"], "exception");
        assert_eq!(frame.kind(), sent);
        assert!(frame.json()["message"].is_string());
        // boto3 and the SDK for JavaScript look there for what their models do not have.
        let unknown = code == "UnheardOfException";
        let error = frame.headers.get(":error-code").map(String::as_str);
        assert_eq!(error, unknown.then_some(code));
        let said = frame.headers.get(":error-message").map(String::as_str);
        let message = frame.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(said, unknown.then_some(&message[..]));
        assert!(subscription.next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_stream_is_broken_off_or_damaged() {
    let (running, from_start) = with_consumer().await;
    running.fake.stream("orders").put("k", "at once").unwrap();
    let operation = Operation::SubscribeToShard;
    for fault in [
        Fault::lost_answer(operation),
        Fault::cut_answer(operation, 0),
        Fault::cut_answer(operation, 50),
    ] {
        let shown = format!("{fault:?}");
        running.fake.inject(fault.in_stream());
        let mut subscription = Subscription::open(running.address, &from_start).await;
        subscription.next().await.unwrap().unwrap();
        let end = subscription.next().await;
        assert!(!matches!(end, Ok(Some(_))), "{shown}: {end:?}");
    }
    // Before there is any event.
    running.fake.inject(Fault::lost_answer(operation));
    let body = serde_json::to_vec(&from_start).unwrap();
    let request = request("SubscribeToShard", &body, CLOSE);
    assert!(raw(running.address, &request).await.is_none());
    running.fake.inject(Fault::garbled_answer(operation));
    let garbled = raw(running.address, &request).await.unwrap();
    assert!(
        garbled
            .head
            .to_lowercase()
            .contains("vnd.amazon.eventstream")
    );
    assert!(garbled.body.starts_with(b"<html>"));
    assert_eq!(post_ok_of(running.address).await, 200);
}

async fn post_ok_of(address: SocketAddr) -> u16 {
    let body = json!({"StreamName": "orders"});
    post(address, "DescribeStreamSummary", body).await.status
}

/// Those that are silent, or are not read, too. Time stands still, but while everybody waits for it.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_told_to_stop_ends_subscriptions_at_once() {
    let (running, from_start) = with_consumer().await;
    let Running {
        address,
        fake,
        stop,
        mut tasks,
    } = running;
    let mut open = Vec::new();
    for name in ["waits", "silent", "unread"] {
        let register = json!({"StreamARN": ARN, "ConsumerName": name});
        let registered = ok(address, "RegisterStreamConsumer", register).await;
        let mut body = from_start.clone();
        body["ConsumerARN"] = registered["Consumer"]["ConsumerARN"].clone();
        if name == "unread" {
            for _ in 0..30 {
                fake.stream("orders").put("k", vec![0; 1_000_000]).unwrap();
            }
        }
        let mut subscription = Subscription::open(address, &body).await;
        let first = subscription.next().await.unwrap().unwrap();
        assert_eq!(first.kind(), "initial-response");
        open.push(subscription);
        fake.inject(Fault::hung(Operation::SubscribeToShard).in_stream());
    }
    let unread = open.pop();
    let begin = tokio::time::Instant::now();
    stop.send(()).unwrap();
    tasks.join_next().await.unwrap().unwrap();
    // What may take longer are calls: five seconds.
    assert_eq!(begin.elapsed().as_secs(), 0);
    for mut subscription in open {
        while let Some(frame) = subscription.next().await.unwrap() {
            assert_eq!(frame.kind(), "SubscribeToShardEvent");
        }
    }
    drop(unread);
}

#[tokio::test]
async fn a_stream_falls_silent_and_the_rest_goes_on() {
    let (running, from_start) = with_consumer().await;
    running.fake.stream("orders").put("k", "at once").unwrap();
    let hung = Fault::hung(Operation::SubscribeToShard).in_stream();
    running.fake.inject(hung);
    let mut silent = Subscription::open(running.address, &from_start).await;
    silent.next().await.unwrap().unwrap();
    while running.fake.fault_report().fired() == 0 {
        tokio::task::yield_now().await;
    }
    let nothing = timeout(Duration::from_millis(300), silent.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert_eq!(post_ok_of(running.address).await, 200);
}

#[tokio::test]
async fn streams_are_resized_and_described_as_they_are() {
    let running = serve(Fake::builder().instant().without_stream().build()).await;
    let address = running.address;
    let create = json!({"StreamName": "orders", "ShardCount": 2, "MaxRecordSizeInKiB": 2_048});
    ok(address, "CreateStream", create).await;
    let resize = json!({"StreamARN": ARN, "TargetShardCount": 4, "ScalingType": "UNIFORM_SCALING"});
    let resize = ok(address, "UpdateShardCount", resize).await;
    assert_eq!(
        resize,
        json!({"StreamName": "orders", "StreamARN": ARN, "CurrentShardCount": 2, "TargetShardCount": 4})
    );
    let summary = async || {
        let summary = ok(address, "DescribeStreamSummary", json!({"StreamARN": ARN})).await;
        summary["StreamDescriptionSummary"].clone()
    };
    let described = summary().await;
    assert_eq!(described["OpenShardCount"], 4);
    assert_eq!(described["MaxRecordSizeInKiB"], 2_048);
    let size = json!({"StreamARN": ARN, "MaxRecordSizeInKiB": 4_096});
    ok(address, "UpdateMaxRecordSize", size).await;
    let mode = json!({"StreamARN": ARN, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    ok(address, "UpdateStreamMode", mode).await;
    let auto = json!({"StreamARN": ARN, "RecordDistributionStrategy": "AUTO"});
    ok(address, "UpdateStreamRecordDistributionStrategy", auto).await;
    let described = summary().await;
    assert_eq!(described["MaxRecordSizeInKiB"], 4_096);
    assert_eq!(described["StreamModeDetails"]["StreamMode"], "ON_DEMAND");
    assert_eq!(described["RecordDistributionStrategy"], "AUTO");
    let keyless = json!({"StreamARN": ARN, "Records": [{"Data": "YQ=="}]});
    assert_eq!(
        ok(address, "PutRecords", keyless).await["FailedRecordCount"],
        0
    );

    let on_demand = json!({"StreamName": "free", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    ok(address, "CreateStream", on_demand).await;
    let limits = ok(address, "DescribeLimits", json!({})).await;
    assert_eq!(limits["OnDemandStreamCount"], 2);
    assert_eq!(limits["OpenShardCount"], 0);
    let listed = ok(address, "ListStreams", json!({})).await;
    assert_eq!(
        listed["StreamSummaries"][0]["StreamModeDetails"]["StreamMode"],
        "ON_DEMAND"
    );
    for (target, body, code) in [
        (
            "UpdateShardCount",
            json!({"StreamARN": ARN, "TargetShardCount": 0}),
            "Validation",
        ),
        (
            "UpdateMaxRecordSize",
            json!({"StreamARN": ARN, "MaxRecordSizeInKiB": 5}),
            "Validation",
        ),
        ("UpdateStreamMode", json!({"StreamARN": ARN}), "Validation"),
        (
            "CreateStream",
            json!({"StreamName": "x", "ShardCount": 1, "RecordDistributionStrategy": "AUTO"}),
            "InvalidArgument",
        ),
    ] {
        let got = refused(address, target, body.clone()).await;
        assert_eq!(got, format!("{code}Exception"), "{target} {body}");
    }
    let names = ok(address, "ListStreams", json!({})).await["StreamNames"].clone();
    assert_eq!(
        names,
        json!(["free", "orders"]),
        "what was refused is not made"
    );
}
