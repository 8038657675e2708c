use std::process::Stdio;

use kinesis_fake::{Fake, Limits};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::rig::{Finished, Kinesis, Running, run, within_patience};

async fn publish(mut command: Command, input: &str) -> Finished {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = within_patience(child.wait_with_output()).await.unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_standard_input_are_put_in_order() {
    let kinesis = Kinesis::new(2).await;
    let line = |n| format!("{{\"partition_key\":\"key-{}\",\"data\":\"{n}\"}}\n", n % 7);
    let input: String = (0..700).map(line).collect();
    let finished = publish(kinesis.tail(&["publish", "orders"]), &input).await;
    assert_eq!(
        (finished.code, finished.stdout.as_str()),
        (Some(0), ""),
        "{finished:?}"
    );
    assert!(
        finished.stderr.starts_with("put 700 records"),
        "{finished:?}"
    );
    check_order(&kinesis, 700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_named_and_what_came_before_is_put() {
    let kinesis = Kinesis::new(1).await;
    let good = "{\"partition_key\":\"a\",\"data\":\"1\"}\n";
    let input = format!("{good}{good}secret\n{good}");
    let finished = publish(kinesis.tail(&["publish", "orders"]), &input).await;
    finished.fails_with(1, &["line 3 of standard input is not a record"]);
    assert!(!finished.stderr.contains("secret"));
    assert_eq!(kinesis.stored().values().map(Vec::len).sum::<usize>(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_throttled_is_put_again_until_all_is_in() {
    // A request is of 500 records, more than a second takes, however slow this machine is.
    let mut limits = Limits::default();
    limits.write_records_per_second = Some(400);
    let kinesis = Kinesis::of(Fake::builder().shards(1).limits(limits)).await;
    let finished = run(kinesis.tail(&["publish", "orders", "--count", "1200"])).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(
        finished.stderr.starts_with("put 1200 records"),
        "{finished:?}"
    );
    assert!(finished.stderr.contains("refused at first"), "{finished:?}");
    let mut numbers: Vec<u64> = Vec::new();
    for record in &kinesis.fake.records()[0].1 {
        let body: serde_json::Value = serde_json::from_slice(&record.data).unwrap();
        numbers.push(body["number"].as_u64().unwrap());
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=1200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_made_if_asked_for() {
    let kinesis = Kinesis::new(1).await;
    let arguments = [
        "publish",
        "invoices",
        "--create-shards",
        "3",
        "--count",
        "10",
    ];
    for _ in 0..2 {
        assert_eq!(run(kinesis.tail(&arguments)).await.code, Some(0));
    }
    let made = kinesis.fake.stream("invoices");
    assert_eq!(made.shards().len(), 3);
    assert_eq!(
        made.records()
            .iter()
            .map(|(_, records)| records.len())
            .sum::<usize>(),
        20
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_with_what_was_read_put() {
    let kinesis = Kinesis::new(1).await;
    let mut command = kinesis.tail(&["publish", "orders"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let line = b"{\"partition_key\":\"a\",\"data\":\"1\"}\n";
    stdin.write_all(line).await.unwrap();
    while kinesis.stored().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let publisher = Running::of(child);
    publisher.signal("TERM").await;
    let finished = publisher.end().await;
    finished.fails_with(1, &["stopped by a signal"]);
}

/// The data of each key grows.
fn check_order(kinesis: &Kinesis, count: usize) {
    let mut found = 0;
    for (_, records) in kinesis.fake.records() {
        found += records.len();
        for key in records.iter().map(|record| &record.partition_key) {
            let of_key = records.iter().filter(|record| record.partition_key == *key);
            let number = |data: &[u8]| std::str::from_utf8(data).unwrap().parse::<u64>().unwrap();
            assert!(of_key.is_sorted_by_key(|record| number(&record.data)));
        }
    }
    assert_eq!(found, count);
}
