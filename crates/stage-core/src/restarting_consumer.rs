use std::{fmt, pin::pin};

use crate::{
    Batch, BoxError, Consumer, Restart, SubscriptionInfo,
    lives::Lives,
    panic::without_panic,
    protocol::{End, Generation},
    trial,
};

/// A consumer that is made anew when it fails. See [`restarting_consumer`].
pub struct RestartingConsumer<F, C>(Lives<F, C>);

/// Wraps a consumer so that, when it fails or panics, `make` makes a fresh one in its place, which
/// is given the same events again.
///
/// The consumer is given copies: the originals and their receipts are kept until it succeeds. What
/// it acked one by one before it failed is done, and not given again. What it kept from earlier
/// calls, with the receipts, is lost with it: that is nacked, and for the source to hand out again.
///
/// A fresh one is told at once of the subscriptions that the stage has then, as if they had just come;
/// so each life is told of each subscription once. A panic of [`subscribed`](Consumer::subscribed) or
/// `unsubscribed` is not mended: it fails the stage.
///
/// A batch that every consumer fails on does not restart for ever. When `policy` allows no more
/// restarts, the failure goes on: to the pipeline, or to what is wrapped around, which is usually
/// [`resilient`](crate::resilient). A restarting consumer that is called again after that makes a
/// fresh one.
///
/// ```
/// use stage_core::{
///     Batch, Consumer, OnFailure, Pipeline, Restart, Window, resilient, restarting_consumer,
/// };
/// # use stage_core::{Demand, Flow, Producer};
/// # use std::convert::Infallible;
/// use std::{io, time::Duration};
///
/// /// Its connection breaks after three batches.
/// struct Connection { left: u32 }
///
/// impl Consumer<u64> for Connection {
///     type Error = io::Error;
///
///     async fn consume(&mut self, _: &mut Batch<u64>) -> io::Result<()> {
///         self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
///         Ok(())
///     }
/// }
/// # struct Counter(u64);
/// # impl Producer for Counter {
/// #     type Event = u64;
/// #     type Error = Infallible;
/// #     async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
/// #         batch.push(self.0);
/// #         self.0 += 1;
/// #         Ok(if self.0 < 20 { Flow::More } else { Flow::End })
/// #     }
/// # }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), stage_core::PipelineError> {
/// # let source = Counter(0);
/// let policy = Restart::new(10, Duration::from_secs(60)).jittered(7);
/// let connection = restarting_consumer(policy, |_| Connection { left: 3 });
/// let mut pipeline = Pipeline::new();
/// let numbers = pipeline.produce(source);
/// pipeline.consume(connection, numbers.subscribe(Window::new(10)));
/// pipeline.run().await
/// # }
/// ```
///
/// # Errors
///
/// After too many restarts, the consumer's last error. The events are nacked, as far as they are
/// not done. A failing `finish` is not tried again, since what it may have kept is gone. One that
/// fails [while it is idle](Consumer::while_idle) is made anew like any.
///
/// # Cancel safety
///
/// Dropping a call nacks what is not done.
pub fn restarting_consumer<E, C>(
    policy: Restart,
    make: impl FnMut(Generation) -> C + Send + 'static,
) -> impl Consumer<E, Error = BoxError>
where
    E: Clone + Send + 'static,
    C: Consumer<E>,
{
    RestartingConsumer(Lives::new("consumer", policy, make))
}

impl<E, F, C> Consumer<E> for RestartingConsumer<F, C>
where
    E: Clone + Send + 'static,
    F: FnMut(Generation) -> C + Send + 'static,
    C: Consumer<E>,
{
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<E>) -> Result<(), BoxError> {
        // Empty if it failed when everything was done.
        while !batch.is_empty() {
            let consumer = self.0.current(C::subscribed).await;
            match trial::consume(consumer, batch).await {
                Ok(()) => return Ok(()),
                Err(error) => self.0.failed(error)?,
            }
        }
        Ok(())
    }

    async fn while_idle(&mut self) -> Result<(), BoxError> {
        let consumer = self.0.current(C::subscribed).await;
        let done = without_panic(pin!(async { consumer.while_idle().await })).await;
        match done {
            Ok(()) => Ok(()),
            Err(error) => self.0.failed(error),
        }
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.0.subscribed(subscription, C::subscribed);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.0.unsubscribed(subscription, end, C::unsubscribed);
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        let consumer = self.0.current(C::subscribed).await;
        consumer.finish().await.map_err(Into::into)
    }
}

impl<F, C> fmt::Debug for RestartingConsumer<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RestartingConsumer").field(&self.0).finish()
    }
}
