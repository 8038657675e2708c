use std::convert::Infallible;

use crate::{Batch, Step, Transform};

/// Leaves out the events that `keep` does not want. Those are acked.
///
/// ```
/// use stage_core::{Transform, filter};
///
/// let odd = filter(|n: &u64| n % 2 == 1);
/// # fn check(_: impl Transform<u64, Out = u64>) {}
/// # check(odd);
/// ```
pub fn filter<Event: Send + 'static>(
    keep: impl FnMut(&Event) -> bool + Send + 'static,
) -> impl Step<Event, Out = Event, Error = Infallible> + Transform<Event, Out = Event, Error = Infallible>
{
    Filter(keep)
}

/// Makes one event of each, or leaves it out.
///
/// A result is settled as the event that it was made of; what is left out is acked.
///
/// ```
/// use stage_core::{Transform, filter_map};
///
/// let numbers = filter_map(|line: String| line.parse::<u64>().ok());
/// # fn check(_: impl Transform<String, Out = u64>) {}
/// # check(numbers);
/// ```
pub fn filter_map<In, Out>(
    make: impl FnMut(In) -> Option<Out> + Send + 'static,
) -> impl Step<In, Out = Out, Error = Infallible> + Transform<In, Out = Out, Error = Infallible>
where
    In: Send,
    Out: Send + 'static,
{
    FilterMap(make)
}

struct Filter<F>(F);

impl<Event, F> Transform<Event> for Filter<F>
where
    Event: Send + 'static,
    F: FnMut(&Event) -> bool + Send + 'static,
{
    type Out = Event;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<Event>,
        out: &mut Batch<Event>,
    ) -> Result<(), Infallible> {
        batch.step_into(self, out)
    }
}

impl<Event, F> Step<Event> for Filter<F>
where
    Event: Send + 'static,
    F: FnMut(&Event) -> bool + Send + 'static,
{
    type Out = Event;
    type Error = Infallible;

    #[inline]
    fn step(&mut self, event: Event, mut put: impl FnMut(Event)) -> Result<(), Infallible> {
        if (self.0)(&event) {
            put(event);
        }
        Ok(())
    }
}

struct FilterMap<F>(F);

impl<In, Out, F> Transform<In> for FilterMap<F>
where
    In: Send,
    Out: Send + 'static,
    F: FnMut(In) -> Option<Out> + Send + 'static,
{
    type Out = Out;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<In>,
        out: &mut Batch<Out>,
    ) -> Result<(), Infallible> {
        batch.step_into(self, out)
    }
}

impl<In, Out, F> Step<In> for FilterMap<F>
where
    Out: Send + 'static,
    F: FnMut(In) -> Option<Out> + Send + 'static,
{
    type Out = Out;
    type Error = Infallible;

    #[inline]
    fn step(&mut self, event: In, put: impl FnMut(Out)) -> Result<(), Infallible> {
        (self.0)(event).map(put);
        Ok(())
    }
}
