use std::{collections::VecDeque, mem};

use crate::{Batch, batch::BatchQueue, spares::Spares};

/// Events of a stage that have no taker yet, in order.
///
/// [Dispatchers](super::Dispatcher) take from its front. A batch that is taken as it was pushed is
/// moved, not copied; one that is taken in parts is copied once.
#[derive(Debug)]
pub struct Backlog<E> {
    /// What is left of a batch that is being taken in parts. It comes before the others.
    part: Option<BatchQueue<E>>,
    batches: VecDeque<Batch<E>>,
    len: usize,
    /// Storage for parts.
    pub(crate) spares: Spares<E>,
}

impl<E> Backlog<E> {
    /// How long a batch may grow where events are added one by one: a page of them, or 64.
    const ONE_BY_ONE: usize = match 4_096_usize.checked_div(size_of::<E>()) {
        Some(0) => 1,
        Some(page) if page < 64 => page,
        _ => 64,
    };

    /// A backlog with nothing in it.
    pub const fn new() -> Self {
        Self {
            part: None,
            batches: VecDeque::new(),
            len: 0,
            spares: Spares::new(),
        }
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none do.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds events at the end.
    pub fn push(&mut self, batch: Batch<E>) {
        if !batch.is_empty() {
            self.len += batch.len();
            self.batches.push_back(batch);
        }
    }

    /// Adds one event at the end: to the last batch, if that has room or is short, and is not tracked.
    pub(crate) fn push_one(&mut self, event: E) {
        self.len += 1;
        let takes_one = |last: &Batch<E>| {
            let len = last.len();
            (len < last.capacity() || len < Self::ONE_BY_ONE) && !last.is_tracked()
        };
        match self.batches.back_mut() {
            Some(last) if takes_one(last) => last.push(event),
            _ => {
                // It grows with what comes: a batch may come next, and another event alone behind that.
                let mut batch = self.spares.take(1);
                batch.push(event);
                self.batches.push_back(batch);
            }
        }
    }

    /// Takes up to `count` events from the front, as one batch.
    pub fn take(&mut self, count: usize) -> Batch<E> {
        let mut spares = mem::take(&mut self.spares);
        let taken = self.take_with(count, &mut spares);
        self.spares = spares;
        taken
    }

    /// Like [`take`](Self::take), with storage for parts from elsewhere.
    pub(crate) fn take_with(&mut self, count: usize, spares: &mut Spares<E>) -> Batch<E> {
        let count = count.min(self.len);
        if count == 0 {
            return Batch::new();
        }
        self.len -= count;
        let mut taken = self.take_within_front(count, spares);
        if taken.len() < count && taken.capacity() < count {
            // To grow is to allocate, where there may be one with room.
            let mut roomy = spares.take(count);
            roomy.append(&mut taken);
            spares.give(mem::replace(&mut taken, roomy).emptied());
        }
        while taken.len() < count {
            let mut next = self.take_within_front(count - taken.len(), spares);
            taken.append(&mut next);
            spares.give(next.emptied());
        }
        taken
    }

    /// Takes up to `count` events, but only from the first batch.
    fn take_within_front(&mut self, count: usize, spares: &mut Spares<E>) -> Batch<E> {
        let part = match self.part.take() {
            Some(part) if part.len() <= count => return part.into_batch(),
            Some(part) => part,
            None => match self.batches.pop_front() {
                Some(whole) if whole.len() <= count => return whole,
                Some(first) => first.into_queue(),
                None => return Batch::new(),
            },
        };
        let spare = spares.take(part.moved_by(count));
        self.part.insert(part).take(count, spare)
    }
}

impl<E> Default for Backlog<E> {
    fn default() -> Self {
        Self::new()
    }
}
