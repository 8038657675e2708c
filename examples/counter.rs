//! A counter that could go on for ever, and a consumer that is slow: the counter is never ahead by
//! more than the window.
//!
//!     cargo run -p examples --bin counter

use std::{convert::Infallible, time::Duration};

use stage_core::{Batch, Consumer, Demand, Flow, Pipeline, PipelineError, Producer, Window};
use tokio::time::sleep;

/// Counts, as far as it is asked to.
struct Counter(u64);

impl Producer for Counter {
    type Event = u64;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<u64>,
    ) -> Result<Flow, Infallible> {
        let first = self.0;
        self.0 += demand.get() as u64;
        batch.extend(first..self.0);
        println!("asked for {}: counted to {}", demand.get(), self.0 - 1);
        Ok(Flow::More)
    }
}

/// Takes a tenth of a second for each batch.
struct Slow;

impl Consumer<u64> for Slow {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        sleep(Duration::from_millis(100)).await;
        println!("    took in {batch:?}");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), PipelineError> {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter(0));
    pipeline.consume(Slow, numbers.subscribe(Window::new(10)));
    // After a second the counter is stopped, and what it had counted is drained.
    pipeline.run_until(sleep(Duration::from_secs(1))).await
}
