use std::{fmt, mem, pin::pin};

use tokio::time::Instant;

use crate::{
    Batch, BoxError, Restart, SubscriptionInfo, Transform,
    lives::Lives,
    panic::without_panic,
    protocol::{End, Generation},
    trial,
};

/// A transform that is made anew when it fails. See [`restarting_transform`].
pub struct RestartingTransform<F, T>(Lives<F, T>);

/// Wraps a transform so that, when it fails or panics, `make` makes a fresh one in its place, which
/// is given the same events again.
///
/// What the failed call had put out is dropped, so that nothing is made twice. Otherwise it is as
/// [`restarting_consumer`](crate::restarting_consumer): what was kept from earlier calls is lost
/// with the transform and nacked, and after too many restarts the failure goes on.
///
/// A fresh one is told at once of the subscriptions that the stage has then, as if they had just come;
/// so each life is told of each subscription once. A panic of [`subscribed`](Transform::subscribed) or
/// `unsubscribed` is not mended: it fails the stage.
///
/// # Errors
///
/// After too many restarts, the transform's last error.
///
/// # Cancel safety
///
/// Dropping a call nacks what is not done.
pub fn restarting_transform<In, T>(
    policy: Restart,
    make: impl FnMut(Generation) -> T + Send + 'static,
) -> impl Transform<In, Out = T::Out, Error = BoxError>
where
    In: Clone + Send + 'static,
    T: Transform<In>,
{
    RestartingTransform(Lives::new("transform", policy, make))
}

impl<In, F, T> Transform<In> for RestartingTransform<F, T>
where
    In: Clone + Send + 'static,
    F: FnMut(Generation) -> T + Send + 'static,
    T: Transform<In>,
{
    type Out = T::Out;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<In>,
        out: &mut Batch<T::Out>,
    ) -> Result<(), BoxError> {
        while !batch.is_empty() {
            let transform = self.0.current(T::subscribed).await;
            match trial::transform(transform, batch, out).await {
                Ok(()) => return Ok(()),
                Err(error) => self.0.failed(error)?,
            }
        }
        Ok(())
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.0.subscribed(subscription, T::subscribed);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.0.unsubscribed(subscription, end, T::unsubscribed);
    }

    /// One that has failed keeps nothing back.
    fn due(&self) -> Option<Instant> {
        self.0.look()?.due()
    }

    async fn elapsed(&mut self, out: &mut Batch<T::Out>) -> Result<(), BoxError> {
        let Some(transform) = self.0.if_any() else {
            return Ok(());
        };
        let done = without_panic(pin!(async { transform.elapsed(out).await })).await;
        match done {
            Ok(()) => Ok(()),
            Err(error) => {
                drop(mem::take(out));
                self.0.failed(error)
            }
        }
    }

    async fn finish(&mut self, out: &mut Batch<T::Out>) -> Result<(), BoxError> {
        let transform = self.0.current(T::subscribed).await;
        transform.finish(out).await.map_err(Into::into)
    }
}

impl<F, T> fmt::Debug for RestartingTransform<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RestartingTransform").field(&self.0).finish()
    }
}
