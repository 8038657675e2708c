use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{
    Batch, Consumer, PipelineError, Receipt, SubscriptionInfo,
    protocol::{Down, End},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The stage behind a stream: holds out a portion at a time, until the reader asks for what is after
/// it.
pub(super) struct Feed<E>(Arc<Shared<E>>);

/// The stream's side of it. Dropping it nacks what is held out.
pub(super) struct Reader<E>(Arc<Shared<E>>);

struct Shared<E> {
    stage: String,
    state: Mutex<State<E>>,
}

struct State<E> {
    /// What is held out.
    events: VecDeque<(E, Receipt)>,
    /// The reader has asked for more than was held out.
    asks: bool,
    reader_gone: bool,
    feed_gone: bool,
    /// How a subscription ended that should not have, and whose.
    ended: Option<(String, End)>,
    /// Nothing more comes, and that is in order.
    finished: bool,
    reader: Option<Waker>,
    feed: Option<Waker>,
}

/// What is held out goes back when the call is over, however it ends.
struct Offer<'a, E>(&'a Shared<E>);

impl<E> Feed<E> {
    pub(super) fn new(stage: &str) -> (Self, Reader<E>) {
        let shared = Arc::new(Shared {
            stage: stage.to_owned(),
            state: Mutex::new(State {
                events: VecDeque::new(),
                asks: false,
                reader_gone: false,
                feed_gone: false,
                ended: None,
                finished: false,
                reader: None,
                feed: None,
            }),
        });
        (Self(Arc::clone(&shared)), Reader(shared))
    }
}

impl<E: Send + 'static> Consumer<E> for Feed<E> {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<E>) -> Result<(), Infallible> {
        let offer = Offer(&self.0);
        offer.0.hold_out(batch);
        poll_fn(|cx| offer.0.poll_taken(cx)).await;
        Ok(())
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        if end.is_graceful() {
            return;
        }
        let mut state = self.0.lock();
        let ended = || (subscription.from.to_string(), end.clone());
        state.ended.get_or_insert_with(ended);
    }

    async fn finish(&mut self) -> Result<(), Infallible> {
        self.0.lock().finished = true;
        Ok(())
    }
}

impl<E> Reader<E> {
    /// The next event, if it is held out.
    pub(super) fn try_next(&self) -> Option<(E, Receipt)> {
        self.0.lock().events.pop_front()
    }

    /// The next event. `None` if the stage has ended.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<(E, Receipt)>> {
        let mut state = self.0.lock();
        if let Some(event) = state.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.feed_gone {
            return Poll::Ready(None);
        }
        state.asks = true;
        state.reader = Some(cx.waker().clone());
        let feed = state.feed.take();
        drop(state);
        wake(feed);
        Poll::Pending
    }

    /// What went wrong, once the stage has ended.
    pub(super) fn error(&self) -> Option<PipelineError> {
        let mut state = self.0.lock();
        let dropped = || (self.0.stage.clone(), End::Down(Down::Aborted));
        let ended = state.ended.take();
        let (upstream, end) = ended.or_else(|| (!state.finished).then(dropped))?;
        Some(PipelineError::UpstreamEnded {
            stage: self.0.stage.clone(),
            upstream,
            end,
        })
    }
}

impl<E> Shared<E> {
    fn hold_out(&self, batch: &mut Batch<E>) {
        let mut state = self.lock();
        state.events.extend(batch.drain_with_receipts());
        state.asks = false;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// Waits until the reader asks for more, or will not any more.
    fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.asks || state.reader_gone {
            return Poll::Ready(());
        }
        state.feed = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Drop for Offer<'_, E> {
    fn drop(&mut self) {
        let left = mem::take(&mut self.0.lock().events);
        // Not under the lock: it has receipts.
        drop(left);
    }
}

impl<E> Drop for Feed<E> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.feed_gone = true;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }
}

impl<E> Drop for Reader<E> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_gone = true;
        let left = mem::take(&mut state.events);
        let feed = state.feed.take();
        drop(state);
        drop(left);
        wake(feed);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
