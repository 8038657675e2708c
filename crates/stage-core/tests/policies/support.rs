//! A source that knows what became of its events, and consumers that fail.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    ops::Range,
    sync::{Arc, Mutex},
};

use stage_core::{
    Acknowledge, Batch, Consumer, Demand, Flow, Outcome, Pipeline, PipelineError, Producer, Window,
};

/// What became of each event, by number. An event that is settled twice is caught.
#[derive(Default)]
pub(crate) struct Book(Mutex<Vec<Option<Outcome>>>);

impl Book {
    pub(crate) fn acked(&self) -> Vec<u64> {
        self.which(Some(Outcome::Acked))
    }

    pub(crate) fn nacked(&self) -> Vec<u64> {
        self.which(Some(Outcome::Nacked))
    }

    pub(crate) fn open(&self) -> Vec<u64> {
        self.which(None)
    }

    fn which(&self, outcome: Option<Outcome>) -> Vec<u64> {
        let book = self.0.lock().unwrap();
        let found = (0..)
            .zip(book.iter())
            .filter(|(_, found)| **found == outcome);
        found.map(|(n, _)| n).collect()
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
    until: u64,
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

/// A batch with the numbers up to `until`, tracked.
pub(crate) fn tracked(until: u64) -> (Batch<u64>, Arc<Book>) {
    let book = Arc::new(Book(Mutex::new(vec![None; until as usize])));
    let mut batch: Batch<u64> = (0..until).collect();
    batch.track(Arc::clone(&book) as _, 0);
    (batch, book)
}

/// What a consumer was given, call by call, and what it took in.
#[derive(Clone, Default)]
pub(crate) struct Notes {
    pub(crate) calls: Arc<Mutex<Vec<Vec<u64>>>>,
    pub(crate) taken: Arc<Mutex<Vec<u64>>>,
}

impl Notes {
    pub(crate) fn calls(&self) -> Vec<Vec<u64>> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn taken(&self) -> Vec<u64> {
        self.taken.lock().unwrap().clone()
    }
}

/// Fails on some events, so often: always, if that is `u32::MAX`. Takes in all of a batch or nothing.
#[derive(Clone, Default)]
pub(crate) struct Fussy {
    pub(crate) fails: Arc<Mutex<BTreeMap<u64, u32>>>,
    pub(crate) panics: bool,
    pub(crate) notes: Notes,
}

impl Fussy {
    pub(crate) fn about(events: impl IntoIterator<Item = (u64, u32)>) -> Self {
        Self {
            fails: Arc::new(Mutex::new(events.into_iter().collect())),
            ..Self::default()
        }
    }

    pub(crate) fn panicking(self) -> Self {
        Self {
            panics: true,
            ..self
        }
    }

    pub(crate) fn check(&self, events: &[u64]) -> io::Result<()> {
        self.notes.calls.lock().unwrap().push(events.to_vec());
        let bad = {
            let mut fails = self.fails.lock().unwrap();
            let bad = events
                .iter()
                .find(|event| fails.get(event).is_some_and(|&left| left > 0));
            bad.inspect(|event| {
                let left = fails.get_mut(event).unwrap();
                if *left < u32::MAX {
                    *left -= 1;
                }
            })
            .copied()
        };
        if let Some(bad) = bad {
            assert!(!self.panics, "cannot stand {bad}");
            return Err(io::Error::other(format!("cannot stand {bad}")));
        }
        self.notes.taken.lock().unwrap().extend(events);
        Ok(())
    }
}

impl Consumer<u64> for Fussy {
    type Error = io::Error;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
        let events: Vec<u64> = batch.drain().collect();
        self.check(&events)
    }
}

/// Takes everything in.
#[derive(Clone, Default)]
pub(crate) struct Sink(pub(crate) Notes);

impl Consumer<u64> for Sink {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        self.0.taken.lock().unwrap().extend(batch.iter());
        Ok(())
    }
}

/// Runs a source and a consumer.
pub(crate) async fn run(
    source: impl Producer<Event = u64>,
    consumer: impl Consumer<u64>,
    window: usize,
) -> Result<(), PipelineError> {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    pipeline
        .stage("consumer")
        .consume(consumer, numbers.subscribe(Window::new(window)));
    pipeline.run().await
}
