//! Stages that are in order, in ways that are unusual: no rule is broken.

use std::{convert::Infallible, future::pending, time::Duration};

use stage_core::{
    Batch, BoxConsumer, BoxProducer, BoxTransform, Children, Consumer, Demand, Flow, Producer,
    Receipt, Transform, filter, flat_map, from_iter, map, pool,
    testing::{
        ConsumerSpec, ProducerSpec, TransformSpec, check_consumer, check_producer, check_transform,
    },
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

#[test]
fn a_transform_that_makes_a_hundred_of_one() {
    of_transform(|| BoxTransform::new(flat_map(|n: u64| 100 * n..100 * (n + 1))));
}

#[test]
fn a_transform_that_makes_thousands_of_one() {
    of_transform(|| BoxTransform::new(flat_map(|n: u64| 5_000 * n..5_000 * (n + 1))));
}

/// Makes one of seven, and has all seven receipts stand for it.
#[derive(Default)]
struct Sums(Vec<(u64, Receipt)>);

impl Sums {
    fn sum(&mut self, out: &mut Batch<u64>) {
        let (events, receipts): (Vec<u64>, Vec<_>) = self.0.drain(..).unzip();
        out.push_with_receipt(events.iter().sum(), Receipt::join(receipts));
    }
}

impl Transform<u64> for Sums {
    type Out = u64;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), Infallible> {
        for tracked in batch.drain_with_receipts() {
            self.0.push(tracked);
            if self.0.len() == 7 {
                self.sum(out);
            }
        }
        Ok(())
    }

    async fn finish(&mut self, out: &mut Batch<u64>) -> Result<(), Infallible> {
        if !self.0.is_empty() {
            self.sum(out);
        }
        Ok(())
    }
}

/// Passes on one event late, and makes nothing of each fourth, which flushes.
struct Late(Option<(u64, Receipt)>);

impl Transform<u64> for Late {
    type Out = u64;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), Infallible> {
        for (event, receipt) in batch.drain_with_receipts() {
            if let Some((held, receipt)) = self.0.take() {
                out.push_with_receipt(held, receipt);
            }
            match event % 4 {
                3 => receipt.ack(),
                _ => self.0 = Some((event, receipt)),
            }
        }
        Ok(())
    }

    async fn finish(&mut self, out: &mut Batch<u64>) -> Result<(), Infallible> {
        if let Some((held, receipt)) = self.0.take() {
            out.push_with_receipt(held, receipt);
        }
        Ok(())
    }
}

/// One that says how many events it keeps.
#[derive(Clone)]
struct Keeps(fn() -> BoxTransform<u64, u64>, usize);

impl TransformSpec for Keeps {
    type In = u64;
    type Out = u64;

    fn make(&self) -> impl Transform<u64, Out = u64> {
        (self.0)()
    }

    fn event(&self, number: u64) -> u64 {
        number
    }

    fn keeps(&self) -> usize {
        self.1
    }
}

#[test]
fn a_transform_that_says_that_it_keeps_events() {
    let sevens: fn() -> _ = || BoxTransform::new(Sums::default());
    let late: fn() -> _ = || BoxTransform::new(Late(None));
    for (make, keeps) in [(sevens, 6), (late, 1)] {
        let report = check_transform(&Keeps(make, keeps), 1);
        assert!(report.is_good(), "{report}");
        let report = check_transform(&Keeps(make, 0), 1);
        let broken: Vec<_> = report.failed.iter().map(|(rule, _)| rule.id).collect();
        assert_eq!(broken, ["D7"], "{report}");
    }
}

/// Leaves it to the framework which receipts stand for what.
struct Drains;

impl Transform<u64> for Drains {
    type Out = u64;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), Infallible> {
        for event in batch.drain() {
            out.push(event);
        }
        Ok(())
    }
}

#[test]
fn a_transform_that_settles_receipts_as_it_should() {
    of_transform(|| BoxTransform::new(Drains));
    // As many as came, and not one for one.
    of_transform(|| {
        BoxTransform::new(flat_map(|n: u64| match n % 2 {
            0 => vec![n, n + 1],
            _ => Vec::new(),
        }))
    });
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
