use std::fs;

use kinesis_source::{
    Checkpoint, CheckpointStore, FileCheckpointStore, KinesisApi, StreamIdentity,
};

use crate::rig::{Kinesis, Running, forbidding_server, new_path, run, tail, without_credentials};

/// Nobody listens at port 1.
const NOWHERE: &str = "http://127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn no_such_stream() {
    let kinesis = Kinesis::new(1).await;
    for command in ["consume", "publish", "shards"] {
        let finished = run(kinesis.tail(&[command, "invoices"])).await;
        finished.fails_with(1, &["there is no stream", "invoices", "check its name"]);
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
        assert_eq!(finished.stdout, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credentials() {
    for command in ["consume", "publish", "shards"] {
        let finished = run(without_credentials(&[command, "orders"])).await;
        finished.fails_with(1, &["no AWS credentials found", "AWS_ACCESS_KEY_ID"]);
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_region() {
    let mut command = without_credentials(&["consume", "orders"]);
    command.env_remove("AWS_REGION");
    run(command).await.fails_with(1, &["no AWS region found"]);
}

/// As in a container that may not ask for its host's role.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_refuses_its_role() {
    let machine = forbidding_server().await;
    let consume = |region: bool, log: Option<(&str, &str)>| {
        let mut command = without_credentials(&["consume", "orders"]);
        command.env_remove("AWS_EC2_METADATA_DISABLED");
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &machine);
        command.envs(log);
        if !region {
            command.env_remove("AWS_REGION");
        }
        command
    };
    for (region, words) in [(true, "AWS credentials"), (false, "no AWS region found")] {
        for log in [None, Some(("RUST_LOG", ""))] {
            let finished = run(consume(region, log)).await;
            finished.fails_with(1, &[words]);
            assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
        }
        for log in ["warn", "info", "error,aws_config=warn"] {
            let finished = run(consume(region, Some(("RUST_LOG", log)))).await;
            finished.fails_with(1, &[words]);
            assert!(finished.stderr.contains(" WARN aws_config"), "{finished:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_cannot_be_reached() {
    for command in ["consume", "publish", "shards"] {
        let finished = run(tail(NOWHERE, &[command, "orders"])).await;
        finished.fails_with(1, &["cannot be reached", "orders", "check the endpoint"]);
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_file_that_is_damaged() {
    let kinesis = Kinesis::new(1).await;
    let file = new_path("damaged.redb");
    fs::write(&file, "This is no checkpoint file, and never was one.").unwrap();
    let finished = run(kinesis.tail(&["consume", "orders", "--checkpoint", &file])).await;
    finished.fails_with(1, &[&file, "damaged"]);
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_file_of_another_stream() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..1).unwrap();
    let file = new_path("other.redb");
    let arguments = [
        "consume",
        "orders",
        "--checkpoint",
        &file,
        "--until-caught-up",
    ];
    run(kinesis.tail(&arguments)).await.quiet_lines();
    // Made again under its name, it is another stream, too.
    let again = Kinesis::new(1).await;
    let finished = run(again.tail(&arguments)).await;
    finished.fails_with(1, &[&file, "are those of stream \"orders\" created at"]);
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_file_that_is_in_use_or_cannot_be() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..1).unwrap();
    let file = new_path("used.redb");
    let arguments = [
        "consume",
        "orders",
        "--from=trim-horizon",
        "--checkpoint",
        &file,
    ];
    let mut consumer = Running::new(kinesis.tail(&arguments));
    consumer.records(1).await;
    run(kinesis.tail(&arguments))
        .await
        .fails_with(1, &[&file, "is in use"]);

    let nowhere = new_path("missing") + "/file.redb";
    let arguments = ["consume", "orders", "--checkpoint", &nowhere];
    run(kinesis.tail(&arguments))
        .await
        .fails_with(1, &[&nowhere, "see that it exists"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_to_start_in_that_is_not_there() {
    let kinesis = Kinesis::new(1).await;
    let arguments = ["consume", "orders", "--from=after=shardId-000000000007:1"];
    run(kinesis.tail(&arguments))
        .await
        .fails_with(1, &["no shard `shardId-000000000007`"]);
}

/// A number of no record, one of another shard, and a moment that is yet to come.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_to_start_that_is_none() {
    let kinesis = Kinesis::new(4).await;
    kinesis.fake.put_numbered(0..100).unwrap();
    let of_another = kinesis.stored()["shardId-000000000001"][0].clone();
    for (from, words) in [
        (
            "after=shardId-000000000000:1".to_owned(),
            ["shardId-000000000000", "is invalid"],
        ),
        (
            format!("after=shardId-000000000000:{of_another}"),
            ["shardId-000000000000", "It encodes shardId-000000000001"],
        ),
        (
            "at-timestamp=2099-01-01T00:00:00Z".to_owned(),
            ["moment 4070908800.000", "cannot be greater than"],
        ),
    ] {
        let file = new_path("nowhere.redb");
        let consume = |from: &str| {
            kinesis.tail(&[
                "consume",
                "orders",
                "--until-caught-up",
                "--checkpoint",
                &file,
                "--from",
                from,
            ])
        };
        let finished = run(consume(&from)).await;
        finished.fails_with(1, &words);
        finished.fails_with(1, &["stream `orders` cannot be read from", "pass another"]);
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
        assert_eq!(finished.stdout, "");
        // Nothing of it is remembered.
        let records = run(consume("trim-horizon")).await.quiet_lines();
        assert_eq!(records.len(), 100, "{from}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_leads_nowhere() {
    let kinesis = Kinesis::new(2).await;
    kinesis.fake.put_numbered(0..1).unwrap();
    let file = new_path("nowhere.redb");
    let stream = kinesis.fake.describe_stream_summary().await.unwrap();
    let stream = StreamIdentity::from(&stream);
    let shards = kinesis.fake.shards().into_iter();
    let checkpoints = shards.map(|shard| (shard.id, Checkpoint::after(7.into())));
    let checkpoints = checkpoints.collect();
    let store = FileCheckpointStore::open(&file).await.unwrap();
    store.save(&stream, &checkpoints).await.unwrap();
    drop(store);
    let finished = run(kinesis.tail(&["consume", "orders", "--checkpoint", &file])).await;
    finished.fails_with(
        1,
        &[
            &file,
            "move the file away",
            "shard `shardId-00000000000",
            "record 7",
        ],
    );
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    assert_eq!(finished.stdout, "");
}
