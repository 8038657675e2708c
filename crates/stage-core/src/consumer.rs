use crate::{After, Batch, BoxError, Step, SubscriptionInfo, protocol::End};

/// Takes events in.
///
/// Backpressure needs no code here: until `consume` returns, no more is asked for. The stage that
/// runs it does this:
///
/// ```text
/// while let Some(batch) = next portion {
///     consumer.consume(&mut batch).await?   // failed: the batch is nacked
///     ack the batch
///     ask for more, if the window says so
/// }
/// consumer.finish().await?
/// ```
///
/// As with any task, what blocks its thread belongs into `spawn_blocking` or `block_in_place`. Stages that
/// wake each other may be polled by one task, so `tokio::task::id()` says nothing of a stage.
pub trait Consumer<Event>: Send + 'static {
    /// Why it may fail. A failed stage stops its pipeline.
    type Error: Into<BoxError> + Send;

    /// Takes a portion of events in, in order. It is never empty, and never more than
    /// `max - min` of the subscription's [`Window`](crate::Window).
    ///
    /// Returning `Ok` says that all of them are taken care of, whether they were drained from the
    /// batch or only looked at: those that have [receipts](crate::Receipt) are acked. A consumer that
    /// works on events beyond the call takes them with their
    /// [receipts](Batch::drain_with_receipts), and [keeps them in hand](Batch::keep_in_hand).
    fn consume(
        &mut self,
        batch: &mut Batch<Event>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Is waited for while there is nothing to take in: for a consumer that has something going on
    /// between its calls, such as tasks of its own. When it completes, it is called again at the next
    /// wait.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when events come: it must lose nothing by that.
    fn while_idle(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::pending()
    }

    /// A subscription is there. Called once for each, before any event of it.
    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        let _ = subscription;
    }

    /// A subscription has ended. Called once for each, after the last event of it.
    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        let _ = (subscription, end);
    }

    /// Called once after the last event, when every stage it subscribed to has ended.
    fn finish(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async { Ok(()) }
    }

    /// The consumer, and `step` before it with each event that comes, in one task. See
    /// [`Producer::then`](crate::Producer::then).
    ///
    /// ```
    /// use stage_core::{Consumer, Pipeline, Window, for_each, from_iter, try_map};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), stage_core::PipelineError> {
    /// let mut pipeline = Pipeline::new();
    /// let lines = pipeline.produce(from_iter(["3", "4"]));
    /// let print = for_each(|n: u64| println!("{n}")).after(try_map(str::parse::<u64>));
    /// pipeline.consume(print, lines.subscribe(Window::new(10)));
    /// pipeline.run().await
    /// # }
    /// ```
    ///
    /// The consumer is given what is made of a portion, if that is anything: in several calls if it is more events
    /// than the portion had. What it [keeps in hand](Batch::keep_in_hand) counts as before; of a portion that has
    /// become more events, or whose [weight](crate::Subscription::bytes) counts and which has become others, all counts until the
    /// last is dropped.
    ///
    /// # Errors
    ///
    /// The first that the step returns fails the stage, and nothing of that portion is given to the consumer.
    ///
    /// If the consumer fails, the stage has failed with all of the portion, though it was given in several calls, and what the
    /// calls before had taken in is acked. So what is to be [tried again](crate::resilient) goes inside:
    /// `resilient(consumer, policy).after(step)`.
    fn after<In, S: Step<In, Out = Event>>(self, step: S) -> After<Self, S, Event>
    where
        Self: Sized,
    {
        After::new(self, step)
    }
}
