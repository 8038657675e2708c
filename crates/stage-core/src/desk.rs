use std::{
    fmt, mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::oneshot;

use crate::{
    doorbell::Doorbell,
    line::Line,
    link::Control,
    seat::Seat,
    sync::{Mutex, MutexGuard, PoisonError},
    weaks::Weaks,
};

/// The slot of a [`Doorbell`] that stands for the desk itself.
pub(crate) const DESK: usize = 0;

/// Where one side of a stage takes new links in, also while it runs.
pub(crate) struct Desk<L> {
    pub(crate) bell: Doorbell,
    /// Of the stage.
    pub(crate) seat: Arc<Seat>,
    /// Tells this desk from all others.
    pub(crate) id: u64,
    state: Mutex<State<L>>,
}

struct State<L> {
    /// Links that the stage has not seen yet, by slot.
    arrivals: Line<(usize, L)>,
    /// Slots below the next whose link has gone.
    free: Vec<usize>,
    next_slot: usize,
    /// Some link was given a slot.
    ever_used: bool,
    /// How many others may still bring links.
    expecting: usize,
    /// Whatever they may, no links are to be waited for.
    expects_nobody: bool,
    /// Every link that was ever handed in and is still there, for those who look on.
    links: Weaks<dyn Control>,
    /// Whom to tell when the stage has dealt with all that it has now.
    notices: Vec<Notice>,
    /// The stage has ended.
    closed: bool,
    stopping: bool,
    leaving: bool,
    held: bool,
}

/// Tells whoever asked that everything before it has been dealt with.
pub(crate) type Notice = oneshot::Sender<()>;

/// What the stage finds at its desk.
pub(crate) struct News<L> {
    pub(crate) arrivals: Line<(usize, L)>,
    /// Whether more links may come.
    pub(crate) expecting: bool,
    /// Whether none may come any more, by no means.
    pub(crate) expects_nobody: bool,
    pub(crate) notices: Vec<Notice>,
    /// Whether the stage has been told to stop.
    pub(crate) stopping: bool,
    /// Whether the stage has been told to take nothing more in.
    pub(crate) leaving: bool,
    /// Whether the stage is to make no events for the time being.
    pub(crate) held: bool,
}

impl<L> Desk<L> {
    /// A desk with its first news already announced: that there may be nobody.
    pub(crate) fn new(seat: &Arc<Seat>) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            bell: Doorbell::rung(DESK),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            seat: Arc::clone(seat),
            state: Mutex::new(State {
                arrivals: Line::new(),
                links: Weaks::new(),
                notices: Vec::new(),
                leaving: false,
                held: false,
                free: Vec::new(),
                next_slot: DESK + 1,
                ever_used: false,
                expecting: 0,
                expects_nobody: false,
                closed: false,
                stopping: false,
            }),
        })
    }

    /// The name of the stage.
    pub(crate) fn stage(&self) -> &Arc<str> {
        self.seat.stage()
    }

    /// Keeps a slot for a new link; `None` if the stage has ended.
    pub(crate) fn reserve(&self) -> Option<usize> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.ever_used = true;
        if let Some(slot) = state.free.pop() {
            return Some(slot);
        }
        state.next_slot += 1;
        Some(state.next_slot - 1)
    }

    /// Hands a link in for a slot that was reserved, and lets those who look on see it by `control`, if
    /// that is given. Gives it back if the stage has ended meanwhile.
    pub(crate) fn hand_in(
        &self,
        slot: usize,
        link: L,
        control: Option<Weak<dyn Control>>,
    ) -> Option<L> {
        let mut state = self.lock();
        if state.closed {
            return Some(link);
        }
        state.arrivals.push((slot, link));
        if let Some(control) = control {
            state.links.add(control);
        }
        // Whoever hears the bell looks here after that, and so after this.
        let is_announced = self.bell.has_rung(DESK);
        drop(state);
        if !is_announced {
            self.bell.ring(DESK);
        }
        None
    }

    /// The links that are there.
    pub(crate) fn links(&self) -> Vec<Arc<dyn Control>> {
        self.lock().links.iter().collect()
    }

    /// Gives a slot back whose link has gone.
    pub(crate) fn release(&self, slot: usize) {
        let mut state = self.lock();
        if slot + 1 == state.next_slot {
            state.next_slot = slot;
        } else {
            state.free.push(slot);
        }
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
        state.ever_used || state.expecting > 0
    }

    /// Whether the stage has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Tells the stage to end: one that makes events, to make no more of them; one that takes events
    /// in, to wait for no other stage.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.bell.ring(DESK);
    }

    /// Tells the stage to wait for no links that it has not been given yet.
    pub(crate) fn expect_nobody(&self) {
        self.lock().expects_nobody = true;
        self.bell.ring(DESK);
    }

    /// Tells a stage that takes events in to take no more.
    pub(crate) fn leave(&self) {
        self.lock().leaving = true;
        self.bell.ring(DESK);
    }

    /// Tells the stage to make no events until it is told otherwise.
    pub(crate) fn hold(&self, held: bool) {
        self.lock().held = held;
        self.bell.ring(DESK);
    }

    /// Has `notice` told when the stage has dealt with all that it has now; at once if it has ended.
    pub(crate) fn notify(&self, notice: Notice) {
        let mut state = self.lock();
        if state.closed {
            // Nobody waits any more if this fails.
            let _ = notice.send(());
            return;
        }
        state.notices.push(notice);
        drop(state);
        self.bell.ring(DESK);
    }

    pub(crate) fn news(&self) -> News<L> {
        let mut state = self.lock();
        News {
            arrivals: mem::take(&mut state.arrivals),
            notices: mem::take(&mut state.notices),
            expecting: state.expecting > 0 && !state.expects_nobody,
            expects_nobody: state.expects_nobody,
            stopping: state.stopping,
            leaving: state.leaving,
            held: state.held,
        }
    }

    /// Refuses links from now on, and drops those that were not seen yet.
    pub(crate) fn close(&self) {
        self.close_with(drop);
    }

    /// Refuses links from now on, and does `last` with those that were not seen yet.
    pub(crate) fn close_with(&self, last: impl Fn(L)) {
        let mut state = self.lock();
        state.closed = true;
        let unseen = mem::take(&mut state.arrivals);
        let notices = mem::take(&mut state.notices);
        drop(state);
        for (_, link) in unseen {
            last(link);
        }
        for notice in notices {
            // Nobody waits any more if this fails.
            let _ = notice.send(());
        }
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
