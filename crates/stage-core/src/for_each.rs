use std::convert::Infallible;

use crate::{Batch, BoxError, Consumer};

/// Takes events in one by one.
///
/// ```
/// use stage_core::{Pipeline, Window, for_each, from_iter};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stage_core::PipelineError> {
/// let mut pipeline = Pipeline::new();
/// let words = pipeline.produce(from_iter(["to", "be"]));
/// pipeline.consume(for_each(|word: &str| println!("{word}")), words.subscribe(Window::new(10)));
/// pipeline.run().await
/// # }
/// ```
pub fn for_each<Event: Send>(
    take: impl FnMut(Event) + Send + 'static,
) -> impl Consumer<Event, Error = Infallible> {
    ForEach(take)
}

/// Takes events in one by one, or fails, and waits for each before it starts with the next.
///
/// Each event is acked when it has been taken in, before the others that came with it.
///
/// ```
/// use stage_core::{Consumer, for_each_async};
/// use std::io;
/// use tokio::io::{AsyncWriteExt, stdout};
///
/// let print = for_each_async(|line: String| async move { stdout().write_all(line.as_bytes()).await });
/// # fn check(_: impl Consumer<String, Error = io::Error>) {}
/// # check(print);
/// ```
///
/// # Errors
///
/// The first that `take` returns fails the stage. That event is nacked, and those after it.
pub fn for_each_async<Event, Error, Taken>(
    take: impl FnMut(Event) -> Taken + Send + 'static,
) -> impl Consumer<Event, Error = Error>
where
    Event: Send,
    Error: Into<BoxError> + Send,
    Taken: Future<Output = Result<(), Error>> + Send,
{
    ForEachAsync(take)
}

struct ForEach<F>(F);

impl<Event, F> Consumer<Event> for ForEach<F>
where
    Event: Send,
    F: FnMut(Event) + Send + 'static,
{
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<Event>) -> Result<(), Infallible> {
        batch.drain().for_each(&mut self.0);
        Ok(())
    }
}

struct ForEachAsync<F>(F);

impl<Event, Error, Taken, F> Consumer<Event> for ForEachAsync<F>
where
    Event: Send,
    Error: Into<BoxError> + Send,
    Taken: Future<Output = Result<(), Error>> + Send,
    F: FnMut(Event) -> Taken + Send + 'static,
{
    type Error = Error;

    async fn consume(&mut self, batch: &mut Batch<Event>) -> Result<(), Error> {
        for (event, receipt) in batch.drain_with_receipts() {
            (self.0)(event).await?;
            receipt.ack();
        }
        Ok(())
    }
}
