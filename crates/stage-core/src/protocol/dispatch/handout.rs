use crate::{
    Batch,
    protocol::{Demand, Mark, SubscriptionId},
};

/// What a [`Dispatcher`](super::Dispatcher) decided, for the stage to carry out. A dispatcher only
/// adds to it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Handout<E> {
    /// What to send, in order.
    pub deliveries: Vec<Delivery<E>>,
    /// Notices that all events before them have been sent, in order.
    pub passed: Vec<Mark>,
    /// What to ask for in the name of subscribers, because events that counted as theirs were not
    /// sent to them. The stage hands these back as ordinary [asks](super::Dispatcher::ask).
    pub made_up: Vec<(SubscriptionId, Demand)>,
    /// How many events belonged nowhere. They were dropped, and count as acked.
    pub homeless: usize,
    /// How many events belonged where nothing is. They failed: they were dropped, and are nacked.
    pub misplaced: usize,
}

impl<E> Handout<E> {
    /// A handout with nothing in it.
    pub const fn new() -> Self {
        Self {
            deliveries: Vec::new(),
            passed: Vec::new(),
            made_up: Vec::new(),
            homeless: 0,
            misplaced: 0,
        }
    }

    /// Adds events to send. None are none: a delivery is never empty.
    pub fn deliver(&mut self, to: SubscriptionId, events: Batch<E>) {
        if !events.is_empty() {
            self.deliveries.push(Delivery { to, events });
        }
    }

    /// Adds demand to be handed back as the subscriber's.
    pub fn make_up(&mut self, to: SubscriptionId, events: usize) {
        self.made_up
            .extend(Demand::new(events).map(|demand| (to, demand)));
    }
}

impl<E> Default for Handout<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// Events to send to one subscriber.
#[derive(Debug)]
#[non_exhaustive]
pub struct Delivery<E> {
    /// The subscriber.
    pub to: SubscriptionId,
    /// The events, in order. Never empty.
    pub events: Batch<E>,
}
