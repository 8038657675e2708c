use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Batch, Demand, Window, desk::Desk, doorbell::Doorbell};

/// What one subscription shares: batches on their way down, demand on its way up.
///
/// It cannot fill up: the sending side sends no more events than were asked for, and so there are
/// never more batches on their way than the window has events.
struct Link<E> {
    state: Mutex<State<E>>,
    up: Bellpull,
    down: Bellpull,
}

struct State<E> {
    batches: VecDeque<Batch<E>>,
    /// Asked for, and not seen by the sending side yet.
    asked: usize,
    /// The sending side has ended.
    ended: bool,
    /// The receiving side has gone.
    gone: bool,
}

/// How one end of a link tells the other that there is news.
struct Bellpull {
    bell: Arc<Doorbell>,
    slot: usize,
}

/// The end of a link that sends events. Dropping it ends the flow, after what has been sent.
pub(crate) struct SendEnd<E>(Arc<Link<E>>);

/// The end of a link that receives events. Dropping it cancels, and drops what is on its way.
pub(crate) struct ReceiveEnd<E> {
    link: Arc<Link<E>>,
    pub(crate) window: Window,
}

/// What the sending end finds.
pub(crate) enum Request {
    /// So many events are asked for, on top of what was. Perhaps none.
    Ask(Option<Demand>),
    /// The receiving side has gone.
    Cancel,
}

/// What the receiving end finds.
pub(crate) enum Arrival<E> {
    Events(Batch<E>),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End,
}

/// Links two stages. The whole window is asked for. Nothing happens if either has ended.
pub(crate) fn connect<E>(
    up: &Desk<SendEnd<E>>,
    down: &Desk<ReceiveEnd<E>>,
    window: Window,
) -> bool {
    let (Some(up_slot), Some(down_slot)) = (up.reserve(), down.reserve()) else {
        return false;
    };
    let link = Arc::new(Link {
        state: Mutex::new(State {
            batches: VecDeque::new(),
            asked: window.max(),
            ended: false,
            gone: false,
        }),
        up: Bellpull::new(&up.bell, up_slot),
        down: Bellpull::new(&down.bell, down_slot),
    });
    let receive = ReceiveEnd {
        link: Arc::clone(&link),
        window,
    };
    down.hand_in(down_slot, receive);
    up.hand_in(up_slot, SendEnd(link));
    true
}

impl<E> SendEnd<E> {
    /// Takes what the other side has asked for since the last call.
    pub(crate) fn request(&self) -> Request {
        let mut state = self.0.lock();
        if state.gone {
            return Request::Cancel;
        }
        Request::Ask(Demand::new(mem::take(&mut state.asked)))
    }

    /// Sends events. If the other side has gone, they are dropped.
    pub(crate) fn send(&self, batch: Batch<E>) {
        let mut state = self.0.lock();
        if state.gone {
            drop(state);
            drop(batch);
            return;
        }
        state.batches.push_back(batch);
        drop(state);
        self.0.down.pull();
    }
}

impl<E> Drop for SendEnd<E> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.down.pull();
    }
}

impl<E> ReceiveEnd<E> {
    /// Takes the next batch.
    pub(crate) fn receive(&self) -> Arrival<E> {
        let mut state = self.link.lock();
        match state.batches.pop_front() {
            Some(batch) => Arrival::Events(batch),
            None if state.ended => Arrival::End,
            None => Arrival::Nothing,
        }
    }

    /// Asks for more.
    pub(crate) fn ask(&self, demand: Demand) {
        self.link.lock().asked += demand.get();
        self.link.up.pull();
    }
}

impl<E> Drop for ReceiveEnd<E> {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.gone = true;
        let lost = mem::take(&mut state.batches);
        drop(state);
        // Outside the lock: what is dropped may have receipts, and those call their source.
        drop(lost);
        self.link.up.pull();
    }
}

impl<E> Link<E> {
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bellpull {
    fn new(bell: &Arc<Doorbell>, slot: usize) -> Self {
        Self {
            bell: Arc::clone(bell),
            slot,
        }
    }

    fn pull(&self) {
        self.bell.ring(self.slot);
    }
}

impl<E> fmt::Debug for SendEnd<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendEnd({})", self.0.up.slot)
    }
}

impl<E> fmt::Debug for ReceiveEnd<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiveEnd({})", self.link.down.slot)
    }
}
