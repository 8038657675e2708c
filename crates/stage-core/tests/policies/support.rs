//! Consumers that fail, and a source that knows what became of its events.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
};

use stage_core::{Batch, Consumer, Pipeline, PipelineError, Producer, Window};

pub(crate) use crate::stages::{Book, Tracked, tracked};

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
