//! stage-core: a pipeline of a counter and a sum.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use stage_core::{Batch, Consumer, Demand, Flow, Pipeline, Producer, Window};

struct Counter {
    next: u64,
    until: u64,
}

impl Producer for Counter {
    type Event = u64;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<u64>,
    ) -> Result<Flow, Infallible> {
        let first = self.next;
        self.next = self.until.min(first + demand.get() as u64);
        batch.extend(first..self.next);
        Ok(if self.next < self.until {
            Flow::More
        } else {
            Flow::End
        })
    }
}

struct Sum {
    sum: u64,
    total: Arc<AtomicU64>,
}

impl Consumer<u64> for Sum {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        self.sum += batch.iter().sum::<u64>();
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Infallible> {
        self.total.store(self.sum, Ordering::Release);
        Ok(())
    }
}

pub(crate) async fn run(window: usize, events: u64) -> u64 {
    let total = Arc::new(AtomicU64::new(0));
    let sum = Sum {
        sum: 0,
        total: Arc::clone(&total),
    };
    let counter = Counter {
        next: 0,
        until: events,
    };
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(counter);
    pipeline.consume(sum, numbers.subscribe(Window::new(window)));
    pipeline.run().await.expect("neither stage fails");
    total.load(Ordering::Acquire)
}
