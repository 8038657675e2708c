use std::{any::type_name, collections::VecDeque, mem, sync::Arc};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::{
    Batch, Demand,
    desk::Desk,
    held_back::HeldBack,
    meter::Meter,
    protocol::{End, Reason},
    seat::Seat,
    subscription::{Asking, SubscriptionInfo, Wish},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
};

mod inbound;
mod receive_end;
mod send_end;

use inbound::Inbound;
pub(crate) use receive_end::{Arrival, ReceiveEnd};
pub(crate) use send_end::{Request, SendEnd};

/// What one subscription shares: batches on their way down, emptied batches and demand on their way
/// up, and why it ended.
///
/// It cannot fill up: the sending side sends no more events than were asked for, and so there are
/// never more batches on their way than the window has events. The ring has room for a few. If there
/// are more, they go to the crowd, all of them, until the receiving side has taken both.
pub(crate) struct Link<E> {
    /// Asked for in all by the stage itself. Only the receiving end changes it.
    asked: AtomicU64,
    /// And beside that, by hand. The largest number is without bound.
    asked_by_hand: AtomicU64,
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
    /// Whether `state.returned` was.
    is_returning: AtomicBool,
    /// Batches on their way. The receiving end takes them, and whoever cancels.
    inbound: Mutex<Inbound<E>>,
    state: Mutex<State<E>>,
    up: Bellpull<SendEnd<E>>,
    down: Bellpull<ReceiveEnd<E>>,
    wish: Wish<E>,
    info: SubscriptionInfo,
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
    /// Where emptied batches come back, until the sending side has taken that.
    returned: Option<Consumer<Batch<E>>>,
}

/// How many batches the ring has room for. There are seldom more than four on their way. Few, where
/// schedules are looked through for one in which it overflows.
const RING: usize = if cfg!(shuttle) { 2 } else { 8 };

/// How one end of a link tells the other that there is news.
struct Bellpull<L> {
    /// Of the stage at that end. It has no link any more once the stage has ended, so neither keeps the
    /// other for ever.
    desk: Arc<Desk<L>>,
    slot: usize,
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

/// An end of a link.
pub(crate) trait Carries: Send + 'static {
    /// What its events are, as the compiler writes it.
    fn event_type() -> &'static str;
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

    /// The stage that is subscribed to.
    fn upstream(&self) -> Arc<Seat>;
}

/// Links two stages. What the subscription asks for at first is asked for. Nothing happens if
/// either has ended: then the end of the other is told.
pub(crate) fn connect<E: Send + 'static>(
    up: &Arc<Desk<SendEnd<E>>>,
    down: &Arc<Desk<ReceiveEnd<E>>>,
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
    let info = wish.info(up.stage(), down.stage());
    let link = Arc::new(Link {
        asked: AtomicU64::new(first as u64),
        asked_by_hand: AtomicU64::new(0),
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        settled: AtomicU64::new(0),
        is_crowded: AtomicBool::new(false),
        is_ended: AtomicBool::new(false),
        is_cancelled: AtomicBool::new(false),
        is_returning: AtomicBool::new(false),
        inbound: Mutex::new(Inbound {
            ring: None,
            taken: VecDeque::new(),
        }),
        state: Mutex::new(State {
            crowd: VecDeque::new(),
            held_back,
            ended: None,
            cancelled: None,
            returned: None,
        }),
        up: Bellpull::new(up, up_slot.unwrap_or_default()),
        down: Bellpull::new(down, down_slot),
        wish,
        info,
    });
    let control = Arc::downgrade(&link);
    if let Some(handle) = &link.wish.handle {
        handle.bind(control.clone());
    }
    let sender = SendEnd {
        link: Arc::clone(&link),
        ring: None,
        returned: None,
        seen: 0,
    };
    let receiver = ReceiveEnd {
        link,
        returning: None,
    };
    // If that stage has ended meanwhile, dropping its end tells the other.
    drop(down.hand_in(down_slot, receiver, Some(control)));
    let unwanted = match up_slot {
        Some(slot) => up.hand_in(slot, sender, None),
        None => Some(sender),
    };
    if let Some(sender) = unwanted {
        sender.close(End::Cancelled(Reason::NoProducer));
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
    /// What is known of the subscription.
    pub(crate) fn info(&self) -> &SubscriptionInfo {
        &self.info
    }

    /// How many batches its rings have room for.
    fn places(&self) -> usize {
        match self.wish.asking {
            Asking::Automatic(window) => window.max().min(RING),
            Asking::Manual => RING,
        }
    }

    /// The ring for batches, when the first is sent: a link may be one of thousands that are idle.
    #[cold]
    fn lay_ring(&self) -> Producer<Batch<E>> {
        let (ring, incoming) = RingBuffer::new(self.places());
        self.inbound().ring = Some(incoming);
        ring
    }

    /// The ring for emptied batches, when the first is given back.
    #[cold]
    fn lay_way_back(&self) -> Producer<Batch<E>> {
        let (returning, returned) = RingBuffer::new(self.places());
        self.lock().returned = Some(returned);
        self.is_returning.store(true, Release);
        returning
    }

    /// Asked for in all. The largest number is without bound.
    #[inline]
    fn asked(&self) -> u64 {
        let by_hand = self.asked_by_hand.load(Acquire);
        self.asked.load(Acquire).saturating_add(by_hand)
    }

    /// Asks for more. Asking for more than can be counted is asking without bound. Only the receiving
    /// end does.
    #[inline]
    fn add(&self, demand: Demand) {
        let asked = self.asked.load(Relaxed);
        self.asked
            .store(asked.saturating_add(demand.get() as u64), Release);
    }

    /// Asks for more beside that.
    fn add_by_hand(&self, demand: Demand) {
        let more = |asked: u64| Some(asked.saturating_add(demand.get() as u64));
        let _ = self.asked_by_hand.fetch_update(AcqRel, Relaxed, more);
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
        self.drop_unsent(batch);
    }

    /// It was cancelled before this was sent.
    #[cold]
    fn drop_unsent(&self, batch: Batch<E>) {
        self.up.meter().lost(batch.len());
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
        self.drop_unsent(batch);
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
        let held_back = state.held_back();
        let lost = (mem::take(&mut state.crowd), state.held_back.take());
        drop(state);
        let events = held_back + lost.0.iter().map(|batch| batch.len()).sum::<usize>();
        self.down.meter().lost(events);
        // Outside the lock: what is dropped may have receipts, and those call their source.
        drop(lost);
        if self.is_ended.load(Acquire) {
            // Nothing more is sent, and there is nobody to tell.
            self.drop_inbound();
        } else {
            // Whoever is just about to send something sees from here on that it was cancelled, or what it
            // sends is seen here.
            self.down.desk.bell.touch();
            self.drop_inbound();
            self.up.pull();
        }
        self.down.pull();
    }

    /// It was cancelled while this was on its way.
    #[cold]
    fn drop_inbound(&self) {
        let inbound = self.inbound().empty();
        let events = inbound.iter().map(|batch| batch.len()).sum();
        self.down.meter().lost(events);
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
        let asked = self.asked();
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
        self.add_by_hand(demand);
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
        self.info.clone()
    }

    fn upstream(&self) -> Arc<Seat> {
        Arc::clone(&self.up.desk.seat)
    }
}

impl<E: Send + 'static> Carries for SendEnd<E> {
    fn event_type() -> &'static str {
        type_name::<E>()
    }
}

impl<E: Send + 'static> Carries for ReceiveEnd<E> {
    fn event_type() -> &'static str {
        type_name::<E>()
    }
}

impl<L> Bellpull<L> {
    fn new(desk: &Arc<Desk<L>>, slot: usize) -> Self {
        Self {
            desk: Arc::clone(desk),
            slot,
        }
    }

    #[inline(always)]
    fn pull(&self) -> bool {
        self.desk.bell.ring(self.slot)
    }

    /// The meter of the stage that answers this bell.
    fn meter(&self) -> &Meter {
        &self.desk.seat.meter
    }
}

#[cfg(test)]
mod tests;
