//! Stages that are in order, in ways that are unusual: no rule is broken.

use std::{convert::Infallible, future::pending, time::Duration};

use stage_core::{
    Batch, BoxConsumer, BoxProducer, BoxTransform, Children, Consumer, Demand, Flow, Producer,
    filter, from_iter, map, pool,
    testing::{ConsumerSpec, ProducerSpec, check_consumer, check_producer, check_transform},
};
use tokio::time::sleep;

use super::{
    LONG, block,
    consumers::{OfConsumer, Spawns, does},
    done,
    producers::{OfProducer, fifty},
    transforms::OfTransform,
};

fn of_consumer(make: fn() -> BoxConsumer<u64>) {
    let report = check_consumer(&OfConsumer(make, LONG), 1);
    assert!(report.is_good(), "{report}");
}

fn of_transform(make: fn() -> BoxTransform<u64, u64>) {
    let report = check_transform(&OfTransform(make, LONG), 1);
    assert!(report.is_good(), "{report}");
}

fn of_producer(make: fn() -> BoxProducer<u64>) {
    let report = check_producer(&OfProducer(make, LONG), 1);
    assert!(report.is_good(), "{report}");
}

#[test]
fn a_producer_of_next_to_nothing() {
    of_producer(|| BoxProducer::new(from_iter(0..0)));
    of_producer(|| BoxProducer::new(from_iter(0..1)));
    of_producer(|| BoxProducer::new(from_iter(0..2)));
    of_producer(|| BoxProducer::new(from_iter(0..3)));
}

#[test]
fn a_producer_without_end() {
    of_producer(|| BoxProducer::new(from_iter(0..)));
}

/// Waits for more once it has made seven.
#[derive(Clone)]
struct Live;

impl ProducerSpec for Live {
    type Event = u64;

    fn make(&self) -> impl Producer<Event = u64> {
        fifty(|at, _, batch| {
            batch.extend(at..at);
            Box::pin(async move {
                if at == 7 {
                    pending::<()>().await;
                }
            })
        })
    }

    fn waits_for_ever(&self) -> bool {
        true
    }
}

#[test]
fn a_producer_that_waits_for_more_and_says_so() {
    let report = check_producer(&Live, 1);
    assert!(report.is_good(), "{report}");
}

/// Works long, and says so.
#[derive(Clone)]
struct Slow;

impl ConsumerSpec for Slow {
    type Event = u64;

    fn make(&self) -> impl Consumer<u64> {
        does(|_| {
            block(Duration::from_millis(2));
            done()
        })
    }

    fn event(&self, number: u64) -> u64 {
        number
    }

    fn thread_time(&self) -> Duration {
        Duration::from_secs(5)
    }
}

#[test]
fn a_consumer_that_may_keep_its_thread() {
    let report = check_consumer(&Slow, 1);
    assert!(report.is_good(), "{report}");
}

#[test]
fn a_consumer_that_keeps_events_in_hand() {
    of_consumer(|| Spawns::boxed(true));
    of_consumer(|| {
        let pool = pool(4, Children::Temporary, |_: u64| async {
            sleep(Duration::from_millis(3)).await;
            Ok::<(), Infallible>(())
        });
        BoxConsumer::new(pool)
    });
}

#[test]
fn a_transform_that_makes_nothing() {
    of_transform(|| BoxTransform::new(filter(|_: &u64| false)));
}

#[test]
fn a_transform_that_passes_everything_on() {
    of_transform(|| BoxTransform::new(map(|n: u64| n)));
}

#[test]
fn a_transform_that_makes_one_of_many() {
    of_transform(|| BoxTransform::new(filter(|n: &u64| n.is_multiple_of(7))));
}

/// Makes a page at a time, however much it is asked for.
struct Pages {
    next: u64,
    size: u64,
}

impl Producer for Pages {
    type Event = u64;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
        let end = 60.min(self.next + self.size);
        batch.extend(self.next..end);
        self.next = end;
        Ok(if end < 60 { Flow::More } else { Flow::End })
    }
}

#[test]
fn a_producer_that_makes_a_page_at_a_time() {
    of_producer(|| BoxProducer::new(Pages { next: 0, size: 2 }));
    of_producer(|| BoxProducer::new(Pages { next: 0, size: 10 }));
    of_producer(|| BoxProducer::new(Pages { next: 0, size: 60 }));
}
