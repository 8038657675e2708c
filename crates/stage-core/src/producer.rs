use crate::{Batch, BoxError, Demand, Step, SubscriptionInfo, Then, protocol::End};

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

    /// The producer, and `step` with each event that it makes, in one task: what a step costs is next to nothing,
    /// where a [stage of its own](crate::Pipeline::transform) has to be woken, and has a window.
    ///
    /// ```
    /// use stage_core::{Pipeline, Producer, Window, filter, for_each, from_iter, map};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), stage_core::PipelineError> {
    /// let odd_squares = from_iter(0..10_u64)
    ///     .then(filter(|n: &u64| n % 2 == 1))
    ///     .then(map(|n: u64| n * n));
    /// let mut pipeline = Pipeline::new();
    /// let odd_squares = pipeline.produce(odd_squares);
    /// pipeline.consume(for_each(|n: u64| println!("{n}")), odd_squares.subscribe(Window::new(10)));
    /// pipeline.run().await
    /// # }
    /// ```
    ///
    /// The producer is asked for as many events as are wanted of what is made of them, and again as long as all are
    /// left out. Made of one more than one, they wait, as others that nobody has asked for.
    ///
    /// # Errors
    ///
    /// The first that the step returns fails the stage. What was made of the events before that one is handed
    /// out; it is nacked, and the events after it that came with it are.
    ///
    /// # Cancel safety
    ///
    /// As that of the producer: what it has put into its batch by the time that a call is given up goes through
    /// the step and is handed out.
    fn then<S: Step<Self::Event>>(self, step: S) -> Then<Self, S, Self::Event>
    where
        Self: Sized,
    {
        Then::new(self, step)
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
