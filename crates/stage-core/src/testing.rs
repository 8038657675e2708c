//! What every stage must do, as checks to run against one's own.
//!
//! [`producer`] is the short one. With the feature `testkit` there is the conformance kit: 46 rules,
//! by which a producer, a consumer or a transform is checked in three lines.
//!
#![cfg_attr(feature = "testkit", doc = include_str!("testing/kit.md"))]

use std::fmt::Debug;

use crate::{Batch, Demand, Flow, Producer};

#[cfg(feature = "testkit")]
mod bench;
#[cfg(feature = "testkit")]
mod book;
#[cfg(feature = "testkit")]
mod expected;
#[cfg(feature = "testkit")]
mod gauged;
#[cfg(feature = "testkit")]
mod numbered;
#[cfg(feature = "testkit")]
mod parts;
#[cfg(feature = "testkit")]
mod probe;
#[cfg(feature = "testkit")]
mod report;
#[cfg(feature = "testkit")]
mod rule;
#[cfg(feature = "testkit")]
mod rules;
#[cfg(feature = "testkit")]
mod spec;
#[cfg(feature = "testkit")]
mod spoiled;
#[cfg(feature = "testkit")]
#[doc(hidden)]
pub mod suite;
#[cfg(feature = "testkit")]
mod watch;

#[cfg(feature = "testkit")]
pub use {
    book::Book,
    parts::{
        AskingSide, Controls, Dividing, Lives, Ours, Parts, Running, Scales, Stop, Tracks, entered,
    },
    probe::Probe,
    report::{Broken, Outcome, Report},
    rule::{Class, RULES, Rule, Who},
    spec::{
        ConsumerSpec, ProducerSpec, TransformSpec, check_consumer, check_parts, check_producer,
        check_transform,
    },
};

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
