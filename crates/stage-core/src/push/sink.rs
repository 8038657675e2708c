use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_sink::Sink;

use super::{
    PushHandle, SourceClosed,
    queue::{Place, Queue},
};

/// Feeds a [push source](crate::push_source) with back-pressure. Made by [`PushHandle::sink`].
///
/// It is ready when there is room in the buffer, flushed when everything that it was given has been
/// taken from there, by the source's demand, and closing it flushes it and gives its handle up: if
/// that was the last, the source ends. While it is ready and given nothing, it has the place of one event, for
/// which others who [send](PushHandle::send) wait.
///
/// ```
/// use futures_util::{SinkExt, StreamExt, stream};
/// use stage_core::{Pipeline, Window, for_each, protocol::Buffer, push_source};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (handle, source) = push_source(Buffer::keep_first(10));
/// let mut pipeline = Pipeline::new();
/// let outlet = pipeline.produce(source);
/// pipeline.consume(for_each(|n: u64| println!("{n}")), outlet.subscribe(Window::new(10)));
/// let sink = handle.sink();
/// drop(handle);
/// let running = tokio::spawn(pipeline.run());
/// stream::iter(0..100).map(Ok).forward(sink).await?;
/// running.await??;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`SourceClosed`], once the source is closed or its pipeline has ended.
///
/// # Cancel safety
///
/// Nothing that it was given is lost by waiting in vain. Between being ready and being given an
/// event, others may push and fill the buffer: that one event waits in the sink then, and is lost
/// if the sink is dropped unflushed.
#[must_use = "a sink does nothing unless it is given events"]
pub struct PushSink<E: Send + 'static> {
    /// `None` once it is closed.
    handle: Option<PushHandle<E>>,
    place: Place<E>,
    /// An event whose room was taken by others.
    spare: Option<E>,
    /// Flushed once so many events have left the buffer.
    flushed_at: u64,
}

// Nothing in it is pinned.
impl<E: Send + 'static> Unpin for PushSink<E> {}

impl<E: Send + 'static> PushSink<E> {
    pub(super) fn new(handle: PushHandle<E>) -> Self {
        Self {
            place: Place::new(handle.queue()),
            handle: Some(handle),
            spare: None,
            flushed_at: 0,
        }
    }

    fn poll_spare(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SourceClosed>> {
        if self.spare.is_some() {
            ready!(self.place.poll_store(cx, &mut self.spare))?;
            self.flushed_at = self.queue().stored();
        }
        Poll::Ready(Ok(()))
    }

    fn queue(&self) -> &Queue<E> {
        self.place.queue()
    }
}

impl<E: Send + 'static> Sink<E> for PushSink<E> {
    type Error = SourceClosed;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SourceClosed>> {
        if self.handle.is_none() {
            return Poll::Ready(Err(SourceClosed));
        }
        ready!(self.poll_spare(cx))?;
        self.place.poll_room(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, event: E) -> Result<(), SourceClosed> {
        if self.handle.is_none() {
            return Err(SourceClosed);
        }
        let this = &mut *self;
        this.spare = Some(event);
        if this.place.store(&mut this.spare)? {
            this.flushed_at = this.queue().stored();
        }
        Ok(())
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SourceClosed>> {
        ready!(self.poll_spare(cx))?;
        let until = self.flushed_at;
        self.place.poll_passed(cx, until)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SourceClosed>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.handle = None;
        Poll::Ready(Ok(()))
    }
}

impl<E: Send + 'static> fmt::Debug for PushSink<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PushSink").field(self.queue()).finish()
    }
}
