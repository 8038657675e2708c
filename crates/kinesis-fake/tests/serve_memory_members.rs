//! How much memory requests with very many members can make a server take, and whether it serves
//! others meanwhile. A program of its own: memory is counted for the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod peak;

use std::{fmt::Write, net::SocketAddr, sync::Arc};

use kinesis_fake::{Fake, Limits, Server};
use peak::peak_mib;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const BYTES: usize = 12 * 1_024 * 1_024;
const CLIENTS: usize = 16;
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/stream";

async fn ask(address: SocketAddr, target: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: Kinesis_20131202.{target}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// `start`, as many elements as fit, and `end`.
fn filled(start: &str, element: impl Fn(usize) -> String, end: &str) -> Vec<u8> {
    let mut body = start.to_owned();
    for number in 0.. {
        let comma = if number == 0 { "" } else { "," };
        write!(body, "{comma}{}", element(number)).unwrap();
        if body.len() > BYTES {
            break;
        }
    }
    body.push_str(end);
    body.into_bytes()
}

#[tokio::test]
async fn no_list_and_no_map_of_a_request_grows_without_bounds() {
    let fake = Fake::builder().instant().limits(Limits::none()).build();
    let server = Server::on_loopback(fake).await.unwrap();
    let address = server.local_addr();
    let mut serving = JoinSet::new();
    serving.spawn(server.run());

    let tag = |number: usize| format!(r#""{number:x}":"""#);
    let text = |number: usize| format!(r#""{number:x}""#);
    let (by_name, by_arn) = (
        r#"{"StreamName":"stream""#,
        format!(r#"{{"ResourceARN":"{ARN}""#),
    );
    for (target, start, element, end, code) in [
        (
            "AddTagsToStream",
            format!(r#"{by_name},"Tags":{{"#),
            &tag as &dyn Fn(usize) -> String,
            "}}",
            "Serialization",
        ),
        (
            "TagResource",
            format!(r#"{by_arn},"Tags":{{"#),
            &tag,
            "}}",
            "Serialization",
        ),
        (
            "CreateStream",
            r#"{"StreamName":"new","ShardCount":1,"Tags":{"#.to_owned(),
            &tag,
            "}}",
            "Serialization",
        ),
        (
            "RegisterStreamConsumer",
            format!(r#"{{"StreamARN":"{ARN}","ConsumerName":"c","Tags":{{"#),
            &tag,
            "}}",
            "Serialization",
        ),
        (
            "RemoveTagsFromStream",
            format!(r#"{by_name},"TagKeys":["#),
            &text,
            "]}",
            "Serialization",
        ),
        (
            "UntagResource",
            format!(r#"{by_arn},"TagKeys":["#),
            &text,
            "]}",
            "Serialization",
        ),
        (
            "EnableEnhancedMonitoring",
            format!(r#"{by_name},"ShardLevelMetrics":["#),
            &text,
            "]}",
            "Serialization",
        ),
        (
            "PutResourcePolicy",
            format!(r#"{by_arn},"Policy":"{{\"Statement\":["#),
            &|_| "1".to_owned(),
            r#"]}"}"#,
            "InvalidArgument",
        ),
    ] {
        let body = Arc::new(filled(&start, element, end));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let body = Arc::clone(&body);
            clients.spawn(async move { ask(address, target, &body).await });
        }
        let mut served = 0;
        let others = async {
            loop {
                let answer = ask(address, "DescribeLimits", b"{}").await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                served += 1;
            }
        };
        let answers = tokio::select! {
            answers = clients.join_all() => answers,
            () = others => unreachable!("it goes on"),
        };
        for answer in &answers {
            assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
            assert!(answer.contains(&format!("{code}Exception")), "{answer}");
        }
        assert!(
            served >= CLIENTS,
            "{target}: others were served {served} times"
        );
    }
    let peak = peak_mib();
    assert!(peak < 500, "{peak} MiB");
}
