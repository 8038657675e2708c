use std::{collections::VecDeque, fmt, mem, sync::Arc};

use rtrb::{PushError, RingBuffer};

use crate::{
    Batch, Demand,
    desk::Desk,
    doorbell::Doorbell,
    held_back::HeldBack,
    in_hand::Done,
    protocol::{Down, End, ExcessEvents, Reason},
    spares::{Spares, is_worth_keeping},
    subscription::{Asking, SubscriptionInfo, Wish},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
};

/// What one subscription shares: batches on their way down, emptied storage and demand on their way
/// up, and why it ended.
///
/// It cannot fill up: the sending side sends no more events than were asked for, and so there are
/// never more batches on their way than the window has events. The ring has room for a few. If there
/// are more, they go to the crowd, all of them, until the receiving side has taken both.
pub(crate) struct Link<E> {
    /// Asked for in all. The largest number is without bound.
    asked: AtomicU64,
    /// Sent in all, or held back. Only the sending end changes it.
    sent: AtomicU64,
    /// Received in all. Only the receiving end changes it.
    received: AtomicU64,
    /// Dealt with in all. Only the receiving end changes it.
    settled: AtomicU64,
    /// Whether there is a crowd. While there is, the ring gets nothing.
    is_crowded: AtomicBool,
    /// Whether `state.ended` is set, to be seen at a glance.
    is_ended: AtomicBool,
    /// Whether `state.cancelled` is.
    is_cancelled: AtomicBool,
    /// Batches on their way. The receiving end takes them, and whoever cancels.
    inbound: Mutex<Inbound<E>>,
    state: Mutex<State<E>>,
    up: Bellpull,
    down: Bellpull,
    wish: Wish<E>,
}

struct Inbound<E> {
    ring: rtrb::Consumer<Batch<E>>,
    /// Those of the crowd that have not been received yet. They come before what is in the ring.
    taken: VecDeque<Batch<E>>,
}

/// What is not looked at while all goes well.
struct State<E> {
    /// Batches that the ring has no room for, and all that are weighed.
    crowd: VecDeque<Batch<E>>,
    /// What is too heavy to be on its way, if events are weighed.
    held_back: Option<Box<HeldBack<E>>>,
    /// The sending side has ended, after what it has sent.
    ended: Option<End>,
    /// The receiving side has gone, or somebody has cancelled: nothing more is to arrive.
    cancelled: Option<End>,
}

/// How many batches the ring has room for. There are seldom more than four on their way. Few, where
/// schedules are looked through for one in which it overflows.
const RING: usize = if cfg!(shuttle) { 2 } else { 8 };

/// How one end of a link tells the other that there is news.
struct Bellpull {
    bell: Arc<Doorbell>,
    slot: usize,
    /// The stage that answers this bell.
    stage: Arc<str>,
}

/// The end of a link that sends events. Dropping it ends the flow, after what has been sent.
pub(crate) struct SendEnd<E> {
    link: Arc<Link<E>>,
    ring: rtrb::Producer<Batch<E>>,
    /// Emptied storage that has come back.
    returned: rtrb::Consumer<Vec<E>>,
    /// How much of what is asked for it has seen.
    seen: u64,
}

/// The end of a link that receives events. Dropping it cancels, and drops what is on its way.
pub(crate) struct ReceiveEnd<E> {
    link: Arc<Link<E>>,
    returning: rtrb::Producer<Vec<E>>,
}

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
        self.open() > 0
    }

    /// Sent, and not settled.
    fn open(self) -> usize {
        self.held_back + self.on_the_way + self.in_hand
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
    let places = match wish.asking {
        Asking::Automatic(window) => window.max().min(RING),
        Asking::Manual => RING,
    };
    let (ring, incoming) = RingBuffer::new(places);
    let (returning, returned) = RingBuffer::new(places);
    let link = Arc::new(Link {
        asked: AtomicU64::new(first as u64),
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        settled: AtomicU64::new(0),
        is_crowded: AtomicBool::new(false),
        is_ended: AtomicBool::new(false),
        is_cancelled: AtomicBool::new(false),
        inbound: Mutex::new(Inbound {
            ring: incoming,
            taken: VecDeque::new(),
        }),
        state: Mutex::new(State {
            crowd: VecDeque::new(),
            held_back,
            ended: None,
            cancelled: None,
        }),
        up: Bellpull::new(&up.bell, up_slot.unwrap_or_default(), &up.stage),
        down: Bellpull::new(&down.bell, down_slot, &down.stage),
        wish,
    });
    let control = Arc::downgrade(&link);
    link.wish.handle.bind(control.clone());
    down.enter(control);
    let sender = SendEnd {
        link: Arc::clone(&link),
        ring,
        returned,
        seen: 0,
    };
    let receiver = ReceiveEnd { link, returning };
    // If that stage has ended meanwhile, dropping its end tells the other.
    drop(down.hand_in(down_slot, receiver));
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
    pub(crate) fn request(&mut self) -> Request {
        if self.link.is_cancelled.load(Acquire)
            && let Some(end) = &self.link.lock().cancelled
        {
            return Request::Cancel(end.clone());
        }
        let asked = self.link.asked.load(Acquire);
        let unseen = asked - self.seen;
        self.seen = asked;
        let unseen = if asked == u64::MAX && unseen > 0 {
            usize::MAX
        } else {
            usize::try_from(unseen).unwrap_or(usize::MAX)
        };
        Request::Ask(Demand::new(unseen))
    }

    /// Takes emptied storage that has come back.
    pub(crate) fn reclaim(&mut self, spares: &mut Spares<E>) {
        while let Ok(storage) = self.returned.pop() {
            spares.give(storage);
        }
    }

    /// Sends events, or holds back what is too heavy. If the other side has gone, they are dropped.
    /// Returns whether it had to be woken.
    ///
    /// # Errors
    ///
    /// If they are more than were asked for: the stage has broken the protocol. They are dropped.
    pub(crate) fn send(&mut self, batch: Batch<E>) -> Result<bool, ExcessEvents> {
        let link = &*self.link;
        if link.is_cancelled.load(Acquire) {
            return Ok(false);
        }
        let (asked, sent) = (link.asked.load(Acquire), link.sent.load(Relaxed));
        let (due, events) = (asked - sent, batch.len() as u64);
        if events > due {
            return Err(ExcessEvents {
                asked: usize::try_from(due).unwrap_or(usize::MAX),
                received: batch.len(),
            });
        }
        link.sent.store(sent + events, Release);
        if let Some(scale) = &link.wish.scale {
            // Not under the lock: it is somebody else's code.
            let weights = scale.weigh(&batch);
            link.hold_back(batch, weights);
        } else if link.is_crowded.load(Acquire) {
            link.join_crowd(batch);
        } else if let Err(PushError::Full(batch)) = self.ring.push(batch) {
            link.join_crowd(batch);
        }
        Ok(link.down.pull())
    }

    /// Ends the flow, after what has been sent.
    pub(crate) fn close(self, end: End) {
        self.link.lock().ended.get_or_insert(end);
    }

    pub(crate) fn wish(&self) -> &Wish<E> {
        &self.link.wish
    }

    /// The stage at the other end.
    pub(crate) fn peer(&self) -> &Arc<str> {
        &self.link.down.stage
    }
}

impl<E> Drop for SendEnd<E> {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.ended.get_or_insert(End::Down(Down::Aborted));
        // After all that was sent.
        self.link.is_ended.store(true, Release);
        drop(state);
        self.link.down.pull();
    }
}

impl<E> ReceiveEnd<E> {
    /// Takes the next batch.
    pub(crate) fn receive(&mut self) -> Arrival<E> {
        if self.is_cancelled()
            && let Some(end) = &self.link.lock().cancelled
        {
            return Arrival::End(end.clone());
        }
        // Before looking for what was sent before it ended.
        let has_ended = self.link.is_ended.load(Acquire);
        let batch = self.link.inbound().next(&self.link);
        if let Some(batch) = batch {
            let received = self.link.received.load(Relaxed);
            let events = batch.len() as u64;
            self.link.received.store(received + events, Release);
            return Arrival::Events(batch);
        }
        match has_ended {
            true => self.ended().map_or(Arrival::Nothing, Arrival::End),
            false => Arrival::Nothing,
        }
    }

    /// Whether there is more to receive of what the last news was of: a batch, or the end.
    pub(crate) fn has_more(&self) -> bool {
        self.link.is_crowded.load(Acquire)
            || self.link.is_ended.load(Acquire)
            || !self.link.inbound().is_empty()
    }

    /// How it ended, if nothing more is to be received.
    pub(crate) fn ended(&self) -> Option<End> {
        if !self.link.is_ended.load(Acquire) && !self.is_cancelled() {
            return None;
        }
        let nothing_inbound = self.link.inbound().is_empty();
        let state = self.link.lock();
        let emptied = nothing_inbound && state.crowd.is_empty() && state.held_back() == 0;
        let ended = state.ended.as_ref().filter(|_| emptied);
        state.cancelled.as_ref().or(ended).cloned()
    }

    /// Gives emptied storage back to where it came from.
    pub(crate) fn give_back(&mut self, storage: Vec<E>) {
        if is_worth_keeping(&storage) {
            // If there is enough of it on its way, it goes.
            let _ = self.returning.push(storage);
        }
    }

    /// What the next so many events weigh, that are to be dealt with, if that matters.
    pub(crate) fn hand_over(&self, events: usize) -> Option<VecDeque<usize>> {
        if !self.is_weighed() {
            return None;
        }
        let mut state = self.link.lock();
        let held_back = state.held_back.as_mut();
        held_back.map(|held_back| held_back.hand_over(events))
    }

    pub(crate) fn is_weighed(&self) -> bool {
        self.link.wish.scale.is_some()
    }

    /// Takes note that events of this weight were dealt with, and asks for more. Returns whether the
    /// other side had to be woken.
    pub(crate) fn settle(&self, Done { events, weight }: Done, ask: Option<Demand>) -> bool {
        let settled = self.link.settled.load(Relaxed);
        self.link.settled.store(settled + events as u64, Release);
        if self.is_weighed() && self.link.lighten(weight) {
            self.link.down.pull();
        }
        match ask {
            Some(demand) => {
                self.link.add(demand);
                self.link.up.pull()
            }
            None => false,
        }
    }

    /// How many events were sent to this end and are not settled.
    pub(crate) fn open(&self) -> usize {
        self.link.counts().open()
    }

    /// Whether nothing more is to be taken in, not even what has come.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.link.is_cancelled.load(Acquire)
    }

    /// Says why it goes, which dropping does not.
    pub(crate) fn cancel(&self, end: End) {
        self.link.cancel_with(end);
    }

    pub(crate) fn wish(&self) -> &Wish<E> {
        &self.link.wish
    }

    /// The stage at the other end.
    pub(crate) fn peer(&self) -> &Arc<str> {
        &self.link.up.stage
    }
}

impl<E> Drop for ReceiveEnd<E> {
    fn drop(&mut self) {
        self.link.cancel_with(End::Cancelled(Reason::Dropped));
    }
}

impl<E> Inbound<E> {
    fn next(&mut self, link: &Link<E>) -> Option<Batch<E>> {
        if let Some(batch) = self.taken.pop_front() {
            return Some(batch);
        }
        if let Ok(batch) = self.ring.pop() {
            return Some(batch);
        }
        if link.is_crowded.load(Acquire) {
            self.take_crowd(link);
        }
        self.taken.pop_front()
    }

    #[cold]
    fn take_crowd(&mut self, link: &Link<E>) {
        let mut state = link.lock();
        // Nothing joins the crowd now, and as long as there is one, nothing new is in the ring.
        while let Ok(batch) = self.ring.pop() {
            self.taken.push_back(batch);
        }
        self.taken.append(&mut state.crowd);
        link.is_crowded.store(false, Release);
    }

    fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.ring.is_empty()
    }

    /// Takes everything out.
    fn empty(&mut self) -> VecDeque<Batch<E>> {
        let mut all = mem::take(&mut self.taken);
        while let Ok(batch) = self.ring.pop() {
            all.push_back(batch);
        }
        all
    }
}

impl<E> State<E> {
    /// Sends what needs to be held back no longer; whether there is any.
    fn release(&mut self) -> bool {
        let held_back = self.held_back.as_mut();
        let Some(batch) = held_back.and_then(|held_back| held_back.release()) else {
            return false;
        };
        self.crowd.push_back(batch);
        true
    }

    /// How many events are held back.
    fn held_back(&self) -> usize {
        self.held_back
            .as_ref()
            .map_or(0, |held_back| held_back.len())
    }
}

impl<E> Link<E> {
    /// Asking for more than can be counted is asking without bound.
    fn add(&self, demand: Demand) {
        let demand = demand.get() as u64;
        let more = |asked: u64| Some(asked.saturating_add(demand));
        let _ = self.asked.fetch_update(AcqRel, Relaxed, more);
    }

    #[cold]
    fn join_crowd(&self, batch: Batch<E>) {
        let mut state = self.lock();
        if state.cancelled.is_none() {
            state.crowd.push_back(batch);
            self.is_crowded.store(true, Release);
            return;
        }
        // What is dropped may have receipts, and those call their source.
        drop(state);
        drop(batch);
    }

    fn hold_back(&self, batch: Batch<E>, weights: Vec<usize>) {
        let mut state = self.lock();
        if let Some(held_back) = &mut state.held_back {
            held_back.hold(batch, weights);
            if state.release() {
                self.is_crowded.store(true, Release);
            }
            return;
        }
        // It has been cancelled meanwhile.
        drop(state);
        drop(batch);
    }

    /// Events of this weight are on their way no longer. Whether others are now.
    fn lighten(&self, weight: usize) -> bool {
        let mut state = self.lock();
        if let Some(held_back) = &mut state.held_back {
            held_back.settle(weight);
        }
        let released = state.release();
        if released {
            self.is_crowded.store(true, Release);
        }
        released
    }

    fn cancel_with(&self, end: End) {
        let mut state = self.lock();
        if state.cancelled.is_some() {
            return;
        }
        state.cancelled = Some(end);
        self.is_cancelled.store(true, Release);
        let lost = (mem::take(&mut state.crowd), state.held_back.take());
        drop(state);
        // What the sending end was just about to send is dropped with it.
        let inbound = self.inbound().empty();
        // Outside the lock: what is dropped may have receipts, and those call their source.
        drop((inbound, lost));
        self.up.pull();
        self.down.pull();
    }

    fn inbound(&self) -> MutexGuard<'_, Inbound<E>> {
        self.inbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> Counts {
        let state = self.lock();
        // In this order, so that no difference is less than nothing.
        let settled = self.settled.load(Acquire);
        let received = self.received.load(Acquire);
        let sent = self.sent.load(Acquire);
        let asked = self.asked.load(Acquire);
        let held_back = state.held_back();
        let count = |events: u64| usize::try_from(events).unwrap_or(usize::MAX);
        Counts {
            due: match asked {
                u64::MAX => usize::MAX,
                _ => count(asked.saturating_sub(sent)),
            },
            held_back,
            on_the_way: match state.cancelled {
                Some(_) => 0,
                None => count(sent.saturating_sub(received)).saturating_sub(held_back),
            },
            in_hand: count(received.saturating_sub(settled)),
            weight: state
                .held_back
                .as_ref()
                .map_or(0, |held_back| held_back.weight()),
        }
    }
}

impl<E: Send> Control for Link<E> {
    fn ask(&self, demand: Demand) -> bool {
        if self.is_closed() {
            return false;
        }
        self.add(demand);
        self.up.pull();
        true
    }

    fn cancel(&self, end: End) {
        self.cancel_with(end);
    }

    fn is_closed(&self) -> bool {
        self.is_cancelled.load(Acquire) || self.is_ended.load(Acquire)
    }

    fn counts(&self) -> Counts {
        Self::counts(self)
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

    fn pull(&self) -> bool {
        self.bell.ring(self.slot)
    }
}

impl<E> fmt::Debug for SendEnd<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendEnd(to {})", self.link.down.stage)
    }
}

impl<E> fmt::Debug for ReceiveEnd<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiveEnd(from {})", self.link.up.stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mode, Window, protocol::Terms};

    fn linked(window: usize) -> (SendEnd<u64>, ReceiveEnd<u64>) {
        let (up, down) = (Desk::new(&"up".into()), Desk::new(&"down".into()));
        let wish = Wish {
            asking: Asking::Automatic(Window::new(window)),
            mode: Mode::default(),
            terms: Terms::default(),
            scale: None,
            handle: Arc::default(),
        };
        connect(&up, &down, wish);
        let (_, sender) = up.news().arrivals.pop().unwrap();
        let (_, receiver) = down.news().arrivals.pop().unwrap();
        (sender, receiver)
    }

    fn send(sender: &mut SendEnd<u64>, events: std::ops::Range<u64>) {
        for event in events {
            sender.send(vec![event].into()).unwrap();
        }
    }

    fn received(receiver: &mut ReceiveEnd<u64>) -> Vec<u64> {
        let mut events = Vec::new();
        while let Arrival::Events(batch) = receiver.receive() {
            events.extend(batch.into_vec());
        }
        events
    }

    #[test]
    fn what_is_in_the_ring_comes_before_the_crowd() {
        let (mut sender, mut receiver) = linked(100);
        send(&mut sender, 0..20);
        assert!(receiver.link.is_crowded.load(Relaxed));
        // As when the ring was seen to be empty just before all that was sent.
        receiver.link.inbound().take_crowd(&receiver.link);
        assert_eq!(received(&mut receiver), Vec::from_iter(0..20));
        // And the ring is in use again.
        send(&mut sender, 20..22);
        assert!(!receiver.link.is_crowded.load(Relaxed));
        assert_eq!(received(&mut receiver), [20, 21]);
    }

    #[test]
    fn while_there_is_a_crowd_the_ring_gets_nothing() {
        let (mut sender, mut receiver) = linked(100);
        send(&mut sender, 0..RING as u64 + 1);
        let Arrival::Events(first) = receiver.receive() else {
            panic!("there is one");
        };
        assert_eq!(first[..], [0]);
        // There is a place in the ring, but one waits for it that came before.
        send(&mut sender, RING as u64 + 1..20);
        assert_eq!(received(&mut receiver), Vec::from_iter(1..20));
    }

    #[test]
    fn the_end_comes_after_the_crowd_and_a_cancel_before_it() {
        let (mut sender, mut receiver) = linked(100);
        send(&mut sender, 0..20);
        sender.close(End::Completed);
        assert_eq!(receiver.ended(), None);
        assert_eq!(received(&mut receiver).len(), 20);
        assert_eq!(receiver.ended(), Some(End::Completed));

        let (mut sender, mut receiver) = linked(100);
        send(&mut sender, 0..20);
        let cancelled = End::Cancelled(Reason::Shutdown);
        receiver.cancel(cancelled.clone());
        assert_eq!(received(&mut receiver), []);
        assert_eq!(receiver.ended(), Some(cancelled));
        assert_eq!(sender.send(vec![20].into()), Ok(false));
    }

    #[test]
    fn more_than_was_asked_for_is_refused() {
        let (mut sender, receiver) = linked(10);
        send(&mut sender, 0..7);
        let excess = sender.send(vec![7, 8, 9, 10].into()).unwrap_err();
        assert_eq!((excess.asked, excess.received), (3, 4));
        let counts = receiver.link.counts();
        assert_eq!((counts.due, counts.on_the_way, counts.in_hand), (3, 7, 0));
    }
}
