use std::{cmp::Reverse, mem};

use super::{Dispatcher, Handout, Refused, Terms};
use crate::protocol::{Backlog, Demand, SubscriptionId};

mod many;

use many::Many;

/// Gives events to whoever has asked for the most; among equals, to who has waited longest.
///
/// This is GenStage's `DemandDispatcher`, and the default.
///
/// - **Demand**: the sum of what the subscribers have asked for.
/// - **Keeps back when** nobody has demand.
#[doc(alias = "DemandDispatcher")]
#[derive(Debug, Default)]
pub struct ByDemand {
    /// The subscribers, while there are [few](FEW): to look at each costs less than to keep them in
    /// order.
    few: Vec<(SubscriptionId, Place)>,
    /// Which of them is the neediest, if somebody has asked and nothing has changed since.
    neediest_of_few: Option<usize>,
    /// All subscribers, if there are more.
    many: Many,
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

/// How many subscribers are few. They are kept in order if there are more, until half of them are left.
const FEW: usize = 16;

impl ByDemand {
    fn next_turn(&mut self) -> Reverse<u64> {
        self.turn += 1;
        Reverse(self.turn)
    }

    /// Whom to give to.
    #[inline]
    fn neediest(&mut self) -> Option<(Place, SubscriptionId)> {
        if self.many.is_empty() {
            let neediest = self.find_neediest_of_few()?;
            let (id, place) = self.few[neediest];
            return Some((place, id));
        }
        self.many.neediest()
    }

    #[inline]
    fn find_neediest_of_few(&mut self) -> Option<usize> {
        if self.neediest_of_few.is_none() {
            let all = self.few.iter().enumerate();
            let in_need = all.filter(|(_, (_, place))| place.demand > 0);
            let neediest = in_need.max_by_key(|(_, (_, place))| *place);
            self.neediest_of_few = neediest.map(|(at, _)| at);
        }
        self.neediest_of_few
    }

    /// Takes note that so many events go to the neediest, if they do.
    #[inline]
    fn claim_among_few(&mut self, events: usize) -> Option<SubscriptionId> {
        let neediest = self.find_neediest_of_few()?;
        let (to, place) = &mut self.few[neediest];
        if place.demand < events {
            return None;
        }
        self.neediest_of_few = None;
        self.turn += 1;
        place.turn = Reverse(self.turn);
        place.demand -= events;
        self.total -= events as u128;
        Some(*to)
    }

    /// The place of a subscriber.
    #[inline]
    fn place(&mut self, id: SubscriptionId) -> Option<&mut Place> {
        let among_few = self
            .few
            .iter_mut()
            .find(|(subscriber, _)| *subscriber == id);
        match among_few {
            Some((_, place)) => Some(place),
            None => self.many.place(id),
        }
    }

    /// Changes the demand of a subscriber, who is behind its equals from now on.
    #[inline]
    fn change(&mut self, id: SubscriptionId, change: impl FnOnce(usize) -> usize) {
        let turn = self.next_turn();
        self.neediest_of_few = None;
        if let Some(place) = self.place(id) {
            let before = place.demand;
            place.demand = change(before);
            place.turn = turn;
            let place = *place;
            self.total = self.total - before as u128 + place.demand as u128;
            if !self.many.is_empty() {
                self.many.queue_up(id, place);
            }
        }
    }
}

impl<E> Dispatcher<E> for ByDemand {
    fn subscribe(&mut self, id: SubscriptionId, _: Terms<E>) -> Result<(), Refused> {
        if self.place(id).is_some() {
            return Err(Refused::AlreadySubscribed);
        }
        self.neediest_of_few = None;
        let place = Place {
            demand: 0,
            turn: self.next_turn(),
        };
        if self.many.is_empty() && self.few.len() < FEW {
            self.few.push((id, place));
            return Ok(());
        }
        self.many.insert(id, place);
        for (id, place) in mem::take(&mut self.few) {
            self.many.insert(id, place);
        }
        Ok(())
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        self.change(id, |before| before.saturating_add(demand.get()));
    }

    fn cancel(&mut self, id: SubscriptionId) {
        self.neediest_of_few = None;
        let among_few = self
            .few
            .iter()
            .position(|(subscriber, _)| *subscriber == id);
        let place = match among_few {
            Some(at) => Some(self.few.remove(at).1),
            None => self.many.remove(id),
        };
        if let Some(place) = place {
            self.total -= place.demand as u128;
        }
        if self.many.len() == FEW / 2 {
            self.few.extend(self.many.take());
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

    fn piece(&mut self) -> Option<Demand> {
        let (place, _) = self.neediest()?;
        Demand::new(place.demand)
    }

    fn claim(&mut self, events: usize) -> Option<SubscriptionId> {
        if self.many.is_empty() {
            return self.claim_among_few(events);
        }
        let (place, to) = self.neediest()?;
        if place.demand < events {
            return None;
        }
        self.change(to, |before| before - events);
        Some(to)
    }

    fn sole(&self) -> Option<SubscriptionId> {
        match &*self.few {
            [(alone, _)] => Some(*alone),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{many::SOME, *};

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
        let many = FEW as u64 + 1;
        for who in 0..many {
            let terms = Terms::<u64>::default();
            assert_eq!(by_demand.subscribe(SubscriptionId(who), terms), Ok(()));
        }
        // As long as this one is the neediest, nobody comes upon the others' places.
        let neediest = SubscriptionId(0);
        by_demand.change(neediest, |_| 1_000);
        for n in 0..1_000 {
            let other = SubscriptionId(1 + n % (many - 1));
            by_demand.change(other, |before| before + 1);
            most = most.max(by_demand.many.queued());
            assert_eq!(by_demand.total as u64, 1_000 + n + 1);
            let found = by_demand.neediest().map(|(place, id)| (place.demand, id));
            assert_eq!(found, Some((1_000, neediest)));
        }
        assert_eq!(most, 2 * many as usize + SOME);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Subscribe(u64),
        Cancel(u64),
        Ask(u64, usize),
        Claim(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let who = 0_u64..3 * FEW as u64;
        prop_oneof![
            4 => who.clone().prop_map(Step::Subscribe),
            2 => who.clone().prop_map(Step::Cancel),
            4 => (who, 1_usize..5).prop_map(|(who, events)| Step::Ask(who, events)),
            3 => (1_usize..5).prop_map(Step::Claim),
        ]
    }

    proptest! {
        /// However many there are, and whichever way they are kept. The book has them in the order in
        /// which their demand has changed, latest last.
        #[test]
        fn the_neediest_is_the_same_among_few_and_many(
            steps in proptest::collection::vec(step(), 0..400),
        ) {
            let mut by_demand = ByDemand::default();
            let mut book: Vec<(u64, usize)> = Vec::new();
            let note = |book: &mut Vec<(u64, usize)>, who, demand| {
                book.retain(|(other, _)| *other != who);
                book.push((who, demand));
            };
            for step in steps {
                let demand_of = |book: &[(u64, usize)], who| {
                    book.iter().find(|(other, _)| *other == who).map(|(_, demand)| *demand)
                };
                let dispatcher: &mut dyn Dispatcher<u64> = &mut by_demand;
                match step {
                    Step::Subscribe(who) => {
                        let subscribed = dispatcher.subscribe(SubscriptionId(who), Terms::default());
                        let is_there = demand_of(&book, who).is_some();
                        prop_assert_eq!(subscribed.is_err(), is_there);
                        if !is_there {
                            book.push((who, 0));
                        }
                    }
                    Step::Cancel(who) => {
                        dispatcher.cancel(SubscriptionId(who));
                        book.retain(|(other, _)| *other != who);
                    }
                    Step::Ask(who, events) => {
                        dispatcher.ask(SubscriptionId(who), Demand::new(events).unwrap());
                        if let Some(before) = demand_of(&book, who) {
                            note(&mut book, who, before + events);
                        }
                    }
                    Step::Claim(events) => {
                        // Of equals the last that `max_by_key` sees: the one that has waited longest.
                        let neediest = book.iter().rev().max_by_key(|(_, demand)| *demand).copied();
                        let neediest = neediest.filter(|(_, demand)| *demand >= events);
                        let to = dispatcher.claim(events);
                        prop_assert_eq!(to, neediest.map(|(who, _)| SubscriptionId(who)));
                        if let Some((who, before)) = neediest {
                            note(&mut book, who, before - events);
                        }
                    }
                }
                let piece = Dispatcher::<u64>::piece(&mut by_demand).map_or(0, Demand::get);
                let most = book.iter().map(|(_, demand)| *demand).max();
                prop_assert_eq!(piece, most.unwrap_or_default());
                let demand = book.iter().map(|(_, demand)| demand).sum();
                prop_assert_eq!(Dispatcher::<u64>::demand(&by_demand), demand);
                let sole = book.first().filter(|_| book.len() == 1);
                let sole = sole.map(|(who, _)| SubscriptionId(*who));
                prop_assert_eq!(Dispatcher::<u64>::sole(&by_demand), sole);
            }
        }
    }
}
