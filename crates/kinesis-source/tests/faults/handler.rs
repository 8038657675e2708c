//! The stage at the end: it takes events in, or does not, as a scenario says.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kinesis_fake::Gate;
use kinesis_source::Record;
use stage_core::{Batch, Consumer};
use tokio::time::sleep;

use crate::log::{Entry, Log, place_of};

/// What is done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Ack,
    Nack,
    /// The call returns an error.
    Fail,
    Panic,
    /// It is taken in only after that time.
    Take(Duration),
    /// The call never returns.
    Hang,
}

/// What is to be done with an event that comes for the so many-th time.
pub(crate) type Temper = Arc<dyn Fn(&Record, u32) -> Deed + Send + Sync>;

/// One thing is done at the so many-th call, counted from zero, and all others are well.
pub(crate) fn once(at: u64, deed: Deed) -> impl Fn(&Record, u32) -> Deed + Send + Sync {
    let calls = AtomicU64::new(0);
    move |_, _| match calls.fetch_add(1, Ordering::Relaxed) == at {
        true => deed,
        false => Deed::Ack,
    }
}

#[derive(Clone)]
pub(crate) struct Handler {
    pub(crate) life: usize,
    pub(crate) log: Log,
    pub(crate) gate: Gate,
    pub(crate) temper: Temper,
    /// How often each event came, over all lives.
    pub(crate) times: Arc<Mutex<BTreeMap<String, u32>>>,
}

/// What a call fails with, by [`Deed::Fail`].
#[derive(Debug, thiserror::Error)]
#[error("not today")]
pub(crate) struct NotToday;

impl Handler {
    fn times(&self, event: &Record) -> u32 {
        let name = format!("{} {:?}", event.shard, place_of(event));
        let mut times = self.times.lock().unwrap();
        let times = times.entry(name).or_default();
        *times += 1;
        *times
    }
}

impl Consumer<Record> for Handler {
    type Error = NotToday;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), NotToday> {
        for (event, receipt) in batch.drain_with_receipts() {
            // What a process does after it was killed, nobody sees.
            self.gate.pass().await;
            let (shard, place) = (event.shard.clone(), place_of(&event));
            let entry = Entry::Delivered(self.life, shard.clone(), place.clone());
            self.log.add(entry);
            match (self.temper)(&event, self.times(&event)) {
                Deed::Ack => {}
                Deed::Nack => {
                    receipt.nack();
                    continue;
                }
                Deed::Fail => return Err(NotToday),
                Deed::Panic => panic!("the handler panics"),
                Deed::Take(span) => sleep(span).await,
                Deed::Hang => std::future::pending().await,
            }
            self.gate.pass().await;
            self.log.add(Entry::Acked(shard, place));
            receipt.ack();
        }
        Ok(())
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handler({})", self.life)
    }
}
