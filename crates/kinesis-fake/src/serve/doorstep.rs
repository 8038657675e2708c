use std::{collections::VecDeque, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use kinesis_source::KinesisApi;
use tokio::{
    net::TcpStream,
    sync::Notify,
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use super::{answer::Answers, bodies, connection};
use crate::Fake;

/// Where those connections are that there is no seat for. They are told so, and go.
#[derive(Debug, Default)]
pub(super) struct Doorstep {
    there: JoinSet<()>,
    /// The same, from the one that came first.
    queue: VecDeque<AbortHandle>,
    /// How many were turned away since somebody was let in.
    turned_away: u64,
}

impl Doorstep {
    /// Answers a connection's request by saying that there is no seat. Whoever asks nothing for a
    /// while goes without a word, and so does the first of too many.
    pub(super) fn turn_away(&mut self, stream: TcpStream, fake: Fake, seats: usize) {
        if self.turned_away == 0 {
            tracing::warn!(
                seats,
                "all connections that are attended to are in use: others are turned away"
            );
        }
        self.turned_away += 1;
        while self.there.try_join_next().is_some() {}
        self.queue.retain(|it| !it.is_finished());
        if self.queue.len() >= MOST_THERE
            && let Some(first) = self.queue.pop_front()
        {
            first.abort();
        }
        let said = async move {
            // However it ends, it is over.
            let _ = timeout(PATIENCE, turn_away(stream, fake, seats)).await;
        };
        self.queue.push_back(self.there.spawn(said));
    }

    /// There was a seat.
    pub(super) fn let_in(&mut self) {
        let turned_away = std::mem::take(&mut self.turned_away);
        if turned_away > 0 {
            tracing::info!(turned_away, "connections are attended to again");
        }
    }
}

async fn turn_away(stream: TcpStream, fake: Fake, seats: usize) {
    let answered = Arc::new(Notify::new());
    let service = service_fn(|request: Request<Incoming>| {
        let answers = Answers::to(request.headers(), fake.now());
        let answered = Arc::clone(&answered);
        async move {
            // Whoever is still sending does not look for an answer.
            bodies::to_its_end(request.into_body()).await;
            answered.notify_one();
            Ok::<_, Infallible>(no_seat(answers, seats))
        }
    });
    let builder = connection::builder();
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        // It has gone, or sent no HTTP.
        _ = connection.as_mut() => return,
        () = answered.notified() => connection.as_mut().graceful_shutdown(),
    }
    // Whether it was heard makes no difference.
    let _ = connection.await;
}

fn no_seat(answers: Answers, seats: usize) -> Response<Full<Bytes>> {
    let message = format!(
        "This server attends to {seats} connections at a time, and all of them are in use, by \
         subscriptions perhaps. Close some, or have it attend to more: Server::most_connections, or \
         kinesis-tail serve --most-connections."
    );
    answers
        .unavailable(&message)
        .map(|said| Full::new(said.into()))
}

/// Turned away at a time.
pub(super) const MOST_THERE: usize = 32;
/// How long one may take to ask, and to hear the answer.
const PATIENCE: Duration = Duration::from_secs(5);
