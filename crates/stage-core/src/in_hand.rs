use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, OnceLock},
    thread,
};

use crate::{
    crew::AnyDesk,
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU8, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
        },
    },
};

/// Events that are still in hand, though the call that brought them may be over: to their
/// subscription's window they count as not dealt with until this is dropped. Made by
/// [`Batch::keep_in_hand`](crate::Batch::keep_in_hand).
///
/// It may be dropped anywhere, at any time, in any order. It has nothing to do with receipts: whether
/// the events are acked is a question of its own.
#[must_use = "dropping it says that the events have been dealt with"]
#[derive(Default)]
pub struct InHand {
    hand: Option<Arc<Hand>>,
    events: usize,
    /// What they weigh, in order, if that matters.
    weights: VecDeque<usize>,
}

/// What is in hand of one subscription. The stage's inbox and whoever keeps events share it.
pub(crate) struct Hand {
    /// Where the subscription was taken in.
    desk: Arc<dyn AnyDesk>,
    slot: usize,
    /// The number of the portion that is being dealt with, and, in the lower half, how many of its
    /// events nobody keeps.
    portion: AtomicU64,
    /// What these weigh, in order, if that matters.
    weights: Mutex<VecDeque<usize>>,
    is_weighed: bool,
    /// What was kept and has been dealt with, and the inbox does not know of.
    returned: AtomicUsize,
    /// The same, of what was not dealt with well.
    failed: AtomicUsize,
    returned_weight: AtomicUsize,
    phase: AtomicU8,
    /// What the events are made of that it is for, if it is for such.
    source: Option<Box<Source>>,
}

/// A portion of which something was made. If anything of that is kept in hand, all of the portion is, until the last is
/// dropped.
struct Source {
    hand: Arc<Hand>,
    number: u32,
    events: usize,
    kept: OnceLock<InHand>,
    /// Some of what was made could not be dealt with well.
    has_failed: AtomicBool,
}

/// The most events of one portion.
pub(crate) const MAX_PORTION: usize = u32::MAX as usize;

/// The inbox looks at what is returned.
const HELD: u8 = 0;
/// The subscription has ended: the inbox looks no more.
const ENDED: u8 = 1;
/// The stage went down, and all that was in hand with it.
const LOST: u8 = 2;

/// Events that have been dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) events: usize,
    pub(crate) weight: usize,
}

impl InHand {
    /// How many events it stands for. None, if the batch it was made from was none that a stage had
    /// just been given.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Takes the first `events` events off, or all if there are fewer, to be dropped on their own.
    pub fn split(&mut self, events: usize) -> Self {
        let events = events.min(self.events);
        self.events -= events;
        let weighed = events.min(self.weights.len());
        let hand = match self.events {
            // What stands for nothing keeps nothing.
            0 => self.hand.take(),
            _ => self.hand.clone(),
        };
        Self {
            hand: hand.filter(|_| events > 0),
            events,
            weights: self.weights.drain(..weighed).collect(),
        }
    }

    /// Says that the events could not be dealt with well. They are in hand no more, and counted as
    /// [nacked](crate::StageReport::nacked), which is also what becomes of them if a panic drops this.
    pub fn fail(mut self) {
        self.give_back(false);
    }

    fn give_back(&mut self, well: bool) {
        if let Some(hand) = &self.hand
            && self.events > 0
        {
            let weight = self.weights.iter().sum();
            hand.give_back(mem::take(&mut self.events), weight, well);
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.give_back(!thread::panicking());
    }
}

impl Hand {
    pub(crate) fn new(desk: Arc<dyn AnyDesk>, slot: usize, is_weighed: bool) -> Arc<Self> {
        Self::with(desk, slot, is_weighed, None)
    }

    /// For what is made of this portion, of so many events.
    pub(crate) fn for_made(self: &Arc<Self>, number: u32, events: usize) -> Arc<Self> {
        let source = Source {
            hand: Arc::clone(self),
            number,
            events,
            kept: OnceLock::new(),
            has_failed: AtomicBool::new(false),
        };
        let desk = Arc::clone(&self.desk);
        Self::with(desk, self.slot, self.is_weighed, Some(Box::new(source)))
    }

    fn with(
        desk: Arc<dyn AnyDesk>,
        slot: usize,
        is_weighed: bool,
        source: Option<Box<Source>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            desk,
            slot,
            portion: AtomicU64::new(0),
            weights: Mutex::default(),
            is_weighed,
            returned: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            returned_weight: AtomicUsize::new(0),
            phase: AtomicU8::new(HELD),
            source,
        })
    }

    /// A portion of so many events is to be dealt with, at most [`MAX_PORTION`]. Returns its number.
    #[inline]
    pub(crate) fn begin(&self, events: usize, weights: Option<VecDeque<usize>>) -> u32 {
        if let Some(weights) = weights {
            self.set_weights(weights);
        }
        // Only the inbox begins portions.
        let number = number_of(self.portion.load(Relaxed)).wrapping_add(1);
        self.portion.store(pack(number, events as u64), Release);
        number
    }

    /// The portion has been dealt with, but for what is kept. `alone`: nobody can keep more of it. Whether it is weighed
    /// the caller has at hand.
    #[inline(always)]
    pub(crate) fn end(&self, alone: bool, is_weighed: bool) -> Done {
        let portion = self.portion.load(Acquire);
        let left = if alone {
            left_of(portion)
        } else {
            left_of(self.portion.swap(pack(number_of(portion), 0), AcqRel))
        };
        Done {
            events: left as usize,
            weight: if is_weighed { self.weight_left() } else { 0 },
        }
    }

    /// Keeps so many events of this portion in hand, or as many as nobody keeps. None of another.
    pub(crate) fn keep(self: &Arc<Self>, number: u32, events: usize) -> InHand {
        let take = |portion: u64| {
            let left = left_of(portion).saturating_sub(events as u64);
            (number_of(portion) == number).then(|| pack(number, left))
        };
        let Ok(before) = self.portion.fetch_update(AcqRel, Acquire, take) else {
            return InHand::default();
        };
        let kept = events.min(left_of(before) as usize);
        let is_over = |source: &Source| !source.keep();
        if kept == 0 || self.source.as_deref().is_some_and(is_over) {
            return InHand::default();
        }
        InHand {
            hand: Some(Arc::clone(self)),
            events: kept,
            weights: self.take_weights(kept),
        }
    }

    /// Whether somebody keeps events of this portion, which was of so many.
    #[cfg(feature = "testkit")]
    pub(crate) fn is_kept(&self, number: u32, events: usize) -> bool {
        let portion = self.portion.load(Acquire);
        number_of(portion) == number && left_of(portion) < events as u64
    }

    /// Whether it matters what events weigh.
    pub(crate) fn is_weighed(&self) -> bool {
        self.is_weighed
    }

    #[cold]
    fn set_weights(&self, weights: VecDeque<usize>) {
        *self.weights.lock().unwrap_or_else(PoisonError::into_inner) = weights;
    }

    #[cold]
    fn weight_left(&self) -> usize {
        self.take_weights(usize::MAX).iter().sum()
    }

    /// Whether [`take_back`](Self::take_back) would return anything.
    #[inline]
    pub(crate) fn has_returned(&self) -> bool {
        self.returned.load(Relaxed) + self.failed.load(Relaxed) > 0
    }

    /// What was kept and has been dealt with since the last call.
    pub(crate) fn take_back(&self) -> Done {
        if !self.has_returned() {
            return Done::default();
        }
        let (well, failed) = (self.returned.swap(0, SeqCst), self.failed.swap(0, SeqCst));
        let weight = self.returned_weight.swap(0, SeqCst);
        let meter = self.desk.meter();
        meter.handled_beside(well);
        meter.lost(failed);
        Done {
            events: well + failed,
            weight,
        }
    }

    /// The subscription has ended: what is kept is nobody's business any more, but is counted.
    pub(crate) fn end_all(&self) {
        self.phase.store(ENDED, SeqCst);
        self.take_back();
    }

    /// The stage goes down: what is kept counts as lost.
    pub(crate) fn lose_all(&self) {
        self.phase.store(LOST, SeqCst);
    }

    fn give_back(&self, events: usize, weight: usize, well: bool) {
        if let Some(source) = &self.source {
            // It is given back with the last of all.
            if !well {
                source.has_failed.store(true, Release);
            }
            return;
        }
        // The weight first: it is taken after the number.
        if weight > 0 {
            self.returned_weight.fetch_add(weight, SeqCst);
        }
        let counter = if well { &self.returned } else { &self.failed };
        counter.fetch_add(events, SeqCst);
        match self.phase.load(SeqCst) {
            HELD => {
                self.desk.ring(self.slot);
            }
            ENDED => {
                self.take_back();
            }
            _ => {}
        }
    }

    fn take_weights(&self, events: usize) -> VecDeque<usize> {
        let mut weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        let events = events.min(weights.len());
        weights.drain(..events).collect()
    }
}

impl Source {
    /// Keeps all of the portion. Returns whether that could be: it may be over.
    fn keep(&self) -> bool {
        let keep = || self.hand.keep(self.number, self.events);
        self.kept.get_or_init(keep).events > 0
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take()
            && self.has_failed.load(Acquire)
        {
            kept.fail();
        }
    }
}

fn pack(number: u32, left: u64) -> u64 {
    u64::from(number) << 32 | left
}

fn number_of(portion: u64) -> u32 {
    (portion >> 32) as u32
}

fn left_of(portion: u64) -> u64 {
    portion & u64::from(u32::MAX)
}

impl fmt::Debug for InHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InHand({})", self.events)
    }
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hand")
            .field("left", &left_of(self.portion.load(Relaxed)))
            .field("returned", &self.returned)
            .finish_non_exhaustive()
    }
}
