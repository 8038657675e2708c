//! Broken parts, one for each rule: what a rule must catch.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use stage_core::{
    Acknowledge, AskError, Batch, BoxConsumer, BoxError, BoxProducer, BoxTransform, Consumer,
    Demand, End, Flow, Generation, Mode, Outcome, Pipeline, PipelineError, Producer, Restart,
    SubscriptionHandle, SubscriptionInfo, Transform, Window,
    protocol::{
        Backlog, Dispatcher, Fate, Handout, Mark, Reason, Refusals, Refused, SubscriptionId, Terms,
    },
    testing::{
        AskingSide, Book, Controls, Dividing, Lives, Ours, Parts, Probe, Running, Scales, Stop,
        Tracks, entered,
    },
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::yield_now,
    time::sleep,
};

/// Parts of which one is broken, so that this rule is.
pub(crate) struct Bred(pub(crate) &'static str);

/// By rule: what is broken, and what the rule must say.
pub(crate) const ZOO: [(&str, &str, &str); 46] = [
    ("D1", "a handle that asks for one more", "more than asked"),
    ("D2", "a producer that misses its wake-up", "missing after"),
    (
        "D3",
        "a handle that takes an ask for nothing",
        "asking for nothing gave Ok",
    ),
    (
        "D4",
        "a handle that counts and overflows",
        "demand without bound: Err(Closed)",
    ),
    (
        "D5",
        "a dispatcher that waits for all",
        "while the other does not ask",
    ),
    ("D6", "a ledger that asks for each event", "asked for"),
    (
        "D7",
        "a producer that makes a thousand at once",
        "events wait in windows of 12",
    ),
    (
        "D8",
        "a ledger that takes what was not due",
        "excess went unseen: five",
    ),
    (
        "D9",
        "a dispatcher that remembers the dead",
        "demand of the dead",
    ),
    ("D10", "scales that weigh nothing", "bytes in flight"),
    ("O1", "a transform that turns batches round", "out of order"),
    (
        "O2",
        "a dispatcher that turns lanes round",
        "out of order on lane",
    ),
    (
        "O3",
        "a dispatcher that leaves something out",
        "broadcast: one saw",
    ),
    (
        "O4",
        "a dispatcher that gives all to all",
        "each event to one",
    ),
    (
        "O5",
        "a dispatcher that drops and does not tell",
        "hidden drops",
    ),
    (
        "T1",
        "a wrapper that keeps subscriptions to itself",
        "before it was told of its subscription",
    ),
    (
        "T2",
        "a wrapper that tells the end twice",
        "2 ends were told",
    ),
    (
        "T3",
        "a producer that does not end when it is empty",
        "missing: the end, without demand",
    ),
    (
        "T4",
        "a transform that ends before its last event",
        "missing: 39 of 40",
    ),
    (
        "T5",
        "a wrapper that takes failure for the end",
        "the failure was kept",
    ),
    (
        "T6",
        "a runner that panics along",
        "the pipeline's task failed",
    ),
    (
        "T7",
        "a handle that asks the dead",
        "after the end, asking gave Ok",
    ),
    (
        "T8",
        "a dispatcher that takes whom it never serves",
        "an answer to a subscription",
    ),
    ("C1", "a handle that cancels once only", "a call panicked"),
    ("C2", "a handle that does not cancel", "after a cancel"),
    (
        "C3",
        "receipts that forget to nack",
        "neither acked nor nacked",
    ),
    ("C4", "a handle that lets go", "did not cancel"),
    ("C5", "a consumer that leaves a task behind", "tasks remain"),
    (
        "C6",
        "a runner that holds on to the source",
        "a cancel that travels up",
    ),
    (
        "C7",
        "a handle that forgets what comes early",
        "before the start was forgotten",
    ),
    (
        "C8",
        "a wrapper that takes failures for cancels",
        "by failure, the consumer was told",
    ),
    (
        "R1",
        "a consumer that goes one deeper each time",
        "stack grows",
    ),
    ("R2", "a consumer that looks every second", "in an hour"),
    (
        "R3",
        "a dispatcher at the pace of the slowest",
        "the one that does not hang",
    ),
    (
        "R4",
        "a producer that makes all in one go",
        "before another task could run",
    ),
    (
        "R5",
        "a producer that is not cancel safe",
        "lost: with calls dropped",
    ),
    (
        "R6",
        "a consumer that leaves a task behind",
        "tasks remain when it is",
    ),
    (
        "R7",
        "a producer that knows its runtime",
        "multi-thread differs",
    ),
    (
        "A1",
        "a wrapper that swallows errors",
        "lost: a death at event",
    ),
    ("A2", "a mark that jumps over gaps", "past a gap"),
    ("A3", "a tracking that believes twice", "was believed"),
    (
        "A4",
        "receipts that ack what is dropped",
        "dropped receipts became",
    ),
    ("A5", "a transient that stays", "Transient by `cancelled"),
    ("A6", "restarts that never wait longer", "restarts wait"),
    (
        "A7",
        "a tracking that believes the dead",
        "a stale report was believed",
    ),
    ("A8", "a runner that does not drain", "a drain gave Err"),
];

impl Parts for Bred {
    fn source(&self, book: &Arc<Book>, events: u64) -> BoxProducer<u64> {
        let how = match self.0 {
            "D2" => Way::Deaf,
            "D7" => Way::AtOnce(1_000),
            "R4" => Way::AtOnce(100_000),
            "R5" => Way::Unsafe,
            "R7" => Way::Knowing,
            "T3" if events == 0 => return BoxProducer::new(Wrong::new(Way::Endless)),
            _ => Way::Right,
        };
        entered(Wrong::new(how), book, self.reports(book), events)
    }

    fn relay(&self) -> BoxTransform<u64, u64> {
        match self.0 {
            "O1" => BoxTransform::new(TurnsRound),
            "T4" => BoxTransform::new(LosesLast(None)),
            _ => Ours.relay(),
        }
    }

    fn sink(&self, probe: &Probe) -> BoxConsumer<u64> {
        let inner = Ours.sink(probe);
        let rule = self.0;
        let calls = 0;
        BoxConsumer::new(Wrapper { rule, inner, calls })
    }

    fn around(&self, producer: BoxProducer<u64>) -> BoxProducer<u64> {
        match self.0 {
            "T5" => BoxProducer::new(Placid(producer)),
            _ => producer,
        }
    }

    fn dispatcher(&self, dividing: Dividing) -> Box<dyn Dispatcher<u64>> {
        let inner = match (self.0, dividing) {
            ("D5" | "R3" | "O4", Dividing::ByDemand) => Ours.dispatcher(Dividing::Broadcast),
            _ => Ours.dispatcher(dividing),
        };
        Box::new(Divides {
            rule: self.0,
            inner,
            asked: BTreeMap::new(),
            dead: 0,
        })
    }

    fn reports(&self, book: &Arc<Book>) -> Arc<dyn Acknowledge> {
        match self.0 {
            "C3" => Arc::new(NoNack(Arc::clone(book), None)),
            "A4" => Arc::new(NoNack(Arc::clone(book), Some(Outcome::Acked))),
            _ => Ours.reports(book),
        }
    }

    fn controls(&self, handle: SubscriptionHandle) -> Box<dyn Controls> {
        Box::new(Handles {
            rule: self.0,
            inner: Some(handle),
            asked: AtomicUsize::new(0),
            is_cancelled: AtomicBool::new(false),
        })
    }

    fn run(&self, pipeline: Pipeline, stop: Stop) -> Running {
        match self.0 {
            "T6" => Box::pin(async move {
                let report = pipeline.run_reporting(stop).await;
                if let Err(PipelineError::Panicked { message, .. }) = &report.result {
                    panic!("{message}");
                }
                report
            }),
            "C6" => Box::pin(async move {
                let _held = pipeline.handle().outlet::<u64>("source");
                pipeline.run_reporting(stop).await
            }),
            "A8" => Ours.run(pipeline.drain_within(Duration::ZERO), stop),
            _ => Ours.run(pipeline, stop),
        }
    }

    fn ledger(&self, window: Window) -> Box<dyn AskingSide> {
        match self.0 {
            "D6" => Box::new(Hasty),
            "D8" => Box::new(Lax),
            _ => Ours.ledger(window),
        }
    }

    fn scales(&self, limit: usize) -> Box<dyn Scales> {
        match self.0 {
            "D10" => Box::new(Weightless(0)),
            _ => Ours.scales(limit),
        }
    }

    fn restarts(&self, policy: Restart) -> Lives {
        let mut inner = Ours.restarts(policy);
        match self.0 {
            "A6" => Box::new(move |now| inner(now).map(|_| Duration::from_millis(100))),
            _ => inner,
        }
    }

    fn fate(&self, mode: Mode, end: &End) -> Fate {
        match (self.0, mode, end) {
            ("A5", Mode::Transient, End::Cancelled(_)) => Fate::Stay,
            _ => Ours.fate(mode, end),
        }
    }

    fn tracking(&self) -> Box<dyn Tracks> {
        Box::new(Tracking {
            rule: self.0,
            inner: Ours.tracking(),
            most: None,
            lives: Vec::new(),
        })
    }
}

/// In which way a producer goes wrong.
enum Way {
    Right,
    Deaf,
    AtOnce(u64),
    Unsafe,
    Knowing,
    Endless,
}

struct Wrong {
    how: Way,
    next: u64,
    calls: u32,
}

impl Wrong {
    fn new(how: Way) -> Self {
        Self {
            how,
            next: 0,
            calls: 0,
        }
    }
}

impl Producer for Wrong {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        self.calls += 1;
        let mut events = demand.get().min(1_000) as u64;
        match self.how {
            Way::Deaf if self.calls == 3 => std::future::pending().await,
            Way::Endless => std::future::pending().await,
            Way::AtOnce(many) => events = many,
            Way::Unsafe => {
                // Taken, and not in the batch when it waits.
                self.next += 1;
                let taken = self.next - 1;
                yield_now().await;
                batch.push(taken);
                return Ok(Flow::More);
            }
            Way::Knowing if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread => {
                self.next += 1;
            }
            _ => {}
        }
        batch.extend(self.next..self.next + events);
        self.next += events;
        Ok(Flow::More)
    }
}

struct TurnsRound;

impl Transform<u64> for TurnsRound {
    type Out = u64;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), BoxError> {
        batch.reverse();
        batch.map_into(out, |event| event);
        Ok(())
    }
}

/// Keeps the last event of each call back, and forgets it in the end.
struct LosesLast(Option<u64>);

impl Transform<u64> for LosesLast {
    type Out = u64;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), BoxError> {
        out.extend(self.0.take());
        out.extend(batch.drain());
        let last = out.len() - 1;
        let events = std::mem::take(out).into_vec();
        self.0 = Some(events[last]);
        out.extend(events.into_iter().take(last));
        Ok(())
    }
}

/// A wrapper around a consumer.
struct Wrapper {
    rule: &'static str,
    inner: BoxConsumer<u64>,
    calls: u32,
}

type Deep<'a> = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

fn deeper<'a>(levels: u32, inner: &'a mut BoxConsumer<u64>, batch: &'a mut Batch<u64>) -> Deep<'a> {
    Box::pin(async move {
        match levels {
            0 => inner.consume(batch).await,
            _ => deeper(levels - 1, inner, batch).await,
        }
    })
}

impl Consumer<u64> for Wrapper {
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), BoxError> {
        self.calls += 1;
        match self.rule {
            "A1" => {
                // The worst that can be done with an error.
                let _ = self.inner.consume(batch).await;
                Ok(())
            }
            "C5" | "R6" if self.calls == 1 => {
                tokio::spawn(std::future::pending::<()>());
                self.inner.consume(batch).await
            }
            "R1" => deeper(self.calls, &mut self.inner, batch).await,
            _ => self.inner.consume(batch).await,
        }
    }

    async fn while_idle(&mut self) -> Result<(), BoxError> {
        match self.rule {
            "R2" => {
                sleep(Duration::from_secs(1)).await;
                Ok(())
            }
            _ => self.inner.while_idle().await,
        }
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        if self.rule != "T1" {
            self.inner.subscribed(subscription);
        }
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        let cancel = End::Cancelled(Reason::Shutdown);
        let end = match (self.rule, end) {
            ("C8", End::Down(_)) => &cancel,
            _ => end,
        };
        self.inner.unsubscribed(subscription, end);
        if self.rule == "T2" {
            self.inner.unsubscribed(subscription, end);
        }
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        self.inner.finish().await
    }
}

/// Takes failure for the end.
struct Placid(BoxProducer<u64>);

impl Producer for Placid {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        let produced = self.0.produce(demand, batch).await;
        Ok(produced.unwrap_or(Flow::End))
    }
}

#[derive(Debug)]
struct Divides {
    rule: &'static str,
    inner: Box<dyn Dispatcher<u64>>,
    asked: BTreeMap<SubscriptionId, usize>,
    dead: usize,
}

impl Dispatcher<u64> for Divides {
    fn subscribe(&mut self, id: SubscriptionId, terms: Terms<u64>) -> Result<(), Refused> {
        match self.inner.subscribe(id, terms) {
            Err(Refused::LaneTaken { .. }) if self.rule == "T8" => {
                // It is taken, and never told anything.
                Ok(())
            }
            subscribed => subscribed,
        }
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        *self.asked.entry(id).or_default() += demand.get().min(1 << 20);
        self.inner.ask(id, demand);
    }

    fn cancel(&mut self, id: SubscriptionId) {
        let before = self.inner.demand();
        self.inner.cancel(id);
        self.dead += before - self.inner.demand().min(before);
    }

    fn demand(&self) -> usize {
        match self.rule {
            "D9" => self.inner.demand() + self.dead,
            _ => self.inner.demand(),
        }
    }

    fn dispatch(&mut self, backlog: &mut Backlog<u64>, handout: &mut Handout<u64>) {
        self.inner.dispatch(backlog, handout);
        match self.rule {
            "O2" => {
                for delivery in &mut handout.deliveries {
                    delivery.events.reverse();
                }
            }
            "O3" => {
                if let Some(last) = handout.deliveries.last_mut() {
                    let events: Vec<u64> = last.events.drain().collect();
                    last.events
                        .extend(events.into_iter().filter(|event| *event != 7));
                }
            }
            "O5" => handout.homeless = 0,
            _ => {}
        }
    }

    fn held(&self) -> usize {
        self.inner.held()
    }

    fn mark(&mut self, mark: Mark, handout: &mut Handout<u64>) {
        self.inner.mark(mark, handout);
    }
}

/// Reports something else than a nack, or nothing.
struct NoNack(Arc<Book>, Option<Outcome>);

impl Acknowledge for NoNack {
    fn settle(&self, numbers: std::ops::Range<u64>, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Acked => Some(outcome),
            Outcome::Nacked => self.1,
        };
        if let Some(outcome) = outcome {
            self.0.settle(numbers, outcome);
        }
    }
}

struct Handles {
    rule: &'static str,
    inner: Option<SubscriptionHandle>,
    asked: AtomicUsize,
    is_cancelled: AtomicBool,
}

impl Handles {
    fn inner(&self) -> &SubscriptionHandle {
        self.inner.as_ref().unwrap()
    }
}

impl Controls for Handles {
    fn ask(&self, events: usize) -> Result<(), AskError> {
        let before = self.asked.fetch_add(events, Ordering::SeqCst);
        match self.rule {
            "D1" if before == 0 => self.inner().ask(events + 1),
            "D3" if events == 0 => Ok(()),
            "D4" if before.checked_add(events).is_none() => Err(AskError::Closed),
            "T7" => self.inner().ask(events).or(Ok(())),
            _ => self.inner().ask(events),
        }
    }

    fn cancel(&self) {
        let before = self.is_cancelled.swap(true, Ordering::SeqCst);
        match self.rule {
            "C1" if before => panic!("cancelled twice"),
            "C2" => {}
            "C7" if self.asked.load(Ordering::SeqCst) == 0 => {}
            _ => self.inner().cancel(),
        }
    }

    fn cancel_because(&self, why: &str) {
        self.inner().cancel_because(why);
    }

    fn is_closed(&self) -> bool {
        self.inner().is_closed()
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        if self.rule == "C4" {
            self.inner.take().unwrap().let_go();
        }
    }
}

/// Asks for each event at once.
struct Hasty;

impl AskingSide for Hasty {
    fn receive(&mut self, _: usize) -> bool {
        true
    }

    fn settle(&mut self, events: usize) -> Option<Demand> {
        Demand::new(events)
    }
}

/// Takes what was not due.
struct Lax;

impl AskingSide for Lax {
    fn receive(&mut self, _: usize) -> bool {
        true
    }

    fn settle(&mut self, _: usize) -> Option<Demand> {
        None
    }
}

/// Lets everything go at once.
struct Weightless(usize);

impl Scales for Weightless {
    fn hold(&mut self, _: usize) {
        self.0 += 1;
    }

    fn release(&mut self) -> usize {
        std::mem::take(&mut self.0)
    }

    fn settle(&mut self) {}
}

struct Tracking {
    rule: &'static str,
    inner: Box<dyn Tracks>,
    most: Option<u64>,
    lives: Vec<Generation>,
}

impl Tracks for Tracking {
    fn issue(&mut self, position: u64) -> u64 {
        self.inner.issue(position)
    }

    fn settle(&mut self, generation: Generation, number: u64, outcome: Outcome) -> bool {
        if outcome == Outcome::Acked {
            self.most = self.most.max(Some(number));
        }
        let believed = self.inner.settle(generation, number, outcome);
        match self.rule {
            "A3" => true,
            "A7" => believed || self.lives.contains(&generation),
            _ => believed,
        }
    }

    fn done(&self) -> Option<u64> {
        match self.rule {
            "A2" => self.most,
            _ => self.inner.done(),
        }
    }

    fn restart(&mut self) -> Generation {
        let life = self.inner.restart();
        self.lives.push(life);
        life
    }

    fn refused(&self) -> Refusals {
        self.inner.refused()
    }
}
