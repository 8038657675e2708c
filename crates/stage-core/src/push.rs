mod error;
mod queue;
mod sink;

use std::{fmt, future::poll_fn, iter, sync::Arc};

use self::queue::{Place, Queue};
pub use self::{
    error::{SendError, SourceClosed},
    sink::PushSink,
};
use crate::{Batch, Demand, Flow, Producer, SubscriptionInfo, host, protocol::Buffer};

/// Events come in here from outside of the pipeline: see [`push_source`].
///
/// Any thread may push, at any time: only [`send`](Self::send) and the [`sink`](Self::sink) wait.
/// Clones feed the same source, which ends once the last of them is dropped.
#[must_use = "dropping the last handle ends the source"]
pub struct PushHandle<E>(Arc<Holder<E>>);

/// Makes the events that are pushed by a [`PushHandle`]: see [`push_source`].
#[must_use = "what is pushed waits until the source is added to a pipeline"]
pub struct PushSource<E> {
    queue: Arc<Queue<E>>,
    /// The queue knows in which stage it is.
    is_watched: bool,
}

/// Closes the source when the last handle is dropped.
struct Holder<E>(Arc<Queue<E>>);

/// What became of events that were pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// How many events were dropped since there was no room: of those pushed, or older ones that had
    /// to make room, as the buffer says. All of those pushed, if the source is closed.
    pub dropped: usize,
}

/// A source for events that come without being asked for: from a callback, a socket, a timer.
///
/// What is pushed and not asked for yet waits in `buffer`, which says how much may, and what is
/// dropped when it is more: the [newest](Buffer::keep_first) or the [oldest](Buffer::keep_last).
/// Whatever is dropped is counted: each push says how many events it cost, [`PushHandle::dropped`]
/// how many it were in all, and so does the stage's [status](crate::StageStatus::dropped). The log
/// gets one line when dropping begins, and one when the buffer has been emptied by half since. To
/// lose nothing, [`send`](PushHandle::send) waits for room.
///
/// ```
/// use stage_core::{Pipeline, Window, for_each, protocol::Buffer, push_source};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (readings, source) = push_source(Buffer::keep_last(100));
/// let mut pipeline = Pipeline::new();
/// let outlet = pipeline.produce(source);
/// pipeline.consume(for_each(|n: u64| println!("{n}")), outlet.subscribe(Window::new(10)));
/// let running = tokio::spawn(pipeline.run());
///
/// // From anywhere, without waiting:
/// assert_eq!(readings.push(0..50).dropped, 0);
/// // Or with back-pressure:
/// readings.send(50).await?;
/// // The source ends after what is buffered.
/// drop(readings);
/// running.await??;
/// # Ok(())
/// # }
/// ```
///
/// # The end
///
/// The source ends, after what is buffered, when the last handle is dropped or one of them
/// [closes](PushHandle::close) it. If its pipeline stops before, what is still buffered is dropped,
/// and so nacked: nobody had asked for it.
///
/// # Cancel safety
///
/// Nothing that was taken from the buffer is lost.
pub fn push_source<E: Send + 'static>(buffer: Buffer<E>) -> (PushHandle<E>, PushSource<E>) {
    let queue = Arc::new(Queue::new(buffer));
    let handle = PushHandle(Arc::new(Holder(Arc::clone(&queue))));
    let is_watched = false;
    (handle, PushSource { queue, is_watched })
}

impl<E: Send + 'static> PushHandle<E> {
    /// Adds events at the end of the buffer, and says how many that cost. Never waits.
    pub fn push(&self, events: impl IntoIterator<Item = E>) -> Pushed {
        // The iterator is somebody else's code, and runs before anything is locked.
        let mut events = events.into_iter();
        if events.size_hint() != (1, Some(1)) {
            return self.push_batch(Batch::from_iter(events));
        }
        let Some(event) = events.next() else {
            return Pushed { dropped: 0 };
        };
        let mut dropped = self.queue().push_one(event);
        // As a rule that was all.
        if let Some(event) = events.next() {
            let rest = Batch::from_iter(iter::once(event).chain(events));
            dropped += self.queue().push(rest);
        }
        Pushed { dropped }
    }

    /// Like [`push`](Self::push), for events that may be [tracked](Batch::track). Those that are
    /// dropped are nacked.
    pub fn push_batch(&self, events: Batch<E>) -> Pushed {
        let dropped = self.queue().push(events);
        Pushed { dropped }
    }

    /// Adds one event, once there is room for it. Those who wait are served in turn.
    ///
    /// ```
    /// # use stage_core::{PushHandle, SendError};
    /// # async fn example(readings: &PushHandle<u64>) {
    /// if let Err(error) = readings.send(7).await {
    ///     println!("not taken: {}", error.event);
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the source is closed or its pipeline has ended, also while this waits: the error holds the
    /// event.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the event is dropped with it and was not added.
    pub async fn send(&self, event: E) -> Result<(), SendError<E>> {
        let Err(event) = self.queue().try_send(event) else {
            return Ok(());
        };
        let mut place = Place::new(self.queue());
        let mut event = Some(event);
        let sent = poll_fn(|cx| place.poll_store(cx, &mut event)).await;
        match (sent, event) {
            (Err(SourceClosed), Some(event)) => Err(SendError { event }),
            _ => Ok(()),
        }
    }

    /// A [`Sink`](futures_sink::Sink) that feeds the source. It waits for room, like
    /// [`send`](Self::send), and counts as a handle.
    pub fn sink(&self) -> PushSink<E> {
        PushSink::new(self.clone())
    }

    /// How many more events are asked for downstream than are there: what can be pushed now without
    /// anything having to wait in the buffer. Zero before the source runs and after its end.
    ///
    /// Others push, too, and demand changes: it is the number at one instant.
    pub fn wanted(&self) -> usize {
        self.queue().wanted()
    }

    /// How many events wait in the buffer.
    pub fn buffered(&self) -> usize {
        self.queue().buffered()
    }

    /// How many events were dropped by now: for want of room, because they came after the source was
    /// closed, or because the pipeline ended with them in the buffer. What was pushed or sent is
    /// always what was taken, what is buffered and what was dropped.
    pub fn dropped(&self) -> u64 {
        self.queue().dropped()
    }

    /// Ends the source after what is buffered, for all handles. Those who wait for room get their
    /// events back.
    pub fn close(&self) {
        self.queue().close();
    }

    /// Whether nothing can be pushed any more: the source is closed, or its pipeline has ended.
    pub fn is_closed(&self) -> bool {
        self.queue().is_closed()
    }

    fn queue(&self) -> &Arc<Queue<E>> {
        &self.0.0
    }
}

impl<E: Send + 'static> Producer for PushSource<E> {
    type Event = E;
    type Error = std::convert::Infallible;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<E>) -> Result<Flow, Self::Error> {
        if !self.is_watched {
            self.watch();
        }
        let flow = poll_fn(|cx| self.queue.poll_take(cx, demand, batch)).await;
        Ok(flow)
    }

    fn subscribed(&mut self, _: &SubscriptionInfo) {
        // From now on there may be demand.
        self.watch();
    }
}

impl<E> PushSource<E> {
    fn watch(&mut self) {
        let seat = host::current();
        self.is_watched = seat.is_some();
        self.queue.watch(seat);
    }
}

impl<E> Drop for Holder<E> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<E> Drop for PushSource<E> {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

impl<E> Clone for PushHandle<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for PushHandle<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PushHandle").field(&self.0.0).finish()
    }
}

impl<E> fmt::Debug for PushSource<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PushSource").field(&self.queue).finish()
    }
}
