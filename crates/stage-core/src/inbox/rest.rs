use std::mem;

use crate::{Batch, batch::BatchQueue, spares::worth_keeping};

/// What is left of a delivery that is taken in portions.
#[derive(Debug)]
pub(super) struct Rest<E> {
    queue: Option<BatchQueue<E>>,
    /// Storage for a portion.
    spare: Batch<E>,
}

impl<E> Rest<E> {
    pub(super) const fn new() -> Self {
        Self {
            queue: None,
            spare: Batch::new(),
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
    #[inline(always)]
    pub(super) fn begin(&mut self, delivery: Batch<E>, events: usize) -> Batch<E> {
        debug_assert!(
            self.is_empty(),
            "a delivery that is begun is finished first"
        );
        self.cut(delivery.into_queue(), events)
    }

    /// Takes up to `events` more.
    #[inline(always)]
    pub(super) fn take(&mut self, events: usize) -> Batch<E> {
        match self.queue.take() {
            Some(queue) if queue.len() <= events => queue.into_batch(),
            None => Batch::new(),
            Some(queue) => self.cut(queue, events),
        }
    }

    #[inline]
    fn cut(&mut self, queue: BatchQueue<E>, events: usize) -> Batch<E> {
        let spare = mem::take(&mut self.spare);
        self.queue.insert(queue).take(events, spare)
    }

    /// Keeps an emptied portion, for the next. Returns it if it is not needed.
    #[inline]
    pub(super) fn keep(&mut self, emptied: Batch<E>) -> Option<Batch<E>> {
        if self.spare.is_something() {
            return Some(emptied);
        }
        // An idle subscription keeps no more than a stage does.
        self.spare = worth_keeping(emptied)?;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_storage_does_not_stay_with_an_idle_subscription() {
        let mut rest = Rest::<u64>::new();
        let emptied = |capacity| Batch::from(Vec::with_capacity(capacity));
        assert!(rest.keep(emptied(1_000_000)).is_none());
        assert_eq!(rest.spare.capacity(), 0);
        rest.spare = Batch::new();
        assert!(rest.keep(Batch::new()).is_none());
        assert!(rest.keep(emptied(100)).is_none());
        assert_eq!(rest.spare.capacity(), 100);
        assert!(rest.keep(emptied(100)).is_some(), "there is one");
    }
}
