use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use futures_core::Stream;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    ApiError, ByteBudget, ShardId, ShardSubscription, SubscribeEvent,
    arrival::Survey,
    byte_budget::{Charge, Grant},
};

/// A subscription that is let go once nobody has read it for some time, also while its reader does
/// nothing.
///
/// What is sent and not read takes room on a connection that others share.
#[derive(Debug)]
pub(crate) struct HeldSubscription {
    slot: Arc<Slot>,
    /// Ends with it.
    _watch: JoinSet<()>,
}

#[derive(Debug)]
struct Slot(Mutex<State>);

#[derive(Debug)]
struct State {
    events: Option<ShardSubscription>,
    /// `None` while somebody reads.
    unread_since: Option<Instant>,
}

/// What a subscription has to say.
#[derive(Debug)]
pub(crate) enum Said {
    /// With what its records take of the budget.
    Event(SubscribeEvent, Survey, Charge),
    /// It was the last that it said.
    Failed(ApiError),
    Ended,
    /// It was let go.
    LetGo,
    /// There is no room for what it may say.
    NoRoom,
}

/// Somebody reads.
struct Reading<'a>(&'a Slot);

impl HeldSubscription {
    pub(crate) fn new(events: ShardSubscription, let_go_after: Duration) -> Self {
        let slot = Arc::new(Slot(Mutex::new(State {
            events: Some(events),
            unread_since: Some(Instant::now()),
        })));
        let mut watch = JoinSet::new();
        watch.spawn(watch_over(Arc::clone(&slot), let_go_after));
        Self {
            slot,
            _watch: watch,
        }
    }

    /// Waits for what it says next, about so many bytes. It is not listened to while there is no room
    /// for that; nor is any kept for it while it says nothing, which may be for long. `grant` is room
    /// that has been waited for. Safe to cancel.
    pub(crate) async fn next(
        &mut self,
        shard: &ShardId,
        budget: &ByteBudget,
        expected: u64,
        mut grant: Option<Grant>,
    ) -> Said {
        let _reading = Reading::of(&self.slot);
        poll_fn(|context| {
            let Some(grant) = grant.take().or_else(|| budget.try_reserve(expected)) else {
                return Poll::Ready(Said::NoRoom);
            };
            let mut state = self.slot.lock();
            let Some(events) = &mut state.events else {
                return Poll::Ready(Said::LetGo);
            };
            Pin::new(events).poll_next(context).map(|said| match said {
                Some(Ok(event)) => {
                    let survey = Survey::of(&event.records, shard);
                    let charge = grant.answered(survey.taken);
                    Said::Event(event, survey, charge)
                }
                Some(Err(error)) => Said::Failed(error),
                None => Said::Ended,
            })
        })
        .await
    }
}

/// Lets it go when it has not been read for so long.
async fn watch_over(slot: Arc<Slot>, let_go_after: Duration) {
    loop {
        let now = Instant::now();
        let since = slot.lock().unread_since.unwrap_or(now);
        let Some(until) = since.checked_add(let_go_after) else {
            return; // Never.
        };
        if until > now {
            sleep_until(until).await;
            continue;
        }
        let let_go = slot.lock().events.take();
        // Not while it is locked: its end may wake others.
        drop(let_go);
        return;
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Reading<'a> {
    fn of(slot: &'a Slot) -> Self {
        slot.lock().unread_since = None;
        Self(slot)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.lock().unread_since = Some(Instant::now());
    }
}
