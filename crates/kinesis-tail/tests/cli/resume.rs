use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, SystemTime},
};

use kinesis_source::{
    Checkpoint, CheckpointStore, FileCheckpointStore, KinesisApi, SequenceNumber, ShardId,
    StreamIdentity,
};
use serde_json::Value;
use tokio::time::sleep;

use crate::rig::{Kinesis, Running, by_shard, new_path, run, within_patience};

/// More than there is room for on the way, so that a signal meets it in the middle.
const MANY: u64 = 20_000;

/// Goes on until it is told to stop.
fn follow(checkpoint: &str) -> [&str; 6] {
    [
        "consume",
        "orders",
        "--from",
        "trim-horizon",
        "--checkpoint",
        checkpoint,
    ]
}

fn consume(checkpoint: &str) -> [&str; 7] {
    [
        "consume",
        "orders",
        "--from",
        "trim-horizon",
        "--until-caught-up",
        "--checkpoint",
        checkpoint,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_run_prints_only_what_is_new() {
    let kinesis = Kinesis::new(2).await;
    let file = new_path("second.redb");
    for new in [0..300, 300..310, 310..310] {
        let count = (new.end - new.start) as usize;
        kinesis.fake.put_numbered(new).unwrap();
        let records = run(kinesis.tail(&consume(&file))).await.quiet_lines();
        assert_eq!(records.len(), count);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_so_many_are_printed_and_the_next_run_goes_on_after_them() {
    let kinesis = Kinesis::new(2).await;
    kinesis.fake.put_numbered(0..3_000).unwrap();
    let file = new_path("exact.redb");
    let mut printed = Vec::new();
    for most in [7, 1, 1_500] {
        let mut command = kinesis.tail(&consume(&file));
        command.args(["--max-records", &most.to_string()]);
        let records = run(command).await.quiet_lines();
        assert_eq!(records.len(), most);
        printed.extend(records);
    }
    printed.extend(run(kinesis.tail(&consume(&file))).await.quiet_lines());
    assert_eq!(by_shard(&printed), kinesis.stored());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_and_sigint_lose_and_repeat_nothing() {
    let kinesis = Kinesis::new(2).await;
    let file = new_path("term.redb");
    let mut printed = Vec::new();
    for (signal, new) in [("TERM", 0..MANY), ("INT", MANY..2 * MANY)] {
        kinesis.fake.put_numbered(new).unwrap();
        let mut consumer = Running::new(kinesis.tail(&follow(&file)));
        printed.extend(consumer.records(500).await);
        consumer.signal(signal).await;
        printed.extend(consumer.rest().await);
        assert!(consumer.end().await.quiet_lines().is_empty());
    }
    printed.extend(run(kinesis.tail(&consume(&file))).await.quiet_lines());
    assert_eq!(by_shard(&printed), kinesis.stored());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_and_repeats_only_what_came_after_the_checkpoint() {
    let kinesis = Kinesis::new(2).await;
    kinesis.fake.put_numbered(0..MANY).unwrap();
    let file = new_path("kill.redb");
    let mut consumer = Running::new(kinesis.tail(&follow(&file)));
    let mut first = consumer.records(500).await;
    let before = modified(&file);
    // It has written more than once for so many, and a checkpoint with some of them follows.
    first.extend(consumer.records(3_000).await);
    within_patience(async {
        while modified(&file) == before {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    first.extend(consumer.records(100).await);
    consumer.signal("KILL").await;
    first.extend(consumer.rest().await);
    assert_eq!(consumer.end().await.code, None);

    let left = after_checkpoints(&file, &kinesis).await;
    let second = run(kinesis.tail(&consume(&file))).await.quiet_lines();
    assert_eq!(by_shard(&second), left);
    check_kill(&first, &second, &kinesis);
}

/// What lies after the checkpoints in the file, which nobody uses.
async fn after_checkpoints(file: &str, kinesis: &Kinesis) -> BTreeMap<String, Vec<String>> {
    let summary = kinesis.fake.describe_stream_summary().await.unwrap();
    let store = FileCheckpointStore::open(file).await.unwrap();
    let checkpoints = store.load(&StreamIdentity::from(&summary)).await.unwrap();
    let mut records = kinesis.stored();
    for (shard, numbers) in &mut records {
        let checkpoint = checkpoints.get(&ShardId::new(shard.as_str()));
        numbers.retain(|number| {
            let number: SequenceNumber = number.parse().unwrap();
            match checkpoint {
                None | Some(Checkpoint::Start(_)) => true,
                Some(stored) => stored.is_behind(&Checkpoint::after(number)),
            }
        });
    }
    records.retain(|_, numbers| !numbers.is_empty());
    records
}

/// Of each shard, the first run printed the beginning and the second the end, with no gap between.
fn check_kill(first: &[Value], second: &[Value], kinesis: &Kinesis) {
    let (first, second) = (by_shard(first), by_shard(second));
    for (shard, stored) in kinesis.stored() {
        let beginning = first.get(&shard).map_or(&[][..], Vec::as_slice);
        let end = second.get(&shard).map_or(&[][..], Vec::as_slice);
        assert!(stored.starts_with(beginning), "{shard}");
        assert!(stored.ends_with(end), "{shard}");
        assert!(
            beginning.len() + end.len() >= stored.len(),
            "{shard} has a gap"
        );
    }
}

fn modified(file: &str) -> SystemTime {
    fs::metadata(file).unwrap().modified().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_leaves_at_once() {
    let kinesis = Kinesis::new(2).await;
    kinesis.fake.put_numbered(0..MANY).unwrap();
    let file = new_path("twice.redb");
    let mut command = kinesis.tail(&follow(&file));
    command.args(["--log", "info"]);
    let mut consumer = Running::new(command);
    // It is printing, and as nobody reads on, it cannot drain.
    consumer.records(1).await;
    consumer.signal("TERM").await;
    consumer.logs("told to stop").await;
    consumer.signal("INT").await;
    assert_eq!(consumer.end().await.code, Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_closed_pipe_did_not_take_is_printed_by_the_next_run() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..5_000).unwrap();
    let file = new_path("pipe.redb");
    let mut consumer = Running::new(kinesis.tail(&consume(&file)));
    let first = consumer.records(1).await;
    consumer.close_pipe();
    assert!(consumer.end().await.quiet_lines().is_empty());
    let second = run(kinesis.tail(&consume(&file))).await.quiet_lines();
    let stored = &kinesis.stored()["shardId-000000000000"];
    assert_eq!(first[0]["sequence_number"], stored[0]);
    assert!(stored.ends_with(&by_shard(&second)["shardId-000000000000"]));
}
