use std::{pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{net::TcpStream, sync::watch};

use super::{
    bodies::Allowance, events::Held, exchange::Desk, idle::Idle, line::Line, room::Traffic,
};

/// Answers one connection's requests, until either side ends it or `stopped` loses its sender.
///
/// It speaks HTTP/1.1, or HTTP/2 to a client that begins with it, as the SDK for JavaScript does. It
/// may be idle as long as it likes, unless others want its seat: a client that holds connections open
/// must not find them broken.
pub(super) async fn serve(
    stream: TcpStream,
    desk: Arc<Desk>,
    mut stopped: watch::Receiver<()>,
    idle: Arc<Idle>,
) {
    // An answer is written at once and waits for nothing; if it cannot be had, it is only slower.
    let _ = stream.set_nodelay(true);
    let traffic = Arc::new(Traffic::default());
    let allowance = Arc::new(Allowance::new());
    let (line, cut) = Line::new(stream);
    let stopping = stopped.clone();
    let answer = service_fn(|request| {
        let (desk, cut, traffic) = (Arc::clone(&desk), cut.clone(), Arc::clone(&traffic));
        let (allowance, in_hand) = (Arc::clone(&allowance), idle.begin());
        let stopped = stopping.clone();
        let crowded = idle.in_hand() > MOST_IN_HAND;
        async move {
            let answer = match crowded {
                true => desk.turn_away(&traffic, request, MOST_IN_HAND).await,
                false => desk.answer((&cut, &traffic), &allowance, request).await,
            };
            answer.map(|answer| answer.map(|reply| Held::new(reply, in_hand, stopped)))
        }
    });
    let mut stalled = pin!(traffic.stalled(&desk.room));
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(line), answer);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stalled.as_mut() => return give_up(),
        // At once: whoever sends half a request would not end otherwise.
        () = idle.must_go() => return,
        // Nothing is ever sent: an error tells that the sender has gone.
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = connection => ended,
                () = stalled => return give_up(),
                // Whoever reads has seen by then that its subscriptions have ended.
                () = idle.only_subscribed_for(FAREWELL) => return,
            }
        }
    };
    if let Err(error) = ended {
        // The client went away, sent no HTTP, or its answer was to get lost.
        tracing::debug!(%error, "a connection broke");
    }
}

/// Breaks the connection: it is dropped.
fn give_up() {
    tracing::warn!("a client does not read an answer while others wait for room: it is given up");
}

pub(super) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_BUFFERED);
    builder
        .http2()
        .max_concurrent_streams(MOST_STREAMS)
        .initial_stream_window_size(MOST_AHEAD_OF_STREAM)
        .initial_connection_window_size(MOST_AHEAD)
        .max_header_list_size(MOST_BUFFERED as u32);
    builder
}

/// How long a connection that has no calls in hand may take to end.
const FAREWELL: Duration = Duration::from_millis(200);
/// AWS's clients send about a dozen.
const MOST_HEADERS: usize = 64;
/// For a request's headers, and for what is read ahead of a body.
const MOST_BUFFERED: usize = 64 * 1_024;
/// Requests of one connection of HTTP/2 at the same time. A client has a subscription for each shard.
const MOST_IN_HAND: usize = 1_024;
/// So many may come, of which those that are too many are told so. A client keeps more than these to
/// itself.
const MOST_STREAMS: u32 = MOST_IN_HAND as u32 + 64;
/// What may be sent over HTTP/2 before it is read, which bodies that wait for room are not: so much on
/// a connection, and of that a part for each request, lest one that waits stops all others.
const MOST_AHEAD: u32 = 128 * 1_024;
const MOST_AHEAD_OF_STREAM: u32 = 16 * 1_024;
