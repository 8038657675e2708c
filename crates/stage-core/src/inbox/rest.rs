use std::mem;

use crate::{Batch, batch::BatchQueue, spares::is_worth_keeping};

/// What is left of a delivery that is taken in portions.
#[derive(Debug)]
pub(super) struct Rest<E> {
    queue: Option<BatchQueue<E>>,
    /// Storage for a portion.
    spare: Vec<E>,
}

impl<E> Rest<E> {
    pub(super) const fn new() -> Self {
        Self {
            queue: None,
            spare: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// How many events are left.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.queue.as_ref().map_or(0, BatchQueue::len)
    }

    /// Takes the first `events` of a delivery, and keeps the others. There is nothing left of the one
    /// before, and there are more than `events`.
    pub(super) fn begin(&mut self, delivery: Batch<E>, events: usize) -> Batch<E> {
        debug_assert!(
            self.is_empty(),
            "a delivery that is begun is finished first"
        );
        self.cut(delivery.into_queue(), events)
    }

    /// Takes up to `events` more.
    pub(super) fn take(&mut self, events: usize) -> Batch<E> {
        match self.queue.take() {
            Some(queue) if queue.len() <= events => queue.into_batch(),
            None => Batch::new(),
            Some(queue) => self.cut(queue, events),
        }
    }

    fn cut(&mut self, queue: BatchQueue<E>, events: usize) -> Batch<E> {
        let spare = match queue.moved_by(events) {
            0 => Vec::new(),
            _ => mem::take(&mut self.spare),
        };
        self.queue.insert(queue).take(events, spare)
    }

    /// Keeps emptied storage, for the next portion. Returns it if it is not needed.
    #[inline]
    pub(super) fn keep(&mut self, storage: Vec<E>) -> Option<Vec<E>> {
        if self.spare.capacity() > 0 || !is_worth_keeping(&storage) {
            return Some(storage);
        }
        self.spare = storage;
        None
    }
}
