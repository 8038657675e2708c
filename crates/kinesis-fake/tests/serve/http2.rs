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
    let running = serve(Fake::instant(1)).await;
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
    let running = serve(Fake::instant(1)).await;
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
    let mut running = serve(Fake::instant(1)).await;
    let mut tasks = JoinSet::new();
    let mut sender = connect(running.address, &mut tasks).await;
    assert_eq!(call(&mut sender, "ListStreams", "{}").await.unwrap().0, 200);
    running.stop.send(()).unwrap();
    let ended = timeout(Duration::from_secs(3), running.tasks.join_next());
    ended.await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn one_request_too_many_on_a_connection_is_told_so_at_once() {
    let running = unlimited().await;
    let mut tasks = JoinSet::new();
    let mut sender = connect(running.address, &mut tasks).await;
    running
        .fake
        .inject(Fault::hung(Operation::ListStreams).times(1_024));
    let mut hung = JoinSet::new();
    for _ in 0..1_024 {
        let mut sender = sender.clone();
        hung.spawn(async move { call(&mut sender, "ListStreams", "{}").await });
    }
    while running.fake.calls().of(Operation::ListStreams).made < 1_024 {
        tokio::task::yield_now().await;
    }
    let answer = call(&mut sender, "ListStreams", "{}");
    let answer = timeout(Duration::from_secs(20), answer).await;
    let (status, body) = answer.expect("an answer").unwrap();
    assert_eq!(status, 503, "{body:?}");
    assert_eq!(
        post(running.address, "ListStreams", json!({})).await.status,
        200
    );
}

#[tokio::test]
async fn a_seat_that_is_not_there_is_told_of_over_http_2_too() {
    let server = Server::on_loopback(Fake::instant(1)).await.unwrap();
    let server = server.most_connections(1);
    let address = server.local_addr();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run());
    let mut first = connect(address, &mut tasks).await;
    assert_eq!(call(&mut first, "ListStreams", "{}").await.unwrap().0, 200);
    let mut second = connect(address, &mut tasks).await;
    let (status, body) = call(&mut second, "ListStreams", "{}").await.unwrap();
    assert_eq!(status, 503, "{body:?}");
}

#[tokio::test]
async fn hostile_frames_are_dropped() {
    let running = serve(Fake::instant(1)).await;
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

/// The settings that a server begins with, by their numbers.
async fn settings_of(address: SocketAddr) -> std::collections::BTreeMap<u16, u32> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    stream.write_all(begin).await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "the first frame has settings");
    let mut settings = vec![0; usize::from(head[2])];
    stream.read_exact(&mut settings).await.unwrap();
    let setting = |it: &[u8]| {
        let number = u16::from_be_bytes(it[..2].try_into().unwrap());
        (number, u32::from_be_bytes(it[2..].try_into().unwrap()))
    };
    settings.chunks(6).map(setting).collect()
}

#[tokio::test]
async fn a_connection_has_1088_streams_and_64_kib_of_headers() {
    let running = serve(Fake::instant(1)).await;
    let settings = settings_of(running.address).await;
    // SETTINGS_MAX_CONCURRENT_STREAMS and SETTINGS_MAX_HEADER_LIST_SIZE.
    assert_eq!(settings.get(&3), Some(&1_088), "{settings:?}");
    assert_eq!(settings.get(&6), Some(&65_536), "{settings:?}");
}

/// A client that lets a large answer lie, and takes many small ones on the same connection, holds the
/// room that the large one has for as long as nobody else wants it.
#[tokio::test]
async fn small_answers_are_no_headway_of_a_large_one() {
    let fake = Fake::builder().instant().limits(Limits::none()).build();
    for _ in 0..10 {
        fake.put("k", vec![0; (1 << 20) - 1]).unwrap();
    }
    let running = serve(fake.clone()).await;
    let at = json!({"StreamName": "stream", "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON"});
    let at = ok(running.address, "GetShardIterator", at).await;
    let read = json!({"ShardIterator": at["ShardIterator"]}).to_string();
    let ask = |target: &str, body: String| {
        Request::post("http://localhost/")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Kinesis_20131202.{target}"))
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    };
    let mut tasks = JoinSet::new();
    // Answers that lie unread leave room for others on their connection.
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(16 << 20);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (mut hostile, connection) = handshake.unwrap();
    tasks.spawn(async move {
        // It is broken.
        let _ = connection.await;
    });
    let mut lying = Vec::new();
    for _ in 0..9 {
        let answer = hostile.send_request(ask("GetRecords", read.clone()));
        lying.push(answer.await.unwrap());
    }
    let busy = tokio::spawn(async move {
        // Until the connection is broken.
        while call(&mut hostile, "ListStreams", "{}").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let mut other = connect(running.address, &mut tasks).await;
    let answer = call(&mut other, "GetRecords", read);
    let answer = timeout(Duration::from_secs(60), answer).await;
    let (status, body) = answer.expect("room, once the other is given up").unwrap();
    assert_eq!((status, body.len() > 13 << 20), (200, true));
    busy.await.unwrap();
}
