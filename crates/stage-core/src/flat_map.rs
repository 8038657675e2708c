use std::convert::Infallible;

use crate::{Batch, Step, Transform};

/// Makes any number of events of each.
///
/// An event is acked once all that was made of it is: at once if that is nothing.
///
/// What is made of a portion of events is made in one call, wanted or not, and waits: so what
/// `make` returns must end, and should be short. For much of each, write a
/// [`Transform`](crate::Transform) that puts out a part at a time when it is
/// [due](crate::Transform::due).
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
) -> impl Step<In, Out = Many::Item, Error = Infallible>
+ Transform<In, Out = Many::Item, Error = Infallible>
where
    In: Send,
    Many: IntoIterator<Item: Send + 'static>,
{
    FlatMap(make)
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

impl<In, Many, F> Step<In> for FlatMap<F>
where
    Many: IntoIterator<Item: Send + 'static>,
    F: FnMut(In) -> Many + Send + 'static,
{
    type Out = Many::Item;
    type Error = Infallible;

    #[inline]
    fn step(&mut self, event: In, put: impl FnMut(Many::Item)) -> Result<(), Infallible> {
        (self.0)(event).into_iter().for_each(put);
        Ok(())
    }
}
