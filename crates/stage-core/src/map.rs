use std::convert::Infallible;

use crate::{Batch, BoxError, Step, Transform};

/// Makes one event of each.
///
/// A result is settled as the event that it was made of.
///
/// ```
/// use stage_core::{Pipeline, Window, for_each, from_iter, map};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stage_core::PipelineError> {
/// let mut pipeline = Pipeline::new();
/// let numbers = pipeline.produce(from_iter(1..=3_u64));
/// let squares = pipeline.transform(map(|n: u64| n * n), numbers.subscribe(Window::new(10)));
/// pipeline.consume(for_each(|n: u64| println!("{n}")), squares.subscribe(Window::new(10)));
/// pipeline.run().await
/// # }
/// ```
pub fn map<In, Out>(
    make: impl FnMut(In) -> Out + Send + 'static,
) -> impl Step<In, Out = Out, Error = Infallible> + Transform<In, Out = Out, Error = Infallible>
where
    In: Send,
    Out: Send + 'static,
{
    Map(make)
}

/// Makes one event of each, or fails. It is [`map`] for what can go wrong.
///
/// ```
/// use stage_core::{Transform, try_map};
///
/// let parse = try_map(|line: String| line.parse::<u64>());
/// # fn check(_: impl Transform<String, Out = u64, Error = std::num::ParseIntError>) {}
/// # check(parse);
/// ```
///
/// # Errors
///
/// The first that `make` returns fails the stage.
pub fn try_map<In, Out, Error>(
    make: impl FnMut(In) -> Result<Out, Error> + Send + 'static,
) -> impl Step<In, Out = Out, Error = Error> + Transform<In, Out = Out, Error = Error>
where
    In: Send,
    Out: Send + 'static,
    Error: Into<BoxError> + Send,
{
    TryMap(make)
}

/// Makes one event of each, or fails, and waits for each before it starts with the next. It is
/// [`map`] for what takes time.
///
/// ```
/// use stage_core::{Transform, map_async};
/// use std::{io, path::PathBuf};
///
/// async fn size(path: PathBuf) -> io::Result<u64> {
///     // ...
/// #   let _ = path;
/// #   Ok(0)
/// }
///
/// let sizes = map_async(size);
/// # fn check(_: impl Transform<PathBuf, Out = u64, Error = io::Error>) {}
/// # check(sizes);
/// ```
///
/// # Errors
///
/// The first that `make` returns fails the stage.
///
/// # Cancel safety
///
/// A future that is waited for is dropped when everybody downstream has left; the events in hand
/// are nacked then.
pub fn map_async<In, Out, Error, Made>(
    make: impl FnMut(In) -> Made + Send + 'static,
) -> impl Transform<In, Out = Out, Error = Error>
where
    In: Send,
    Out: Send + 'static,
    Error: Into<BoxError> + Send,
    Made: Future<Output = Result<Out, Error>> + Send,
{
    MapAsync(make)
}

struct Map<F>(F);

impl<In, Out, F> Transform<In> for Map<F>
where
    In: Send,
    Out: Send + 'static,
    F: FnMut(In) -> Out + Send + 'static,
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

impl<In, Out, F> Step<In> for Map<F>
where
    Out: Send + 'static,
    F: FnMut(In) -> Out + Send + 'static,
{
    type Out = Out;
    type Error = Infallible;

    #[inline]
    fn step(&mut self, event: In, mut put: impl FnMut(Out)) -> Result<(), Infallible> {
        put((self.0)(event));
        Ok(())
    }

    #[inline]
    fn one_for_one(&mut self) -> Option<impl FnMut(In) -> Out> {
        Some(&mut self.0)
    }
}

struct TryMap<F>(F);

impl<In, Out, Error, F> Transform<In> for TryMap<F>
where
    In: Send,
    Out: Send + 'static,
    Error: Into<BoxError> + Send,
    F: FnMut(In) -> Result<Out, Error> + Send + 'static,
{
    type Out = Out;
    type Error = Error;

    async fn transform(
        &mut self,
        batch: &mut Batch<In>,
        out: &mut Batch<Out>,
    ) -> Result<(), Error> {
        batch.step_into(self, out)
    }
}

impl<In, Out, Error, F> Step<In> for TryMap<F>
where
    Out: Send + 'static,
    Error: Into<BoxError> + Send,
    F: FnMut(In) -> Result<Out, Error> + Send + 'static,
{
    type Out = Out;
    type Error = Error;

    #[inline]
    fn step(&mut self, event: In, mut put: impl FnMut(Out)) -> Result<(), Error> {
        put((self.0)(event)?);
        Ok(())
    }
}

struct MapAsync<F>(F);

impl<In, Out, Error, Made, F> Transform<In> for MapAsync<F>
where
    In: Send,
    Out: Send + 'static,
    Error: Into<BoxError> + Send,
    Made: Future<Output = Result<Out, Error>> + Send,
    F: FnMut(In) -> Made + Send + 'static,
{
    type Out = Out;
    type Error = Error;

    async fn transform(
        &mut self,
        batch: &mut Batch<In>,
        out: &mut Batch<Out>,
    ) -> Result<(), Error> {
        let before = out.len();
        for event in batch.drain() {
            out.push((self.0)(event).await?);
        }
        batch.hand_receipts_to(out, before);
        Ok(())
    }
}
