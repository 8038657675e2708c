//! How much memory clients that do not read can make a server take. A program of its own: memory is
//! counted for the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod peak;

use kinesis_fake::{Fake, Limits, Operation, Server};
use kinesis_source::{KinesisApi, Position};
use peak::peak_mib;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const MIB: usize = 1_024 * 1_024;

/// 20 clients ask for 10 MiB each and read nothing. If all answers were held, that were
/// 276 MiB.
#[tokio::test]
async fn answers_that_nobody_reads_make_others_wait_and_are_given_up() {
    let fake = Fake::builder().instant().limits(Limits::none()).build();
    for _ in 0..10 {
        fake.put("k", vec![0; MIB - 1]).unwrap();
    }
    let (shard, position) = ("shardId-000000000000".into(), Position::TrimHorizon);
    let iterator = fake.get_shard_iterator(&shard, &position).await.unwrap();
    let body = format!(r#"{{"ShardIterator":"{}"}}"#, iterator.as_str());
    let request = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: Kinesis_20131202.GetRecords\r\n\r\n{body}",
        body.len()
    );
    let server = Server::on_loopback(fake.clone()).await.unwrap();
    let address = server.local_addr();
    let mut serving = JoinSet::new();
    serving.spawn(server.run());

    let ask = async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    };
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(ask().await);
    }
    while fake.calls().of(Operation::GetRecords).made < 20 {
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    ask().await.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert!(answer.len() > 13 * MIB, "{}", answer.len());
    drop(answer);
    let peak = peak_mib();
    assert!(peak < 250, "{peak} MiB");
}
