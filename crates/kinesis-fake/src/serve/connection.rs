use std::pin::pin;

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch};

use super::{exchange, line::Line};
use crate::Fake;

/// Answers one connection's requests, until either side ends it or `stopped` loses its sender.
///
/// It may be idle as long as it likes: a client that holds connections open must not find them
/// broken.
pub(super) async fn serve(stream: TcpStream, fake: Fake, mut stopped: watch::Receiver<()>) {
    // An answer is written at once and waits for nothing; if it cannot be had, it is only slower.
    let _ = stream.set_nodelay(true);
    let (line, cut) = Line::new(stream);
    let answer = service_fn(|request| exchange::answer(&fake, &cut, request));
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_BUFFERED)
        .serve_connection(TokioIo::new(line), answer);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        // Nothing is ever sent: an error tells that the sender has gone.
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The client went away, sent no HTTP, or its answer was to get lost.
        tracing::debug!(%error, "a connection broke");
    }
}

/// AWS's clients send about a dozen.
const MOST_HEADERS: usize = 64;
/// For a request's headers, and for what is read ahead of a body.
const MOST_BUFFERED: usize = 64 * 1_024;
