use std::{convert::Infallible, future::pending, mem, ops::Range, sync::Arc, time::Duration};

use stage_core::{
    Acknowledge, Batch, BoxError, BoxTransform, Outcome, Receipt, Transform,
    testing::{TransformSpec, check_transform},
};
use tokio::{task::yield_now, time::Instant};

use super::{Misfit, Work, block, consumers::Take, done, each_is_caught};

/// Does something with each batch, passes it on, and is due at some time.
struct Passes<F, G>(F, G, u64);

type Due = fn(&u64) -> Option<Instant>;

impl Transform<u64> for Passes<Take, Due> {
    type Out = u64;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), BoxError> {
        self.2 += 1;
        (self.0)(batch).await;
        batch.map_into(out, |event| event);
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        (self.1)(&self.2)
    }
}

fn passes(take: Take) -> BoxTransform<u64, u64> {
    BoxTransform::new(Passes::<_, Due>(take, |_| None, 0))
}

/// Puts out at the end what it does not put out before, or never.
struct Ends(fn() -> Work);

impl Transform<u64> for Ends {
    type Out = u64;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), Infallible> {
        batch.map_into(out, |event| event);
        Ok(())
    }

    async fn finish(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> {
        (self.0)().await;
        Ok(())
    }
}

/// Wants to know of nothing.
#[derive(Debug)]
struct Nobody;

impl Acknowledge for Nobody {
    fn settle(&self, _: Range<u64>, _: Outcome) {}
}

/// Deals with receipts itself: what becomes of each event, its receipt, and how often it was so.
struct Receipts<F>(F, u64);

impl<F> Transform<u64> for Receipts<F>
where
    F: FnMut(u64, Receipt, u64, &mut Batch<u64>) + Send + 'static,
{
    type Out = u64;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), Infallible> {
        for (event, receipt) in batch.drain_with_receipts() {
            self.1 += 1;
            (self.0)(event, receipt, self.1, out);
        }
        Ok(())
    }
}

fn settles(
    settle: impl FnMut(u64, Receipt, u64, &mut Batch<u64>) + Send + 'static,
) -> BoxTransform<u64, u64> {
    BoxTransform::new(Receipts(settle, 0))
}

const TRANSFORMS: [Misfit<BoxTransform<u64, u64>>; 19] = [
    ("acks early", "C3", "never taken in", || {
        settles(|event, receipt, _, out| {
            receipt.ack();
            out.push(event);
        })
    }),
    (
        "acks early, and makes three of one",
        "C3",
        "never taken in",
        || {
            settles(|event, receipt, _, out| {
                receipt.ack();
                out.extend([3 * event, 3 * event + 1, 3 * event + 2]);
            })
        },
    ),
    ("loses receipts", "A4", "of what was taken in", || {
        settles(|event, receipt, nth, out| match nth % 5 {
            0 => out.push(event),
            _ => out.push_with_receipt(event, receipt),
        })
    }),
    (
        "acks early, and loses receipts of its own",
        "C3",
        "never taken in",
        || {
            settles(|event, receipt, nth, out| {
                receipt.ack();
                let mut own = Batch::from_iter([event]);
                own.track(Arc::new(Nobody), nth);
                for (event, receipt) in own.drain_with_receipts() {
                    match nth % 5 {
                        0 => out.push(event),
                        _ => out.push_with_receipt(event, receipt),
                    }
                }
            })
        },
    ),
    ("never comes back", "D2", "of event 0", || {
        passes(|_| Box::pin(pending()))
    }),
    ("never ends", "D2", "its end", || {
        BoxTransform::new(Ends(|| Box::pin(pending())))
    }),
    ("panics at the end", "T6", "unlucky", || {
        BoxTransform::new(Ends(|| panic!("unlucky")))
    }),
    ("yields for ever", "D2", "no time passed", || {
        passes(|_| {
            Box::pin(async {
                loop {
                    yield_now().await;
                }
            })
        })
    }),
    ("panics", "T6", "by itself: unlucky", || {
        passes(|batch| {
            assert!(!batch.contains(&13), "unlucky");
            done()
        })
    }),
    ("panics when more come together", "O1", "unlucky", || {
        passes(|batch| {
            assert!(batch.len() < 2, "unlucky");
            done()
        })
    }),
    ("drops a batch with its receipts", "R5", "lost", || {
        passes(|batch| {
            let events: Vec<u64> = batch.to_vec();
            drop(batch.drain_with_receipts());
            batch.extend(events);
            done()
        })
    }),
    (
        "drops events when more come together",
        "O1",
        "missing",
        || {
            passes(|batch| {
                if batch.len() > 1 {
                    batch.drain();
                }
                done()
            })
        },
    ),
    ("turns batches round", "O1", "out of order", || {
        passes(|batch| {
            batch.reverse();
            done()
        })
    }),
    ("makes events twice", "O1", "", || {
        passes(|batch| {
            if let [first, _, ..] = batch[..] {
                batch.push(first);
            }
            done()
        })
    }),
    ("forgets receipts", "O1", "neither acked nor nacked", || {
        passes(|batch| {
            let events: Vec<u64> = batch.to_vec();
            batch.drain_with_receipts().for_each(mem::forget);
            batch.extend(events);
            done()
        })
    }),
    ("sleeps with its thread", "R4", "kept their thread", || {
        passes(|_| {
            block(Duration::from_millis(4));
            done()
        })
    }),
    (
        "leaves a task behind in each call",
        "C5",
        "tasks remain",
        || {
            passes(|_| {
                tokio::spawn(pending::<()>());
                done()
            })
        },
    ),
    ("is due for ever", "O1", "no time passed", || {
        BoxTransform::new(Passes::<Take, Due>(|_| done(), |_| Some(Instant::now()), 0))
    }),
    ("cannot be made", "T6", "no configuration", || {
        panic!("no configuration")
    }),
];

#[derive(Clone)]
pub(super) struct OfTransform(
    pub(super) fn() -> BoxTransform<u64, u64>,
    pub(super) Duration,
);

impl TransformSpec for OfTransform {
    type In = u64;
    type Out = u64;

    fn make(&self) -> impl Transform<u64, Out = u64> {
        (self.0)()
    }

    fn event(&self, number: u64) -> u64 {
        number
    }

    fn thread_time(&self) -> Duration {
        self.1
    }
}

#[test]
fn transforms_that_should_not_be_break_a_rule() {
    each_is_caught(&TRANSFORMS, |make, thread_time| {
        check_transform(&OfTransform(make, thread_time), 1)
    });
}
