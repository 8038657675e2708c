//! Stages of types that differ, under one type.

use std::{fmt, pin::Pin};

use tokio::time::Instant;

use crate::{
    Batch, BoxError, Consumer, Demand, Flow, Producer, SubscriptionInfo, Transform, protocol::End,
};

/// A producer of `Event`s, of whatever type.
///
/// For producers of several types in one collection, or one that is chosen at run time. It costs an
/// allocation for each batch.
///
/// ```
/// use futures_util::stream;
/// use stage_core::{BoxProducer, Pipeline, Window, for_each, from_iter, from_stream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stage_core::PipelineError> {
/// let sources: Vec<BoxProducer<u64>> = vec![
///     BoxProducer::new(from_iter(0..100)),
///     BoxProducer::new(from_stream(stream::iter([7, 7, 7]))),
/// ];
/// let mut pipeline = Pipeline::new();
/// let outlets: Vec<_> = sources.into_iter().map(|source| pipeline.produce(source)).collect();
/// let subscriptions = outlets.iter().map(|numbers| numbers.subscribe(Window::new(10)));
/// pipeline.consume(for_each(|n: u64| println!("{n}")), subscriptions);
/// pipeline.run().await
/// # }
/// ```
pub struct BoxProducer<Event>(Box<dyn ErasedProducer<Event>>);

/// A consumer of `Event`s, of whatever type. See [`BoxProducer`].
///
/// ```
/// use stage_core::{BoxConsumer, for_each};
///
/// fn sink(quiet: bool) -> BoxConsumer<String> {
///     if quiet {
///         BoxConsumer::new(for_each(|_: String| ()))
///     } else {
///         BoxConsumer::new(for_each(|line: String| println!("{line}")))
///     }
/// }
/// # sink(true);
/// ```
pub struct BoxConsumer<Event>(Box<dyn ErasedConsumer<Event>>);

/// A transform from `In` to `Out`, of whatever type. See [`BoxProducer`].
///
/// ```
/// use stage_core::{BoxTransform, filter, flat_map};
///
/// let steps: [BoxTransform<u64, u64>; 2] = [
///     BoxTransform::new(filter(|n: &u64| n % 2 == 1)),
///     BoxTransform::new(flat_map(|n: u64| [n, n])),
/// ];
/// # drop(steps);
/// ```
pub struct BoxTransform<In, Out>(Box<dyn ErasedTransform<In, Out>>);

impl<Event: Send + 'static> BoxProducer<Event> {
    /// Forgets the type of `producer`.
    pub fn new(producer: impl Producer<Event = Event>) -> Self {
        Self(Box::new(producer))
    }
}

impl<Event: Send + 'static> BoxConsumer<Event> {
    /// Forgets the type of `consumer`.
    pub fn new(consumer: impl Consumer<Event>) -> Self {
        Self(Box::new(consumer))
    }
}

impl<In: Send + 'static, Out: Send + 'static> BoxTransform<In, Out> {
    /// Forgets the type of `transform`.
    pub fn new(transform: impl Transform<In, Out = Out>) -> Self {
        Self(Box::new(transform))
    }
}

impl<Event: Send + 'static> Producer for BoxProducer<Event> {
    type Event = Event;
    type Error = BoxError;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<Event>,
    ) -> Result<Flow, BoxError> {
        self.0.produce(demand, batch).await
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.0.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.0.unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        self.0.finish().await
    }
}

impl<Event: Send + 'static> Consumer<Event> for BoxConsumer<Event> {
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<Event>) -> Result<(), BoxError> {
        self.0.consume(batch).await
    }

    async fn while_idle(&mut self) -> Result<(), BoxError> {
        self.0.while_idle().await
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.0.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.0.unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        self.0.finish().await
    }
}

impl<In: Send + 'static, Out: Send + 'static> Transform<In> for BoxTransform<In, Out> {
    type Out = Out;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<In>,
        out: &mut Batch<Out>,
    ) -> Result<(), BoxError> {
        self.0.transform(batch, out).await
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.0.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.0.unsubscribed(subscription, end);
    }

    fn due(&self) -> Option<Instant> {
        self.0.due()
    }

    async fn elapsed(&mut self, out: &mut Batch<Out>) -> Result<(), BoxError> {
        self.0.elapsed(out).await
    }

    async fn finish(&mut self, out: &mut Batch<Out>) -> Result<(), BoxError> {
        self.0.finish(out).await
    }
}

type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

/// [`Producer`], without what keeps it from being an object.
trait ErasedProducer<Event>: Send {
    fn produce<'a>(&'a mut self, demand: Demand, batch: &'a mut Batch<Event>) -> Work<'a, Flow>;
    fn subscribed(&mut self, subscription: &SubscriptionInfo);
    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End);
    fn finish(&mut self) -> Work<'_, ()>;
}

impl<P: Producer> ErasedProducer<P::Event> for P {
    fn produce<'a>(&'a mut self, demand: Demand, batch: &'a mut Batch<P::Event>) -> Work<'a, Flow> {
        boxed(Producer::produce(self, demand, batch))
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        Producer::subscribed(self, subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        Producer::unsubscribed(self, subscription, end);
    }

    fn finish(&mut self) -> Work<'_, ()> {
        boxed(Producer::finish(self))
    }
}

/// [`Consumer`], without what keeps it from being an object.
trait ErasedConsumer<Event>: Send {
    fn consume<'a>(&'a mut self, batch: &'a mut Batch<Event>) -> Work<'a, ()>;
    fn while_idle(&mut self) -> Work<'_, ()>;
    fn subscribed(&mut self, subscription: &SubscriptionInfo);
    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End);
    fn finish(&mut self) -> Work<'_, ()>;
}

impl<Event: Send + 'static, C: Consumer<Event>> ErasedConsumer<Event> for C {
    fn consume<'a>(&'a mut self, batch: &'a mut Batch<Event>) -> Work<'a, ()> {
        boxed(Consumer::consume(self, batch))
    }

    fn while_idle(&mut self) -> Work<'_, ()> {
        boxed(Consumer::while_idle(self))
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        Consumer::subscribed(self, subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        Consumer::unsubscribed(self, subscription, end);
    }

    fn finish(&mut self) -> Work<'_, ()> {
        boxed(Consumer::finish(self))
    }
}

/// [`Transform`], without what keeps it from being an object.
trait ErasedTransform<In, Out>: Send {
    fn transform<'a>(
        &'a mut self,
        batch: &'a mut Batch<In>,
        out: &'a mut Batch<Out>,
    ) -> Work<'a, ()>;
    fn subscribed(&mut self, subscription: &SubscriptionInfo);
    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End);
    fn due(&self) -> Option<Instant>;
    fn elapsed<'a>(&'a mut self, out: &'a mut Batch<Out>) -> Work<'a, ()>;
    fn finish<'a>(&'a mut self, out: &'a mut Batch<Out>) -> Work<'a, ()>;
}

impl<In: Send + 'static, T: Transform<In>> ErasedTransform<In, T::Out> for T {
    fn transform<'a>(
        &'a mut self,
        batch: &'a mut Batch<In>,
        out: &'a mut Batch<T::Out>,
    ) -> Work<'a, ()> {
        boxed(Transform::transform(self, batch, out))
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        Transform::subscribed(self, subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        Transform::unsubscribed(self, subscription, end);
    }

    fn due(&self) -> Option<Instant> {
        Transform::due(self)
    }

    fn elapsed<'a>(&'a mut self, out: &'a mut Batch<T::Out>) -> Work<'a, ()> {
        boxed(Transform::elapsed(self, out))
    }

    fn finish<'a>(&'a mut self, out: &'a mut Batch<T::Out>) -> Work<'a, ()> {
        boxed(Transform::finish(self, out))
    }
}

fn boxed<'a, T, E: Into<BoxError>>(
    work: impl Future<Output = Result<T, E>> + Send + 'a,
) -> Work<'a, T> {
    Box::pin(async { work.await.map_err(Into::into) })
}

impl<Event> fmt::Debug for BoxProducer<Event> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxProducer")
    }
}

impl<Event> fmt::Debug for BoxConsumer<Event> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxConsumer")
    }
}

impl<In, Out> fmt::Debug for BoxTransform<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxTransform")
    }
}
