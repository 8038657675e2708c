//! Being told to stop: once politely, twice at once.

use std::{future, io, process};

use tokio::sync::oneshot;

/// The exit code of a program that left at the second signal: 128 + SIGINT.
const LEFT_AT_ONCE: i32 = 130;

/// Listens for SIGINT and SIGTERM from now on. The future completes at the first; at the second,
/// the program exits where it stands, with 130.
///
/// # Errors
///
/// If the system does not let it listen.
pub(crate) fn listen() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut signals = Signals::new()?;
    let (heard, first) = oneshot::channel();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("told to stop; once more leaves at once");
        // Whoever no longer listens has ended anyway.
        let _ = heard.send(());
        signals.next().await;
        process::exit(LEFT_AT_ONCE);
    });
    Ok(async move {
        if first.await.is_err() {
            future::pending::<()>().await;
        }
    })
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            future::pending().await
        }
    }
}
