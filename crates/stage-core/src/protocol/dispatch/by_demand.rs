use std::collections::{BTreeMap, BTreeSet};

use super::{Dispatcher, Handout, Refused, Terms};
use crate::protocol::{Backlog, Demand, SubscriptionId};

/// Gives events to whoever has asked for the most; among equals, to who has waited longest.
///
/// This is GenStage's `DemandDispatcher`, and the default.
///
/// - **Demand**: the sum of what the subscribers have asked for.
/// - **Keeps back when** nobody has demand.
#[doc(alias = "DemandDispatcher")]
#[derive(Debug, Default)]
pub struct ByDemand {
    /// The neediest. Apart from the others, so that one that is alone costs nothing to keep in order.
    first: Option<(Place, SubscriptionId)>,
    /// The others, the neediest first.
    others: BTreeSet<(Place, SubscriptionId)>,
    /// The places of the others.
    places: BTreeMap<SubscriptionId, Place>,
    total: usize,
    turn: u64,
}

/// Orders subscribers: by demand, largest first, and then by whose demand has changed least
/// recently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// The largest number less the demand, so that the neediest is the least.
    sated: usize,
    turn: u64,
}

impl Place {
    fn new(demand: usize, turn: u64) -> Self {
        Self {
            sated: usize::MAX - demand,
            turn,
        }
    }

    fn demand(self) -> usize {
        usize::MAX - self.sated
    }
}

impl ByDemand {
    fn place_of(&self, id: SubscriptionId) -> Option<Place> {
        match self.first {
            Some((place, first)) if first == id => Some(place),
            _ => self.places.get(&id).copied(),
        }
    }

    /// Gives a subscriber its demand and with it its place, behind its equals.
    fn put(&mut self, id: SubscriptionId, demand: usize) {
        self.turn += 1;
        self.total += demand;
        let new = (Place::new(demand, self.turn), id);
        let behind = match self.first {
            Some(first) if first < new => new,
            Some(first) => {
                self.first = Some(new);
                first
            }
            None => {
                self.first = Some(new);
                return;
            }
        };
        self.others.insert(behind);
        self.places.insert(behind.1, behind.0);
    }

    /// Gives a subscriber other demand and with it another place, behind its equals.
    fn change(&mut self, id: SubscriptionId, change: impl FnOnce(usize, usize) -> usize) {
        if let Some((place, first)) = &mut self.first
            && *first == id
            && self.others.is_empty()
        {
            // Alone, it is nobody's equal.
            let demand = change(place.demand(), 0);
            *place = Place::new(demand, self.turn);
            self.total = demand;
        } else if let Some(before) = self.take(id) {
            let demand = change(before, self.total);
            self.put(id, demand);
        }
    }

    /// Takes a subscriber out, and returns what its demand was.
    fn take(&mut self, id: SubscriptionId) -> Option<usize> {
        let place = self.place_of(id)?;
        self.total -= place.demand();
        if self.places.remove(&id).is_some() {
            self.others.remove(&(place, id));
        } else {
            self.first = self.others.pop_first();
            if let Some((_, next)) = self.first {
                self.places.remove(&next);
            }
        }
        Some(place.demand())
    }
}

impl<E> Dispatcher<E> for ByDemand {
    fn subscribe(&mut self, id: SubscriptionId, _: Terms<E>) -> Result<(), Refused> {
        if self.place_of(id).is_some() {
            return Err(Refused::AlreadySubscribed);
        }
        self.put(id, 0);
        Ok(())
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        // The sum of all demand must not overflow either.
        self.change(id, |before, others| {
            before + demand.get().min(usize::MAX - others - before)
        });
    }

    fn cancel(&mut self, id: SubscriptionId) {
        self.take(id);
    }

    fn demand(&self) -> usize {
        self.total
    }

    fn dispatch(&mut self, backlog: &mut Backlog<E>, handout: &mut Handout<E>) {
        while !backlog.is_empty()
            && let Some((place, to)) = self.first
            && place.demand() > 0
        {
            let events = backlog.take(place.demand());
            self.change(to, |before, _| before - events.len());
            handout.deliver(to, events);
        }
    }

    fn claim(&mut self, events: usize) -> Option<SubscriptionId> {
        let (place, to) = self.first?;
        if place.demand() < events {
            return None;
        }
        self.change(to, |before, _| before - events);
        Some(to)
    }
}
