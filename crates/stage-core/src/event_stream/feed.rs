use std::{
    convert::Infallible,
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{
    Batch, Consumer, PipelineError, Receipt, SubscriptionInfo,
    batch::BatchQueue,
    protocol::{Down, End},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The stage behind a stream: holds out a portion at a time, until the reader asks for what is after
/// it.
pub(super) struct Feed<E>(Arc<Shared<E>>);

/// The stream's side of it. Dropping it nacks what it has taken and what is held out.
pub(super) struct Reader<E> {
    shared: Arc<Shared<E>>,
    /// What was held out, all of it: whoever takes it one by one needs no lock for each.
    taken: BatchQueue<E>,
}

struct Shared<E> {
    stage: String,
    state: Mutex<State<E>>,
}

struct State<E> {
    /// What is held out.
    offered: Batch<E>,
    /// What the reader has emptied: the next portion is held out in it.
    emptied: Batch<E>,
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

/// What is held out, and nobody has taken, goes back when the call is over, however it ends.
struct Offer<'a, E>(&'a Shared<E>);

impl<E> Feed<E> {
    pub(super) fn new(stage: &str) -> (Self, Reader<E>) {
        let shared = Arc::new(Shared {
            stage: stage.to_owned(),
            state: Mutex::new(State {
                offered: Batch::new(),
                emptied: Batch::new(),
                asks: false,
                reader_gone: false,
                feed_gone: false,
                ended: None,
                finished: false,
                reader: None,
                feed: None,
            }),
        });
        let reader = Reader {
            shared: Arc::clone(&shared),
            taken: Batch::new().into_queue(),
        };
        (Self(shared), reader)
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
    /// The next event, if it has been taken and is not tracked.
    #[inline]
    pub(super) fn next_untracked(&mut self) -> Option<E> {
        self.taken.pop_untracked()
    }

    /// The next event, if it is there.
    pub(super) fn try_next(&mut self) -> Option<(E, Receipt)> {
        self.taken.pop().or_else(|| {
            let mut state = self.shared.lock();
            state.hand_over(&mut self.taken);
            drop(state);
            self.taken.pop()
        })
    }

    /// The next event, after there was none. `None` if the stage has ended.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(E, Receipt)>> {
        let mut state = self.shared.lock();
        state.hand_over(&mut self.taken);
        if self.taken.len() > 0 {
            drop(state);
            return Poll::Ready(self.taken.pop());
        }
        if state.feed_gone {
            return Poll::Ready(None);
        }
        state.asks = true;
        let old = state.reader.replace(cx.waker().clone());
        let feed = state.feed.take();
        drop(state);
        // Not under the lock: wakers are somebody else's code.
        drop(old);
        wake(feed);
        Poll::Pending
    }

    /// What went wrong, once the stage has ended.
    pub(super) fn error(&self) -> Option<PipelineError> {
        let mut state = self.shared.lock();
        let dropped = || (self.shared.stage.clone(), End::Down(Down::Aborted));
        let ended = state.ended.take();
        let (upstream, end) = ended.or_else(|| (!state.finished).then(dropped))?;
        Some(PipelineError::UpstreamEnded {
            stage: self.shared.stage.clone(),
            upstream,
            end,
        })
    }
}

impl<E> State<E> {
    /// The reader, who has nothing left, takes what is held out.
    fn hand_over(&mut self, taken: &mut BatchQueue<E>) {
        if !self.offered.is_empty() {
            let offered = mem::take(&mut self.offered).into_queue();
            self.emptied = mem::replace(taken, offered).into_batch().emptied();
        }
    }
}

impl<E> Shared<E> {
    fn hold_out(&self, batch: &mut Batch<E>) {
        let mut state = self.lock();
        let mut offered = mem::take(&mut state.emptied);
        offered.exchange(batch);
        state.offered = offered;
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
        let old = state.feed.replace(cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Drop for Offer<'_, E> {
    fn drop(&mut self) {
        let left = mem::take(&mut self.0.lock().offered);
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
        let mut state = self.shared.lock();
        state.reader_gone = true;
        let left = mem::take(&mut state.offered);
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
