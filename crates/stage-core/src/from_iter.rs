use std::convert::Infallible;

use crate::{Batch, Demand, Flow, Producer};

/// Makes the events of an iterator, which is asked for one only when that is wanted.
///
/// The iterator runs on the pipeline's own threads: it must not block. See [`map`](crate::map) for
/// a pipeline that begins with one.
///
/// ```
/// use stage_core::{from_iter, testing};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// testing::producer(|| from_iter(1..=10)).await;
/// # }
/// ```
pub fn from_iter<Events>(events: Events) -> impl Producer<Event = Events::Item, Error = Infallible>
where
    Events: IntoIterator<Item: Send + 'static, IntoIter: Send + 'static>,
{
    FromIter(events.into_iter())
}

struct FromIter<I>(I);

impl<I> Producer for FromIter<I>
where
    I: Iterator<Item: Send + 'static> + Send + 'static,
{
    type Event = I::Item;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<I::Item>,
    ) -> Result<Flow, Infallible> {
        batch.extend(self.0.by_ref().take(demand.get()));
        if batch.len() < demand.get() {
            Ok(Flow::End)
        } else {
            Ok(Flow::More)
        }
    }
}
