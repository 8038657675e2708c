use std::{fs, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::rig::{Finished, Running, in_shell, new_path, run, tail, without_credentials};

#[tokio::test(flavor = "multi_thread")]
async fn it_says_where_it_is_and_can_be_worked_with_until_a_signal() {
    let arguments = [
        "serve", "--port", "0", "--stream", "a", "--stream", "b", "--shards", "2",
    ];
    let mut server = Running::new(without_credentials(&arguments));
    let endpoint = server.line().await.unwrap();
    for stream in ["a", "b"] {
        let published = run(tail(&endpoint, &["publish", stream, "--count", "20"])).await;
        assert_eq!(published.code, Some(0), "{published:?}");
        let consume = [
            "consume",
            stream,
            "--from=trim-horizon",
            "--until-caught-up",
        ];
        assert_eq!(run(tail(&endpoint, &consume)).await.quiet_lines().len(), 20);
        let shards = run(tail(&endpoint, &["shards", stream])).await;
        assert_eq!(shards.stdout.lines().count(), 2);
    }
    server.signal("TERM").await;
    assert!(server.end().await.quiet_lines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_a_failure() {
    let mut server = Running::new(without_credentials(&["serve", "--port", "0"]));
    let endpoint = server.line().await.unwrap();
    let port = endpoint.rsplit(':').next().unwrap();
    let finished = run(without_credentials(&["serve", "--port", port])).await;
    finished.fails_with(1, &["cannot listen", port]);
}

/// Where the system's bound on open files is lower than the server's on connections, too.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_when_all_connections_are_taken_is_told_so() {
    for (files, most) in [("64", "1024"), ("1024", "20")] {
        let serve = [
            "serve",
            "--port=0",
            "--stream=orders",
            "--most-connections",
            most,
        ];
        let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        let mut server = Running::new(in_shell(&without_credentials(&serve), &script));
        let endpoint = server.line().await.unwrap();
        let served = Served { server, endpoint };
        let address = served.endpoint.strip_prefix("http://").unwrap().to_owned();
        let mut taken = Vec::new();
        for _ in 0..200 {
            taken.push(TcpStream::connect(&address).await.unwrap());
        }
        let answer = served.call("ListStreams", "{}").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("--most-connections"), "{answer}");
        drop(taken);
        while served
            .call("ListStreams", "{}")
            .await
            .starts_with("HTTP/1.1 503")
        {}
        // Once per change, however many there were.
        let told = served.end("TERM").await;
        let words = [
            ("others are turned away", 1),
            ("more open files", usize::from(files == "64")),
        ];
        for (words, times) in words {
            assert_eq!(told.matches(words).count(), times, "{told}");
        }
    }
}

/// A server that is called, and what it said in the end.
struct Served {
    server: Running,
    endpoint: String,
}

impl Served {
    /// So many records are published, and come.
    async fn carries(&self, count: usize) {
        let number = count.to_string();
        let published = self.run(&["publish", "orders", "--count", &number]).await;
        assert_eq!(published.code, Some(0), "{published:?}");
        let consumed = self.run(&["consume", "orders", "--until-caught-up"]).await;
        let found = (consumed.code, consumed.lines().len());
        assert_eq!(found, (Some(0), count), "{consumed:?}");
    }

    async fn with(options: &[&str]) -> Self {
        let mut command = without_credentials(&["serve", "--port", "0", "--stream", "orders"]);
        let mut server = Running::new({
            command.args(options);
            command
        });
        let endpoint = server.line().await.unwrap();
        Self { server, endpoint }
    }

    async fn run(&self, arguments: &[&str]) -> Finished {
        run(tail(&self.endpoint, arguments)).await
    }

    /// What it answers, as it comes.
    async fn call(&self, operation: &str, body: &str) -> String {
        let address = self.endpoint.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: Kinesis_20131202.{operation}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/kinesis/aws4_request, \
             SignedHeaders=host, Signature=0\r\nX-Amz-Date: 20260101T000000Z\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Whatever was asked for, it ends well.
    async fn end(self, signal: &str) -> String {
        self.server.signal(signal).await;
        let ended = self.server.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stderr
    }
}

/// How many calls a fault has seen and struck, as the report says it.
fn counted(report: &str, fault: &str) -> (u64, u64) {
    let rows = report.lines().filter(|line| line.ends_with(fault));
    let mut rows = rows.filter(|line| {
        line.trim_start()
            .starts_with(|it: char| it.is_ascii_digit())
    });
    let row = rows
        .next()
        .unwrap_or_else(|| panic!("no {fault} in {report}"));
    let mut numbers = row.split_whitespace().map_while(|it| it.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_printed_comes_and_is_counted() {
    for signal in ["TERM", "INT"] {
        let options = [
            "--fault",
            "ListShards:AccessDeniedException:times=1",
            "--seed",
            "7",
        ];
        let served = Served::with(&options).await;
        let shards = ["shards", "orders"];
        served.run(&shards).await.fails_with(1, &["AccessDenied"]);
        assert_eq!(served.run(&shards).await.stdout.lines().count(), 4);
        let told = served.end(signal).await;
        let fault = r#"Fault::refusal(Operation::ListShards, "AccessDeniedException").times(1)"#;
        let (before, after) = told.split_once("faults of seed 7:").unwrap();
        assert_eq!(before, format!("FaultPlan::new(7)\n    .with({fault})\n"));
        assert_eq!(counted(after, fault), (1, 1), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_comes_from_a_file_and_a_consumer_outlives_it() {
    let file = new_path("faults");
    let plan = "# A bad day.\n\
                \n\
                GetRecords:ProvisionedThroughputExceededException:times=3 # busy\n\
                GetShardIterator:lose:shard=1,times=1\n";
    fs::write(&file, plan).unwrap();
    let served = Served::with(&["--fault-plan", &file, "--shards", "2"]).await;
    served.carries(50).await;
    let told = served.end("TERM").await;
    let busy = "Fault::refusal(Operation::GetRecords, \"ProvisionedThroughputExceededException\").times(3)";
    assert_eq!(counted(&told, busy).1, 3, "{told}");
    let lost = "Fault::lost_answer(Operation::GetShardIterator).on_shard(&\"shardId-000000000001\".into()).times(1)";
    assert_eq!(counted(&told, lost).1, 1, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_draws_the_same_faults_again() {
    let drawn = async |seed: &str| {
        let served = Served::with(&["--draw-faults", "10m", "--seed", seed]).await;
        let told = served.end("TERM").await;
        let (plan, report) = told.split_once("faults of seed").unwrap();
        assert!(
            plan.starts_with(&format!("FaultPlan::new({seed})\n    .with(")),
            "{plan}"
        );
        assert!(report.contains("seen   fired"), "{report}");
        plan.to_owned()
    };
    let plan = drawn("7").await;
    assert_eq!(plan, drawn("7").await);
    assert_ne!(plan.replace("(7)", "(8)"), drawn("8").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_lifted_and_changed() {
    // The service has 200 shards for an account, and a page of 1,000.
    for options in [
        &[
            "--shards",
            "250",
            "--no-limits",
            "--limit",
            "shards_per_page=7",
        ][..],
        &["--shards", "250", "--limit", "open_shards=250"],
    ] {
        let served = Served::with(options).await;
        let shards = served.run(&["shards", "orders"]).await;
        assert_eq!(shards.stdout.lines().count(), 250, "{shards:?}");
        assert_eq!(served.end("TERM").await, "", "nothing is to go wrong");
    }
    let served = Served::with(&["--limit", "records_per_put=1"]).await;
    let record = r#"{"Data":"","PartitionKey":"k"}"#;
    for (records, status) in [
        (record.to_owned(), 200),
        (format!("{record},{record}"), 400),
    ] {
        let put = format!(r#"{{"StreamName":"orders","Records":[{records}]}}"#);
        let answer = served.call("PutRecords", &put).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    served.end("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_in_the_making_for_as_long_as_is_said() {
    for (options, works) in [
        (&["--duration", "create=1h"][..], false),
        (&["--realistic-durations", "--duration", "create=0"], true),
        (&["--duration", "all=1h", "--duration", "create=0"], true),
    ] {
        let served = Served::with(options).await;
        // That which is there from the start was made before.
        assert_eq!(served.run(&["shards", "orders"]).await.code, Some(0));
        let listed = served
            .call("CreateStream", r#"{"StreamName":"new","ShardCount":1}"#)
            .await;
        assert!(listed.starts_with("HTTP/1.1 200"), "{listed}");
        let described = served
            .call("DescribeStreamSummary", r#"{"StreamName":"new"}"#)
            .await;
        let status = match works {
            true => "ACTIVE",
            false => "CREATING",
        };
        assert!(
            described.contains(&format!("\"StreamStatus\":\"{status}\"")),
            "{described}"
        );
        served.end("TERM").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn choices_account_region_and_retention_are_what_was_said() {
    let options = [
        "--choice=no_policy=Empty",
        "--choice=read_limit=Validation",
        "--account=123456789012",
        "--region=eu-west-1",
        "--retention=48",
    ];
    let served = Served::with(&options).await;
    let described = served
        .call("DescribeStreamSummary", r#"{"StreamName":"orders"}"#)
        .await;
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
    assert!(described.contains(arn), "{described}");
    assert!(
        described.contains("\"RetentionPeriodHours\":48"),
        "{described}"
    );
    let by_arn = format!("{{\"ResourceARN\":{arn:?}}}");
    let policy = served.call("GetResourcePolicy", &by_arn).await;
    assert!(policy.contains(r#"{"Policy":"{}"}"#), "{policy}");
    let read = served
        .call("GetRecords", r#"{"ShardIterator":"x","Limit":0}"#)
        .await;
    assert!(read.contains("ValidationException"), "{read}");
    let other = by_arn.replace("123456789012", "000000000000");
    let other = served.call("GetResourcePolicy", &other).await;
    assert!(other.contains("AccessDeniedException"), "{other}");
    served.end("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_says_what_can_be_said() {
    let help = run(without_credentials(&["help", "serve"])).await;
    for words in [
        "--fault GetRecords:ProvisionedThroughputExceededException:0.3",
        "delay=SPAN",
        "  get_records_per_second=5\n",
        "  read_records_per_second=2000\n",
        "  older_than_horizon=Refuse\n",
        "  deregister=0\n",
    ] {
        assert!(
            help.stdout.contains(words),
            "no {words:?} in {}",
            help.stdout
        );
    }
}

/// The page for who tests a consumer has a command, and it works.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_command_works() {
    let page = include_str!("../../../kinesis-fake/src/testing.md");
    let (_, command) = page.split_once("```sh\nkinesis-tail ").unwrap();
    let (command, _) = command.split_once("```").unwrap();
    let words = command.split_whitespace().filter(|word| *word != "\\");
    let words: Vec<_> = words
        .map(|it| if it == "4567" { "0" } else { it })
        .collect();
    let mut server = Running::new(without_credentials(&words));
    let endpoint = server.line().await.unwrap();
    let served = Served { server, endpoint };
    served.carries(20).await;
    let told = served.end("INT").await;
    let late = "Fault::delayed([Operation::GetShardIterator, Operation::ListShards], Duration::from_secs(2)).times(3)";
    assert_eq!(counted(&told, late).1, 3, "{told}");
}

/// Two days take two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_fast_clock_records_are_trimmed_and_closed_shards_expire() {
    let served = Served::with(&[
        "--shards=1",
        "--clock-rate=86400",
        "--limit=iterator_life=none",
    ])
    .await;
    let put = r#"{"StreamName":"orders","Data":"YQ==","PartitionKey":"k"}"#;
    let put = served.call("PutRecord", put).await;
    assert!(put.starts_with("HTTP/1.1 200"), "{put}");
    let split = r#"{"StreamName":"orders","ShardToSplit":"shardId-000000000000",
        "NewStartingHashKey":"9"}"#;
    let split = served.call("SplitShard", split).await;
    assert!(split.starts_with("HTTP/1.1 200"), "{split}");
    let list = async || {
        served
            .call("ListShards", r#"{"StreamName":"orders"}"#)
            .await
    };
    while list().await.contains(r#""ShardId":"shardId-000000000000""#) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let listed = list().await;
    assert!(listed.contains("shardId-000000000001"), "{listed}");
    let at = r#"{"StreamName":"orders","ShardId":"shardId-000000000000",
        "ShardIteratorType":"TRIM_HORIZON"}"#;
    let at = served.call("GetShardIterator", at).await;
    assert!(at.contains("ResourceNotFoundException"), "{at}");
    served.end("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_listens_where_it_is_told_to() {
    for (host, start) in [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("0.0.0.0", "http://0.0.0.0:"),
    ] {
        let mut served = Served::with(&["--host", host]).await;
        assert!(served.endpoint.starts_with(start), "{}", served.endpoint);
        served.endpoint = served.endpoint.replace("0.0.0.0", "127.0.0.1");
        let shards = served.run(&["shards", "orders"]).await;
        assert_eq!(shards.stdout.lines().count(), 4, "{shards:?}");
        served.end("TERM").await;
    }
    // A documentation address is nobody's.
    let nowhere = ["serve", "--host", "192.0.2.1", "--port", "0"];
    let finished = run(without_credentials(&nowhere)).await;
    finished.fails_with(
        1,
        &["cannot listen at 192.0.2.1:0", "an address of this machine"],
    );
}
