//! HTTP/2 without TLS, by clients that begin with it: as the SDK for JavaScript does.

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

type Sender = http2::SendRequest<Full<Bytes>>;

async fn connect(address: SocketAddr, tasks: &mut JoinSet<()>) -> Sender {
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tasks.spawn(async move {
        // How it ends is looked at by whoever sent something.
        let _ = connection.await;
    });
    sender
}

async fn call(
    sender: &mut Sender,
    target: &str,
    body: impl Into<Bytes>,
) -> Result<(u16, Bytes), hyper::Error> {
    let request = Request::post("http://localhost/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("Kinesis_20131202.{target}"))
        .body(Full::new(body.into()))
        .unwrap();
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    Ok((status, answer.into_body().collect().await?.to_bytes()))
}

#[tokio::test]
async fn one_connection_carries_many_calls_at_once() {
    let running = unlimited().await;
    let mut tasks = JoinSet::new();
    let mut sender = connect(running.address, &mut tasks).await;
    let create = r#"{"StreamName":"s","ShardCount":1}"#;
    call(&mut sender, "CreateStream", create).await.unwrap();
    let mut calls = JoinSet::new();
    for number in 0..100 {
        let mut sender = sender.clone();
        calls.spawn(async move {
            let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": "YWJj",
                "ExplicitHashKey": number.to_string()});
            call(&mut sender, "PutRecord", put.to_string())
                .await
                .unwrap()
                .0
        });
    }
    assert!(calls.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(running.fake.stream("s").records()[0].1.len(), 100);
}

#[tokio::test]
async fn a_large_body_is_taken_and_a_larger_one_is_not() {
    let running = serve(Fake::new(1)).await;
    let mut tasks = JoinSet::new();
    let mut sender = connect(running.address, &mut tasks).await;
    let blank = vec![b' '; 16 << 20];
    let (status, _) = call(&mut sender, "ListStreams", blank).await.unwrap();
    assert_eq!(status, 400, "it is no JSON, but it was read");
    let larger = vec![b' '; (16 << 20) + 1];
    match call(&mut sender, "ListStreams", larger).await {
        Ok((status, _)) => assert_eq!(status, 413),
        // Or the answer came before the body was sent, and the stream was reset.
        Err(error) => assert!(!error.is_parse(), "{error}"),
    }
    assert_eq!(post_ok(running.address).await, 200);
}

#[tokio::test]
async fn a_lost_answer_breaks_the_connection() {
    let running = serve(Fake::new(1)).await;
    let mut tasks = JoinSet::new();
    let mut sender = connect(running.address, &mut tasks).await;
    let lost = Fault::lost_answer(Operation::ListStreams);
    running.fake.inject(lost);
    assert!(call(&mut sender, "ListStreams", "{}").await.is_err());
    let mut sender = connect(running.address, &mut tasks).await;
    assert_eq!(call(&mut sender, "ListStreams", "{}").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_ends_its_connections() {
    let mut running = serve(Fake::new(1)).await;
    let mut tasks = JoinSet::new();
    let mut sender = connect(running.address, &mut tasks).await;
    assert_eq!(call(&mut sender, "ListStreams", "{}").await.unwrap().0, 200);
    running.stop.send(()).unwrap();
    let ended = timeout(Duration::from_secs(3), running.tasks.join_next());
    ended.await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn hostile_frames_are_dropped() {
    let running = serve(Fake::new(1)).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let garbage: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    for frames in [
        &b""[..],
        &garbage,
        // A frame of 16 MiB, headers that refer to what is not there, an unknown settings length.
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\xff",
        b"\x00\x00\x05\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let _ = stream.write_all(&[preface, frames].concat()).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest));
        let _ = read.await.expect("the server lets go of it");
    }
    assert_eq!(post_ok(running.address).await, 200);
}
