//! How much memory hostile clients can make a server take by many requests on each connection. A
//! program of its own: memory is counted for the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod peak;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body_util::BodyExt;
use hyper::{
    Request,
    body::{Body, Bytes, Frame, SizeHint},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kinesis_fake::{Fake, Server};
use peak::peak_mib;
use tokio::{net::TcpStream, task::JoinSet};

/// A body that breaks its word: it is to have 65,000 bytes, and stops after 64,000.
struct Stopping {
    begun: Option<Bytes>,
}

impl Body for Stopping {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.begun.take() {
            Some(begun) => Poll::Ready(Some(Ok(Frame::data(begun)))),
            None => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(65_000)
    }
}

/// Ten connections with 700 requests each: together they send 427 MiB, and no request is complete.
#[tokio::test]
async fn small_bodies_of_one_connection_wait_for_each_other() {
    let server = Server::on_loopback(Fake::new(1)).await.unwrap();
    let address = server.local_addr();
    let mut serving = JoinSet::new();
    serving.spawn(server.run());

    let begun = Bytes::from(vec![b' '; 64_000]);
    let mut requests = JoinSet::new();
    let mut connections = JoinSet::new();
    for _ in 0..10 {
        let stream = TcpStream::connect(address).await.unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        connections.spawn(async move {
            let _ = connection.await;
        });
        for _ in 0..700 {
            let mut sender = sender.clone();
            let body = Stopping {
                begun: Some(begun.clone()),
            };
            let request = Request::post("http://localhost/")
                .header("content-type", "application/x-amz-json-1.1")
                .header("x-amz-target", "Kinesis_20131202.PutRecord")
                .body(body)
                .unwrap();
            requests.spawn(async move {
                let answer = sender.send_request(request).await.ok()?;
                let status = answer.status().as_u16();
                answer.into_body().collect().await.ok()?;
                Some(status)
            });
        }
    }
    // But for one of each connection, which nobody waits for, all are refused once they stall.
    for _ in 0..10 * 699 {
        let answer = requests.join_next().await.unwrap().unwrap();
        assert!(matches!(answer, None | Some(400..500)), "{answer:?}");
    }
    let peak = peak_mib();
    assert!(peak < 256, "{peak} MiB");
}
