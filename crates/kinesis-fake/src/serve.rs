use std::{future::Future, io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};

use crate::Fake;

mod answer;
mod call;
mod connection;
mod exchange;
mod garble;
mod line;
mod wire;

/// The account of a [`Fake`] over HTTP, for the AWS SDKs of any language.
///
/// It speaks AWS JSON 1.1 over HTTP/1.1, without TLS. Signatures are neither asked for nor checked:
/// let it listen where only tests can reach it. Streams go by name or by ARN, as
/// `arn:aws:kinesis:us-east-1:000000000000:stream/NAME`.
///
/// A request has at most 16 MiB and a connection may be idle for ever; up to 1,024 connections are
/// answered at a time, and more wait for one of them to end.
///
/// An SDK wants an endpoint `http://…`, region `us-east-1` and any credentials. Its clock and that
/// of the fake should agree: [`wall_clock`](crate::Builder::wall_clock).
///
/// ```
/// use kinesis_fake::{Fake, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = Fake::builder().wall_clock().name("orders").build();
/// let server = Server::bind("127.0.0.1:0".parse()?, fake.clone()).await?;
/// let endpoint = format!("http://{}", server.local_addr());
///
/// let tests = async {
///     // Here a client reads from `endpoint` what is put into the fake.
///     fake.put("customer-42", "an order").map(|_| endpoint)
/// };
/// tokio::select! {
///     _ = server.run() => unreachable!("it runs until it is dropped"),
///     endpoint = tests => assert!(endpoint?.starts_with("http://127.0.0.1:")),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is answered before it runs"]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    fake: Fake,
}

impl Server {
    /// Listens at `address`; port 0 takes any that is free.
    ///
    /// # Errors
    ///
    /// If the address cannot be had.
    pub async fn bind(address: SocketAddr, fake: Fake) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self {
            listener,
            local_addr,
            fake,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until it is dropped, which breaks all connections.
    pub async fn run(self) {
        self.run_until(std::future::pending()).await;
    }

    /// Answers until `signal` completes; then takes no more connections, finishes the calls in
    /// hand, within 5 s, and returns. Dropped, it breaks all connections.
    pub async fn run_until(self, signal: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        tokio::pin!(signal);
        loop {
            tokio::select! {
                biased;
                () = &mut signal => break,
                Some(ended) = connections.join_next() => report(ended),
                stream = self.accept(), if connections.len() < MOST_CONNECTIONS => {
                    let stopped = stopped.clone();
                    connections.spawn(connection::serve(stream, self.fake.clone(), stopped));
                }
            }
        }
        drop(self.listener);
        drop(stop);
        let drain = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if timeout(GRACE, drain).await.is_err() {
            tracing::warn!("connections did not end in time and are broken");
        }
    }

    async fn accept(&self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    // Out of file descriptors, say: others may end soon.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

/// More wait until one has ended.
const MOST_CONNECTIONS: usize = 1_024;
/// How long calls in hand may take once the server is to stop.
const GRACE: Duration = Duration::from_secs(5);
/// After a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
