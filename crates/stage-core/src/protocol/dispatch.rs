use std::fmt;

use super::{Backlog, Demand, SubscriptionId};
use crate::Batch;

mod by_demand;

pub use by_demand::ByDemand;

/// Divides a stage's events among its subscribers, never giving one more than it asked for.
///
/// A dispatcher only decides: it moves events from a [`Backlog`] into [`Delivery`]s, and the stage
/// sends them.
pub trait Dispatcher<E>: fmt::Debug + Send + 'static {
    /// A subscriber has come.
    fn subscribe(&mut self, id: SubscriptionId);

    /// A subscriber asks for more. One that is not subscribed is ignored: it has just left.
    fn ask(&mut self, id: SubscriptionId, demand: Demand);

    /// A subscriber has gone, and what it asked for with it.
    fn cancel(&mut self, id: SubscriptionId);

    /// How many events could be given out now.
    fn demand(&self) -> usize;

    /// Moves events out of `backlog` to the end of `deliveries`, as far as demand goes. What is
    /// left has no taker yet.
    fn dispatch(&mut self, backlog: &mut Backlog<E>, deliveries: &mut Vec<Delivery<E>>);
}

/// Events to send to one subscriber.
#[derive(Debug)]
pub struct Delivery<E> {
    /// The subscriber.
    pub to: SubscriptionId,
    /// The events, in order. Never empty.
    pub events: Batch<E>,
}
