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

/// For how long it is held.
enum Held {
    ForGood,
    Until(Instant),
    Over(Option<ShardSubscription>),
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
        match slot.let_go(now, let_go_after) {
            // Not while it is locked: its end may wake others.
            Held::Over(events) => return drop(events),
            Held::Until(moment) => sleep_until(moment).await,
            Held::ForGood => return,
        }
    }
}

impl Slot {
    /// Lets it go, if it has not been read for so long. That is seen and done in one step: whoever begins to read meanwhile
    /// would not hear of it.
    fn let_go(&self, now: Instant, after: Duration) -> Held {
        let mut state = self.lock();
        let since = state.unread_since.unwrap_or(now);
        match since.checked_add(after) {
            None => Held::ForGood,
            Some(until) if until > now => Held::Until(until),
            Some(_) => Held::Over(state.events.take()),
        }
    }

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

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Context};

    use super::*;

    /// One that says nothing yet.
    struct Silent;

    impl Stream for Silent {
        type Item = Result<SubscribeEvent, ApiError>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Pending
        }
    }

    /// Whoever begins to read when it is about to be let go either has it, or hears at once that it has gone.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[expect(
        clippy::disallowed_methods,
        reason = "threads meet by chance, in real time"
    )]
    async fn nobody_waits_for_one_that_was_let_go_meanwhile() {
        const LET_GO_AFTER: Duration = Duration::from_millis(1);
        const ROUNDS: u64 = 1_000;
        let runtime = tokio::runtime::Handle::current();
        // Whoever looks at it now and then has those who take its lock twice wait in between, as a busy machine does.
        let looked_at = Arc::new(Mutex::new(None::<Arc<Slot>>));
        let looking = Arc::downgrade(&looked_at);
        std::thread::spawn(move || {
            while let Some(slot) = looking.upgrade() {
                let slot = slot.lock().unwrap().clone();
                let state = slot.as_ref().map(|slot| slot.lock());
                let begin = std::time::Instant::now();
                while begin.elapsed() < Duration::from_micros(20) {
                    std::hint::spin_loop();
                }
                drop(state);
            }
        });
        let reading = std::thread::spawn(move || {
            let _runtime = runtime.enter();
            let (budget, shard) = (ByteBudget::default(), "s".into());
            let mut in_vain = 0;
            for round in 0..ROUNDS {
                let events = ShardSubscription::new(Silent);
                let begin = std::time::Instant::now();
                let mut held = HeldSubscription::new(events, LET_GO_AFTER);
                let slot = Arc::clone(&held.slot);
                *looked_at.lock().unwrap() = Some(Arc::clone(&slot));
                let moment = Duration::from_nanos(1_000_000 + round * 104_729 % 1_400_000);
                while begin.elapsed() < moment {
                    std::hint::spin_loop();
                }
                let mut said = pin!(held.next(&shard, &budget, 1, None));
                let mut context = Context::from_waker(std::task::Waker::noop());
                let is_waiting = said.as_mut().poll(&mut context).is_pending();
                std::thread::sleep(Duration::from_micros(300));
                // It is held as long as it is waited for.
                in_vain += u64::from(is_waiting && slot.lock().events.is_none());
            }
            in_vain
        });
        let in_vain = tokio::task::spawn_blocking(|| reading.join().unwrap()).await;
        assert_eq!(in_vain.unwrap(), 0, "of {ROUNDS} readers wait in vain");
    }
}
