use std::convert::Infallible;

use crate::{Batch, Transform};

/// Makes any number of events of each.
///
/// An event is acked once all that was made of it is: at once if that is nothing.
///
/// ```
/// use stage_core::{Transform, flat_map};
///
/// let words = flat_map(|line: String| {
///     line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
/// });
/// # fn check(_: impl Transform<String, Out = String>) {}
/// # check(words);
/// ```
pub fn flat_map<In, Many>(
    make: impl FnMut(In) -> Many + Send + 'static,
) -> impl Transform<In, Out = Many::Item, Error = Infallible>
where
    In: Send,
    Many: IntoIterator<Item: Send + 'static>,
{
    FlatMap(make)
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
) -> impl Transform<In, Out = Out, Error = Infallible>
where
    In: Send,
    Out: Send + 'static,
{
    FlatMap(make)
}

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
    mut keep: impl FnMut(&Event) -> bool + Send + 'static,
) -> impl Transform<Event, Out = Event, Error = Infallible> {
    filter_map(move |event| keep(&event).then_some(event))
}

struct FlatMap<F>(F);

impl<In, Many, F> Transform<In> for FlatMap<F>
where
    In: Send,
    Many: IntoIterator<Item: Send + 'static>,
    F: FnMut(In) -> Many + Send + 'static,
{
    type Out = Many::Item;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<In>,
        out: &mut Batch<Many::Item>,
    ) -> Result<(), Infallible> {
        batch.flat_map_into(out, &mut self.0);
        Ok(())
    }
}
