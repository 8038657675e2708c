use std::fmt;

use super::{Backlog, Demand, Mark, SubscriptionId};
use crate::Batch;

mod broadcast;
mod by_demand;
mod handout;
mod lane_for;
mod notices;
mod partition;
mod refused;
mod terms;

pub use broadcast::Broadcast;
pub use by_demand::ByDemand;
pub use handout::{Delivery, Handout};
pub use lane_for::lane_for;
pub use partition::Partition;
pub use refused::Refused;
pub use terms::{Selector, Terms};

/// Divides a stage's events among its subscribers, never giving one more than it asked for.
///
/// A dispatcher only decides: it moves events from a [`Backlog`] into a [`Handout`], and the stage
/// sends them. The stage asks its producer for `demand() - backlog.len()` events, whenever that is
/// more than zero. Whenever something has changed, it does this:
///
/// ```
/// # use stage_core::protocol::{Buffer, ByDemand, Dispatcher, Handout};
/// # let mut dispatcher: Box<dyn Dispatcher<u64>> = Box::new(ByDemand::default());
/// # let mut buffer = Buffer::<u64>::unbounded();
/// let mut handout = Handout::new();
/// loop {
///     dispatcher.dispatch(buffer.front(), &mut handout);
///     let passed = buffer.pass();
///     if let Some(mark) = passed {
///         dispatcher.mark(mark, &mut handout);
///     }
///     // Here it sends `handout.deliveries`, then `handout.passed`.
///     let made_up = !handout.made_up.is_empty();
///     for (id, demand) in handout.made_up.drain(..) {
///         dispatcher.ask(id, demand);
///     }
///     if passed.is_none() && !made_up {
///         break;
///     }
/// }
/// ```
pub trait Dispatcher<E>: fmt::Debug + Send + 'static {
    /// A subscriber has come, on these terms. It is given nothing before it asks.
    ///
    /// # Errors
    ///
    /// If it cannot be served on these terms. Then nothing has changed.
    fn subscribe(&mut self, id: SubscriptionId, terms: Terms<E>) -> Result<(), Refused>;

    /// A subscriber asks for more. One that is not subscribed is ignored: it has just left.
    fn ask(&mut self, id: SubscriptionId, demand: Demand);

    /// A subscriber has gone, and what it asked for with it.
    fn cancel(&mut self, id: SubscriptionId);

    /// How many more events could be used now, those of the backlog included.
    fn demand(&self) -> usize;

    /// Moves events out of `backlog`, as far as demand goes, and to the end of what `handout` has
    /// for their subscribers. What is left in the backlog has no taker yet. An empty backlog is
    /// nothing special: events that are [held](Self::held) may have a taker now.
    fn dispatch(&mut self, backlog: &mut Backlog<E>, handout: &mut Handout<E>);

    /// How many of the next events, with none before them, would go to one subscriber as one delivery. So
    /// many need not be divided once they are made.
    ///
    /// A hint, for a stage that can make them bit by bit. There need not be one.
    fn piece(&mut self) -> Option<Demand> {
        None
    }

    /// If the next `events` events, with none before them, would all go to one subscriber as one
    /// delivery: takes note that they do, and returns it.
    ///
    /// A shortcut past [`dispatch`](Self::dispatch), which must decide the same. There need not be
    /// one.
    fn claim(&mut self, events: usize) -> Option<SubscriptionId> {
        let _ = events;
        None
    }

    /// Whom all events go to, in order and as far as its demand goes, as long as nobody else
    /// subscribes. Then the stage may send it events past the dispatcher. Before anything else happens
    /// it makes up for them: by [`ask`](Self::ask) for what was asked for meanwhile, and by
    /// [`claim`](Self::claim) for what was sent, which must not refuse that.
    ///
    /// A shortcut, as [`claim`](Self::claim) is. There need not be one.
    fn sole(&self) -> Option<SubscriptionId> {
        None
    }

    /// How many events it has taken from the backlog and not handed out yet.
    fn held(&self) -> usize {
        0
    }

    /// Whether what it [holds](Self::held) for those who have asked may go with what comes next, if that is
    /// made at once: in fewer deliveries. If not, it goes before.
    fn can_wait(&self) -> bool {
        false
    }

    /// Takes out what it [holds](Self::held) for subscribers that are not there. The stage has nothing
    /// more to make, and nobody is expected any more: they would wait for ever.
    fn give_up_stranded(&mut self) -> Batch<E> {
        Batch::new()
    }

    /// A notice has come, behind all events that were taken so far. It goes to the handout once
    /// these have.
    fn mark(&mut self, mark: Mark, handout: &mut Handout<E>) {
        handout.passed.push(mark);
    }
}
