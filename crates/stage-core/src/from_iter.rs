use std::convert::Infallible;

use crate::{Batch, Demand, Flow, Producer, pace::budgeted, producer::MOST_AT_ONCE};

/// Makes the events of an iterator, which is asked for one only when that is wanted.
///
/// It may go on for ever. Whatever is asked for, no more than 1024 events are made at once, and other
/// tasks have their turn in between. But the iterator runs on the pipeline's own threads: it must not
/// block. See [`map`](crate::map) for a pipeline that begins with one.
///
/// ```
/// use stage_core::{from_iter, testing};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// testing::producer(|| from_iter(1..=10)).await;
/// # }
/// ```
///
/// # Cancel safety
///
/// Nothing that the iterator has given is lost.
pub fn from_iter<Events>(events: Events) -> impl Producer<Event = Events::Item, Error = Infallible>
where
    Events: IntoIterator<Item: Send + 'static, IntoIter: Send + 'static>,
{
    FromIter(events.into_iter())
}

struct FromIter<I>(I);

/// So many events are made before it is looked whether it is another task's turn: which it is after at
/// most 128 looks.
const STRETCH: usize = 256;

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
        let most = demand.min(MOST_AT_ONCE).get();
        loop {
            // What an iterator says of its length, it says of all of it: no room is made for more
            // than is taken.
            let until = most.min(batch.len() + STRETCH);
            batch.extend(self.0.by_ref().take(until - batch.len()));
            if batch.len() < until {
                return Ok(Flow::End);
            }
            if until == most {
                return Ok(Flow::More);
            }
            budgeted().await;
        }
    }
}
