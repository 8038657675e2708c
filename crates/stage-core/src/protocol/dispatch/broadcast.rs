use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{Dispatcher, Handout, Refused, Selector, Terms};
use crate::{
    Acknowledge, Batch, Outcome,
    protocol::{Backlog, Demand, SubscriptionId},
};

/// Gives every event to every subscriber, at the pace of the slowest.
///
/// This is GenStage's `BroadcastDispatcher`.
///
/// - **Demand**: the least that any subscriber has asked for.
/// - **Keeps back when** some subscriber has no demand; so one that has just come holds the flow
///   until it asks. It is given what comes from then on.
/// - **Refuses** a [subscriber](Terms::subscriber) that is subscribed already.
///
/// A subscriber with a [selector](Terms::selector) is spared the other events. They count as sent,
/// so that it keeps in step, and are [made up](Handout::made_up) for.
///
/// An event is acked once all that it was sent to have acked it, and nacked once all have settled it
/// and one has nacked it. To be spared an event is to ack it.
#[doc(alias = "BroadcastDispatcher")]
pub struct Broadcast<E> {
    subscribers: BTreeMap<SubscriptionId, Subscriber<E>>,
    /// The least demand of any subscriber; zero if there is none.
    least: usize,
    /// How many subscribers have no more than that.
    at_least: usize,
}

struct Subscriber<E> {
    demand: usize,
    selector: Option<Selector<E>>,
    who: Option<u64>,
}

impl<E> Broadcast<E> {
    /// A dispatcher without subscribers.
    pub const fn new() -> Self {
        Self {
            subscribers: BTreeMap::new(),
            least: 0,
            at_least: 0,
        }
    }

    fn find_least(&mut self) {
        let demands = || self.subscribers.values().map(|s| s.demand);
        self.least = demands().min().unwrap_or(0);
        self.at_least = demands().filter(|demand| *demand == self.least).count();
    }

    fn knows(&self, id: SubscriptionId, who: Option<u64>) -> bool {
        let mut others = self.subscribers.values();
        self.subscribers.contains_key(&id)
            || who.is_some() && others.any(|subscriber| subscriber.who == who)
    }
}

impl<E: Clone + Send + Sync + 'static> Dispatcher<E> for Broadcast<E> {
    fn subscribe(&mut self, id: SubscriptionId, terms: Terms<E>) -> Result<(), Refused> {
        if self.knows(id, terms.subscriber) {
            return Err(Refused::AlreadySubscribed);
        }
        let subscriber = Subscriber {
            demand: 0,
            selector: terms.selector,
            who: terms.subscriber,
        };
        self.subscribers.insert(id, subscriber);
        self.find_least();
        Ok(())
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            let held_all_back = subscriber.demand == self.least;
            subscriber.demand = subscriber.demand.saturating_add(demand.get());
            if held_all_back {
                self.at_least -= 1;
                if self.at_least == 0 {
                    self.find_least();
                }
            }
        }
    }

    fn cancel(&mut self, id: SubscriptionId) {
        self.subscribers.remove(&id);
        self.find_least();
    }

    fn demand(&self) -> usize {
        self.least
    }

    fn dispatch(&mut self, backlog: &mut Backlog<E>, handout: &mut Handout<E>) {
        let mut events = backlog.take(self.least);
        if events.is_empty() {
            return;
        }
        self.least -= events.len();
        let receipts = events.fan_out(self.subscribers.len());
        let mut subscribers = self.subscribers.iter_mut().peekable();
        while let Some((&to, subscriber)) = subscribers.next() {
            subscriber.demand -= events.len();
            let is_last = subscribers.peek().is_none();
            let (sent, count) = match &subscriber.selector {
                Some(selector) => {
                    let kept = backlog.spares.take(events.len());
                    (
                        some(&events, kept, selector, receipts.as_ref()),
                        events.len(),
                    )
                }
                None if is_last => return handout.deliver(to, all(events, receipts)),
                None => {
                    let same = events.share(|len| backlog.spares.take(len));
                    (all(same, receipts.clone()), events.len())
                }
            };
            handout.make_up(to, count - sent.len());
            handout.deliver(to, sent);
        }
    }
}

/// All events, for one subscriber.
fn all<E, A: Acknowledge>(mut events: Batch<E>, receipts: Option<Arc<A>>) -> Batch<E> {
    if let Some(receipts) = receipts {
        events.track(receipts, 0);
    }
    events
}

/// Adds to `kept` those events that `selector` keeps, for one subscriber, who is done with the others.
fn some<E: Clone, A: Acknowledge>(
    events: &Batch<E>,
    mut kept: Batch<E>,
    selector: &Selector<E>,
    receipts: Option<&Arc<A>>,
) -> Batch<E> {
    for (number, event) in (0..).zip(events) {
        let keeps = selector.keeps(event);
        if keeps {
            kept.push(event.clone());
        }
        match receipts {
            Some(receipts) if keeps => kept.track(Arc::clone(receipts) as _, number),
            Some(receipts) => receipts.settle(number..number + 1, Outcome::Acked),
            None => {}
        }
    }
    kept
}

impl<E> Default for Broadcast<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Broadcast<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("subscribers", &self.subscribers)
            .finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Subscriber<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("demand", &self.demand)
            .field("selector", &self.selector)
            .field("who", &self.who)
            .finish()
    }
}
