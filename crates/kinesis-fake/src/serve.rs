use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{sleep, timeout},
};

use self::{
    doorstep::Doorstep,
    exchange::Desk,
    idle::{Idle, Seats},
    spare::Spare,
};
use crate::Fake;

mod answer;
mod bodies;
mod call;
mod check;
mod connection;
mod doorstep;
mod event_stream;
mod events;
mod exchange;
mod format;
mod garble;
mod idle;
mod items;
mod line;
mod room;
mod spare;
mod wire;

/// The account of a [`Fake`] over HTTP, for the AWS SDKs of any language.
///
/// It speaks AWS JSON 1.1 and AWS CBOR 1.1, each over HTTP/1.1 and HTTP/2, without TLS. Signatures
/// are neither asked for nor checked: let it listen where only tests can reach it. Streams go by
/// name or by ARN, as `arn:aws:kinesis:us-east-1:000000000000:stream/NAME`, of the
/// [account](crate::Builder::account) and [region](crate::Builder::region) that were chosen.
///
/// A request has at most 16 MiB. Up to 1,024 connections are attended to at a time. A connection may be
/// idle for ever; but when there is one too many, the one goes that has been idle for longest, if that
/// is 10 s. If there is none such, the newcomer's requests are answered by `ServiceUnavailable`, status
/// 503, as are those of an HTTP/2 connection beyond 1,024 at a time. A subscription takes a connection,
/// or one of those requests, for as long as it lasts. Bodies of requests have 128 MiB of
/// memory together, and 64 KiB for each connection beside that, until their calls have been made or
/// [hang](crate::Fault::hung); more wait, for 30 s, and are answered by `ServiceUnavailable` then. A
/// request whose body has of the former is refused if it stops coming for 5 s, and any if it is not there
/// after 60 s. An answer of GetRecords and an event have 32 MiB of records at most, and 100,000, whatever
/// the limits: one record that is larger comes alone. Over HTTP/2, 128 KiB of a connection may come ahead of that. Of
/// answers and events, 128 MiB are in memory at a time, and 64 KiB for each connection beside that;
/// while others wait for room there, a connection is broken whose client takes less than 64 KiB of an
/// answer or an event in 5 s, whatever else it takes meanwhile.
///
/// An SDK wants an endpoint `http://…`, any region and any credentials. Answers are dated by
/// the fake's clock, and clients that go by dates see its time; for those that look at their own,
/// make both agree: [`wall_clock`](crate::Builder::wall_clock).
///
/// ```
/// use kinesis_fake::{Fake, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = Fake::builder().wall_clock().name("orders").build();
/// let server = Server::on_loopback(fake.clone()).await?;
/// let endpoint = server.endpoint();
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
    most_connections: usize,
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
            most_connections: MOST_CONNECTIONS,
        })
    }

    /// Listens at a free port of 127.0.0.1, where no other machine reaches it.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn on_loopback(fake: Fake) -> io::Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into(), fake).await
    }

    /// Attends to so many connections at a time, instead of 1,024. More are answered by
    /// `ServiceUnavailable`, unless one of them has been idle for 10 s: that one goes. The system's
    /// bound on open files must allow for 64 more.
    pub fn most_connections(self, most: usize) -> Self {
        Self {
            most_connections: most,
            ..self
        }
    }

    /// What an SDK takes as its endpoint, as `http://127.0.0.1:4567`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.local_addr)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until it is dropped, which breaks all connections.
    pub async fn run(self) {
        self.run_until(std::future::pending()).await;
    }

    /// Answers until `signal` completes; then takes no more connections, ends subscriptions at once,
    /// as after their five minutes, finishes the calls in hand, within 5 s, and returns. Dropped, it
    /// breaks all connections.
    pub async fn run_until(self, signal: impl Future<Output = ()>) {
        let desk = Arc::new(Desk::new(self.fake.clone()));
        let (stop, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut seats = Seats::default();
        let mut doorstep = Doorstep::default();
        let mut spare = Spare::default();
        spare.regain();
        tokio::pin!(signal);
        loop {
            let stream = tokio::select! {
                biased;
                () = &mut signal => break,
                Some(ended) = connections.join_next_with_id() => {
                    seats.leave(report(ended));
                    continue;
                }
                stream = self.accept(&mut spare) => stream,
            };
            let has_files = !spare.is_given_up() || regain(&mut spare);
            let has_seat = connections.len() < self.most_connections || seats.make_room();
            if !has_seat || !has_files {
                // Without files, there are no more seats than are taken.
                let seats = self.most_connections.min(connections.len());
                doorstep.turn_away(stream, self.fake.clone(), seats);
                continue;
            }
            doorstep.let_in();
            let (desk, stopped, idle) = (Arc::clone(&desk), stopped.clone(), Arc::new(Idle::new()));
            let attended = connection::serve(stream, desk, stopped, Arc::clone(&idle));
            seats.take(connections.spawn(attended).id(), idle);
        }
        drop((doorstep, spare));
        drop(self.listener);
        drop(stop);
        let drain = async {
            while let Some(ended) = connections.join_next_with_id().await {
                report(ended);
            }
        };
        if timeout(GRACE, drain).await.is_err() {
            tracing::warn!("connections did not end in time and are broken");
        }
    }

    async fn accept(&self, spare: &mut Spare) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    if !spare.is_given_up() {
                        tracing::warn!(
                            %error,
                            "cannot accept connections: allow this process more open files (ulimit -n)"
                        );
                    }
                    if !spare.give_up() {
                        // Others may end soon.
                        sleep(PAUSE).await;
                    }
                }
            }
        }
    }
}

/// Whether there are files again.
fn regain(spare: &mut Spare) -> bool {
    let regained = spare.regain();
    if regained {
        tracing::info!("connections can be accepted again");
    }
    regained
}

/// Which one it was.
fn report(ended: Result<(Id, ()), JoinError>) -> Id {
    match ended {
        Ok((id, ())) => id,
        Err(error) => {
            tracing::error!(%error, "a connection's task failed");
            error.id()
        }
    }
}

/// More are turned away.
const MOST_CONNECTIONS: usize = 1_024;
/// How long calls in hand may take once the server is to stop.
const GRACE: Duration = Duration::from_secs(5);
/// After a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
