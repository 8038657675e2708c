use std::{fmt, pin::pin};

use crate::{
    Batch, BoxError, Demand, Flow, Producer, Restart, SubscriptionInfo,
    lives::Lives,
    panic::without_panic,
    protocol::{End, Generation},
};

/// A producer that is made anew when it fails. See [`restarting`].
pub struct Restarting<F, P>(Lives<F, P>);

/// Wraps a producer so that, when it fails or panics, `make` makes a fresh one in its place.
///
/// Subscriptions and demand are the stage's, not the producer's: they outlive it. What the failed
/// one had put into its batch is handed out. A fresh one must take up where that ended, so `make`
/// usually shares a position with the producers it makes. Where there are receipts, that is a
/// [`Tracker`](crate::Tracker).
///
/// A fresh one is told at once of the subscriptions that the stage has then, as if they had just come;
/// so each life is told of each subscription once. A panic of [`subscribed`](Producer::subscribed) or
/// `unsubscribed` is not mended: it fails the stage.
///
/// # Errors
///
/// After too many restarts, the producer's last error.
pub fn restarting<P: Producer>(
    policy: Restart,
    mut make: impl FnMut() -> P + Send + 'static,
) -> impl Producer<Event = P::Event, Error = BoxError> {
    restarting_producer(policy, move |_| make())
}

/// Like [`restarting`], and tells `make` which life it is to make.
pub fn restarting_producer<P: Producer>(
    policy: Restart,
    make: impl FnMut(Generation) -> P + Send + 'static,
) -> impl Producer<Event = P::Event, Error = BoxError> {
    Restarting(Lives::new("producer", policy, make))
}

impl<F, P> Producer for Restarting<F, P>
where
    F: FnMut(Generation) -> P + Send + 'static,
    P: Producer,
{
    type Event = P::Event;
    type Error = BoxError;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<P::Event>,
    ) -> Result<Flow, BoxError> {
        loop {
            let producer = self.0.current(P::subscribed).await;
            let done = without_panic(pin!(async { producer.produce(demand, batch).await })).await;
            match done {
                Ok(flow) => return Ok(flow),
                Err(error) => self.0.failed(error)?,
            }
            if !batch.is_empty() {
                return Ok(Flow::More);
            }
        }
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.0.subscribed(subscription, P::subscribed);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.0.unsubscribed(subscription, end, P::unsubscribed);
    }

    /// One that has failed and was not made anew yet has nothing to finish.
    async fn finish(&mut self) -> Result<(), BoxError> {
        match self.0.if_any() {
            Some(producer) => producer.finish().await.map_err(Into::into),
            None => Ok(()),
        }
    }
}

impl<F, P> fmt::Debug for Restarting<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Restarting").field(&self.0).finish()
    }
}
