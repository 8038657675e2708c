use std::collections::BTreeMap;

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
    /// Everybody's place in the queue.
    places: BTreeMap<SubscriptionId, Place>,
    /// Everybody, the neediest first.
    queue: Vec<(Place, SubscriptionId)>,
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
    /// Gives a subscriber another demand and with it another place, behind its equals.
    fn place(&mut self, id: SubscriptionId, old: Place, demand: usize) {
        self.turn += 1;
        let new = Place::new(demand, self.turn);
        self.places.insert(id, new);
        self.total = self.total - old.demand() + demand;
        let Ok(from) = self.queue.binary_search(&(old, id)) else {
            unreachable!("{id:?} has a place, so it stands in the queue");
        };
        let to = self.queue.partition_point(|other| *other < (new, id));
        self.queue[from] = (new, id);
        if to > from {
            self.queue[from..to].rotate_left(1);
        } else {
            self.queue[to..=from].rotate_right(1);
        }
    }
}

impl<E> Dispatcher<E> for ByDemand {
    fn subscribe(&mut self, id: SubscriptionId, _: Terms<E>) -> Result<(), Refused> {
        if self.places.contains_key(&id) {
            return Err(Refused::AlreadySubscribed);
        }
        self.turn += 1;
        let place = Place::new(0, self.turn);
        self.places.insert(id, place);
        self.queue.push((place, id));
        Ok(())
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        if let Some(&old) = self.places.get(&id) {
            // The sum of all demand must not overflow either.
            let room = usize::MAX - self.total;
            self.place(id, old, old.demand() + demand.get().min(room));
        }
    }

    fn cancel(&mut self, id: SubscriptionId) {
        if let Some(place) = self.places.remove(&id) {
            self.total -= place.demand();
            self.queue.retain(|&(_, other)| other != id);
        }
    }

    fn demand(&self) -> usize {
        self.total
    }

    fn dispatch(&mut self, backlog: &mut Backlog<E>, handout: &mut Handout<E>) {
        while !backlog.is_empty()
            && let Some(&(place, to)) = self.queue.first()
            && place.demand() > 0
        {
            let events = backlog.take(place.demand());
            self.place(to, place, place.demand() - events.len());
            handout.deliver(to, events);
        }
    }
}
