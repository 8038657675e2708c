use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

use tokio::time::Instant;

use crate::{
    Batch, BoxError, Demand, Flow, Producer, Step, SubscriptionInfo, Transform, pace::budgeted,
    panic::dispose, passing::Passing, protocol::End,
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

    /// If the steps have failed, somebody knows from here on.
    fn tell(&mut self) -> Result<(), BoxError> {
        self.failed.take().map_or(Ok(()), Err)
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
        // In a call that was given up.
        self.tell()?;
        loop {
            let call = Call {
                step: &mut self.step,
                made: Passing::of(&mut self.made),
                out: batch,
                failed: &mut self.failed,
            };
            let flow = call.produce(&mut self.stage, demand).await;
            self.tell()?;
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
        // In a call that was given up.
        self.tell()?;
        finished.map_err(Into::into)
    }
}

/// What a producer makes goes through the steps, however the call ends.
struct Call<'a, E, S: Step<E>> {
    step: &'a mut S,
    made: Passing<'a, E>,
    out: &'a mut Batch<S::Out>,
    failed: &'a mut Option<BoxError>,
}

impl<E, S: Step<E>> Call<'_, E, S> {
    async fn produce<P: Producer<Event = E>>(
        mut self,
        producer: &mut P,
        demand: Demand,
    ) -> Result<Flow, P::Error> {
        producer.produce(demand, &mut self.made).await
    }
}

impl<E, S: Step<E>> Drop for Call<'_, E, S> {
    fn drop(&mut self) {
        let pass = || self.made.step_into(self.step, self.out);
        match catch_unwind(AssertUnwindSafe(pass)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => *self.failed = Some(error.into()),
            Err(panic) => {
                // Some of it may be there twice.
                self.out.empty();
                if thread::panicking() {
                    // By the producer, whose panic goes on.
                    dispose(panic);
                } else {
                    resume_unwind(panic);
                }
            }
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
        // What it puts out stands for what it was given, with whatever steps between.
        let mut made = Passing::of(&mut self.made);
        let turned = self.stage.transform(batch, &mut made).await;
        turned.map_err(Into::into)?;
        made.step_into(&mut self.step, out).map_err(Into::into)
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
        let mut made = Passing::of(&mut self.made);
        let elapsed = self.stage.elapsed(&mut made).await;
        elapsed.map_err(Into::into)?;
        made.step_into(&mut self.step, out).map_err(Into::into)
    }

    async fn finish(&mut self, out: &mut Batch<S::Out>) -> Result<(), BoxError> {
        let mut made = Passing::of(&mut self.made);
        let finished = self.stage.finish(&mut made).await;
        finished.map_err(Into::into)?;
        made.step_into(&mut self.step, out).map_err(Into::into)
    }
}

impl<T: fmt::Debug, S, E> fmt::Debug for Then<T, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Then")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
