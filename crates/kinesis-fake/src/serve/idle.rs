use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::Id,
    time::{Instant, sleep},
};

/// Whether a connection has a request in hand, and since when it has none.
#[derive(Debug)]
pub(super) struct Idle {
    state: Mutex<State>,
    /// Others want its seat.
    asked: Notify,
}

#[derive(Debug)]
struct State {
    in_hand: usize,
    /// How many of these are subscriptions that have begun.
    subscribed: usize,
    since: Instant,
    /// It has been asked to go, and nothing has come since.
    goes: bool,
}

/// A request in hand: from its first line until its answer has been written or given up.
pub(super) struct InHand {
    of: Arc<Idle>,
    subscribed: bool,
}

impl Idle {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                in_hand: 0,
                subscribed: 0,
                since: Instant::now(),
                goes: false,
            }),
            asked: Notify::new(),
        }
    }

    pub(super) fn begin(self: &Arc<Self>) -> InHand {
        let mut state = self.state();
        state.in_hand += 1;
        state.goes = false;
        drop(state);
        InHand {
            of: Arc::clone(self),
            subscribed: false,
        }
    }

    /// How many requests there are in hand.
    pub(super) fn in_hand(&self) -> usize {
        self.state().in_hand
    }

    /// Completes once it is to make room for others and has no request in hand.
    pub(super) async fn must_go(&self) {
        loop {
            self.asked.notified().await;
            if self.state().goes {
                return;
            }
        }
    }

    /// Completes once there has been nothing in hand but subscriptions, twice at least, so long from one
    /// time to the next.
    pub(super) async fn only_subscribed_for(&self, span: Duration) {
        let only_subscribed = || {
            let state = self.state();
            state.in_hand == state.subscribed
        };
        loop {
            let before = only_subscribed();
            sleep(span).await;
            if before && only_subscribed() {
                return;
            }
        }
    }

    fn go(&self) {
        self.state().goes = true;
        self.asked.notify_one();
    }

    /// Since when it has been idle, if it is and has not been asked to go.
    fn since(&self) -> Option<Instant> {
        let state = self.state();
        (state.in_hand == 0 && !state.goes).then_some(state.since)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InHand {
    /// It is a subscription, and has begun.
    pub(super) fn subscribed(&mut self) {
        self.of.state().subscribed += 1;
        self.subscribed = true;
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut state = self.of.state();
        state.in_hand -= 1;
        state.subscribed -= usize::from(self.subscribed);
        state.since = Instant::now();
    }
}

impl fmt::Debug for InHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InHand")
    }
}

/// The connections that are attended to.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: HashMap<Id, Arc<Idle>>,
}

impl Seats {
    pub(super) fn take(&mut self, id: Id, idle: Arc<Idle>) {
        self.taken.insert(id, idle);
    }

    pub(super) fn leave(&mut self, id: Id) {
        self.taken.remove(&id);
    }

    /// Has the connection go that is idle for longest, if that is long enough: whether there is one.
    pub(super) fn make_room(&self) -> bool {
        let idle = self.taken.values();
        let idle = idle.filter_map(|it| Some((it.since()?, it)));
        match idle.min_by_key(|(since, _)| *since) {
            Some((since, idle)) if since + LONG <= Instant::now() => {
                tracing::debug!("a connection is idle while another comes: it is let go");
                idle.go();
                true
            }
            _ => false,
        }
    }
}

/// So long, a connection may be idle though there is no seat for another. Clients that keep one for
/// later find it there for a while, and open another if not.
pub(super) const LONG: Duration = Duration::from_secs(10);
