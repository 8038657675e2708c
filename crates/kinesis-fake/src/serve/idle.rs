use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::Id,
    time::{Instant, sleep_until},
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
    since: Instant,
}

/// A request in hand: from its first line until its answer has been written or given up.
pub(super) struct InHand(Arc<Idle>);

impl Idle {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                in_hand: 0,
                since: Instant::now(),
            }),
            asked: Notify::new(),
        }
    }

    pub(super) fn begin(self: &Arc<Self>) -> InHand {
        self.state().in_hand += 1;
        InHand(Arc::clone(self))
    }

    /// Completes once it is to make room for others and has no request in hand.
    pub(super) async fn must_go(&self) {
        loop {
            self.asked.notified().await;
            if self.since().is_some() {
                return;
            }
        }
    }

    fn since(&self) -> Option<Instant> {
        let state = self.state();
        (state.in_hand == 0).then_some(state.since)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_hand -= 1;
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

    /// Has the connection go that is idle for longest, once that is long enough. It goes on for ever;
    /// dropped, nothing is lost.
    pub(super) async fn make_room(&self) {
        loop {
            let idle = self.taken.values();
            let idle = idle.filter_map(|it| Some((it.since()?, it)));
            let oldest = idle.min_by_key(|(since, _)| *since);
            let now = Instant::now();
            let again = match oldest {
                Some((since, idle)) if since + LONG <= now => {
                    tracing::warn!("a connection is idle while others wait: it is let go");
                    idle.asked.notify_one();
                    now + SOON
                }
                Some((since, _)) => since + LONG,
                None => now + SOON,
            };
            sleep_until(again).await;
        }
    }
}

/// So long, a connection may be idle though others wait. Clients that keep one for later find it
/// there for a while, and open another if not.
pub(super) const LONG: Duration = Duration::from_secs(10);
/// Until it is looked again at who may go.
const SOON: Duration = Duration::from_millis(100);
