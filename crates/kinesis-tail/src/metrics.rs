//! `--metrics`: numbers for Prometheus, and what each shard waits for, over HTTP.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use kinesis_source::StreamHandle;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};

/// Where numbers can be asked for.
pub(crate) struct Endpoint {
    listener: TcpListener,
    numbers: PrometheusHandle,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum MetricsError {
    #[error("cannot serve metrics at {address}: choose another port, or 0 for any")]
    CannotListen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("metrics cannot be set up")]
    CannotRecord(#[from] BuildError),
}

/// So many connections at once: a scraper has one.
const MOST_CONNECTIONS: usize = 16;

/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes a port, which is then on this machine's loopback, or an address and a port.
pub(crate) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let port = text.parse().map(loopback);
    port.or_else(|_| text.parse())
        .map_err(|_| "expected a port, or an IP address and a port, as 0.0.0.0:9464")
}

impl Endpoint {
    /// Listens, and has all numbers recorded from now on.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, MetricsError> {
        let cannot_listen = |source| MetricsError::CannotListen { address, source };
        let listener = TcpListener::bind(address).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let recorder = PrometheusBuilder::new().build_recorder();
        let numbers = recorder.handle();
        let set = metrics::set_global_recorder(recorder);
        set.map_err(BuildError::FailedToSetGlobalRecorder)?;
        tracing::info!("metrics are at http://{address}/metrics");
        Ok(Self { listener, numbers })
    }

    /// Answers for as long as it is asked to.
    pub(crate) async fn serve(self, stream: StreamHandle) -> Infallible {
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let asked = Arc::new(Asked {
            numbers: self.numbers,
            stream,
        });
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                unreachable!("the semaphore is never closed");
            };
            let Ok((connection, _)) = self.listener.accept().await else {
                // Out of file descriptors, say: that passes.
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let asked = Arc::clone(&asked);
            connections.spawn(async move {
                let _place = place;
                converse(connection, asked).await;
            });
        }
    }
}

/// Who answers.
struct Asked {
    numbers: PrometheusHandle,
    stream: StreamHandle,
}

async fn converse(connection: TcpStream, asked: Arc<Asked>) {
    let service = service_fn(|request| {
        let answer = asked.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(connection), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection for metrics broke off");
    }
}

impl Asked {
    fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        }
        match request.uri().path() {
            "/metrics" => answer(StatusCode::OK, self.numbers.render()),
            "/explain" => answer(StatusCode::OK, format!("{}\n", self.stream.explain())),
            _ => answer(StatusCode::NOT_FOUND, "/metrics, /explain\n".to_owned()),
        }
    }
}

/// Plain text, which is also Prometheus' format.
fn answer(status: StatusCode, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_this_machine() {
        let read = |text| address(text).map(|it| it.to_string());
        assert_eq!(read("9464").unwrap(), "127.0.0.1:9464");
        assert_eq!(read("0.0.0.0:9464").unwrap(), "0.0.0.0:9464");
        assert_eq!(read("[::1]:0").unwrap(), "[::1]:0");
        for text in ["", "x", "70000", "127.0.0.1", ":9464", "localhost:9464"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
