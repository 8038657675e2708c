use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection that can be made to break in the middle of an answer.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    cut: Cut,
}

/// Says when a [`Line`] breaks.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// How many bytes may still be written.
    left: Arc<AtomicU64>,
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> (Self, Cut) {
        let left = Arc::new(AtomicU64::new(NEVER));
        let cut = Cut { left };
        let line = Self {
            stream,
            cut: cut.clone(),
        };
        (line, cut)
    }

    /// So much of `wanted` bytes may be written.
    fn allowed(&self, wanted: usize) -> io::Result<usize> {
        let left = self.cut.left.load(Ordering::Relaxed);
        if left == 0 {
            // The client shall see a reset. If that cannot be had, it sees an end.
            let _ = self.stream.set_zero_linger();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(wanted.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }

    fn wrote(&self, bytes: usize) {
        let left = self.cut.left.load(Ordering::Relaxed);
        if left != NEVER {
            let left = left.saturating_sub(bytes as u64);
            self.cut.left.store(left, Ordering::Relaxed);
        }
    }
}

impl Cut {
    /// The connection is reset once so many bytes more have been written and others follow.
    pub(super) fn after(&self, bytes: u64) {
        self.left.store(bytes, Ordering::Relaxed);
    }

    /// Nothing is left of a cut that an answer was too short for.
    pub(super) fn lift(&self) {
        self.after(NEVER);
    }

    fn is_set(&self) -> bool {
        self.left.load(Ordering::Relaxed) != NEVER
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let allowed = self.allowed(buf.len())?;
        let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..allowed]);
        if let Poll::Ready(Ok(written)) = written {
            self.wrote(written);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.cut.is_set() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[][..], |buf| buf));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(written)) = written {
            self.wrote(written);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// More than any connection carries.
const NEVER: u64 = u64::MAX;
