use std::{
    collections::{BinaryHeap, HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

use super::Place;
use crate::protocol::SubscriptionId;

/// Many subscribers, of whom the neediest is found at once.
///
/// Whoever's place changes is queued again, and the old place is nobody's: it is dropped when it is
/// come upon.
#[derive(Debug, Default)]
pub(super) struct Many {
    places: Places,
    /// Those with demand who came after all that are as needy as they are: most do, since their windows
    /// are alike. The neediest is first.
    line: VecDeque<(Place, SubscriptionId)>,
    /// The others, the neediest on top.
    others: BinaryHeap<(Place, SubscriptionId)>,
}

type Places = HashMap<SubscriptionId, Place, BuildHasherDefault<ByNumber>>;

/// How many places that are nobody's may be queued, at least, before they are cleared out.
pub(super) const SOME: usize = 32;

impl Many {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn insert(&mut self, id: SubscriptionId, place: Place) {
        self.places.insert(id, place);
        self.queue_up(id, place);
    }

    pub(super) fn remove(&mut self, id: SubscriptionId) -> Option<Place> {
        self.places.remove(&id)
    }

    /// Takes all of them out.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (SubscriptionId, Place)> {
        self.line.clear();
        self.others.clear();
        self.places.drain()
    }

    #[inline]
    pub(super) fn place(&mut self, id: SubscriptionId) -> Option<&mut Place> {
        self.places.get_mut(&id)
    }

    /// Puts one whose place has changed where it belongs.
    #[inline]
    pub(super) fn queue_up(&mut self, id: SubscriptionId, place: Place) {
        if place.demand == 0 {
            return;
        }
        if self.queued() >= 2 * self.places.len() + SOME {
            self.clear_out();
        }
        match self.line.back() {
            Some((last, _)) if *last < place => self.others.push((place, id)),
            _ => self.line.push_back((place, id)),
        }
    }

    /// How many places are queued, those that are nobody's included.
    pub(super) fn queued(&self) -> usize {
        self.line.len() + self.others.len()
    }

    /// Who is served next.
    #[inline]
    pub(super) fn neediest(&mut self) -> Option<(Place, SubscriptionId)> {
        let Self {
            places,
            line,
            others,
        } = self;
        while line.front().is_some_and(|first| !is_there(places, first)) {
            line.pop_front();
        }
        while others.peek().is_some_and(|top| !is_there(places, top)) {
            others.pop();
        }
        line.front().max(others.peek()).copied()
    }

    #[cold]
    fn clear_out(&mut self) {
        let places = &self.places;
        self.line.retain(|it| is_there(places, it));
        self.others.retain(|it| is_there(places, it));
    }
}

/// Whether that is still the subscriber's place.
#[inline]
fn is_there(places: &Places, (place, id): &(Place, SubscriptionId)) -> bool {
    places.get(id) == Some(place)
}

/// Hashes the numbers that a stage gives its subscriptions: they follow each other, and nobody else
/// chooses them.
#[derive(Debug, Default)]
struct ByNumber(u64);

impl Hasher for ByNumber {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        // The table goes by the highest bits, too, which are to differ as the lowest do.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
