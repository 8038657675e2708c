//! Stages that users might write and should not, each checked by the kit as a user does it: in the
//! public way, by its spec. The kit names a rule each time, and comes back.

use std::{
    convert::Infallible,
    future::pending,
    mem,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use stage_core::{
    Batch, BoxConsumer, BoxError, BoxProducer, BoxTransform, Children, Consumer, Demand, Flow,
    Producer, SubscriptionInfo, Transform, consumer_fn, filter, from_iter, map, pool, producer_fn,
    testing::{
        ConsumerSpec, ProducerSpec, Report, TransformSpec, check_consumer, check_producer,
        check_transform,
    },
};
use tokio::{
    sync::mpsc,
    task::{JoinSet, yield_now},
    time::{Instant, sleep},
};

/// What is wrong, the rule that says so, what it says, and the stage.
type Misfit<S> = (&'static str, &'static str, &'static str, fn() -> S);

/// Every misfit breaks the rule that it is to, and that rule says how.
fn each_is_caught<S>(misfits: &[Misfit<S>], check: impl Fn(fn() -> S) -> Report) {
    let mut missed = Vec::new();
    for (what, rule, says, make) in misfits {
        let report = check(*make);
        let found = report.failed.iter().find(|(failed, _)| failed.id == *rule);
        let broken: Vec<_> = report.failed.iter().map(|(rule, _)| rule.id).collect();
        println!("==> {what}: {broken:?}, {rule}: {found:?}");
        if found.is_none_or(|(_, how)| !how.contains(says)) {
            missed.push(format!("{what}: {rule} {found:?}, broken are {broken:?}"));
        }
        let inside = report
            .failed
            .iter()
            .find(|(_, how)| how.contains("overflow"));
        if let Some(inside) = inside {
            missed.push(format!("{what}: the kit itself failed: {inside:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// As long as those may keep their thread who keep it for longer.
const BRIEF: Duration = Duration::from_millis(2);

/// As long as nobody does, who does not block.
const LONG: Duration = Duration::from_secs(5);

#[expect(clippy::disallowed_methods, reason = "to block is what is wrong")]
fn block(time: Duration) {
    std::thread::sleep(time);
}

/// Makes fifty numbers, and does something of its own before each call.
struct Fifty<F>(u64, F);

type Before = fn(u64, Demand, &mut Batch<u64>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

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

fn fifty(before: Before) -> BoxProducer<u64> {
    BoxProducer::new(Fifty(0, before))
}

fn done() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async {})
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
struct Late(fn() -> Pin<Box<dyn Future<Output = ()> + Send>>, fn());

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
struct OfProducer(fn() -> BoxProducer<u64>, Duration);

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
    each_is_caught(&PRODUCERS, |make| {
        check_producer(&OfProducer(make, BRIEF), 1)
    });
}

/// Does something with each batch, or whenever there is none.
struct Does<F, G>(F, G);

type Take = fn(&mut Batch<u64>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
type Idle = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;

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

fn does(take: Take) -> BoxConsumer<u64> {
    BoxConsumer::new(Does::<_, Idle>(take, || Box::pin(pending())))
}

fn idles(idle: Idle) -> BoxConsumer<u64> {
    BoxConsumer::new(Does::<Take, _>(|_| done(), idle))
}

/// Works on each event in a task, and may keep it in hand as long.
struct Spawns {
    tasks: JoinSet<()>,
    keeps: bool,
}

impl Spawns {
    fn boxed(keeps: bool) -> BoxConsumer<u64> {
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
struct OfConsumer(fn() -> BoxConsumer<u64>, Duration);

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
    each_is_caught(&CONSUMERS, |make| {
        check_consumer(&OfConsumer(make, BRIEF), 1)
    });
}

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
struct Ends(fn() -> Pin<Box<dyn Future<Output = ()> + Send>>);

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

const TRANSFORMS: [Misfit<BoxTransform<u64, u64>>; 15] = [
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
struct OfTransform(fn() -> BoxTransform<u64, u64>, Duration);

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
    each_is_caught(&TRANSFORMS, |make| {
        check_transform(&OfTransform(make, BRIEF), 1)
    });
}

fn blocks_for_ever() {
    loop {
        block(Duration::from_secs(3600));
    }
}

fn only_r4_says(report: &Report) {
    let [(rule, how)] = &report.failed[..] else {
        panic!("{report}");
    };
    let says = how.contains("kept its thread for 10s");
    assert!(rule.id == "R4" && says, "{report}");
}

/// Together, since each takes its time.
#[test]
fn who_blocks_for_ever_is_given_up() {
    std::thread::scope(|scope| {
        scope.spawn(a_producer_that_blocks_for_ever_is_given_up);
        scope.spawn(a_consumer_that_blocks_for_ever_is_given_up);
        scope.spawn(after_a_rule_that_never_ended_the_others_are_skipped);
    });
}

fn a_producer_that_blocks_for_ever_is_given_up() {
    let blocks = || {
        fifty(|_, _, _| {
            blocks_for_ever();
            done()
        })
    };
    only_r4_says(&check_producer(&OfProducer(blocks, LONG), 1));
}

fn a_consumer_that_blocks_for_ever_is_given_up() {
    let blocks = || {
        does(|_| {
            blocks_for_ever();
            done()
        })
    };
    only_r4_says(&check_consumer(&OfConsumer(blocks, LONG), 1));
}

fn after_a_rule_that_never_ended_the_others_are_skipped() {
    let blocks = || {
        does(|batch| {
            if batch.len() > 1 {
                blocks_for_ever();
            }
            done()
        })
    };
    let report = check_consumer(&OfConsumer(blocks, LONG), 1);
    let [(rule, how)] = &report.failed[..] else {
        panic!("{report}");
    };
    assert!(
        rule.id == "D6" && how.contains("kept its thread"),
        "{report}"
    );
    let given_up = |(_, why): &(_, String)| why.contains("given up: in D6");
    assert!(report.skipped.iter().all(given_up), "{report}");
}

/// Stages that are in order, in ways that are unusual: no rule is broken.
mod in_order {
    use super::*;

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
}
