//! What became of each event, and what should have.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use stage_core::{Acknowledge, Batch, Outcome};

/// What sources are told. An event that is settled twice is caught.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<BTreeMap<u64, Outcome>>);

impl Acknowledge for Book {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        let mut book = self.lock();
        for number in numbers {
            assert_eq!(
                book.insert(number, outcome),
                None,
                "{number} is settled twice"
            );
        }
    }
}

impl Book {
    /// These events, to be watched.
    pub(crate) fn watch(self: &Arc<Self>, events: Range<u64>) -> Batch<u64> {
        let mut batch: Batch<u64> = events.clone().collect();
        batch.track(Arc::clone(self) as _, events.start);
        batch
    }

    /// Also after an assertion has failed: what is dropped then must not panic again.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Outcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn nacked(&self) -> Vec<u64> {
        let book = self.lock();
        let nacked = book
            .iter()
            .filter(|(_, outcome)| **outcome == Outcome::Nacked);
        nacked.map(|(number, _)| *number).collect()
    }
}

/// What they should be told.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    pub(crate) book: Arc<Book>,
    /// Events that have been sent, with the number of those who have them in hand.
    sent: BTreeMap<u64, (usize, Outcome)>,
}

impl Fates {
    /// An event has gone to so many. If these are none, this is what becomes of it.
    pub(crate) fn send(&mut self, event: u64, takers: usize, outcome: Outcome) {
        assert_eq!(
            self.sent.insert(event, (takers, outcome)),
            None,
            "{event} is sent twice"
        );
    }

    /// Acks those events of a batch for which `acks` says so, and drops the others.
    pub(crate) fn settle(&mut self, mut batch: Batch<u64>, acks: impl Fn(u64) -> bool) {
        for (event, receipt) in batch.drain_with_receipts() {
            let (open, outcome) = self.sent.get_mut(&event).unwrap();
            *open -= 1;
            if acks(event) {
                receipt.ack();
            } else {
                *outcome = Outcome::Nacked;
            }
        }
    }

    /// Sources know exactly what is settled.
    pub(crate) fn check(&self) {
        let settled = self.sent.iter().filter(|(_, (open, _))| *open == 0);
        let settled = settled.map(|(event, (_, outcome))| (*event, *outcome));
        assert_eq!(*self.book.lock(), settled.collect());
    }

    /// All is over: what had not been sent is nacked, too.
    pub(crate) fn check_end(&self, events: u64) {
        let fate = |event| {
            let sent = self.sent.get(&event);
            let acked = sent.is_some_and(|sent| *sent == (0, Outcome::Acked));
            (
                event,
                if acked {
                    Outcome::Acked
                } else {
                    Outcome::Nacked
                },
            )
        };
        assert_eq!(*self.book.lock(), (0..events).map(fate).collect());
    }
}
