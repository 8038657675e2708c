//! Stages that do as the plan says, and write down what happens.

use std::{
    hint::black_box,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use stage_core::{
    Acknowledge, Batch, Consumer, Demand, Flow, Producer, Step, Transform, filter, flat_map, map,
};
use tokio::{task::yield_now, time::sleep};

use crate::{
    book::{Book, Event, Fates},
    plan::{Makes, Manner, Sink, Source},
};

pub(crate) type Shared = Arc<Mutex<Book>>;

/// A stage's calls, whatever it does.
pub(crate) struct Calls {
    pub(crate) stage: usize,
    pub(crate) book: Shared,
    manner: Manner,
    /// In which of them it fails or panics.
    fault: Option<(u64, bool)>,
    count: u64,
}

/// So often a stage sleeps at most, or acts.
const NAPS: u64 = 20;

/// How long a call lasts that is to be a long one: some twenty microseconds and more.
const LONG: u64 = 20_000;

impl Calls {
    pub(crate) fn new(stage: usize, book: &Shared, manner: Manner) -> Self {
        Self {
            stage,
            book: Arc::clone(book),
            manner,
            fault: None,
            count: 0,
        }
    }

    pub(crate) fn with_fault(self, fault: Option<(u64, bool)>) -> Self {
        Self { fault, ..self }
    }

    async fn begin(&mut self) -> io::Result<()> {
        self.count += 1;
        if !self.manner.is_late {
            self.dawdle().await;
        }
        match self.fault {
            Some((call, panics)) if call == self.count => {
                assert!(!panics, "on purpose");
                Err(io::Error::other("on purpose"))
            }
            _ => Ok(()),
        }
    }

    async fn end(&self) {
        if self.manner.is_late {
            self.dawdle().await;
        }
    }

    async fn dawdle(&self) {
        let is_due = |every: u64| every > 0 && self.count.is_multiple_of(every);
        if is_due(self.manner.yields) {
            yield_now().await;
        }
        if is_due(self.manner.sleeps) && self.count <= NAPS * self.manner.sleeps {
            sleep(Duration::from_millis(1)).await;
        }
        if is_due(self.manner.acts) && self.count <= NAPS * self.manner.acts {
            self.manner.act.perform().await;
        }
        if is_due(self.manner.spins) {
            for turn in 0..LONG {
                black_box(turn);
            }
        }
    }
}

pub(crate) struct Producing {
    pub(crate) calls: Calls,
    pub(crate) fates: Arc<Fates>,
    pub(crate) plan: Source,
    pub(crate) left: u64,
}

impl Producer for Producing {
    type Event = Event;
    type Error = io::Error;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<Event>) -> io::Result<Flow> {
        let Self { calls, plan, .. } = self;
        calls.begin().await?;
        let (book, stage) = (Arc::clone(&calls.book), calls.stage);
        {
            let mut book = book.lock().unwrap();
            book.check_asked(stage, demand.get());
            let events = demand.get().min(plan.at_most) + plan.more;
            let events = self.left.min(events as u64);
            self.left -= events;
            let first = book.stages[stage].made;
            self.fates.add(events as usize);
            batch.extend(book.make(stage, events));
            batch.track(Arc::clone(&self.fates) as Arc<dyn Acknowledge>, first);
        }
        self.calls.end().await;
        Ok(if self.left > 0 { Flow::More } else { Flow::End })
    }
}

pub(crate) struct Turning {
    pub(crate) calls: Calls,
    pub(crate) makes: Makes,
}

impl Transform<Event> for Turning {
    type Out = Event;
    type Error = io::Error;

    async fn transform(
        &mut self,
        batch: &mut Batch<Event>,
        out: &mut Batch<Event>,
    ) -> io::Result<()> {
        self.calls.begin().await?;
        let (shared, stage) = (Arc::clone(&self.calls.book), self.calls.stage);
        {
            let mut book = shared.lock().unwrap();
            book.take(stage, batch);
            let mut one = |event| book.derive(stage, event, 1).next().unwrap();
            match self.makes {
                Makes::One => batch.map_into(out, one),
                Makes::OneByOne => {
                    for (event, receipt) in batch.drain_with_receipts() {
                        out.push_with_receipt(one(event), receipt);
                    }
                }
                Makes::AllBut(n) => batch.flat_map_into(out, |event| {
                    let made = u64::from(!event.number.is_multiple_of(n));
                    book.derive(stage, event, made)
                }),
                Makes::Times(n) => {
                    batch.flat_map_into(out, |event| book.derive(stage, event, n));
                }
            }
        }
        self.calls.end().await;
        Ok(())
    }
}

pub(crate) struct Taking {
    pub(crate) calls: Calls,
    pub(crate) keeps: bool,
}

impl Taking {
    pub(crate) fn new(stage: usize, book: &Shared, plan: &Sink) -> Self {
        Self {
            calls: Calls::new(stage, book, plan.manner),
            keeps: plan.keeps,
        }
    }
}

impl Consumer<Event> for Taking {
    type Error = io::Error;

    async fn consume(&mut self, batch: &mut Batch<Event>) -> io::Result<()> {
        self.calls.begin().await?;
        // Before it may be asked for again.
        self.calls
            .book
            .lock()
            .unwrap()
            .take(self.calls.stage, batch);
        if self.keeps && self.calls.count.is_multiple_of(2) {
            let kept = batch.keep_in_hand();
            tokio::spawn(async move {
                yield_now().await;
                sleep(Duration::from_millis(1)).await;
                drop(kept);
            });
        }
        self.calls.end().await;
        Ok(())
    }
}

/// That change nothing: alone, or each event by itself.
pub(crate) fn steps() -> impl Step<Event, Out = Event> {
    let nothing = (map(|event: Event| event), filter(|_: &Event| true));
    (nothing, flat_map(|event: Event| [event]))
}
