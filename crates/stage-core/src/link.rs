use std::{collections::VecDeque, fmt, mem, sync::Arc};

use crate::{
    Batch, Demand,
    desk::Desk,
    doorbell::Doorbell,
    held_back::HeldBack,
    in_hand::Done,
    protocol::{Down, End, ExcessEvents, Reason},
    subscription::{SubscriptionInfo, Wish},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// What one subscription shares: batches on their way down, demand on its way up, and why it ended.
///
/// It cannot fill up: the sending side sends no more events than were asked for, and so there are
/// never more batches on their way than the window has events.
pub(crate) struct Link<E> {
    state: Mutex<State<E>>,
    /// Whether `state.cancelled` is set, to be seen at a glance.
    is_cancelled: AtomicBool,
    up: Bellpull,
    down: Bellpull,
    wish: Wish<E>,
}

struct State<E> {
    batches: VecDeque<Batch<E>>,
    /// What is too heavy to be on its way, if events are weighed.
    held_back: Option<Box<HeldBack<E>>>,
    /// Asked for, and not seen by the sending side yet.
    unseen: usize,
    /// Asked for, and not sent yet.
    due: usize,
    /// Events in `batches`.
    on_the_way: usize,
    /// Received, and not settled.
    in_hand: usize,
    /// The sending side has ended, after what it has sent.
    ended: Option<End>,
    /// The receiving side has gone, or somebody has cancelled: nothing more is to arrive.
    cancelled: Option<End>,
}

/// How one end of a link tells the other that there is news.
struct Bellpull {
    bell: Arc<Doorbell>,
    slot: usize,
    /// The stage that answers this bell.
    stage: Arc<str>,
}

/// The end of a link that sends events. Dropping it ends the flow, after what has been sent.
pub(crate) struct SendEnd<E>(Arc<Link<E>>);

/// The end of a link that receives events. Dropping it cancels, and drops what is on its way.
pub(crate) struct ReceiveEnd<E>(Arc<Link<E>>);

/// What the sending end finds.
pub(crate) enum Request {
    /// So many events are asked for, on top of what was. Perhaps none.
    Ask(Option<Demand>),
    /// Nothing is wanted any more.
    Cancel(End),
}

/// What the receiving end finds.
pub(crate) enum Arrival<E> {
    Events(Batch<E>),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End(End),
}

/// Counts of one link at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) due: usize,
    pub(crate) held_back: usize,
    pub(crate) on_the_way: usize,
    pub(crate) in_hand: usize,
    pub(crate) weight: usize,
}

impl Counts {
    pub(crate) fn is_in_flight(self) -> bool {
        self.held_back + self.on_the_way + self.in_hand > 0
    }
}

/// A link as those see it who only hold a handle, whatever its events are.
pub(crate) trait Control: Send + Sync {
    /// Asks for more; whether the subscription is still there to be asked of.
    fn ask(&self, demand: Demand) -> bool;

    /// Ends the subscription. What is on its way is dropped, and so nacked.
    fn cancel(&self, end: End);

    fn is_closed(&self) -> bool;

    fn counts(&self) -> Counts;

    fn info(&self) -> SubscriptionInfo;
}

/// Links two stages. What the subscription asks for at first is asked for. Nothing happens if
/// either has ended: then the end of the other is told.
pub(crate) fn connect<E: Send + 'static>(
    up: &Desk<SendEnd<E>>,
    down: &Desk<ReceiveEnd<E>>,
    mut wish: Wish<E>,
) {
    wish.terms = wish.terms.subscriber(down.id);
    let Some(down_slot) = down.reserve() else {
        return;
    };
    let up_slot = up.reserve();
    let first = wish.asking.first_ask();
    let scale = wish.scale.as_ref();
    let held_back = scale.map(|scale| Box::new(HeldBack::new(scale.limit)));
    let link = Arc::new(Link {
        state: Mutex::new(State {
            batches: VecDeque::new(),
            held_back,
            unseen: first,
            due: first,
            on_the_way: 0,
            in_hand: 0,
            ended: None,
            cancelled: None,
        }),
        is_cancelled: AtomicBool::new(false),
        up: Bellpull::new(&up.bell, up_slot.unwrap_or_default(), &up.stage),
        down: Bellpull::new(&down.bell, down_slot, &down.stage),
        wish,
    });
    let control = Arc::downgrade(&link);
    link.wish.handle.bind(control.clone());
    down.enter(control);
    let sender = SendEnd(Arc::clone(&link));
    // If that stage has ended meanwhile, dropping its end tells the other.
    drop(down.hand_in(down_slot, ReceiveEnd(link)));
    let unwanted = match up_slot {
        Some(slot) => up.hand_in(slot, sender),
        None => Some(sender),
    };
    if let Some(sender) = unwanted {
        sender.close(End::Cancelled(Reason::NoProducer));
    }
}

impl<E> SendEnd<E> {
    /// Takes what the other side has asked for since the last call.
    pub(crate) fn request(&self) -> Request {
        let mut state = self.0.lock();
        match &state.cancelled {
            Some(end) => Request::Cancel(end.clone()),
            None => Request::Ask(Demand::new(mem::take(&mut state.unseen))),
        }
    }

    /// Sends events, or holds back what is too heavy. If the other side has gone, they are dropped.
    ///
    /// # Errors
    ///
    /// If they are more than were asked for: the stage has broken the protocol. They are dropped.
    pub(crate) fn send(&self, batch: Batch<E>) -> Result<(), ExcessEvents> {
        let scale = self.0.wish.scale.as_ref();
        // Not under the lock: it is somebody else's code.
        let weights = scale.map(|scale| scale.weigh(&batch));
        let mut state = self.0.lock();
        if state.cancelled.is_some() {
            drop(state);
            drop(batch);
            return Ok(());
        }
        if batch.len() > state.due {
            let asked = state.due;
            drop(state);
            return Err(ExcessEvents {
                asked,
                received: batch.len(),
            });
        }
        // Demand without bound stays without bound.
        if state.due != usize::MAX {
            state.due -= batch.len();
        }
        match (&mut state.held_back, weights) {
            (Some(held_back), Some(weights)) => {
                held_back.hold(batch, weights);
                state.release();
            }
            _ => state.send(batch),
        }
        drop(state);
        self.0.down.pull();
        Ok(())
    }

    /// Ends the flow, after what has been sent.
    pub(crate) fn close(self, end: End) {
        self.0.lock().ended.get_or_insert(end);
    }

    pub(crate) fn wish(&self) -> &Wish<E> {
        &self.0.wish
    }

    /// The stage at the other end.
    pub(crate) fn peer(&self) -> &Arc<str> {
        &self.0.down.stage
    }
}

impl<E> Drop for SendEnd<E> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended.get_or_insert(End::Down(Down::Aborted));
        drop(state);
        self.0.down.pull();
    }
}

impl<E> ReceiveEnd<E> {
    /// Takes the next batch.
    pub(crate) fn receive(&self) -> Arrival<E> {
        let mut state = self.0.lock();
        if let Some(end) = &state.cancelled {
            return Arrival::End(end.clone());
        }
        match (state.batches.pop_front(), &state.ended) {
            (Some(batch), _) => {
                state.on_the_way -= batch.len();
                state.in_hand += batch.len();
                Arrival::Events(batch)
            }
            (None, Some(end)) if state.held_back() == 0 => Arrival::End(end.clone()),
            (None, _) => Arrival::Nothing,
        }
    }

    /// How it ended, if nothing more is to be received.
    pub(crate) fn ended(&self) -> Option<End> {
        let state = self.0.lock();
        let emptied = state.batches.is_empty() && state.held_back() == 0;
        let ended = state.ended.as_ref().filter(|_| emptied);
        state.cancelled.as_ref().or(ended).cloned()
    }

    /// What the next so many events weigh, that are to be dealt with, if that matters.
    pub(crate) fn hand_over(&self, events: usize) -> Option<VecDeque<usize>> {
        if !self.is_weighed() {
            return None;
        }
        let mut state = self.0.lock();
        let held_back = state.held_back.as_mut();
        held_back.map(|held_back| held_back.hand_over(events))
    }

    pub(crate) fn is_weighed(&self) -> bool {
        self.0.wish.scale.is_some()
    }

    /// Takes note that events of this weight were dealt with, and asks for more.
    pub(crate) fn settle(&self, Done { events, weight }: Done, ask: Option<Demand>) {
        let mut state = self.0.lock();
        state.in_hand -= events;
        if let Some(held_back) = &mut state.held_back {
            held_back.settle(weight);
        }
        let released = state.release();
        if let Some(demand) = ask {
            state.ask(demand);
        }
        drop(state);
        if released {
            self.0.down.pull();
        }
        if ask.is_some() {
            self.0.up.pull();
        }
    }

    /// How many events were sent to this end and are not settled.
    pub(crate) fn open(&self) -> usize {
        let state = self.0.lock();
        state.held_back() + state.on_the_way + state.in_hand
    }

    /// Whether nothing more is to be taken in, not even what has come.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Acquire)
    }

    /// Says why it goes, which dropping does not.
    pub(crate) fn cancel(&self, end: End) {
        self.0.cancel_with(end);
    }

    pub(crate) fn wish(&self) -> &Wish<E> {
        &self.0.wish
    }

    /// The stage at the other end.
    pub(crate) fn peer(&self) -> &Arc<str> {
        &self.0.up.stage
    }
}

impl<E> Drop for ReceiveEnd<E> {
    fn drop(&mut self) {
        self.0.cancel_with(End::Cancelled(Reason::Dropped));
    }
}

impl<E> State<E> {
    fn send(&mut self, batch: Batch<E>) {
        self.on_the_way += batch.len();
        self.batches.push_back(batch);
    }

    /// Sends what needs to be held back no longer; whether there is any.
    fn release(&mut self) -> bool {
        let held_back = self.held_back.as_mut();
        let Some(batch) = held_back.and_then(|held_back| held_back.release()) else {
            return false;
        };
        self.send(batch);
        true
    }

    /// How many events are held back.
    fn held_back(&self) -> usize {
        self.held_back
            .as_ref()
            .map_or(0, |held_back| held_back.len())
    }

    /// Asking for more than can be counted is asking without bound.
    fn ask(&mut self, demand: Demand) {
        self.unseen = self.unseen.saturating_add(demand.get());
        self.due = self.due.saturating_add(demand.get());
    }
}

impl<E> Link<E> {
    fn ask(&self, demand: Demand) -> bool {
        let mut state = self.lock();
        if state.cancelled.is_some() || state.ended.is_some() {
            return false;
        }
        state.ask(demand);
        drop(state);
        self.up.pull();
        true
    }

    fn cancel_with(&self, end: End) {
        let mut state = self.lock();
        if state.cancelled.is_some() {
            return;
        }
        state.cancelled = Some(end);
        self.is_cancelled.store(true, Ordering::Release);
        state.on_the_way = 0;
        let lost = (mem::take(&mut state.batches), state.held_back.take());
        drop(state);
        // Outside the lock: what is dropped may have receipts, and those call their source.
        drop(lost);
        self.up.pull();
        self.down.pull();
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Send> Control for Link<E> {
    fn ask(&self, demand: Demand) -> bool {
        Self::ask(self, demand)
    }

    fn cancel(&self, end: End) {
        self.cancel_with(end);
    }

    fn is_closed(&self) -> bool {
        let state = self.lock();
        state.cancelled.is_some() || state.ended.is_some()
    }

    fn counts(&self) -> Counts {
        let state = self.lock();
        Counts {
            due: state.due,
            held_back: state.held_back(),
            on_the_way: state.on_the_way,
            in_hand: state.in_hand,
            weight: state
                .held_back
                .as_ref()
                .map_or(0, |held_back| held_back.weight()),
        }
    }

    fn info(&self) -> SubscriptionInfo {
        self.wish.info(&self.up.stage, &self.down.stage)
    }
}

impl Bellpull {
    fn new(bell: &Arc<Doorbell>, slot: usize, stage: &Arc<str>) -> Self {
        Self {
            bell: Arc::clone(bell),
            slot,
            stage: Arc::clone(stage),
        }
    }

    fn pull(&self) {
        self.bell.ring(self.slot);
    }
}

impl<E> fmt::Debug for SendEnd<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendEnd(to {})", self.0.down.stage)
    }
}

impl<E> fmt::Debug for ReceiveEnd<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiveEnd(from {})", self.0.up.stage)
    }
}
