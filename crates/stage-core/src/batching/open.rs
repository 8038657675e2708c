//! Which batch is passed on when. Pure: it is told the time, and reads no clock.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    time::Duration,
};

use tokio::time::Instant;

use super::KeyedBatch;
use crate::{Batch, Receipt};

/// Batches that are being filled, no two with the same key.
pub(super) struct OpenBatches<Key, Event> {
    pub(super) max_size: usize,
    pub(super) max_delay: Duration,
    pub(super) max_waiting: usize,
    /// Which batch is open for a key. Never iterated.
    by_key: HashMap<Key, u64>,
    /// By the order in which they were begun, which is that in which they are due.
    open: BTreeMap<u64, Open<Key, Event>>,
    begun: u64,
    waiting: usize,
}

struct Open<Key, Event> {
    key: Key,
    since: Instant,
    events: Batch<Event>,
}

impl<Key, Event> OpenBatches<Key, Event> {
    pub(super) fn new(max_size: usize, max_delay: Duration, max_waiting: usize) -> Self {
        Self {
            max_size,
            max_delay,
            max_waiting,
            by_key: HashMap::new(),
            open: BTreeMap::new(),
            begun: 0,
            waiting: 0,
        }
    }

    /// When the first batch is due. `None` if there is none, or it is due after the end of time.
    pub(super) fn due(&self) -> Option<Instant> {
        let (_, first) = self.open.first_key_value()?;
        first.since.checked_add(self.max_delay)
    }
}

impl<Key: Clone + Eq + Hash, Event> OpenBatches<Key, Event> {
    /// Takes an event in, and puts out the batch that has to make room for it and the one that it
    /// fills, if any.
    pub(super) fn push(
        &mut self,
        now: Instant,
        key: Key,
        event: Event,
        receipt: Receipt,
        out: &mut Batch<KeyedBatch<Key, Event>>,
    ) {
        if self.waiting >= self.max_waiting {
            self.close_first(out);
        }
        let number = match self.by_key.get(&key) {
            Some(number) => *number,
            None => self.begin(now, key),
        };
        let Some(open) = self.open.get_mut(&number) else {
            return;
        };
        open.events.push_with_receipt(event, receipt);
        self.waiting += 1;
        if open.events.len() >= self.max_size {
            self.close(number, out);
        }
    }

    /// Puts out the batches that are due at `now`.
    pub(super) fn close_due(&mut self, now: Instant, out: &mut Batch<KeyedBatch<Key, Event>>) {
        while self.due().is_some_and(|due| due <= now) {
            self.close_first(out);
        }
    }

    /// Puts out all batches.
    pub(super) fn close_all(&mut self, out: &mut Batch<KeyedBatch<Key, Event>>) {
        while !self.open.is_empty() {
            self.close_first(out);
        }
    }

    fn begin(&mut self, since: Instant, key: Key) -> u64 {
        let number = self.begun;
        self.begun += 1;
        self.by_key.insert(key.clone(), number);
        let events = Batch::new();
        self.open.insert(number, Open { key, since, events });
        number
    }

    fn close_first(&mut self, out: &mut Batch<KeyedBatch<Key, Event>>) {
        if let Some((&number, _)) = self.open.first_key_value() {
            self.close(number, out);
        }
    }

    fn close(&mut self, number: u64, out: &mut Batch<KeyedBatch<Key, Event>>) {
        let Some(Open { key, events, .. }) = self.open.remove(&number) else {
            return;
        };
        self.by_key.remove(&key);
        self.waiting -= events.len();
        let (events, receipt) = events.into_joined();
        out.push_with_receipt(KeyedBatch { key, events }, receipt);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MAX_DELAY: Duration = Duration::from_millis(50);

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        /// So many milliseconds pass; what is due is asked for when it is.
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0u8..6).prop_map(Step::Push),
            1 => (0u64..40).prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn every_event_is_in_one_batch_in_order_and_in_time(
            max_size in 1usize..8,
            max_waiting in 1usize..20,
            steps in steps(),
        ) {
            let mut batches = OpenBatches::new(max_size, MAX_DELAY, max_waiting);
            let (start, mut now) = (Instant::now(), Instant::now());
            // Events are the times they came at, and a number.
            let (mut pushed, mut closed) = (BTreeMap::<u8, Vec<_>>::new(), BTreeMap::<u8, Vec<_>>::new());
            let mut count = 0;
            for step in steps.into_iter().chain([Step::Wait(1000)]) {
                let mut out = Batch::new();
                match step {
                    Step::Push(key) => {
                        count += 1;
                        let event = (now - start, count);
                        pushed.entry(key).or_default().push(event);
                        let held = batches.waiting;
                        batches.push(now, key, event, Receipt::UNTRACKED, &mut out);
                        let full = |batch: &KeyedBatch<_, _>| batch.events.len() == max_size;
                        prop_assert!(out.iter().all(full) || held == max_waiting, "no cause");
                    }
                    Step::Wait(millis) => {
                        let until = now + Duration::from_millis(millis);
                        while let Some(due) = batches.due().filter(|due| *due <= until) {
                            prop_assert!(due >= now, "late");
                            now = now.max(due);
                            let before = out.len();
                            batches.close_due(now, &mut out);
                            prop_assert!(out.len() > before, "something was due");
                            for batch in &out[before..] {
                                prop_assert_eq!(start + batch.events[0].0 + MAX_DELAY, now);
                            }
                        }
                        now = until;
                    }
                }
                prop_assert!(batches.waiting <= max_waiting);
                for batch in out.drain() {
                    prop_assert!(!batch.events.is_empty() && batch.events.len() <= max_size);
                    closed.entry(batch.key).or_default().extend(batch.events);
                }
                let inside: usize = batches.open.values().map(|open| open.events.len()).sum();
                prop_assert_eq!(inside, batches.waiting);
                prop_assert_eq!(batches.by_key.len(), batches.open.len());
            }
            // The long wait at the end has closed all.
            prop_assert_eq!(batches.waiting, 0);
            prop_assert_eq!(pushed, closed);
        }

        #[test]
        fn the_end_closes_all_in_the_order_in_which_they_were_begun(
            keys in prop::collection::vec(0u8..6, 0..50),
        ) {
            let mut batches = OpenBatches::new(100, MAX_DELAY, 100);
            let mut out = Batch::new();
            for (n, key) in keys.iter().enumerate() {
                batches.push(Instant::now(), *key, n, Receipt::UNTRACKED, &mut out);
            }
            prop_assert!(out.is_empty());
            batches.close_all(&mut out);
            prop_assert!(out.iter().map(|batch| batch.events[0]).is_sorted());
            prop_assert_eq!(out.iter().map(|batch| batch.events.len()).sum::<usize>(), keys.len());
            prop_assert_eq!(batches.due(), None);
        }
    }

    #[test]
    fn what_is_due_after_the_end_of_time_is_never_due() {
        let mut batches = OpenBatches::new(2, Duration::MAX, 2);
        batches.push(Instant::now(), (), 7, Receipt::UNTRACKED, &mut Batch::new());
        assert_eq!(batches.due(), None);
    }
}
