//! How much memory hostile clients can make a server take. A program of its own: memory is counted
//! for the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod peak;

use kinesis_fake::{Fake, Server};
use peak::peak_mib;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const MIB: usize = 1_024 * 1_024;

/// 48 clients send 16 MiB each at the same time, all of it records of two bytes. If all were held,
/// that were 768 MiB of bodies, and many times as much of records.
#[tokio::test]
async fn large_bodies_wait_for_each_other_and_small_elements_do_not_multiply() {
    let server = Server::on_loopback(Fake::new(1)).await.unwrap();
    let address = server.local_addr();
    let mut serving = JoinSet::new();
    serving.spawn(server.run());

    let mut clients = JoinSet::new();
    for _ in 0..48 {
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let start = br#"{"StreamName":"stream","Records":[{}"#;
            let head = format!(
                "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\
                 Content-Type: application/x-amz-json-1.1\r\n\
                 X-Amz-Target: Kinesis_20131202.PutRecords\r\n\r\n",
                16 * MIB
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(start).await.unwrap();
            let mut left = 16 * MIB - start.len();
            let piece = b",{}".repeat(MIB / 3);
            while left > 0 {
                let piece = &piece[..piece.len().min(left)];
                // The server may have seen enough.
                if stream.write_all(piece).await.is_err() {
                    break;
                }
                left -= piece.len();
            }
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        });
    }
    let answers = clients.join_all().await;
    for answer in &answers {
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("SerializationException"), "{answer}");
    }
    let peak = peak_mib();
    assert!(peak < 500, "{peak} MiB");
}
