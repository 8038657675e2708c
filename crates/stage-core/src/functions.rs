//! Closures over whole batches as stages.

use std::pin::Pin;

use tokio::task::yield_now;

use crate::{Batch, BoxError, Consumer, Demand, Flow, Producer, Transform};

/// Makes events by a closure, from a state that is handed from call to call.
///
/// The closure gets the state and how many events are wanted, and returns the next events with the
/// next state, or `None` at the end. Return at least one event; more than is wanted is allowed.
///
/// ```
/// use stage_core::{Demand, Producer, producer_fn};
/// use std::convert::Infallible;
///
/// /// Counts for ever.
/// fn counter() -> impl Producer<Event = u64> {
///     producer_fn(0, |next: u64, demand: Demand| async move {
///         let end = next + demand.get().min(1000) as u64; // a window may have no bound
///         Ok::<_, Infallible>(Some((next..end, end)))
///     })
/// }
/// # counter();
/// ```
///
/// For events with receipts, or for something to do at the end, write a [`Producer`].
///
/// # Errors
///
/// One that the closure returns fails the stage.
///
/// # Cancel safety
///
/// If the future of `produce` is dropped, the one that the closure returned is kept, and is waited
/// for in the next call. When the pipeline stops there is no next call: what that future has, but
/// has not returned, is lost.
pub fn producer_fn<State, Events, Error, Made>(
    state: State,
    make: impl FnMut(State, Demand) -> Made + Send + 'static,
) -> impl Producer<Event = Events::Item, Error = Error>
where
    State: Send + 'static,
    Events: IntoIterator<Item: Send + 'static>,
    Error: Into<BoxError> + Send,
    Made: Future<Output = Result<Option<(Events, State)>, Error>> + Send + 'static,
{
    ProducerFn {
        make,
        state: Some(state),
        call: Box::pin(None),
    }
}

/// Turns batches into other events by a closure, which owns the batch for the call.
///
/// All that a call returns stands for all that it was given. For events one by one there are
/// [`map`](crate::map), [`filter`](crate::filter) and [`flat_map`](crate::flat_map).
///
/// ```
/// use stage_core::{Batch, Transform, transform_fn};
/// use std::convert::Infallible;
///
/// let sums = transform_fn(|numbers: Batch<u64>| async move {
///     Ok::<_, Infallible>([numbers.iter().sum::<u64>()])
/// });
/// # fn check(_: impl Transform<u64, Out = u64>) {}
/// # check(sums);
/// ```
///
/// # Errors
///
/// One that the closure returns fails the stage.
pub fn transform_fn<In, Events, Error, Made>(
    make: impl FnMut(Batch<In>) -> Made + Send + 'static,
) -> impl Transform<In, Out = Events::Item, Error = Error>
where
    In: Send,
    Events: IntoIterator<Item: Send + 'static>,
    Error: Into<BoxError> + Send,
    Made: Future<Output = Result<Events, Error>> + Send,
{
    TransformFn(make)
}

/// Takes batches in by a closure, which owns the batch for the call.
///
/// The events are acked when it returns `Ok`. For events one by one there is
/// [`for_each`](crate::for_each).
///
/// ```
/// use stage_core::{Batch, Consumer, consumer_fn};
/// use std::io;
///
/// async fn store(orders: Batch<String>) -> io::Result<()> {
///     // ...
/// #   drop(orders);
/// #   Ok(())
/// }
///
/// let stores = consumer_fn(store);
/// # fn check(_: impl Consumer<String, Error = io::Error>) {}
/// # check(stores);
/// ```
///
/// # Errors
///
/// One that the closure returns fails the stage.
pub fn consumer_fn<Event, Error, Taken>(
    take: impl FnMut(Batch<Event>) -> Taken + Send + 'static,
) -> impl Consumer<Event, Error = Error>
where
    Event: Send,
    Error: Into<BoxError> + Send,
    Taken: Future<Output = Result<(), Error>> + Send,
{
    ConsumerFn(take)
}

struct ProducerFn<State, F, Made> {
    make: F,
    /// `None` while the call has it, and after the end.
    state: Option<State>,
    call: Pin<Box<Option<Made>>>,
}

impl<State, Events, Error, Made, F> Producer for ProducerFn<State, F, Made>
where
    State: Send + 'static,
    Events: IntoIterator<Item: Send + 'static>,
    Error: Into<BoxError> + Send,
    Made: Future<Output = Result<Option<(Events, State)>, Error>> + Send + 'static,
    F: FnMut(State, Demand) -> Made + Send + 'static,
{
    type Event = Events::Item;
    type Error = Error;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<Events::Item>,
    ) -> Result<Flow, Error> {
        loop {
            if let Some(state) = self.state.take() {
                let call = (self.make)(state, demand);
                self.call.set(Some(call));
            }
            let Some(call) = self.call.as_mut().as_pin_mut() else {
                return Ok(Flow::End);
            };
            let made = call.await;
            self.call.set(None);
            let Some((events, state)) = made? else {
                return Ok(Flow::End);
            };
            self.state = Some(state);
            batch.extend(events);
            if !batch.is_empty() {
                return Ok(Flow::More);
            }
            yield_now().await;
        }
    }
}

struct TransformFn<F>(F);

impl<In, Events, Error, Made, F> Transform<In> for TransformFn<F>
where
    In: Send,
    Events: IntoIterator<Item: Send + 'static>,
    Error: Into<BoxError> + Send,
    Made: Future<Output = Result<Events, Error>> + Send,
    F: FnMut(Batch<In>) -> Made + Send + 'static,
{
    type Out = Events::Item;
    type Error = Error;

    async fn transform(
        &mut self,
        batch: &mut Batch<In>,
        out: &mut Batch<Events::Item>,
    ) -> Result<(), Error> {
        out.extend((self.0)(batch.take_events()).await?);
        Ok(())
    }
}

struct ConsumerFn<F>(F);

impl<Event, Error, Taken, F> Consumer<Event> for ConsumerFn<F>
where
    Event: Send,
    Error: Into<BoxError> + Send,
    Taken: Future<Output = Result<(), Error>> + Send,
    F: FnMut(Batch<Event>) -> Taken + Send + 'static,
{
    type Error = Error;

    async fn consume(&mut self, batch: &mut Batch<Event>) -> Result<(), Error> {
        (self.0)(batch.take_events()).await
    }
}
