use std::mem;

use super::Batch;
use crate::Receipt;

/// A batch that is given out in parts, from the front.
///
/// Large parts are cut off: what is left moves to other storage, at the price of a copy. One that is
/// to be taken in many small parts is turned round, and from then on each event is moved once.
#[derive(Debug)]
pub(crate) struct BatchQueue<E> {
    batch: Batch<E>,
    /// Whether the first event is the last of the batch.
    is_reversed: bool,
}

/// A part that is at least this fraction of a batch is cut off.
const LARGE: usize = 4;

impl<E> Batch<E> {
    /// The same events, to be taken off from the front bit by bit.
    #[inline]
    pub(crate) fn into_queue(mut self) -> BatchQueue<E> {
        if let Some(body) = &mut self.body {
            body.align();
            body.portion = None;
        }
        BatchQueue {
            batch: self,
            is_reversed: false,
        }
    }
}

impl<E> BatchQueue<E> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.batch.len()
    }

    /// How many events go to other storage if so many are taken.
    #[inline]
    pub(crate) fn moved_by(&self, count: usize) -> usize {
        let body = self.batch.body.as_ref();
        if body.is_some_and(|body| body.events.is_shared()) {
            return 0;
        }
        match self.is_to_cut(count) {
            true => self.len() - count,
            false => count,
        }
    }

    /// Takes off up to `count` events, with their receipts. One of the parts goes to other storage:
    /// `spare`, with nothing in it.
    #[inline]
    pub(crate) fn take(&mut self, count: usize, mut spare: Batch<E>) -> Batch<E> {
        let count = count.min(self.len());
        let is_to_cut = self.is_to_cut(count);
        let (all, part) = (self.batch.body(), spare.body());
        let receipts = all.receipts.as_mut();
        let receipts = receipts.map(|all| Box::new(all.split_front(count)));
        if let Some(front) = all.events.split_shared(count) {
            part.events = front;
        } else if is_to_cut {
            part.events.own().extend(all.events.own().drain(count..));
            part.receipts = mem::replace(&mut all.receipts, receipts);
            return mem::replace(&mut self.batch, spare);
        } else {
            let events = all.events.own();
            if !self.is_reversed {
                events.reverse();
                self.is_reversed = true;
            }
            let first = events.len() - count;
            part.events.own().extend(events.drain(first..).rev());
        }
        part.receipts = receipts;
        spare
    }

    /// Takes the first event off, with its receipt.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(E, Receipt)> {
        let event = self.pop_event()?;
        let receipts = self.batch.body.as_mut()?.receipts.as_mut();
        Some((event, receipts.map_or(Receipt::UNTRACKED, |all| all.pop())))
    }

    /// Takes the first event off, if none is tracked.
    #[inline]
    pub(crate) fn pop_untracked(&mut self) -> Option<E> {
        match self.batch.is_tracked() {
            true => None,
            false => self.pop_event(),
        }
    }

    #[inline(always)]
    fn pop_event(&mut self) -> Option<E> {
        let events = self.batch.body.as_mut()?.events.own();
        if !self.is_reversed {
            events.reverse();
            self.is_reversed = true;
        }
        events.pop()
    }

    /// All that is left.
    #[inline]
    pub(crate) fn into_batch(mut self) -> Batch<E> {
        if self.is_reversed {
            self.batch.body().events.own().reverse();
        }
        self.batch
    }

    #[inline]
    fn is_to_cut(&self, count: usize) -> bool {
        !self.is_reversed && count.saturating_mul(LARGE) >= self.len()
    }
}
