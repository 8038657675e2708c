//! Standard output, where a reader may be slow or gone.

mod writable;

use std::{
    future,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::{sync::oneshot, task::spawn_blocking};

pub(crate) use self::writable::check_writable;
use crate::screen::Screen;

/// Somewhere to write whole lines to, without holding up the runtime's threads.
#[derive(Debug)]
pub(crate) struct LineSink<W>(Arc<Mutex<W>>);

/// Why lines could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The reader has gone. That is how `| head` says that it has enough.
    #[error("nobody reads standard output any more")]
    Closed,
    /// No room on the disk, say.
    #[error("cannot write to standard output")]
    Failed(#[source] io::Error),
}

impl LineSink<Box<dyn Write + Send>> {
    /// Standard output. If it is a terminal, it may be the one that the screen is: then lines are written beside
    /// what is shown there.
    pub(crate) fn stdout(screen: &Screen) -> Self {
        let stdout = io::stdout();
        Self::new(match stdout.is_terminal() {
            true => Box::new(screen.writer(stdout)),
            false => Box::new(stdout),
        })
    }
}

impl<W: Write + Send + 'static> LineSink<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    /// Writes and flushes `lines`. Returns their storage, empty, to be filled again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it still writes all lines or fails, and nobody learns which.
    pub(crate) async fn write(&self, mut lines: Vec<u8>) -> Result<Vec<u8>, WriteError> {
        let writer = Arc::clone(&self.0);
        let written = spawn_blocking(move || {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.write_all(&lines)?;
            writer.flush()?;
            lines.clear();
            io::Result::Ok(lines)
        });
        match written.await {
            Ok(Ok(storage)) => Ok(storage),
            Ok(Err(error)) => Err(WriteError::from(error)),
            Err(error) => Err(WriteError::Failed(error.into())),
        }
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error),
        }
    }
}

/// Writes `text` at once and without the runtime: for a command that has nothing else to do.
///
/// # Errors
///
/// If it cannot be written, except for lack of a reader.
pub(crate) fn print(text: &str) -> Result<(), WriteError> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written.map_err(WriteError::from) {
        Err(WriteError::Closed) => Ok(()),
        other => other,
    }
}

/// Completes when standard output is a pipe and its reader has gone: a program that waits for
/// records would not notice until the next one.
pub(crate) async fn closed() {
    let (gone, is_gone) = oneshot::channel();
    // A thread of its own, because it may wait as long as the program runs.
    thread::spawn(move || {
        if wait_until_closed() {
            // Whoever no longer listens has ended anyway.
            let _ = gone.send(());
        }
    });
    if is_gone.await.is_err() {
        future::pending::<()>().await;
    }
}

/// False if that cannot be waited for.
#[cfg(unix)]
fn wait_until_closed() -> bool {
    use rustix::{
        event::{PollFd, PollFlags, poll},
        io::Errno,
    };
    let stdout = io::stdout();
    // Errors are reported whether they are asked for or not, and nothing else is.
    let mut pipe = [PollFd::new(&stdout, PollFlags::empty())];
    loop {
        match poll(&mut pipe, None) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return pipe[0].revents().contains(PollFlags::ERR),
        }
    }
}

#[cfg(not(unix))]
fn wait_until_closed() -> bool {
    false
}
