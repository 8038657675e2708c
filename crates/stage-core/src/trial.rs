//! Calls that can be made again: with copies of events, whose originals are kept until it is known
//! how the call went.

use std::{collections::BTreeMap, mem, ops::Range, pin::pin, sync::Arc};

use crate::{
    Acknowledge, Batch, BoxError, Consumer, Outcome, Transform,
    panic::without_panic,
    receipt::Receipts,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Gives copies of `events` to a consumer.
///
/// # Errors
///
/// If it fails or panics. Then `events` is what is not done.
///
/// # Cancel safety
///
/// Dropping the future nacks what is not done.
pub(crate) async fn consume<E, C>(consumer: &mut C, events: &mut Batch<E>) -> Result<(), BoxError>
where
    E: Clone + Send + 'static,
    C: Consumer<E>,
{
    let mut trial = Trial::begin(events);
    let called = without_panic(pin!(async { consumer.consume(&mut trial.copies).await })).await;
    match called {
        Ok(()) => {
            trial.copies.ack();
            trial.succeeded();
            Ok(())
        }
        Err(error) => {
            trial.failed(events);
            Err(error)
        }
    }
}

/// Gives copies of `events` to a transform.
///
/// # Errors
///
/// If it fails or panics. Then `events` is what is not done, and `out` is empty.
///
/// # Cancel safety
///
/// Dropping the future nacks what is not done.
pub(crate) async fn transform<In, T>(
    transform: &mut T,
    events: &mut Batch<In>,
    out: &mut Batch<T::Out>,
) -> Result<(), BoxError>
where
    In: Clone + Send + 'static,
    T: Transform<In>,
{
    let mut trial = Trial::begin(events);
    let called = without_panic(pin!(async {
        transform.transform(&mut trial.copies, out).await
    }))
    .await;
    match called {
        Ok(()) => {
            out.stand_for(&mut trial.copies);
            trial.succeeded();
            Ok(())
        }
        Err(error) => {
            // Before the trial ends: outputs may hold receipts of its inputs.
            drop(mem::take(out));
            trial.failed(events);
            Err(error)
        }
    }
}

/// One call that is under way.
struct Trial<E> {
    copies: Batch<E>,
    custody: Arc<Custody>,
}

/// The receipts of the originals, and whom the copies report to.
#[derive(Debug)]
struct Custody(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Whether the call has succeeded. What was kept for longer is then settled as it will be. Until
    /// then only acks count, also if it fails.
    is_passing: bool,
    /// What is not done, by the first event's number. Events with numbers in a row share an entry.
    /// Nothing, once the call has failed or was dropped: what is reported after that does not count.
    held: BTreeMap<u64, Receipts>,
    /// What the call has nacked. Only if it succeeds, that is what it wants.
    nacked: Vec<Range<u64>>,
}

impl<E: Clone> Trial<E> {
    /// Takes the receipts of `events` into custody and copies the events.
    fn begin(events: &mut Batch<E>) -> Self {
        let custody = Custody::of(events.take_receipts());
        let mut copies = Batch::from(events.to_vec());
        copies.is_portion_of(events);
        copies.track(Arc::clone(&custody) as _, 0);
        Self { copies, custody }
    }
}

impl<E> Trial<E> {
    /// From now on, receipts of copies are as good as those of the originals.
    fn succeeded(self) {
        let mut state = self.custody.lock();
        state.is_passing = true;
        let nacked = mem::take(&mut state.nacked);
        let nacked: Vec<_> = nacked
            .iter()
            .filter_map(|range| state.take(range))
            .collect();
        drop(state);
        drop(nacked);
    }

    /// Leaves in `events`, which are the originals, only what is not done, with its receipts.
    fn failed(self, events: &mut Batch<E>) {
        events.keep_only(self.custody.close());
    }
}

impl<E> Drop for Trial<E> {
    fn drop(&mut self) {
        if !self.custody.lock().is_passing {
            drop(self.custody.close());
        }
    }
}

impl Custody {
    fn of(receipts: Receipts) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            is_passing: false,
            held: BTreeMap::from([(0, receipts)]),
            nacked: Vec::new(),
        })))
    }

    /// Gives back what is not done, and believes nobody any more.
    fn close(&self) -> Vec<(usize, Receipts)> {
        let held = mem::take(&mut self.lock().held).into_iter();
        held.map(|(first, receipts)| (first as usize, receipts))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the receipts of these numbers out.
    fn take(&mut self, numbers: &Range<u64>) -> Option<Receipts> {
        let (&start, _) = self.held.range(..=numbers.start).next_back()?;
        let mut taken = self.held.remove(&start)?;
        if start < numbers.start {
            let front = taken.split_front((numbers.start - start) as usize);
            self.held.insert(start, front);
        }
        let wanted = taken.split_front((numbers.end - numbers.start) as usize);
        if !taken.is_empty() {
            self.held.insert(numbers.end, taken);
        }
        Some(wanted)
    }
}

impl Acknowledge for Custody {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        let mut state = self.lock();
        if outcome == Outcome::Nacked && !state.is_passing {
            return state.nacked.push(numbers);
        }
        let settled = state.take(&numbers);
        // What they call may be another custody.
        drop(state);
        if let Some(receipts) = settled {
            receipts.settle(outcome);
        }
    }
}
