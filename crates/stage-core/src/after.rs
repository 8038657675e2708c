use std::{fmt, mem, sync::Arc};

use crate::{
    Batch, BoxError, Consumer, Step, SubscriptionInfo, pace::budgeted, passing::Passing,
    protocol::End,
};

/// A consumer with steps before it, in the same task. Made by [`Consumer::after`].
#[must_use = "it does nothing until it is added to a pipeline"]
pub struct After<C, S, E> {
    consumer: C,
    step: S,
    /// What the steps have made of a portion.
    made: Batch<E>,
}

impl<C, S, E> After<C, S, E> {
    pub(crate) fn new(consumer: C, step: S) -> Self {
        Self {
            consumer,
            step,
            made: Batch::new(),
        }
    }

    /// One more step before the others. They are one loop.
    pub fn after<In, First>(self, step: First) -> After<C, (First, S), E>
    where
        First: Step<In>,
        S: Step<First::Out, Out = E>,
    {
        After::new(self.consumer, (step, self.step))
    }
}

impl<In, C, S> Consumer<In> for After<C, S, S::Out>
where
    In: Send,
    C: Consumer<S::Out>,
    S: Step<In>,
{
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<In>) -> Result<(), BoxError> {
        let events = batch.len();
        let mut made = Passing::of(&mut self.made);
        let stepped = batch.step_into(&mut self.step, &mut made);
        stepped.map_err(Into::into)?;
        let is_as_before = match batch.is_weighed() {
            // Weights go by place.
            true => self.step.one_for_one().is_some(),
            false => made.len() <= events,
        };
        if is_as_before {
            made.take_portion_of(batch);
            take_in(&mut self.consumer, &mut made).await?;
            batch.take_portion_of(&mut made);
            return Ok(());
        }
        let hand = batch.hand_for_made(events);
        let mut all = mem::take(&mut *made).into_queue();
        let mut part = Batch::new();
        while all.len() > 0 {
            budgeted().await;
            part = all.take(events, part);
            if let Some(hand) = &hand {
                part.is_portion(Arc::clone(hand), hand.begin(part.len(), None));
            }
            take_in(&mut self.consumer, &mut part).await?;
        }
        *made = all.into_batch();
        Ok(())
    }

    async fn while_idle(&mut self) -> Result<(), BoxError> {
        self.consumer.while_idle().await.map_err(Into::into)
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.consumer.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.consumer.unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        self.consumer.finish().await.map_err(Into::into)
    }
}

/// As a stage has a consumer take a portion in.
async fn take_in<E: Send>(
    consumer: &mut impl Consumer<E>,
    batch: &mut Batch<E>,
) -> Result<(), BoxError> {
    if !batch.is_empty() {
        consumer.consume(batch).await.map_err(Into::into)?;
        batch.ack();
        drop(batch.drain());
    }
    Ok(())
}

impl<C: fmt::Debug, S, E> fmt::Debug for After<C, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("After")
            .field("consumer", &self.consumer)
            .finish_non_exhaustive()
    }
}
