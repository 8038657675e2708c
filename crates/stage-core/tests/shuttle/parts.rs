//! Stages that note what happens to them. What they note it with takes no part in the schedule, and
//! so hides nothing: it is std's.

use std::{
    future::{pending, poll_fn},
    io,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Poll, Waker},
};

use shuttle::{
    future::{JoinHandle, spawn, yield_now},
    rand::{Rng, thread_rng},
};
use stage_core::{
    Acknowledge, AskError, Batch, Consumer, Demand, End, Flow, Outcome, Pipeline, PipelineError,
    Producer, SubscriptionHandle, SubscriptionInfo,
};

pub(crate) fn start(pipeline: Pipeline) -> JoinHandle<Result<(), PipelineError>> {
    spawn(pipeline.run())
}

/// Up to so many. Which is part of the schedule.
pub(crate) fn up_to(most: usize) -> usize {
    thread_rng().gen_range(0..=most)
}

/// How many events were asked for, noted before they are.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<AtomicUsize>);

impl Asked {
    pub(crate) fn ask(&self, handle: &SubscriptionHandle, events: usize) {
        self.try_ask(handle, events).unwrap();
    }

    /// The same of a subscription that may have ended.
    pub(crate) fn try_ask(
        &self,
        handle: &SubscriptionHandle,
        events: usize,
    ) -> Result<(), AskError> {
        self.0.fetch_add(events, SeqCst);
        handle.ask(events)
    }

    pub(crate) fn events(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// What a stage is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Subscribed,
    Events(usize),
    Ended(End),
    Finished,
}

/// What happens to a stage. Clones are the same log.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    signals: Vec<Signal>,
    arrived: Vec<u64>,
    /// What has been dealt with.
    taken: Vec<u64>,
    busy: bool,
    faults: Vec<String>,
    waiting: Vec<Waker>,
}

impl Log {
    pub(crate) fn sink(&self) -> Sink {
        Sink {
            log: self.clone(),
            fails_on_call: None,
            on_events: Box::new(|_| {}),
        }
    }

    pub(crate) fn signals(&self) -> Vec<Signal> {
        self.seen().signals.clone()
    }

    pub(crate) fn arrived(&self) -> Vec<u64> {
        self.seen().arrived.clone()
    }

    pub(crate) fn taken(&self) -> Vec<u64> {
        self.seen().taken.clone()
    }

    /// How many calls there were that brought events.
    pub(crate) fn calls(&self) -> usize {
        let signals = self.signals();
        let calls = signals.iter().filter(|s| matches!(s, Signal::Events(_)));
        calls.count()
    }

    pub(crate) fn ends(&self) -> Vec<End> {
        let signals = self.signals().into_iter();
        let ends = signals.filter_map(|signal| match signal {
            Signal::Ended(end) => Some(end),
            _ => None,
        });
        ends.collect()
    }

    /// Waits until so many events have come.
    pub(crate) async fn until(&self, events: usize) {
        poll_fn(|cx| {
            let mut seen = self.seen();
            if seen.arrived.len() >= events {
                return Poll::Ready(());
            }
            seen.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn fault(&self, fault: impl Into<String>) {
        self.seen().faults.push(fault.into());
    }

    /// Checks that calls do not overlap, and whatever else was to be looked at in them.
    pub(crate) fn check_calls(&self) {
        let faults = self.seen().faults.clone();
        assert!(faults.is_empty(), "{faults:?}");
    }

    /// Checks that, and of a stage that had one subscription at most that it began once, then
    /// brought events, then ended once.
    pub(crate) fn check(&self) {
        self.check_calls();
        let seen = self.seen();
        let mut signals = &seen.signals[..];
        if let [rest @ .., Signal::Finished] = signals {
            signals = rest;
        }
        match signals {
            [] => {}
            [Signal::Subscribed, events @ .., Signal::Ended(_)] => {
                let events = events.iter().all(|s| matches!(s, Signal::Events(_)));
                assert!(events, "{signals:?}");
            }
            _ => panic!("{signals:?}"),
        }
    }

    fn note(&self, signal: Signal) {
        self.seen().signals.push(signal);
    }

    fn enter(&self, events: &[u64]) {
        let mut seen = self.seen();
        if seen.busy {
            seen.faults.push("a call began within another".into());
        }
        seen.busy = true;
        seen.arrived.extend(events);
        seen.signals.push(Signal::Events(events.len()));
        let waiting = std::mem::take(&mut seen.waiting);
        drop(seen);
        for waker in waiting {
            waker.wake();
        }
    }

    fn leave(&self, events: &[u64]) {
        let mut seen = self.seen();
        seen.busy = false;
        seen.taken.extend(events);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }
}

/// Takes events in.
pub(crate) struct Sink {
    log: Log,
    fails_on_call: Option<usize>,
    on_events: Box<dyn FnMut(&[u64]) + Send>,
}

impl Sink {
    /// Fails on this call, counted from zero.
    pub(crate) fn failing_on_call(self, call: usize) -> Self {
        Self {
            fails_on_call: Some(call),
            ..self
        }
    }

    /// Calls `act` with the events of each call, before they are taken in.
    pub(crate) fn on_events(self, act: impl FnMut(&[u64]) + Send + 'static) -> Self {
        Self {
            on_events: Box::new(act),
            ..self
        }
    }

    /// Checks in each call that no more has come than was asked for.
    pub(crate) fn within(self, asked: &Asked) -> Self {
        let (log, asked) = (self.log.clone(), asked.clone());
        self.on_events(move |_| {
            let (arrived, asked) = (log.arrived().len(), asked.events());
            if arrived > asked {
                log.fault(format!("{arrived} have come and {asked} were asked for"));
            }
        })
    }
}

impl Consumer<u64> for Sink {
    type Error = io::Error;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
        self.log.enter(batch);
        (self.on_events)(batch);
        yield_now().await;
        if self.fails_on_call == Some(self.log.calls() - 1) {
            return Err(io::Error::other("on purpose"));
        }
        self.log.leave(batch);
        Ok(())
    }

    fn subscribed(&mut self, _: &SubscriptionInfo) {
        self.log.note(Signal::Subscribed);
    }

    fn unsubscribed(&mut self, _: &SubscriptionInfo, end: &End) {
        self.log.note(Signal::Ended(end.clone()));
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.log.note(Signal::Finished);
        Ok(())
    }
}

/// What becomes of events. Clones are the same book.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Pages>);

#[derive(Default)]
struct Pages(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    outcomes: Vec<Option<Outcome>>,
    faults: Vec<String>,
    waiting: Vec<Waker>,
}

impl Book {
    pub(crate) fn acked(&self) -> Vec<u64> {
        self.which(Some(Outcome::Acked))
    }

    pub(crate) fn nacked(&self) -> Vec<u64> {
        self.which(Some(Outcome::Nacked))
    }

    pub(crate) fn made(&self) -> usize {
        self.0.lock().outcomes.len()
    }

    /// Checks that each event was settled once.
    pub(crate) fn check(&self) {
        let faults = self.0.lock().faults.clone();
        assert!(faults.is_empty(), "{faults:?}");
        let open = self.which(None);
        assert!(open.is_empty(), "lost: {open:?}");
    }

    /// Waits until all events are settled.
    pub(crate) async fn until_settled(&self) {
        poll_fn(|cx| {
            let mut entries = self.0.lock();
            if entries.outcomes.iter().all(Option::is_some) {
                return Poll::Ready(());
            }
            entries.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn which(&self, outcome: Option<Outcome>) -> Vec<u64> {
        let entries = self.0.lock();
        let numbered = (0..).zip(&entries.outcomes);
        let found = numbered.filter(|(_, found)| **found == outcome);
        found.map(|(number, _)| number).collect()
    }
}

impl Pages {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap()
    }
}

impl Acknowledge for Pages {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        let mut entries = self.lock();
        for number in numbers {
            let place = &mut entries.outcomes[number as usize];
            if place.replace(outcome).is_some() {
                entries.faults.push(format!("{number} is settled twice"));
            }
        }
        let waiting = std::mem::take(&mut entries.waiting);
        drop(entries);
        for waker in waiting {
            waker.wake();
        }
    }
}

/// Makes numbers from zero, no more than two at once.
pub(crate) struct Numbers {
    next: u64,
    until: u64,
    then: Then,
    book: Book,
    log: Log,
    on_demand: Box<dyn FnMut(usize) + Send>,
    on_end: Box<dyn FnMut(&SubscriptionInfo) + Send>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Ends,
    Fails,
    Waits,
}

impl Numbers {
    pub(crate) fn up_to(until: u64, then: Then) -> Self {
        Self {
            next: 0,
            until,
            then,
            book: Book::default(),
            log: Log::default(),
            on_demand: Box::new(|_| {}),
            on_end: Box::new(|_| {}),
        }
    }

    pub(crate) fn in_book(self, book: &Book) -> Self {
        let book = book.clone();
        Self { book, ..self }
    }

    /// Notes there who has subscribed and how that ended.
    pub(crate) fn in_log(self, log: &Log) -> Self {
        let log = log.clone();
        Self { log, ..self }
    }

    /// Calls `act` with the demand of each call.
    pub(crate) fn on_demand(self, act: impl FnMut(usize) + Send + 'static) -> Self {
        Self {
            on_demand: Box::new(act),
            ..self
        }
    }

    /// Calls `act` when it is told that a subscription has ended.
    pub(crate) fn on_end(self, act: impl FnMut(&SubscriptionInfo) + Send + 'static) -> Self {
        Self {
            on_end: Box::new(act),
            ..self
        }
    }
}

impl Producer for Numbers {
    type Event = u64;
    type Error = io::Error;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
        (self.on_demand)(demand.get());
        yield_now().await;
        if self.next == self.until {
            match self.then {
                Then::Ends => return Ok(Flow::End),
                Then::Fails => return Err(io::Error::other("on purpose")),
                Then::Waits => pending().await,
            }
        }
        let first = self.next;
        self.next = self.until.min(first + demand.get().min(2) as u64);
        batch.extend(first..self.next);
        self.book.0.lock().outcomes.resize(self.next as usize, None);
        batch.track(Arc::<Pages>::clone(&self.book.0), first);
        Ok(Flow::More)
    }

    fn subscribed(&mut self, _: &SubscriptionInfo) {
        self.log.note(Signal::Subscribed);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.log.note(Signal::Ended(end.clone()));
        (self.on_end)(subscription);
    }
}
