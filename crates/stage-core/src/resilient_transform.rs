use tokio::time::Instant;

use crate::{
    Batch, BoxError, FailurePolicy, LastResort, SubscriptionInfo, Transform,
    protocol::End,
    salvage::{Attempt, salvage},
    trial,
};

/// A transform with a policy for what it fails on. See [`resilient_transform`].
#[derive(Debug)]
pub struct ResilientTransform<T, L> {
    transform: T,
    policy: FailurePolicy<L>,
}

/// Wraps a transform so that events that it fails on, by an error or a panic, do not simply stop
/// it: [`OnFailure`](crate::OnFailure) says what is tried, and what becomes of those that nothing
/// helps.
///
/// What a failed call had put out is dropped. Otherwise it is as [`resilient`](crate::resilient):
/// the outputs of each part that succeeds stand for the events of that part.
///
/// # Errors
///
/// What the last resort fails with. Then all of the batch that is not settled is nacked, also what
/// had been transformed before: it was not handed on. What the transform fails with when it has no
/// events, in [`elapsed`](Transform::elapsed) or `finish`, is not tried again.
///
/// # Cancel safety
///
/// Dropping a call nacks what is not done.
pub fn resilient_transform<In, T, L>(
    transform: T,
    policy: FailurePolicy<L>,
) -> impl Transform<In, Out = T::Out, Error = BoxError>
where
    In: Clone + Send + 'static,
    T: Transform<In>,
    L: LastResort<In>,
{
    ResilientTransform { transform, policy }
}

impl<In, T, L> Transform<In> for ResilientTransform<T, L>
where
    In: Clone + Send + 'static,
    T: Transform<In>,
    L: LastResort<In>,
{
    type Out = T::Out;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<In>,
        out: &mut Batch<T::Out>,
    ) -> Result<(), BoxError> {
        let mut transform = Transforming {
            transform: &mut self.transform,
            out,
        };
        salvage(&mut self.policy, &mut transform, batch).await
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.transform.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.transform.unsubscribed(subscription, end);
    }

    fn due(&self) -> Option<Instant> {
        self.transform.due()
    }

    async fn elapsed(&mut self, out: &mut Batch<T::Out>) -> Result<(), BoxError> {
        self.transform.elapsed(out).await.map_err(Into::into)
    }

    async fn finish(&mut self, out: &mut Batch<T::Out>) -> Result<(), BoxError> {
        self.transform.finish(out).await.map_err(Into::into)?;
        self.policy.last_resort.finish().await
    }
}

struct Transforming<'a, T, Out> {
    transform: &'a mut T,
    out: &'a mut Batch<Out>,
}

impl<In, T> Attempt<In> for Transforming<'_, T, T::Out>
where
    In: Clone + Send + 'static,
    T: Transform<In>,
{
    async fn attempt(&mut self, events: &mut Batch<In>) -> Result<(), BoxError> {
        let mut part = Batch::new();
        trial::transform(self.transform, events, &mut part).await?;
        self.out.append(&mut part);
        Ok(())
    }
}
