use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

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
    /// The subscriber, if there is just one: to keep one in order costs nothing.
    alone: Option<(SubscriptionId, Place)>,
    /// All subscribers, if there are more.
    places: BTreeMap<SubscriptionId, Place>,
    /// Those of them that have demand, the neediest on top; and among them places that are nobody's
    /// any more.
    queue: BinaryHeap<(Place, SubscriptionId)>,
    /// Of all demand. It may be more than can be asked for.
    total: u128,
    turn: u64,
}

/// Orders subscribers: the largest is that of the one with the largest demand, and among equals of
/// the one whose demand has changed least recently. No two have had the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    demand: usize,
    turn: Reverse<u64>,
}

/// How many places that are nobody's may be in the queue, at least, before they are cleared out.
const SOME: usize = 32;

impl ByDemand {
    fn next_turn(&mut self) -> Reverse<u64> {
        self.turn += 1;
        Reverse(self.turn)
    }

    /// Whom to give to.
    fn neediest(&mut self) -> Option<(Place, SubscriptionId)> {
        if let Some((id, place)) = self.alone {
            return (place.demand > 0).then_some((place, id));
        }
        while let Some(&(place, id)) = self.queue.peek() {
            if self.places.get(&id) == Some(&place) {
                return Some((place, id));
            }
            self.queue.pop();
        }
        None
    }

    /// Changes the demand of a subscriber, who is behind its equals from now on.
    fn change(&mut self, id: SubscriptionId, change: impl FnOnce(usize) -> usize) {
        if let Some((alone, place)) = &mut self.alone {
            if *alone == id {
                // Alone, it is nobody's equal.
                place.demand = change(place.demand);
                self.total = place.demand as u128;
            }
            return;
        }
        let turn = self.next_turn();
        if let Some(place) = self.places.get_mut(&id) {
            let before = place.demand;
            place.demand = change(before);
            place.turn = turn;
            self.total = self.total - before as u128 + place.demand as u128;
            let place = *place;
            self.queue_up(id, place);
        }
    }

    fn queue_up(&mut self, id: SubscriptionId, place: Place) {
        if place.demand == 0 {
            return;
        }
        if self.queue.len() >= 2 * self.places.len() + SOME {
            let places = &self.places;
            self.queue
                .retain(|(place, id)| places.get(id) == Some(place));
        }
        self.queue.push((place, id));
    }
}

impl<E> Dispatcher<E> for ByDemand {
    fn subscribe(&mut self, id: SubscriptionId, _: Terms<E>) -> Result<(), Refused> {
        if self.places.contains_key(&id) || self.alone.is_some_and(|(alone, _)| alone == id) {
            return Err(Refused::AlreadySubscribed);
        }
        let place = Place {
            demand: 0,
            turn: self.next_turn(),
        };
        if self.alone.is_none() && self.places.is_empty() {
            self.alone = Some((id, place));
            return Ok(());
        }
        if let Some((first, place)) = self.alone.take() {
            self.places.insert(first, place);
            self.queue_up(first, place);
        }
        self.places.insert(id, place);
        Ok(())
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        self.change(id, |before| before.saturating_add(demand.get()));
    }

    fn cancel(&mut self, id: SubscriptionId) {
        let alone = self.alone.take_if(|(alone, _)| *alone == id);
        let place = alone.map(|(_, place)| place);
        if let Some(place) = place.or_else(|| self.places.remove(&id)) {
            self.total -= place.demand as u128;
        }
        if self.places.len() == 1 {
            self.alone = self.places.pop_first();
            self.queue.clear();
        }
    }

    fn demand(&self) -> usize {
        usize::try_from(self.total).unwrap_or(usize::MAX)
    }

    fn dispatch(&mut self, backlog: &mut Backlog<E>, handout: &mut Handout<E>) {
        while !backlog.is_empty()
            && let Some((place, to)) = self.neediest()
        {
            let events = backlog.take(place.demand);
            self.change(to, |before| before - events.len());
            handout.deliver(to, events);
        }
    }

    fn claim(&mut self, events: usize) -> Option<SubscriptionId> {
        let (place, to) = self.neediest()?;
        if place.demand < events {
            return None;
        }
        self.change(to, |before| before - events);
        Some(to)
    }

    fn sole(&self) -> Option<SubscriptionId> {
        self.alone.map(|(alone, _)| alone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As long as there is nobody else, and then what went past it can be made up for.
    #[test]
    fn who_is_alone_gets_everything() {
        let mut by_demand = ByDemand::default();
        let dispatcher: &mut dyn Dispatcher<u64> = &mut by_demand;
        let [first, second] = [SubscriptionId(3), SubscriptionId(1)];
        assert_eq!(dispatcher.sole(), None);
        assert_eq!(dispatcher.subscribe(first, Terms::default()), Ok(()));
        assert_eq!(dispatcher.sole(), Some(first));
        dispatcher.ask(first, Demand::new(30).unwrap());
        assert_eq!(dispatcher.claim(29), Some(first));
        assert_eq!(dispatcher.claim(2), None, "it has asked for one more");
        assert_eq!(dispatcher.demand(), 1);
        assert_eq!(dispatcher.subscribe(second, Terms::default()), Ok(()));
        assert_eq!(dispatcher.sole(), None);
        dispatcher.cancel(first);
        assert_eq!(dispatcher.sole(), Some(second));
        dispatcher.cancel(second);
        assert_eq!(dispatcher.sole(), None);
    }

    /// However often demand changes, and no sooner than it pays.
    #[test]
    fn places_that_are_nobodys_are_cleared_out() {
        let (mut by_demand, mut most) = (ByDemand::default(), 0);
        for who in 0..3 {
            let terms = Terms::<u64>::default();
            assert_eq!(by_demand.subscribe(SubscriptionId(who), terms), Ok(()));
        }
        for n in 0..1_000 {
            by_demand.change(SubscriptionId(n % 3), |before| before + 1);
            most = most.max(by_demand.queue.len());
            assert_eq!(by_demand.total as u64, n + 1);
            // The others are not: the first has waited longest.
            let neediest = by_demand
                .neediest()
                .map(|(place, id)| (place.demand as u64, id));
            assert_eq!(neediest, Some((n / 3 + 1, SubscriptionId(0))));
        }
        assert_eq!(most, 2 * 3 + SOME);
    }
}
