//! `--metrics`, asked as a scraper would, and by hand.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::rig::{Kinesis, Running, run, within_patience};

/// Asks for a path; the whole answer.
async fn ask(address: &str, request: &str) -> String {
    let asking = async {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    };
    within_patience(asking).await
}

/// Asks until a line of the answer is that.
async fn ask_until(address: &str, path: &str, line: &str) -> String {
    within_patience(async {
        loop {
            let answer = ask(address, &format!("GET {path}")).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            if answer.lines().any(|it| it == line) {
                break answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_served_while_it_reads_and_so_is_what_each_shard_waits_for() {
    let kinesis = Kinesis::new(2).await;
    kinesis.fake.put_numbered(0..200).unwrap();
    let mut command = kinesis.tail(&["consume", "orders", "--metrics", "0", "--log", "info"]);
    command.args(["--from", "trim-horizon"]);
    let mut consumer = Running::new(command);
    let said = consumer.logs("metrics are at http://").await;
    let address = said.split("http://").nth(1).unwrap();
    let address = address.split('/').next().unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{said}");
    consumer.records(200).await;

    let records = "kinesis_source_records_total{stream=\"orders\"} 200";
    let numbers = ask_until(&address, "/metrics", records).await;
    assert!(
        numbers.contains("content-type: text/plain; version=0.0.4"),
        "{numbers}"
    );
    assert!(
        numbers.contains("# TYPE kinesis_source_records_total counter"),
        "{numbers}"
    );
    assert!(
        numbers.contains(
            "\nkinesis_source_events_total{stream=\"orders\",event=\"shard_started\"} 2\n"
        ),
        "{numbers}"
    );

    let explained = ask(&address, "GET /explain").await;
    let lines: Vec<&str> = explained.lines().collect();
    let [.., source, first, second] = lines[..] else {
        panic!("{explained}");
    };
    assert!(source.starts_with("orders: waits for "), "{explained}");
    assert!(first.starts_with("shardId-000000000000: "), "{explained}");
    assert!(second.starts_with("shardId-000000000001: "), "{explained}");

    assert!(
        ask(&address, "GET /else")
            .await
            .starts_with("HTTP/1.1 404 ")
    );
    assert!(
        ask(&address, "POST /metrics")
            .await
            .starts_with("HTTP/1.1 405 ")
    );
    // Who connects and asks for nothing holds up nobody, and no end.
    let _silent = TcpStream::connect(&address).await.unwrap();
    consumer.signal("TERM").await;
    assert_eq!(consumer.end().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_said_before_anything_is_read() {
    let kinesis = Kinesis::new(1).await;
    kinesis.fake.put_numbered(0..10).unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let finished = run(kinesis.tail(&["consume", "orders", "--metrics", &address])).await;
    finished.fails_with(1, &["cannot serve metrics at", &address, "another port"]);
    assert_eq!(finished.stdout, "");
}
