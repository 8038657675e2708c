//! The HTTP face, through a socket and by hand: what is sent and answered, byte by byte.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use kinesis_fake::{Fake, Fault, Limits, Operation, Rewrite, Server};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
    time::timeout,
};

mod cbor;
mod fan_out;
mod faults;
mod fuzz;
mod hostile;
mod http2;
mod labels;
mod operations;

/// A server, and what stops it.
struct Running {
    address: SocketAddr,
    fake: Fake,
    stop: oneshot::Sender<()>,
    tasks: JoinSet<()>,
}

async fn serve(fake: Fake) -> Running {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), fake.clone());
    let server = server.await.unwrap();
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run_until(async {
        let _ = stopped.await;
    }));
    Running {
        address,
        fake,
        stop,
        tasks,
    }
}

async fn unlimited() -> Running {
    let fake = Fake::builder()
        .instant()
        .without_stream()
        .limits(Limits::none());
    serve(fake.build()).await
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    /// Its body, if it has one.
    fn json(&self) -> Value {
        match &self.body[..] {
            [] => Value::Null,
            body => serde_json::from_slice(body).unwrap(),
        }
    }

    fn code(&self) -> String {
        self.json()["__type"].as_str().unwrap().to_owned()
    }
}

/// Sends bytes on a connection of their own and reads until the server closes it.
async fn raw(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have answered and gone before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    let _ = read.expect("an answer, or the end of the connection");
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1)?.parse().unwrap();
    let body = answer[end + 4..].to_vec();
    Some(Answer { status, head, body })
}

fn request(target: &str, body: &[u8], more_headers: &str) -> Vec<u8> {
    request_in("json", target, body, more_headers)
}

fn request_in(format: &str, target: &str, body: &[u8], more_headers: &str) -> Vec<u8> {
    let mut bytes = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-{format}-1.1\r\n\
         X-Amz-Target: Kinesis_20131202.{target}\r\nContent-Length: {}\r\n{more_headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

const CLOSE: &str = "Connection: close\r\n";

async fn post(address: SocketAddr, target: &str, body: Value) -> Answer {
    let body = serde_json::to_vec(&body).unwrap();
    let bytes = request(target, &body, CLOSE);
    raw(address, &bytes).await.expect("an answer")
}

async fn ok(address: SocketAddr, target: &str, body: Value) -> Value {
    let answer = post(address, target, body).await;
    assert_eq!(answer.status, 200, "{target}: {}", answer.json());
    answer.json()
}

async fn refused(address: SocketAddr, target: &str, body: Value) -> String {
    let answer = post(address, target, body).await;
    assert_eq!(answer.status, 400, "{target}");
    answer.code()
}

async fn post_ok(address: SocketAddr) -> u16 {
    post(
        address,
        "DescribeStreamSummary",
        json!({"StreamName": "stream"}),
    )
    .await
    .status
}
