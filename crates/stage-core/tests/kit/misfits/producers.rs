use std::{
    convert::Infallible,
    future::pending,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use stage_core::{
    Batch, BoxError, BoxProducer, Demand, Flow, Producer, SubscriptionInfo, producer_fn,
    testing::{ProducerSpec, check_producer},
};
use tokio::{sync::mpsc, task::yield_now};

use super::{Misfit, Work, block, done, each_is_caught};

/// Makes fifty numbers, and does something of its own before each call.
struct Fifty<F>(u64, F);

type Before = fn(u64, Demand, &mut Batch<u64>) -> Work;

impl Producer for Fifty<Before> {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        (self.1)(self.0, demand, batch).await;
        let until = 50.min(self.0 + demand.get().min(50) as u64);
        batch.extend(self.0..until);
        self.0 = until;
        Ok(if until < 50 { Flow::More } else { Flow::End })
    }
}

pub(super) fn fifty(before: Before) -> BoxProducer<u64> {
    BoxProducer::new(Fifty(0, before))
}

/// Counts its calls.
struct Called<F>(u64, u64, F);

type Answer = fn(u64, &mut u64, Demand, &mut Batch<u64>) -> Result<Flow, BoxError>;

impl Producer for Called<Answer> {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        self.0 += 1;
        (self.2)(self.0, &mut self.1, demand, batch)
    }
}

fn called(answer: Answer) -> BoxProducer<u64> {
    BoxProducer::new(Called(0, 0, answer))
}

/// Adds the next number.
fn next(next: &mut u64, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
    batch.push(*next);
    *next += 1;
    Ok(if *next < 50 { Flow::More } else { Flow::End })
}

/// Takes an event, waits, and has lost it if it is dropped meanwhile.
struct Forgetful(u64);

impl Producer for Forgetful {
    type Event = u64;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
        let taken = self.0;
        self.0 += 1;
        yield_now().await;
        batch.push(taken);
        Ok(if self.0 < 50 { Flow::More } else { Flow::End })
    }
}

/// Does something at the end, or when it is subscribed to.
struct Late(fn() -> Work, fn());

impl Producer for Late {
    type Event = u64;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
        batch.extend(0..50);
        Ok(Flow::End)
    }

    fn subscribed(&mut self, _: &SubscriptionInfo) {
        (self.1)();
    }

    async fn finish(&mut self) -> Result<(), Infallible> {
        (self.0)().await;
        Ok(())
    }
}

/// Waits for events of a channel that nobody fills.
fn from_channel() -> BoxProducer<u64> {
    let (sender, receiver) = mpsc::channel::<u64>(1);
    BoxProducer::new(producer_fn(
        (receiver, sender),
        |(mut receiver, sender), _| async {
            let event = receiver.recv().await;
            Ok::<_, Infallible>(event.map(|event| ([event], (receiver, sender))))
        },
    ))
}

static MADE: AtomicU64 = AtomicU64::new(0);

const PRODUCERS: [Misfit<BoxProducer<u64>>; 21] = [
    ("never answers", "D2", "its first event", || {
        fifty(|_, _, _| Box::pin(pending()))
    }),
    (
        "a channel that is never filled",
        "D2",
        "its first event",
        from_channel,
    ),
    ("stops answering", "D2", "event 7", || {
        fifty(|at, _, _| {
            Box::pin(async move {
                if at == 7 {
                    pending::<()>().await;
                }
            })
        })
    }),
    ("yields for ever", "D2", "no time passed", || {
        fifty(|_, _, _| {
            Box::pin(async {
                loop {
                    yield_now().await;
                }
            })
        })
    }),
    ("fails at once", "D2", "no such stream", || {
        called(|_, _, _, _| Err("no such stream".into()))
    }),
    ("fails in the middle", "D2", "after 7 events", || {
        called(|call, at, _, batch| match call {
            8 => Err("gone".into()),
            _ => next(at, batch),
        })
    }),
    ("panics", "T6", "by itself: unlucky", || {
        fifty(|at, _, _| {
            assert!(at != 13, "unlucky");
            done()
        })
    }),
    ("panics when more is asked for", "O1", "unlucky", || {
        fifty(|_, demand, _| {
            assert!(demand.get() < 3, "unlucky");
            done()
        })
    }),
    ("panics when made", "T6", "no configuration", || {
        panic!("no configuration");
    }),
    (
        "gives nothing in every second call",
        "R2",
        "polled without events",
        || {
            called(|call, at, _, batch| match call % 2 {
                0 => Ok(Flow::More),
                _ => next(at, batch),
            })
        },
    ),
    (
        "never gives anything",
        "R2",
        "polled without events",
        || called(|_, _, _, _| Ok(Flow::More)),
    ),
    ("sleeps with its thread", "R4", "kept their thread", || {
        fifty(|_, _, _| {
            block(Duration::from_millis(4));
            done()
        })
    }),
    (
        "leaves a task behind in each call",
        "C5",
        "tasks remain",
        || {
            fifty(|_, _, _| {
                tokio::spawn(pending::<()>());
                done()
            })
        },
    ),
    (
        "loses what is taken when dropped",
        "R5",
        "lost: with calls dropped",
        || BoxProducer::new(Forgetful(0)),
    ),
    (
        "drops an event when more is asked for",
        "O1",
        "out of order",
        || {
            called(|_, at, demand, batch| {
                *at += u64::from(demand.get() > 2);
                next(at, batch)
            })
        },
    ),
    ("makes events twice", "O1", "out of order", || {
        called(|_, at, demand, batch| {
            if demand.get() > 2 {
                batch.push(*at);
            }
            next(at, batch)
        })
    }),
    ("turns events round", "O1", "out of order", || {
        called(|_, at, demand, batch| {
            let until = 50.min(*at + demand.get().min(50) as u64);
            batch.extend((*at..until).rev());
            *at = until;
            Ok(if until < 50 { Flow::More } else { Flow::End })
        })
    }),
    ("makes others each time", "O1", "", || {
        called(|_, at, _, batch| {
            let flow = next(at, batch);
            batch[0] = MADE.fetch_add(1, Ordering::SeqCst);
            flow
        })
    }),
    ("never finishes", "O1", "the pipeline's end", || {
        BoxProducer::new(Late(|| Box::pin(pending()), || {}))
    }),
    ("panics when it finishes", "O1", "unlucky", || {
        BoxProducer::new(Late(|| panic!("unlucky"), || {}))
    }),
    ("panics when it is subscribed to", "O1", "unlucky", || {
        BoxProducer::new(Late(done, || panic!("unlucky")))
    }),
];

#[derive(Clone)]
pub(super) struct OfProducer(pub(super) fn() -> BoxProducer<u64>, pub(super) Duration);

impl ProducerSpec for OfProducer {
    type Event = u64;

    fn make(&self) -> impl Producer<Event = u64> {
        (self.0)()
    }

    fn thread_time(&self) -> Duration {
        self.1
    }
}

#[test]
fn producers_that_should_not_be_break_a_rule() {
    each_is_caught(&PRODUCERS, |make, thread_time| {
        check_producer(&OfProducer(make, thread_time), 1)
    });
}
