use crate::{Batch, BoxError, Demand, SubscriptionInfo, protocol::End};

/// Makes events, as they are asked for.
///
/// The stage that runs it remembers what is still wanted and calls again, so a producer keeps no
/// demand of its own:
///
/// ```text
/// while still wanted {
///     match producer.produce(wanted, &mut batch).await? {
///         Flow::More => hand batch out,
///         Flow::End => { hand batch out; break }
///     }
/// }
/// wait until everything has been handed out
/// producer.finish().await?
/// ```
///
/// ```
/// use stage_core::{Batch, Demand, Flow, Producer};
/// use std::{io, iter};
/// use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
///
/// /// Produces the lines of standard input.
/// struct StdinLines(Lines<BufReader<Stdin>>);
///
/// impl Producer for StdinLines {
///     type Event = String;
///     type Error = io::Error;
///
///     async fn produce(&mut self, _: Demand, batch: &mut Batch<String>) -> io::Result<Flow> {
///         let Some(line) = self.0.next_line().await? else {
///             return Ok(Flow::End);
///         };
///         batch.push(line);
///         Ok(Flow::More)
///     }
/// }
/// ```
pub trait Producer: Send + 'static {
    /// What it makes.
    type Event: Send + 'static;
    /// Why it may fail. What it had put into its batch by then is still handed out; then the stage
    /// has failed.
    type Error: Into<BoxError> + Send;

    /// Waits until there is at least one event, then adds up to `demand` of them to `batch`, which
    /// comes empty.
    ///
    /// Adding more than `demand` is allowed where events cannot be had singly. What nobody has
    /// asked for waits, and counts against what is asked for next. Adding fewer is allowed, too: it is
    /// called again. A window may be [without bound](usize::MAX), so one that never runs out of events
    /// bounds what it makes in one call. Who asks while the call blocks its thread, as with `block_in_place`, is heard
    /// after it; while it waits, at once.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the pipeline is told to stop, or everybody downstream has left.
    /// Events that are in `batch` by then are handed out all the same; so put events there as soon
    /// as they are taken from wherever they come from.
    fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<Self::Event>,
    ) -> impl Future<Output = Result<Flow, Self::Error>> + Send;

    /// A stage has subscribed. Called once for each subscription, before anything is made for it.
    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        let _ = subscription;
    }

    /// A subscription has ended. Called once for each, while nothing is being made; so it may come
    /// late if the producer waits for events.
    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        let _ = (subscription, end);
    }

    /// Called once after everything has been handed out, if the producer did not fail: to wait until
    /// that has been settled, to save positions, to say goodbye. The stage lasts until it returns.
    fn finish(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async { Ok(()) }
    }
}

/// The most events that a ready-made producer makes in one call, whatever is asked for: a window may
/// have no bound, and what is made of it in one call would have none either, in memory and in time.
/// Large enough that the price of a call is none of an event's.
pub(crate) const MOST_AT_ONCE: Demand = Demand::new(1024).expect("it is not zero");

/// Whether a producer has more to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Flow {
    /// Call again when more is wanted.
    More,
    /// What is in the batch, if anything, is the last.
    End,
}
