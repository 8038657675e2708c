use std::{
    ops::{Add, AddAssign},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::Event;

/// What has been taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many events.
    pub events: u64,
    /// The sum of their numbers.
    pub sum: u64,
    /// How many came into the wrong lane, or after a later one of it.
    pub misplaced: u64,
}

/// So few are taken in without a call.
const FEW: usize = 16;

/// Where events end.
pub trait Sink: Copy + Default + Send + 'static {
    /// Takes one in.
    fn take<E: Event>(&mut self, event: &E);

    /// Takes events in one by one, with itself in registers.
    #[inline(always)]
    fn take_all<E: Event>(&mut self, events: &[E]) {
        if events.len() > FEW {
            return self.take_many(events);
        }
        let mut sink = *self;
        for event in events {
            sink.take(event);
        }
        *self = sink;
    }

    /// The same of many, in one place for all who have so many at once: where the compiler puts a loop of so few
    /// instructions makes a tenth of a difference.
    #[inline(never)]
    fn take_many<E: Event>(&mut self, events: &[E]) {
        let mut sink = *self;
        for event in events {
            sink.take(event);
        }
        *self = sink;
    }

    /// What it has taken in.
    fn tally(&self) -> Tally;
}

/// Adds numbers up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    events: u64,
    sum: u64,
}

/// Adds numbers up that belong to one lane and are to come in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct InOrder {
    sum: Sum,
    /// One more than the last number.
    next: u64,
    lanes: u64,
    misplaced: u64,
}

/// How many lanes there are is the same everywhere, so that a lane is known by its first event.
pub const LANES: usize = 8;

/// Which lane an event belongs to: cheap, and the same for every candidate.
#[inline]
pub fn lane_of(number: u64) -> usize {
    const { assert!(LANES == 1 << 3) };
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61) as usize
}

impl Sum {
    #[inline]
    fn add(&mut self, number: u64) {
        self.events += 1;
        self.sum = self.sum.wrapping_add(number);
    }
}

impl Sink for Sum {
    fn take<E: Event>(&mut self, event: &E) {
        self.add(event.number());
    }

    fn tally(&self) -> Tally {
        Tally {
            events: self.events,
            sum: self.sum,
            misplaced: 0,
        }
    }
}

impl Sink for InOrder {
    fn take<E: Event>(&mut self, event: &E) {
        let number = event.number();
        self.sum.add(number);
        self.lanes |= 1 << lane_of(number);
        self.misplaced += u64::from(number < self.next);
        self.next = number + 1;
    }

    fn tally(&self) -> Tally {
        Tally {
            misplaced: self.misplaced + u64::from(self.lanes.count_ones() > 1),
            ..self.sum.tally()
        }
    }
}

/// A tally that several tasks add to, each once.
#[derive(Clone, Debug, Default)]
pub struct SharedTally(Arc<[AtomicU64; 3]>);

impl SharedTally {
    /// Adds what one task has taken in.
    pub fn add(&self, tally: Tally) {
        let [events, sum, misplaced] = &*self.0;
        events.fetch_add(tally.events, Ordering::AcqRel);
        sum.fetch_add(tally.sum, Ordering::AcqRel);
        misplaced.fetch_add(tally.misplaced, Ordering::AcqRel);
    }

    /// What all have taken in by now.
    pub fn get(&self) -> Tally {
        let [events, sum, misplaced] = &*self.0;
        Tally {
            events: events.load(Ordering::Acquire),
            sum: sum.load(Ordering::Acquire),
            misplaced: misplaced.load(Ordering::Acquire),
        }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.sum = self.sum.wrapping_add(other.sum);
        self.misplaced += other.misplaced;
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), Add::add)
    }
}
