use std::collections::BTreeMap;

use kinesis_source::KinesisWriteApi;
use serde_json::{Value, json};

use crate::rig::{Kinesis, Running, by_shard, run};

const EVERYTHING: [&str; 5] = [
    "consume",
    "orders",
    "--from",
    "trim-horizon",
    "--until-caught-up",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_printed_each_key_in_order() {
    let kinesis = Kinesis::new(3).await;
    let published = run(kinesis.tail(&["publish", "orders", "--count", "1200"])).await;
    assert_eq!(published.code, Some(0), "{published:?}");

    let mut consume = kinesis.tail(&EVERYTHING);
    consume.args(["--decode", "json"]);
    let records = run(consume).await.quiet_lines();
    let mut numbers: Vec<u64> = records
        .iter()
        .map(|record| record["data"]["number"].as_u64().unwrap())
        .collect();
    let mut last = BTreeMap::new();
    for (record, number) in records.iter().zip(&numbers) {
        let key = record["partition_key"].as_str().unwrap();
        assert_eq!(record["data"]["key"], key);
        assert!(
            last.insert(key, number) < Some(number),
            "{key} is out of order"
        );
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=1200));
    assert_eq!(by_shard(&records), kinesis.stored());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_this_to_the_letter() {
    let kinesis = Kinesis::new(1).await;
    let (shard, sequence_number) = kinesis.fake.put("a key", "grün").unwrap();
    let arrival = kinesis.fake.records()[0].1[0].approximate_arrival.unwrap();
    let printed = run(kinesis.tail(&EVERYTHING)).await;
    printed.quiet_lines();
    let arrival = printed.stdout.split('"').nth(17).unwrap().to_owned() + &format!(" {arrival}");
    let (arrival, seconds) = arrival.split_once(' ').unwrap();
    assert_eq!(
        printed.stdout,
        format!(
            "{{\"shard_id\":\"{shard}\",\"sequence_number\":\"{sequence_number}\",\
             \"sub_sequence_number\":null,\"partition_key\":\"a key\",\
             \"approximate_arrival\":\"{arrival}\",\"data\":\"Z3LDvG4=\"}}\n"
        )
    );
    let millis = seconds.split_once('.').unwrap().1;
    assert!(
        arrival.ends_with(&format!(".{millis}Z")),
        "{arrival} {seconds}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_decoded_as_asked_for() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put("a", "{\"n\": 1.0}").unwrap();
    let as_json: Value = json!({"n": 1.0});
    for (decode, data) in [
        ("base64", json!("eyJuIjogMS4wfQ==")),
        ("utf8", json!("{\"n\": 1.0}")),
        ("json", as_json),
    ] {
        let mut consume = kinesis.tail(&EVERYTHING);
        consume.args(["--decode", decode]);
        let records = run(consume).await.quiet_lines();
        assert_eq!((records.len(), &records[0]["data"]), (1, &data), "{decode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_decoded_stops_it_after_those_before() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put("a", "1").unwrap();
    let (shard, number) = kinesis.fake.put("a", "{secret").unwrap();
    kinesis.fake.put("a", "3").unwrap();
    let mut consume = kinesis.tail(&EVERYTHING);
    consume.args(["--decode", "json"]);
    let finished = run(consume).await;
    assert_eq!(finished.lines().len(), 1);
    finished.fails_with(1, &[&shard.to_string(), &number.to_string(), "not JSON"]);
    assert!(!finished.stderr.contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_after_the_record_that_is_named() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put("a", "1").unwrap();
    let (shard, number) = kinesis.fake.put("a", "2").unwrap();
    kinesis.fake.put("a", "3").unwrap();
    let from = format!("--from=after={shard}:{number}");
    let consume = [
        "consume",
        "orders",
        &from,
        "--until-caught-up",
        "--decode=utf8",
    ];
    let records = run(kinesis.tail(&consume)).await.quiet_lines();
    assert_eq!((records.len(), &records[0]["data"]), (1, &json!("3")));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_at_the_moment_that_is_named() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..5).unwrap();
    for (from, records) in [
        ("2020-01-01T00:00:00Z", 5),
        ("2020-01-01T01:00:00+01:00", 5),
    ] {
        let from = format!("--from=at-timestamp={from}");
        let consume = kinesis.tail(&["consume", "orders", &from, "--until-caught-up"]);
        assert_eq!(run(consume).await.quiet_lines().len(), records);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_latest_it_prints_what_comes_from_now_on() {
    let kinesis = Kinesis::new(2).await;
    kinesis.fake.put_numbered(0..5).unwrap();
    // As far as the service's clock may be ahead of ours, what came before counts as now.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let mut consume = kinesis.tail(&[
        "consume",
        "--from=latest",
        "--max-records=3",
        "--decode=utf8",
    ]);
    consume.env("KINESIS_STREAM_NAME", "orders");
    let mut consumer = Running::new(consume);
    let feed = async {
        for number in 5.. {
            kinesis.fake.put_numbered(number..number + 1).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let records = tokio::select! {
        records = consumer.rest() => records,
        () = feed => unreachable!("it goes on for ever"),
    };
    assert_eq!(records.len(), 3);
    for record in records {
        let number: u64 = record["data"].as_str().unwrap().parse().unwrap();
        assert!(number >= 5, "{number} was there before");
    }
    assert_eq!(consumer.end().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_it_begins_with_the_oldest_record() {
    let kinesis = Kinesis::new(2).await;
    kinesis.fake.put_numbered(0..5).unwrap();
    let consume = kinesis.tail(&["consume", "orders", "--until-caught-up"]);
    assert_eq!(run(consume).await.quiet_lines().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_children_of_a_shard_are_printed_after_it() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..50).unwrap();
    let shard = kinesis.fake.shards()[0].id.clone();
    kinesis
        .fake
        .split_shard(&shard, u128::MAX / 2)
        .await
        .unwrap();
    kinesis.fake.put_numbered(50..100).unwrap();
    let records = run(kinesis.tail(&EVERYTHING)).await.quiet_lines();
    assert_eq!(by_shard(&records), kinesis.stored());
    let first = |record: &Value| record["shard_id"] == shard.to_string();
    assert!(records[..50].iter().all(first) && !records[50..].iter().any(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_has_enough_ends_it_quietly() {
    // With no second record, only the closed pipe itself can end it.
    for records in [1, 5_000] {
        let kinesis = Kinesis::new(1).await;
        kinesis.fake.put_numbered(0..records).unwrap();
        let consume = kinesis.tail(&["consume", "orders", "--from", "trim-horizon"]);
        let mut consumer = Running::new(consume);
        assert!(consumer.line().await.is_some());
        consumer.close_pipe();
        assert!(consumer.end().await.quiet_lines().is_empty());
    }
}
