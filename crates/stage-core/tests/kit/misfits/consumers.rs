use std::{convert::Infallible, future::pending, mem, time::Duration};

use stage_core::{
    Batch, BoxConsumer, BoxError, Consumer, consumer_fn,
    testing::{ConsumerSpec, check_consumer},
};
use tokio::{
    sync::mpsc,
    task::{JoinSet, yield_now},
    time::sleep,
};

use super::{Misfit, Work, block, done, each_is_caught};

/// Does something with each batch, or whenever there is none.
struct Does<F, G>(F, G);

pub(super) type Take = fn(&mut Batch<u64>) -> Work;
pub(super) type Idle = fn() -> Work;

impl Consumer<u64> for Does<Take, Idle> {
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), BoxError> {
        (self.0)(batch).await;
        Ok(())
    }

    async fn while_idle(&mut self) -> Result<(), BoxError> {
        (self.1)().await;
        Ok(())
    }
}

pub(super) fn does(take: Take) -> BoxConsumer<u64> {
    BoxConsumer::new(Does::<_, Idle>(take, || Box::pin(pending())))
}

fn idles(idle: Idle) -> BoxConsumer<u64> {
    BoxConsumer::new(Does::<Take, _>(|_| done(), idle))
}

/// Works on each event in a task, and may keep it in hand as long.
pub(super) struct Spawns {
    tasks: JoinSet<()>,
    keeps: bool,
}

impl Spawns {
    pub(super) fn boxed(keeps: bool) -> BoxConsumer<u64> {
        let tasks = JoinSet::new();
        BoxConsumer::new(Self { tasks, keeps })
    }
}

impl Consumer<u64> for Spawns {
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), BoxError> {
        let mut in_hand = match self.keeps {
            true => batch.keep_in_hand(),
            false => Default::default(),
        };
        for (_, receipt) in batch.drain_with_receipts() {
            let in_hand = in_hand.split(1);
            self.tasks.spawn(async move {
                sleep(Duration::from_millis(3)).await;
                receipt.ack();
                drop(in_hand);
            });
        }
        while self.tasks.try_join_next().is_some() {}
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        while self.tasks.join_next().await.is_some() {}
        Ok(())
    }
}

const CONSUMERS: [Misfit<BoxConsumer<u64>>; 14] = [
    ("never comes back", "O1", "the pipeline's end", || {
        does(|_| Box::pin(pending()))
    }),
    (
        "a channel that is never filled",
        "O1",
        "the pipeline's end",
        || {
            let (sender, mut receiver) = mpsc::channel::<u64>(1);
            BoxConsumer::new(consumer_fn(move |_: Batch<u64>| {
                let _held = sender.clone();
                let polled = receiver.try_recv();
                async move {
                    if polled.is_err() {
                        pending::<()>().await;
                    }
                    Ok::<_, Infallible>(())
                }
            }))
        },
    ),
    ("yields for ever", "O1", "no time passed", || {
        does(|_| {
            Box::pin(async {
                loop {
                    yield_now().await;
                }
            })
        })
    }),
    ("panics", "O1", "unlucky", || {
        does(|batch| {
            assert!(!batch.contains(&13), "unlucky");
            done()
        })
    }),
    ("fails", "O1", "disk full", || {
        BoxConsumer::new(consumer_fn(|batch: Batch<u64>| async move {
            if batch.contains(&13) {
                return Err("disk full");
            }
            Ok(())
        }))
    }),
    (
        "drops a batch with its receipts",
        "A4",
        "dropped receipts",
        || {
            does(|batch| {
                drop(batch.drain_with_receipts());
                done()
            })
        },
    ),
    (
        "drops one event with its receipt",
        "A4",
        "dropped receipts",
        || {
            does(|batch| {
                for (event, receipt) in batch.drain_with_receipts() {
                    if event != 13 {
                        receipt.ack();
                    }
                }
                done()
            })
        },
    ),
    ("forgets receipts", "O1", "neither acked nor nacked", || {
        does(|batch| {
            batch.drain_with_receipts().for_each(mem::forget);
            done()
        })
    }),
    (
        "takes more in hand than its window lets",
        "D6",
        "window exceeded",
        || Spawns::boxed(false),
    ),
    ("sleeps with its thread", "R4", "kept their thread", || {
        does(|_| {
            block(Duration::from_millis(4));
            done()
        })
    }),
    (
        "leaves a task behind in each call",
        "C5",
        "tasks remain",
        || {
            does(|_| {
                tokio::spawn(pending::<()>());
                done()
            })
        },
    ),
    (
        "leaves a task behind that looks every second",
        "C5",
        "tasks remain",
        || {
            does(|_| {
                tokio::spawn(async {
                    loop {
                        sleep(Duration::from_secs(1)).await;
                    }
                });
                done()
            })
        },
    ),
    ("is idle in no time", "R2", "no time passed", || idles(done)),
    ("looks every second", "R2", "in an hour", || {
        idles(|| Box::pin(sleep(Duration::from_secs(1))))
    }),
];

#[derive(Clone)]
pub(super) struct OfConsumer(pub(super) fn() -> BoxConsumer<u64>, pub(super) Duration);

impl ConsumerSpec for OfConsumer {
    type Event = u64;

    fn make(&self) -> impl Consumer<u64> {
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
fn consumers_that_should_not_be_break_a_rule() {
    each_is_caught(&CONSUMERS, |make, thread_time| {
        check_consumer(&OfConsumer(make, thread_time), 1)
    });
}
