use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::doorbell::Doorbell;

/// The slot of a [`Doorbell`] that stands for the desk itself.
pub(crate) const DESK: usize = 0;

/// Where one side of a stage takes new links in, also while it runs.
pub(crate) struct Desk<L> {
    pub(crate) bell: Arc<Doorbell>,
    state: Mutex<State<L>>,
}

struct State<L> {
    /// Links that the stage has not seen yet, by slot.
    arrivals: Vec<(usize, L)>,
    /// Slots whose link has gone.
    free: Vec<usize>,
    next_slot: usize,
    /// How many others may still bring links.
    expecting: usize,
    /// The stage has ended.
    closed: bool,
    stopping: bool,
}

/// What the stage finds at its desk.
pub(crate) struct News<L> {
    pub(crate) arrivals: Vec<(usize, L)>,
    /// Whether more links may come.
    pub(crate) expecting: bool,
    /// Whether the pipeline has been told to stop.
    pub(crate) stopping: bool,
}

impl<L> Desk<L> {
    /// A desk with its first news already announced: that there may be nobody.
    pub(crate) fn new() -> Arc<Self> {
        let bell = Arc::<Doorbell>::default();
        bell.ring(DESK);
        Arc::new(Self {
            bell,
            state: Mutex::new(State {
                arrivals: Vec::new(),
                free: Vec::new(),
                next_slot: DESK + 1,
                expecting: 0,
                closed: false,
                stopping: false,
            }),
        })
    }

    /// Keeps a slot for a new link; `None` if the stage has ended.
    pub(crate) fn reserve(&self) -> Option<usize> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        if let Some(slot) = state.free.pop() {
            return Some(slot);
        }
        state.next_slot += 1;
        Some(state.next_slot - 1)
    }

    /// Hands a link in for a slot that was reserved. If the stage has ended meanwhile, the link is
    /// dropped, which tells its other end.
    pub(crate) fn hand_in(&self, slot: usize, link: L) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            drop(link);
            return;
        }
        state.arrivals.push((slot, link));
        drop(state);
        self.bell.ring(DESK);
    }

    /// Gives a slot back whose link has gone.
    pub(crate) fn release(&self, slot: usize) {
        self.lock().free.push(slot);
    }

    /// Somebody else may bring links from now on.
    pub(crate) fn expect(&self) {
        self.lock().expecting += 1;
    }

    /// One of those will bring no more.
    pub(crate) fn expect_no_more(&self) {
        self.lock().expecting -= 1;
        self.bell.ring(DESK);
    }

    /// Whether any link was ever handed in, or may come.
    pub(crate) fn is_in_use(&self) -> bool {
        let state = self.lock();
        state.next_slot > DESK + 1 || state.expecting > 0
    }

    /// Tells the stage to make no more events.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.bell.ring(DESK);
    }

    pub(crate) fn news(&self) -> News<L> {
        let mut state = self.lock();
        News {
            arrivals: mem::take(&mut state.arrivals),
            expecting: state.expecting > 0,
            stopping: state.stopping,
        }
    }

    /// Refuses links from now on, and drops those that were not seen yet.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let unseen = mem::take(&mut state.arrivals);
        drop(state);
        drop(unseen);
    }

    fn lock(&self) -> MutexGuard<'_, State<L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L> fmt::Debug for Desk<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Desk")
            .field("arrivals", &state.arrivals.len())
            .field("expecting", &state.expecting)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}
