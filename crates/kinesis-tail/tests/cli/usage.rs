use tokio::process::Command;

use crate::rig::{Kinesis, new_path, run, without_credentials};

/// It is told in one sentence, which says where to read on.
async fn is_wrong(command: Command, of: &str, words: &[&str]) {
    let finished = run(command).await;
    finished.fails_with(2, words);
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    assert_eq!(finished.stdout, "");
    let help = format!("; see `kinesis-tail {of}--help`\n");
    assert!(finished.stderr.ends_with(&help), "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_such_command() {
    for (arguments, words) in [
        (&[][..], "demo, consume, publish, shards, serve"),
        (&["dance"], "\"dance\""),
        (&["help", "dance"], "\"dance\""),
        (&["conusme"], "perhaps consume"),
        (&["--dance"], "\"--dance\""),
        (&["--log"], "--log (or RUST_LOG) lacks"),
    ] {
        is_wrong(without_credentials(arguments), "", &[words]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_options_of_consume() {
    for (options, words) in [
        (
            &["--from", "yesterday"][..],
            "expected trim-horizon, latest",
        ),
        (&["--from", "at-timestamp=today"], "RFC 3339"),
        (&["--from", "after=x"], "after=SHARD:SEQUENCE"),
        (&["--from"], "--from lacks its value"),
        (
            &["--max-demand", "0"],
            "--max-demand cannot be \"0\": expected a whole number from 1 to",
        ),
        (&["--max-records", "0"], "expected a whole number from 1 to"),
        (
            &["--max-records", "many"],
            "expected a whole number from 1 to",
        ),
        (
            &["--max-demand", "10", "--min-demand", "10"],
            "10 is not below 10",
        ),
        (&["--decode", "xml"], "base64, utf8, json"),
        (&["--decode="], "base64, utf8, json"),
        (
            &["--log", "kinesis_source=loud"],
            "--log (or RUST_LOG) cannot be",
        ),
        (&["--until-caught-up=1"], "--until-caught-up takes no value"),
        (
            &["--checkpoint=a", "--checkpoint=b"],
            "--checkpoint is given twice",
        ),
        (
            &["--metrics", "localhost"],
            "expected a port, or an IP address",
        ),
        (&["--metrics", "70000"], "expected a port, or an IP address"),
        (&["--fan-out", "a b"], "expected a consumer's name"),
        (&["--deaggregate=yes"], "--deaggregate takes no value"),
        (&["--max-dem", "3"], "perhaps --max-demand"),
        (&["one more"], "\"one more\" is not expected"),
        (&["another"], "\"another\" is not expected"),
    ] {
        let mut command = without_credentials(&["consume", "orders"]);
        command.args(options);
        is_wrong(command, "consume ", &[words]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_options_of_other_commands() {
    for (arguments, words) in [
        (&["publish", "orders", "--count", "many"][..], "--count"),
        (&["publish", "orders", "--create-shards", "0"], "from 1 to"),
        (&["serve", "--port", "70000"], "from 0 to 65535"),
        (&["serve", "--shards", "0"], "from 1 to"),
        (&["serve", "--stream", "a b"], "expected a name"),
        (&["serve", "--stream", ARN], "expected a name"),
        (
            &["serve", "--fault", "GetRecord"],
            "--fault cannot be \"GetRecord\": there is no operation \"GetRecord\": expected AWS's name",
        ),
        (
            &["serve", "--fault", "GetRecords:slow"],
            "expected an error's code",
        ),
        (&["serve", "--fault-plan", "/nowhere"], "cannot read it"),
        (
            &["serve", "--draw-faults", "10"],
            "expected a time as 250ms",
        ),
        (
            &["serve", "--limit", "tags"],
            "expected the name of a limit and a value",
        ),
        (&["serve", "--limit", "tags=x"], "tags is a whole number"),
        (
            &["serve", "--choice", "read_limit=x"],
            "InvalidArgument or Validation",
        ),
        (
            &["serve", "--duration", "made=1s"],
            "expected one of create, update",
        ),
        (&["serve", "--host", "localhost"], "expected an IP address"),
        (&["serve", "--account", "1"], "expected twelve digits"),
        (&["serve", "--region", "EU"], "as eu-central-1"),
        (&["serve", "--retention", "0"], "from 1 to"),
        (
            &["serve", "--stream=a", "--stream=a"],
            "cannot be \"a\" twice",
        ),
        (
            &["serve", "--stream=a", "--stream=b", "--shards=101"],
            "would have 202 shards, and an account has 200; --limit open_shards=202",
        ),
        (&["demo", "--shards", "2"], "\"--shards\""),
    ] {
        let of = format!("{} ", arguments[0]);
        is_wrong(without_credentials(arguments), &of, &[words]).await;
    }
}

/// Of the fake's own region and account.
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_stream() {
    let long = "x".repeat(129);
    let sqs = ARN.replace("kinesis", "sqs");
    let consumer = format!("{ARN}/consumer/a:1");
    for command in ["consume", "publish", "shards"] {
        let of = format!("{command} ");
        let none = without_credentials(&[command]);
        is_wrong(none, &of, &["STREAM", "is missing"]).await;
        for stream in ["", "or ders", "orders/1", "grün", &long, &sqs, &consumer] {
            let wrong = without_credentials(&[command, stream]);
            let found = format!("STREAM cannot be {stream:?}");
            let found = match command {
                "consume" => found.replace("STREAM", "STREAM (or KINESIS_STREAM_NAME)"),
                _ => found,
            };
            is_wrong(wrong, &of, &[&found, "or its ARN"]).await;
        }
    }
    let mut command = without_credentials(&["consume"]);
    command.env("KINESIS_STREAM_NAME", "or ders");
    is_wrong(command, "consume ", &["KINESIS_STREAM_NAME", "or ders"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_endpoint() {
    for command in ["consume", "publish", "shards"] {
        for url in [
            "not a url",
            "ftp://x",
            "",
            "http://",
            "localhost:4567",
            "http://x:y",
        ] {
            let wrong = without_credentials(&[command, "orders", "--endpoint-url", url]);
            let words = ["--endpoint-url cannot be", "http://"];
            is_wrong(wrong, &format!("{command} "), &words).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_be_named_by_its_arn() {
    let kinesis = Kinesis::new(1).await;
    let published = run(kinesis.tail(&["publish", ARN, "--count", "3"])).await;
    assert_eq!(published.code, Some(0), "{published:?}");
    let consume = run(kinesis.tail(&["consume", ARN, "--until-caught-up"])).await;
    assert_eq!(consume.quiet_lines().len(), 3);
    let shards = run(kinesis.tail(&["shards", ARN])).await;
    assert_eq!(shards.stdout.lines().count(), 1, "{shards:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_and_version_are_on_standard_output() {
    for (arguments, words) in [
        (&["--help"][..], "Exit codes:"),
        (&["help"], "Exit codes:"),
        (&["-h"], "Commands:"),
        (&["consume", "--help"], "--max-demand"),
        (&["help", "consume"], "--max-demand"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let finished = run(without_credentials(arguments)).await;
        assert_eq!(
            (finished.code, &*finished.stderr),
            (Some(0), ""),
            "{finished:?}"
        );
        assert!(finished.stdout.contains(words), "{finished:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_faults_is_wrong_at_a_line() {
    let file = new_path("faults");
    std::fs::write(&file, "GetRecords\n\n GetRecords:hang:often # x\n").unwrap();
    let words = [
        "--fault-plan",
        "line 3, \"GetRecords:hang:often\": \"often\" is no number from 0 to 1",
    ];
    is_wrong(
        without_credentials(&["serve", "--fault-plan", &file]),
        "serve ",
        &words,
    )
    .await;
}
