mod alarm;
mod feed;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;

use self::{
    alarm::Alarm,
    feed::{Feed, Reader},
};
use crate::{
    AddError, LateStage, Pipeline, PipelineError, Receipt, Subscription, desk::Desk,
    link::ReceiveEnd,
};

/// The events of a pipeline as a stream. Made by [`Pipeline::into_stream`], and for a pipeline that
/// runs already by [`LateStage::stream`].
///
/// Events come in order. The end comes once. If something goes wrong, the last item says what: it is
/// the pipeline's error, or [`PipelineError::UpstreamEnded`] if the pipeline is not the stream's own.
///
/// # When an event is acked
///
/// When the next one is asked for: who comes back for more is done with the last. So what a loop was
/// working on when it was left, or failed, is nacked. Where events are worked on later than that, as
/// by `buffer_unordered`, take their receipts [with them](Self::with_receipts).
///
/// # Back-pressure
///
/// Events count as in hand until they are acked so, as many as the subscription's window allows,
/// and a portion at a time. A stream that nobody polls holds its pipeline back.
///
/// # Cancel safety
///
/// Giving up waiting for an event loses nothing. Dropping the stream stops its pipeline, or its stage
/// in a pipeline that it does not own; what is in flight is nacked, also the event that came last.
#[must_use = "a stream does nothing unless it is polled"]
pub struct EventStream<E: Send + 'static> {
    events: ReceiptStream<E>,
    /// Of the event that came last.
    last: Option<Receipt>,
}

/// The events of a pipeline as a stream, each with its receipt. Made by
/// [`EventStream::with_receipts`].
///
/// What becomes of an event is up to whoever has its receipt; dropping that nacks it. To the window,
/// a portion counts as dealt with once the event after it is asked for.
///
/// # Cancel safety
///
/// As that of [`EventStream`], but for events that have come: they are their receipts' business.
#[must_use = "a stream does nothing unless it is polled"]
pub struct ReceiptStream<E: Send + 'static> {
    /// The pipeline, if it is the stream's own and has not ended.
    run: Option<Run>,
    reader: Reader<E>,
    /// The stage's, in a pipeline of somebody else's.
    desk: Option<Arc<Desk<ReceiveEnd<E>>>>,
    is_over: bool,
}

/// A pipeline that a stream runs.
struct Run {
    running: Pin<Box<dyn Future<Output = Result<(), PipelineError>> + Send>>,
    /// There is news of it. As a rule there is none while events come.
    alarm: Arc<Alarm>,
}

impl Run {
    fn new(pipeline: Pipeline) -> Self {
        Self {
            running: Box::pin(pipeline.run()),
            alarm: Alarm::rung(),
        }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<(), PipelineError>> {
        self.alarm.poll(cx, |cx| self.running.as_mut().poll(cx))
    }
}

impl Pipeline {
    /// The pipeline as a stream of the events of `subscriptions`, which runs it: only while the
    /// stream is polled do stages start and is their end seen. It is a stage of its own, named
    /// `stream`.
    ///
    /// Use the pipeline's [handle](Self::handle) to stop it from outside: then it drains, and the
    /// stream gives what was on its way.
    ///
    /// ```
    /// use futures_util::TryStreamExt;
    /// use stage_core::{Pipeline, PipelineError, Window, from_iter, map};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), PipelineError> {
    /// let mut pipeline = Pipeline::new();
    /// let numbers = pipeline.produce(from_iter(0..5_u64));
    /// let squares = pipeline.transform(map(|n: u64| n * n), numbers.subscribe(Window::new(4)));
    /// let squares = pipeline.into_stream(squares.subscribe(Window::new(4)));
    /// assert_eq!(squares.try_collect::<Vec<_>>().await?, [0, 1, 4, 9, 16]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_stream<E: Send + 'static>(
        mut self,
        subscriptions: impl IntoIterator<Item = Subscription<E>>,
    ) -> EventStream<E> {
        let name = self.crew.free_name("stream");
        let (feed, reader) = Feed::new(&name);
        self.stage(name).consume(feed, subscriptions);
        EventStream::new(Some(Run::new(self)), reader, None)
    }
}

impl LateStage {
    /// Adds the stage, as a stream of the events of `subscriptions`. The stream ends with them, or
    /// when the pipeline stops; dropping it takes the stage from the pipeline.
    ///
    /// ```
    /// # use futures_util::StreamExt;
    /// # use stage_core::{PipelineHandle, Window};
    /// # async fn example(handle: &PipelineHandle) -> Result<(), Box<dyn std::error::Error>> {
    /// let orders = handle.outlet::<String>("orders")?;
    /// let mut tap = handle.stage("tap").stream(orders.subscribe(Window::new(10)))?;
    /// while let Some(order) = tap.next().await {
    ///     println!("{}", order?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the name is taken, or the pipeline stops.
    pub fn stream<E: Send + 'static>(
        self,
        subscriptions: impl IntoIterator<Item = Subscription<E>>,
    ) -> Result<EventStream<E>, AddError> {
        let (feed, reader) = Feed::new(self.name());
        let desk = self.consume(feed, subscriptions)?.into_desk();
        Ok(EventStream::new(None, reader, Some(desk)))
    }
}

impl<E: Send + 'static> EventStream<E> {
    fn new(run: Option<Run>, reader: Reader<E>, desk: Option<Arc<Desk<ReceiveEnd<E>>>>) -> Self {
        Self {
            events: ReceiptStream {
                run,
                reader,
                desk,
                is_over: false,
            },
            last: None,
        }
    }

    /// The next, if neither it nor the last is tracked: as most are, in what it takes to take them.
    #[inline]
    fn next_untracked(&mut self) -> Option<E> {
        match self.last {
            Some(_) => None,
            None => self.events.reader.next_untracked(),
        }
    }

    /// The same events, each with its receipt, to be settled one by one and at any time. If one has
    /// come already, it is acked.
    pub fn with_receipts(self) -> ReceiptStream<E> {
        if let Some(last) = self.last {
            last.ack();
        }
        self.events
    }
}

impl<E: Send + 'static> Stream for EventStream<E> {
    type Item = Result<E, PipelineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(event) = self.next_untracked() {
            return Poll::Ready(Some(Ok(event)));
        }
        if let Some(last) = self.last.take() {
            last.ack();
        }
        let next = Pin::new(&mut self.events).poll_next(cx);
        next.map_ok(|(event, receipt)| {
            self.last = Some(receipt).filter(|receipt| !receipt.is_untracked());
            event
        })
    }
}

impl<E: Send + 'static> Stream for ReceiptStream<E> {
    type Item = Result<(E, Receipt), PipelineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(event) = self.reader.try_next() {
            return Poll::Ready(Some(Ok(event)));
        }
        if let Some(run) = &mut self.run
            && let Poll::Ready(result) = run.poll(cx)
        {
            self.run = None;
            self.is_over = true;
            return Poll::Ready(result.err().map(Err));
        }
        match self.reader.poll_next(cx) {
            Poll::Ready(Some(event)) => Poll::Ready(Some(Ok(event))),
            // The pipeline says how it ended.
            Poll::Ready(None) if self.run.is_some() => Poll::Pending,
            Poll::Ready(None) => {
                self.is_over = true;
                Poll::Ready(self.reader.error().map(Err))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<E: Send + 'static> Drop for ReceiptStream<E> {
    fn drop(&mut self) {
        if let Some(desk) = &self.desk {
            desk.leave();
        }
    }
}

impl<E: Send + 'static> fmt::Debug for EventStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("is_over", &self.events.is_over)
            .finish_non_exhaustive()
    }
}

impl<E: Send + 'static> fmt::Debug for ReceiptStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiptStream")
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
