use kinesis_fake::Operation;
use serde_json::{Value, json};

use crate::{
    aggregated::aggregated,
    rig::{Kinesis, new_path, run},
};

const EVERYTHING: [&str; 6] = [
    "consume",
    "orders",
    "--from=trim-horizon",
    "--until-caught-up",
    "--decode=utf8",
    "--checkpoint",
];

#[tokio::test(flavor = "multi_thread")]
async fn shards_send_to_a_consumer_and_both_ways_go_on_from_one_file() {
    let kinesis = Kinesis::new(2).await;
    let file = new_path("fan-out.redb");
    for (fan_out, new) in [(true, 0..300), (false, 300..310), (true, 310..320)] {
        let count = (new.end - new.start) as usize;
        kinesis.fake.put_numbered(new).unwrap();
        let mut consume = kinesis.tail(&EVERYTHING);
        consume.arg(&file);
        let asked = || kinesis.fake.calls().of(Operation::GetRecords).made;
        let before = asked();
        if fan_out {
            consume.args(["--fan-out", "audit"]);
        }
        assert_eq!(run(consume).await.quiet_lines().len(), count);
        assert_eq!(
            asked() == before,
            fan_out,
            "who is sent records does not ask"
        );
    }
    let calls = kinesis.fake.calls();
    let registered = calls.of(Operation::RegisterStreamConsumer).made;
    assert_eq!(registered, 1, "it stays, and is found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_named_by_its_arn_has_to_be_there() {
    let kinesis = Kinesis::new(1).await;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders/consumer/nobody:1";
    let finished = run(kinesis.tail(&["consume", "orders", "--fan-out", arn])).await;
    finished.fails_with(1, &["cannot be read as consumer", arn]);
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregated_records_are_taken_apart_if_that_is_wanted() {
    let kinesis = Kinesis::new(1).await;
    let records = [("a", "one".to_owned()), ("b", "two".to_owned())];
    kinesis.fake.put("outer", aggregated(records)).unwrap();
    kinesis.fake.put("alone", "three").unwrap();
    for fan_out in [None, Some("--fan-out=audit")] {
        let mut consume = kinesis.tail(&EVERYTHING[..5]);
        consume.arg("--deaggregate").args(fan_out);
        let lines = run(consume).await.quiet_lines();
        let part = |line: &Value| {
            json!([
                line["partition_key"],
                line["sub_sequence_number"],
                line["data"]
            ])
        };
        let parts: Vec<Value> = lines.iter().map(part).collect();
        let expected = [
            json!(["a", 0, "one"]),
            json!(["b", 1, "two"]),
            json!(["alone", null, "three"]),
        ];
        assert_eq!(parts, expected);
    }
    // As they are, they are no text.
    let as_it_is = run(kinesis.tail(&EVERYTHING[..5])).await;
    as_it_is.fails_with(1, &["is not UTF-8"]);
}
