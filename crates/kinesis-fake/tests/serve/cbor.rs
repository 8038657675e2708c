//! What the SDK for Java sends and gets.

use ciborium::{Value, cbor};

use super::*;

struct Cbor(Value);

impl Cbor {
    fn get(&self, name: &str) -> Option<&Value> {
        let found = self
            .0
            .as_map()?
            .iter()
            .find(|(key, _)| key.as_text() == Some(name));
        found.map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).unwrap().as_text().unwrap()
    }

    fn list(&self, name: &str) -> Vec<Self> {
        let list = self.get(name).unwrap().as_array().unwrap();
        list.iter().cloned().map(Self).collect()
    }
}

async fn call(address: SocketAddr, target: &str, body: Value) -> (u16, Cbor) {
    let mut bytes = Vec::new();
    ciborium::into_writer(&body, &mut bytes).unwrap();
    let request = request_in("cbor", target, &bytes, CLOSE);
    let answer = raw(address, &request).await.unwrap();
    let head = answer.head.to_lowercase();
    assert!(
        head.contains("content-type: application/x-amz-cbor-1.1"),
        "{head}"
    );
    let value = match &answer.body[..] {
        [] => Value::Null,
        body => ciborium::from_reader(body).unwrap(),
    };
    (answer.status, Cbor(value))
}

async fn ok(address: SocketAddr, target: &str, body: Value) -> Cbor {
    let (status, answer) = call(address, target, body).await;
    assert_eq!(status, 200, "{target}: {:?}", answer.0);
    answer
}

#[tokio::test]
async fn bytes_are_bytes_and_times_are_milliseconds_under_tag_1() {
    let running = unlimited().await;
    let address = running.address;
    let create = cbor!({"StreamName" => "orders", "ShardCount" => 1});
    ok(address, "CreateStream", create.unwrap()).await;
    let data = Value::Bytes(vec![0, 255, 1]);
    let put = cbor!({"StreamName" => "orders", "Records" => [
        {"PartitionKey" => "k", "Data" => data}
    ]});
    let put = ok(address, "PutRecords", put.unwrap()).await;
    assert_eq!(
        put.get("FailedRecordCount").unwrap().as_integer(),
        Some(0.into())
    );
    let shard = &put.list("Records")[0];
    assert_eq!(shard.text("ShardId"), "shardId-000000000000");

    let at_horizon = cbor!({"StreamName" => "orders", "ShardId" => "shardId-000000000000",
        "ShardIteratorType" => "TRIM_HORIZON"});
    let at = ok(address, "GetShardIterator", at_horizon.unwrap()).await;
    let page = cbor!({"ShardIterator" => at.text("ShardIterator"), "Limit" => 10});
    let page = ok(address, "GetRecords", page.unwrap()).await;
    let record = &page.list("Records")[0];
    assert_eq!(record.get("Data"), Some(&Value::Bytes(vec![0, 255, 1])));
    assert_eq!(record.text("PartitionKey"), "k");
    let Some(Value::Tag(1, millis)) = record.get("ApproximateArrivalTimestamp") else {
        panic!("no tagged time: {:?}", record.0);
    };
    let millis = i64::try_from(millis.as_integer().unwrap()).unwrap();
    let stored = running.fake.stream("orders").records()[0].1[0].approximate_arrival;
    assert_eq!(millis, stored.unwrap().as_millis());

    // The same time, sent back as the SDK does.
    for (time, records) in [(millis, 1), (millis + 1, 0)] {
        let time = Value::Tag(1, Box::new(time.into()));
        let at_time = cbor!({"StreamName" => "orders", "ShardId" => "shardId-000000000000",
            "ShardIteratorType" => "AT_TIMESTAMP", "Timestamp" => time});
        let (status, at) = call(address, "GetShardIterator", at_time.unwrap()).await;
        if records == 0 && status == 400 {
            // Not even a millisecond has passed since.
            continue;
        }
        let page = cbor!({"ShardIterator" => at.text("ShardIterator")});
        let page = ok(address, "GetRecords", page.unwrap()).await;
        assert_eq!(page.list("Records").len(), records);
    }
}

#[tokio::test]
async fn a_refusal_is_cbor_too() {
    let running = serve(Fake::instant(1)).await;
    let body = cbor!({"StreamName" => "other"}).unwrap();
    let (status, answer) = call(running.address, "DescribeStream", body).await;
    assert_eq!(status, 400);
    assert_eq!(answer.text("__type"), "ResourceNotFoundException");
    assert_eq!(
        answer.text("message"),
        "Stream other under account 000000000000 not found."
    );
}

#[tokio::test]
async fn a_garbled_answer_cannot_be_read_either() {
    let running = serve(Fake::instant(1)).await;
    let garbled = Fault::garbled_answer(Operation::DescribeStreamSummary).times(30);
    running.fake.inject(garbled);
    running.fake.set_limits(Limits::none());
    let mut body = Vec::new();
    let name = cbor!({"StreamName" => "stream"}).unwrap();
    ciborium::into_writer(&name, &mut body).unwrap();
    for _ in 0..30 {
        let request = request_in("cbor", "DescribeStreamSummary", &body, CLOSE);
        let answer = raw(running.address, &request).await.unwrap();
        assert_eq!(answer.status, 200);
        let value: Result<Value, _> = ciborium::from_reader(&answer.body[..]);
        let summary = value.ok().map(Cbor);
        let summary = summary
            .as_ref()
            .and_then(|it| it.get("StreamDescriptionSummary"));
        assert_eq!(summary, None);
    }
}
