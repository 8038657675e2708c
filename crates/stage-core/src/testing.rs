//! What every stage must do, as checks to run against one's own.

use std::fmt::Debug;

use crate::{Batch, Demand, Flow, Producer};

/// Checks a producer that ends: whatever is demanded of it, it gives the same events, in the same
/// order, and never none before its end.
///
/// ```
/// # use stage_core::{Batch, Demand, Flow, Producer, testing};
/// # use std::convert::Infallible;
/// # struct Once(Option<u64>);
/// # impl Producer for Once {
/// #     type Event = u64;
/// #     type Error = Infallible;
/// #     async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
/// #         batch.extend(self.0.take());
/// #         Ok(Flow::End)
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// testing::producer(|| Once(Some(7))).await;
/// # }
/// ```
///
/// # Panics
///
/// If the producer fails, or does not do what every producer must.
pub async fn producer<P>(mut make: impl FnMut() -> P)
where
    P: Producer<Event: Debug + PartialEq, Error: Debug>,
{
    let expected = all(make(), Demand::MIN).await;
    for demand in [2, 3, 100, 10_000].into_iter().filter_map(Demand::new) {
        let events = all(make(), demand).await;
        assert_eq!(events, expected, "demanding {} at a time", demand.get());
    }
}

async fn all<P>(mut producer: P, demand: Demand) -> Vec<P::Event>
where
    P: Producer<Error: Debug>,
{
    let mut all = Vec::new();
    loop {
        let mut batch = Batch::new();
        let flow = producer
            .produce(demand, &mut batch)
            .await
            .expect("the producer does not fail");
        assert!(
            flow == Flow::End || !batch.is_empty(),
            "nothing in the batch: wait for an event, or end"
        );
        for (event, receipt) in batch.drain_with_receipts() {
            all.push(event);
            receipt.ack();
        }
        if flow == Flow::End {
            return all;
        }
    }
}
