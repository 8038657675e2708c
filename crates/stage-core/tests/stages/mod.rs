//! Stages that several tests use.

#![allow(dead_code)] // no test uses all of them

use std::{
    convert::Infallible,
    io,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use stage_core::{
    Acknowledge, Batch, Consumer, Demand, End, Flow, Outcome, Producer, SubscriptionInfo, Transform,
};
use tokio::{sync::Semaphore, time::sleep};

/// Counts, and notes how many it was asked for and made.
#[derive(Clone, Default)]
pub(crate) struct Made {
    pub(crate) demands: Arc<Mutex<Vec<usize>>>,
    pub(crate) events: Arc<AtomicUsize>,
}

pub(crate) struct Counter {
    pub(crate) next: u64,
    pub(crate) until: u64,
    made: Made,
}

impl Counter {
    pub(crate) fn up_to(until: u64) -> Self {
        Self {
            next: 0,
            until,
            made: Made::default(),
        }
    }

    pub(crate) fn noting(until: u64, made: &Made) -> Self {
        Self {
            made: made.clone(),
            ..Self::up_to(until)
        }
    }
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
        self.made.demands.lock().unwrap().push(demand.get());
        self.made.events.fetch_add(batch.len(), Ordering::SeqCst);
        Ok(if self.next < self.until {
            Flow::More
        } else {
            Flow::End
        })
    }
}

pub(crate) struct Double;

impl Transform<u64> for Double {
    type Out = u64;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), Infallible> {
        out.extend(batch.drain().map(|event| event * 2));
        Ok(())
    }
}

#[derive(Clone, Default)]
pub(crate) struct Slow {
    pub(crate) seen: Arc<Mutex<Vec<u64>>>,
    pub(crate) portions: Arc<Mutex<Vec<usize>>>,
    pub(crate) delay: Duration,
    /// Who it was told had subscribed, and how that ended.
    pub(crate) changes: Arc<Mutex<Vec<String>>>,
    pub(crate) finished: Arc<AtomicBool>,
}

impl Consumer<u64> for Slow {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
        self.portions.lock().unwrap().push(batch.len());
        self.seen.lock().unwrap().extend(batch.drain());
        Ok(())
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        let change = format!("{} is there", subscription.from);
        self.changes.lock().unwrap().push(change);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        let change = format!("{} is {end}", subscription.from);
        self.changes.lock().unwrap().push(change);
    }

    async fn finish(&mut self) -> Result<(), Infallible> {
        self.finished.store(true, Ordering::SeqCst);
        Ok(())
    }
}

impl Slow {
    pub(crate) fn by(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    pub(crate) fn changes(&self) -> Vec<String> {
        self.changes.lock().unwrap().clone()
    }

    pub(crate) fn finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<u64> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) struct Fails;

impl Consumer<u64> for Fails {
    type Error = io::Error;

    async fn consume(&mut self, _: &mut Batch<u64>) -> io::Result<()> {
        Err(io::Error::other("on purpose"))
    }
}

/// What became of each event, by number. An event that is settled twice is caught.
#[derive(Default)]
pub(crate) struct Book(pub(crate) Mutex<Vec<Option<Outcome>>>);

impl Book {
    pub(crate) fn outcomes(&self) -> Vec<Option<Outcome>> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn acked(&self) -> Vec<u64> {
        self.which(Some(Outcome::Acked))
    }

    pub(crate) fn nacked(&self) -> Vec<u64> {
        self.which(Some(Outcome::Nacked))
    }

    /// Of what nothing has become yet.
    pub(crate) fn open(&self) -> Vec<u64> {
        self.which(None)
    }

    fn which(&self, outcome: Option<Outcome>) -> Vec<u64> {
        let outcomes = (0..).zip(self.outcomes());
        outcomes
            .filter(|(_, found)| *found == outcome)
            .map(|(n, _)| n)
            .collect()
    }
}

impl Acknowledge for Book {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        let mut book = self.0.lock().unwrap();
        for number in numbers {
            let place = &mut book[number as usize];
            assert_eq!(place.replace(outcome), None, "{number} is settled twice");
        }
    }
}

/// Counts to `until`, and tracks what it makes.
pub(crate) struct Tracked {
    book: Arc<Book>,
    pub(crate) until: u64,
}

impl Tracked {
    pub(crate) fn up_to(until: u64) -> (Self, Arc<Book>) {
        let book = Arc::<Book>::default();
        let source = Self {
            book: Arc::clone(&book),
            until,
        };
        (source, book)
    }
}

/// A batch with the numbers up to `until`, tracked.
pub(crate) fn tracked(until: u64) -> (Batch<u64>, Arc<Book>) {
    let book = Arc::new(Book(Mutex::new(vec![None; until as usize])));
    let mut batch: Batch<u64> = (0..until).collect();
    batch.track(Arc::clone(&book) as _, 0);
    (batch, book)
}

impl Producer for Tracked {
    type Event = u64;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<u64>,
    ) -> Result<Flow, Infallible> {
        let mut book = self.book.0.lock().unwrap();
        let first = book.len() as u64;
        let next = self.until.min(first + demand.get() as u64);
        book.resize(next as usize, None);
        batch.extend(first..next);
        batch.track(Arc::clone(&self.book) as _, first);
        Ok(if next < self.until {
            Flow::More
        } else {
            Flow::End
        })
    }
}

/// Does what another does once there is a permit for it.
pub(crate) struct Gated<T> {
    inner: T,
    gate: Arc<Semaphore>,
}

impl<T> Gated<T> {
    pub(crate) fn new(inner: T, gate: Arc<Semaphore>) -> Self {
        Self { inner, gate }
    }
}

impl<T: Transform<u64>> Transform<u64> for Gated<T> {
    type Out = T::Out;
    type Error = T::Error;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<T::Out>,
    ) -> Result<(), T::Error> {
        // It is never closed.
        self.gate.acquire().await.unwrap().forget();
        self.inner.transform(batch, out).await
    }
}
