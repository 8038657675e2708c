//! Stages of any events, as stages of numbers: what the rules work with.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    Acknowledge, Batch, BoxError, Demand, End, Flow, Producer, Receipt, SubscriptionInfo,
    Transform, testing::Book,
};

/// A producer whose events are numbered by their place among those that are expected of it, and
/// entered in a book.
pub(crate) struct Numbered<P: Producer> {
    pub(crate) producer: P,
    pub(crate) pen: Pen<P::Event>,
}

pub(crate) struct Pen<E> {
    pub(crate) number: Number<E>,
    pub(crate) next: u64,
    pub(crate) until: u64,
    pub(crate) book: Arc<Book>,
    pub(crate) reports: Arc<dyn Acknowledge>,
}

/// The number of an event, given the next one.
pub(crate) type Number<E> = Box<dyn Fn(&E, u64) -> u64 + Send>;

/// The number of `event`: the next one, if that is expected; or else its place, if it has one.
pub(crate) fn place_of<E: PartialEq>(expected: &[E], event: &E, next: u64) -> u64 {
    if expected.get(next as usize) == Some(event) {
        return next;
    }
    // More than is known of has no place to be looked for.
    if next as usize >= expected.len() {
        return next;
    }
    let place = expected.iter().position(|other| other == event);
    place.map_or(u64::MAX, |place| place as u64)
}

/// Enters what a call has made, also if the call is dropped.
struct Entering<'a, E> {
    pen: &'a mut Pen<E>,
    made: Batch<E>,
    batch: &'a mut Batch<u64>,
}

impl<E> Drop for Entering<'_, E> {
    fn drop(&mut self) {
        let Self { pen, made, batch } = self;
        for (event, receipt) in made.drain_with_receipts() {
            if pen.next >= pen.until {
                return;
            }
            let number = (pen.number)(&event, pen.next);
            pen.next += 1;
            let mine = Receipt::new(Arc::clone(&pen.reports), pen.book.hand(number));
            let receipt = match receipt.is_untracked() {
                true => mine,
                false => Receipt::join([receipt, mine]),
            };
            batch.push_with_receipt(number, receipt);
        }
    }
}

impl<P: Producer> Producer for Numbered<P> {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        if self.pen.next >= self.pen.until {
            return Ok(Flow::End);
        }
        let mut entering = Entering {
            pen: &mut self.pen,
            made: Batch::new(),
            batch,
        };
        let flow = self.producer.produce(demand, &mut entering.made).await;
        drop(entering);
        let flow = flow.map_err(Into::into)?;
        Ok(match self.pen.next >= self.pen.until {
            true => Flow::End,
            false => flow,
        })
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.producer.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.producer.unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        self.producer.finish().await.map_err(Into::into)
    }
}

/// Counts.
pub(crate) struct Numbers {
    pub(crate) next: u64,
}

impl Producer for Numbers {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        let first = self.next;
        self.next = first.saturating_add(demand.get().min(1_000) as u64);
        batch.extend(first..self.next);
        Ok(Flow::More)
    }
}

/// Passes numbers on.
pub(crate) struct Relay;

impl Transform<u64> for Relay {
    type Out = u64;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), BoxError> {
        batch.map_into(out, |event| event);
        Ok(())
    }
}

/// The same, of what is made at the end, after so many inputs.
pub(crate) type LastNumber<E> = Box<dyn Fn(u64, &E, u64) -> u64 + Send>;

/// A transform of any events as one of numbers.
pub(crate) struct Renumbered<In, Out, T> {
    pub(crate) transform: T,
    pub(crate) event: Box<dyn Fn(u64) -> In + Send>,
    pub(crate) number: Number<Out>,
    /// The number of an event that is made at the end, after so many inputs.
    pub(crate) at_the_end: LastNumber<Out>,
    pub(crate) inputs: u64,
    pub(crate) next: u64,
}

impl<In, Out, T> Renumbered<In, Out, T> {
    fn number(&mut self, made: &mut Batch<Out>, out: &mut Batch<u64>) {
        let (number, next) = (&self.number, &mut self.next);
        made.map_into(out, |event| {
            *next += 1;
            number(&event, *next - 1)
        });
    }
}

impl<In, T> Transform<u64> for Renumbered<In, T::Out, T>
where
    In: Send + 'static,
    T: Transform<In>,
{
    type Out = u64;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), BoxError> {
        let (mut events, mut made) = (Batch::new(), Batch::new());
        self.inputs += batch.len() as u64;
        batch.map_into(&mut events, &self.event);
        events.is_portion_of(batch);
        let turned = self.transform.transform(&mut events, &mut made).await;
        turned.map_err(Into::into)?;
        made.stand_for(&mut events);
        self.number(&mut made, out);
        Ok(())
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

    async fn elapsed(&mut self, out: &mut Batch<u64>) -> Result<(), BoxError> {
        let mut made = Batch::new();
        self.transform
            .elapsed(&mut made)
            .await
            .map_err(Into::into)?;
        self.number(&mut made, out);
        Ok(())
    }

    async fn finish(&mut self, out: &mut Batch<u64>) -> Result<(), BoxError> {
        let mut made = Batch::new();
        self.transform.finish(&mut made).await.map_err(Into::into)?;
        made.map_into(out, |event| {
            self.next += 1;
            (self.at_the_end)(self.inputs, &event, self.next - 1)
        });
        Ok(())
    }
}
