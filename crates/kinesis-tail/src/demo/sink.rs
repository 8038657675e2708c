use std::{convert::Infallible, sync::Arc, time::Duration};

use stage_core::{Batch, Consumer};
use tokio::time::sleep;

use super::{counted::InFlight, decode::Order, proof::Proof};

/// Takes its time.
#[derive(Debug)]
pub(super) struct SlowSink {
    proof: Arc<Proof>,
    in_flight: Arc<InFlight>,
}

/// For each order: more than there is between two that are published.
const TIME: Duration = Duration::from_micros(1_700);

impl SlowSink {
    pub(super) fn new(proof: Arc<Proof>, in_flight: Arc<InFlight>) -> Self {
        Self { proof, in_flight }
    }
}

impl Consumer<Order> for SlowSink {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<Order>) -> Result<(), Infallible> {
        sleep(TIME * batch.len() as u32).await;
        for order in &*batch {
            self.proof.take(order);
        }
        self.in_flight.leave(batch.len() as u64);
        Ok(())
    }
}
