use std::{fmt, thread};

use tokio::time::Instant;

use crate::{
    Batch, BoxError, Demand, Flow, Producer, Step, SubscriptionInfo, Transform, pace::budgeted,
    protocol::End,
};

/// A producer or a transform with steps behind it, in the same task. Made by [`Producer::then`] and
/// [`Transform::then`].
#[must_use = "it does nothing until it is added to a pipeline"]
pub struct Then<T, S, E> {
    stage: T,
    step: S,
    /// What the stage made, on its way through the steps.
    made: Batch<E>,
    /// Why they have failed, if nobody knows of that yet.
    failed: Option<BoxError>,
}

impl<T, S, E> Then<T, S, E> {
    pub(crate) fn new(stage: T, step: S) -> Self {
        Self {
            stage,
            step,
            made: Batch::new(),
            failed: None,
        }
    }

    /// One more step behind the others. They are one loop.
    pub fn then<Next>(self, step: Next) -> Then<T, (S, Next), E>
    where
        S: Step<E>,
        Next: Step<S::Out>,
    {
        Then::new(self.stage, (self.step, step))
    }

    /// What the stage has made goes through the steps.
    fn pass(&mut self, out: &mut Batch<S::Out>) -> Result<(), BoxError>
    where
        S: Step<E>,
    {
        self.made.step_into(&mut self.step, out).map_err(Into::into)
    }
}

impl<P: Producer, S: Step<P::Event>> Producer for Then<P, S, P::Event> {
    type Event = S::Out;
    type Error = BoxError;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<S::Out>,
    ) -> Result<Flow, BoxError> {
        loop {
            let passing = Passing {
                through: self,
                out: batch,
            };
            let flow = passing.produce(demand).await;
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            let flow = flow.map_err(Into::into)?;
            if flow == Flow::End || !batch.is_empty() {
                return Ok(flow);
            }
            // All was left out.
            budgeted().await;
        }
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.stage.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.stage.unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        let finished = self.stage.finish().await;
        // By what was made in a call that was given up.
        self.failed.take().map_or(Ok(()), Err)?;
        finished.map_err(Into::into)
    }
}

/// What a producer makes goes through the steps, however the call ends.
struct Passing<'a, P: Producer, S: Step<P::Event>> {
    through: &'a mut Then<P, S, P::Event>,
    out: &'a mut Batch<S::Out>,
}

impl<P: Producer, S: Step<P::Event>> Passing<'_, P, S> {
    async fn produce(self, demand: Demand) -> Result<Flow, P::Error> {
        let through = &mut *self.through;
        through.stage.produce(demand, &mut through.made).await
    }
}

impl<P: Producer, S: Step<P::Event>> Drop for Passing<'_, P, S> {
    fn drop(&mut self) {
        if thread::panicking() {
            // They may be what has panicked.
            return;
        }
        if let Err(error) = self.through.pass(self.out) {
            self.through.failed = Some(error);
        }
    }
}

impl<In, T, S> Transform<In> for Then<T, S, T::Out>
where
    In: Send,
    T: Transform<In>,
    S: Step<T::Out>,
{
    type Out = S::Out;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<In>,
        out: &mut Batch<S::Out>,
    ) -> Result<(), BoxError> {
        // What is left of a call that was given up is nacked.
        self.made.empty();
        let turned = self.stage.transform(batch, &mut self.made).await;
        // What it puts out stands for what it was given, with whatever steps between.
        turned.map_err(Into::into)?;
        self.pass(out)
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.stage.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.stage.unsubscribed(subscription, end);
    }

    fn due(&self) -> Option<Instant> {
        self.stage.due()
    }

    async fn elapsed(&mut self, out: &mut Batch<S::Out>) -> Result<(), BoxError> {
        self.made.empty();
        let elapsed = self.stage.elapsed(&mut self.made).await;
        elapsed.map_err(Into::into)?;
        self.pass(out)
    }

    async fn finish(&mut self, out: &mut Batch<S::Out>) -> Result<(), BoxError> {
        self.made.empty();
        let finished = self.stage.finish(&mut self.made).await;
        finished.map_err(Into::into)?;
        self.pass(out)
    }
}

impl<T: fmt::Debug, S, E> fmt::Debug for Then<T, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Then")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
