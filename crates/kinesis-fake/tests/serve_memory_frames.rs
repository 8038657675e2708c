//! How much memory hostile clients can make a server take by tiny frames of HTTP/2. A program of its
//! own: memory is counted for the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod peak;

use std::time::Duration;

use kinesis_fake::{Fake, Server};
use peak::peak_mib;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// The head of a ListStreams on that stream, with more fields.
fn head(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    // Of HPACK's static table: POST, http and the path /.
    let mut fields = vec![0x83, 0x86, 0x84];
    let all = [
        (":authority", "localhost"),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "Kinesis_20131202.ListStreams"),
    ];
    for (name, value) in all.iter().chain(more) {
        // Literal, with a new name, and never indexed.
        fields.push(0x10);
        for text in [name, value] {
            fields.push(u8::try_from(text.len()).unwrap());
            fields.extend_from_slice(text.as_bytes());
        }
    }
    frame(HEADERS, END_HEADERS, stream, &fields)
}

/// Forty connections, each with 128 KiB on eight streams: in frames of one byte, which are 5.2 million.
/// Bodies whose length is not known wait for each other's room, and lie there as they came.
#[tokio::test]
async fn tiny_frames_are_no_way_to_more_memory() {
    let server = Server::on_loopback(Fake::new(1)).await.unwrap();
    let address = server.local_addr();
    let mut serving = JoinSet::new();
    serving.spawn(server.run());

    let streams = || (0..8).map(|number| 2 * number + 1);
    let mut bytes = PREFACE.to_vec();
    bytes.extend(streams().flat_map(|stream| head(stream, &[])));
    for _ in 0..16 << 10 {
        bytes.extend(streams().flat_map(|stream| frame(DATA, 0, stream, b" ")));
    }
    let bytes = std::sync::Arc::new(bytes);
    let mut clients = JoinSet::new();
    for _ in 0..40 {
        let bytes = std::sync::Arc::clone(&bytes);
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // The server may see enough before that.
            let _ = timeout(Duration::from_secs(10), stream.write_all(&bytes)).await;
            // Until it gives the connection up, or has had time to read all of it.
            let mut rest = Vec::new();
            let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
            stream
        });
    }
    let clients = clients.join_all().await;
    let peak = peak_mib();
    println!("{peak} MiB");
    assert!(peak < 128, "{peak} MiB");
    drop(clients);
}

#[tokio::test]
async fn a_thousand_small_bodies_in_two_frames_each_are_answered() {
    answer_a_thousand().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_small_bodies_in_two_frames_each_are_answered_on_many_threads() {
    answer_a_thousand().await;
}

/// A client that means well says how long a body is, and may send a body as a frame and the end of it as another, on all streams at
/// once.
async fn answer_a_thousand() {
    let server = Server::on_loopback(Fake::builder().without_limits().build())
        .await
        .unwrap();
    let address = server.local_addr();
    let mut serving = JoinSet::new();
    serving.spawn(server.run());
    let mut bytes = PREFACE.to_vec();
    for number in 0..1_000 {
        let stream = 2 * number + 1;
        bytes.extend(head(stream, &[("content-length", "2")]));
        bytes.extend(frame(DATA, 0, stream, b"{}"));
        bytes.extend(frame(DATA, END_STREAM, stream, b""));
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answered = 0;
    while answered < 1_000 {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        assert!(![3, 7].contains(&head[3]), "after {answered}: {payload:?}");
        // `:status: 200` in HPACK's static table.
        answered += u32::from(head[3] == HEADERS && payload.contains(&0x88));
    }
}
