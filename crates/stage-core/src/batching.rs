mod open;

use std::{convert::Infallible, fmt, hash::Hash, time::Duration};

use tokio::time::Instant;

use self::open::OpenBatches;
use crate::{Batch, Transform};

/// How many events make a batch, unless [`Batching::max_size`] says otherwise.
const MAX_SIZE: usize = 100;
/// How long a batch waits for more, unless [`Batching::max_delay`] says otherwise.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// How many events wait in all, unless [`Batching::max_waiting`] says otherwise.
const MAX_WAITING: usize = 10_000;

/// Events with one key, in order. What [`batching`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedBatch<Key, Event> {
    /// What they have in common.
    pub key: Key,
    /// At least one, and no more than [`Batching::max_size`].
    pub events: Vec<Event>,
}

/// Gathers events of equal keys into batches. Made by [`batching`].
#[must_use = "it does nothing until it is added to a pipeline"]
pub struct Batching<Key, Event, F> {
    key: F,
    open: OpenBatches<Key, Event>,
}

/// Gathers events into batches, one for each key that comes up: to write them together, say.
///
/// A batch is passed on when one of these is so, whichever comes first:
///
/// - it has [`max_size`](Batching::max_size) events (100 if not said otherwise);
/// - its first event has waited for [`max_delay`](Batching::max_delay) (one second);
/// - another event has come, [`max_waiting`](Batching::max_waiting) events (10 000) wait already in
///   all batches together, and of these batches it was begun first;
/// - the last event has come.
///
/// So memory is bounded however many keys there are. While nothing downstream is wanted, nothing is
/// taken in and nothing is passed on, and a batch may get older than the delay.
///
/// The stages downstream ask for batches, not events: a window of ten is ten batches. A batch is
/// settled whole, and its events with it, and only they.
///
/// ```
/// use stage_core::{KeyedBatch, Pipeline, Window, batching, for_each, from_iter};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stage_core::PipelineError> {
/// let mut pipeline = Pipeline::new();
/// let numbers = pipeline.produce(from_iter(0..1000_u64));
/// let by_last_digit = batching(|n: &u64| n % 10)
///     .max_size(30)
///     .max_delay(Duration::from_millis(200));
/// let batches = pipeline.transform(by_last_digit, numbers.subscribe(Window::new(100)));
/// let print = for_each(|batch: KeyedBatch<u64, u64>| {
///     println!("{} numbers end in {}", batch.events.len(), batch.key);
/// });
/// pipeline.consume(print, batches.subscribe(Window::new(4)));
/// pipeline.run().await
/// # }
/// ```
pub fn batching<Key, Event, F>(key: F) -> Batching<Key, Event, F>
where
    Key: Clone + Eq + Hash + Send + 'static,
    Event: Send + 'static,
    F: FnMut(&Event) -> Key + Send + 'static,
{
    Batching {
        key,
        open: OpenBatches::new(MAX_SIZE, MAX_DELAY, MAX_WAITING),
    }
}

impl<Key, Event, F> Batching<Key, Event, F> {
    /// Passes a batch on when it has `events` events.
    ///
    /// # Panics
    ///
    /// If that is zero.
    pub fn max_size(mut self, events: usize) -> Self {
        assert!(events > 0, "a batch needs at least one event");
        self.open.max_size = events;
        self
    }

    /// Passes a batch on when its first event has waited for `delay`. Zero passes on whatever came
    /// together.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.open.max_delay = delay;
        self
    }

    /// Never has more than `events` events wait, in all batches together. Rather, the batch that
    /// was begun first is passed on before its time.
    ///
    /// # Panics
    ///
    /// If that is zero.
    pub fn max_waiting(mut self, events: usize) -> Self {
        assert!(events > 0, "room is needed for at least one event");
        self.open.max_waiting = events;
        self
    }
}

impl<Key, Event, F> Transform<Event> for Batching<Key, Event, F>
where
    Key: Clone + Eq + Hash + Send + 'static,
    Event: Send + 'static,
    F: FnMut(&Event) -> Key + Send + 'static,
{
    type Out = KeyedBatch<Key, Event>;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<Event>,
        out: &mut Batch<Self::Out>,
    ) -> Result<(), Infallible> {
        let now = Instant::now();
        for (event, receipt) in batch.drain_with_receipts() {
            let key = (self.key)(&event);
            self.open.push(now, key, event, receipt, out);
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.open.due()
    }

    async fn elapsed(&mut self, out: &mut Batch<Self::Out>) -> Result<(), Infallible> {
        self.open.close_due(Instant::now(), out);
        Ok(())
    }

    async fn finish(&mut self, out: &mut Batch<Self::Out>) -> Result<(), Infallible> {
        self.open.close_all(out);
        Ok(())
    }
}

impl<Key, Event, F> fmt::Debug for Batching<Key, Event, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batching")
            .field("max_size", &self.open.max_size)
            .field("max_delay", &self.open.max_delay)
            .field("max_waiting", &self.open.max_waiting)
            .finish_non_exhaustive()
    }
}
