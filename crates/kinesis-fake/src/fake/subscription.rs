use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use kinesis_source::SubscribeEvent;
use tokio::time::{Sleep, sleep_until};

use super::Fake;
use crate::{
    failure::Failure,
    model::{Refusal, Sent, SubscriptionId},
};

/// A subscription's events, as the model sends them and at their times.
///
/// Nothing is sent ahead: an event is made when it is asked for. Dropping it ends the subscription.
pub(crate) struct Subscription {
    fake: Fake,
    source: Source,
    /// Not before it is needed: it takes a runtime with a clock.
    timer: Option<Pin<Box<Sleep>>>,
}

enum Source {
    Model(SubscriptionId),
    /// All that it will say, if it has not said it.
    Refused(Option<Refusal>),
}

impl Subscription {
    pub(super) fn new(fake: Fake, id: SubscriptionId) -> Self {
        Self::of(fake, Source::Model(id))
    }

    /// One that only says that there is none.
    pub(super) fn refused(fake: Fake, refusal: Refusal) -> Self {
        Self::of(fake, Source::Refused(Some(refusal)))
    }

    fn of(fake: Fake, source: Source) -> Self {
        Self {
            fake,
            source,
            timer: None,
        }
    }

    /// What there is to say now. If that is nothing, `context` is woken by news of it.
    fn ask(&self, id: SubscriptionId, context: &Context<'_>) -> Sent {
        let mut state = self.fake.lock();
        let sent = state.service.next_event(id, self.fake.moment());
        let former = match sent {
            Sent::Nothing { .. } => state.wakers.insert(id, context.waker().clone()),
            _ => None,
        };
        // A waker may hold what holds a fake: none is dropped while the account is locked.
        drop(state);
        drop(former);
        sent
    }
}

impl Stream for Subscription {
    type Item = Result<SubscribeEvent, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let id = match &mut self.source {
            Source::Model(id) => *id,
            Source::Refused(refusal) => {
                return Poll::Ready(refusal.take().map(|refusal| Err(Failure::Refused(refusal))));
            }
        };
        loop {
            let until = match self.ask(id, context) {
                Sent::Event(event) => return Poll::Ready(Some(Ok(event))),
                Sent::Failed(refusal) => return Poll::Ready(Some(Err(Failure::Refused(refusal)))),
                Sent::Broken => return Poll::Ready(Some(Err(Failure::Lost))),
                Sent::Ended => return Poll::Ready(None),
                Sent::Nothing { until } => until,
            };
            // News wake it, or the clock if that is moved by hand.
            let until = until.and_then(|until| self.fake.account.clock.instant(until));
            let Some(until) = until else {
                return Poll::Pending;
            };
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            if timer.deadline() != until {
                timer.as_mut().reset(until);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Source::Model(id) = self.source {
            let mut state = self.fake.lock();
            let waker = state.wakers.remove(&id);
            state.service.unsubscribe(id);
            drop(state);
            drop(waker);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}
