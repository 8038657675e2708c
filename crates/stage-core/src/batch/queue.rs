use std::mem;

use crate::{Batch, events::Events, receipt::Receipts};

/// A batch that is given out in parts, from the front.
///
/// Large parts are cut off: what is left moves to other storage, at the price of a copy. One that is
/// to be taken in many small parts is turned round, and from then on each event is moved once.
#[derive(Debug)]
pub(crate) struct BatchQueue<E> {
    events: Events<E>,
    /// Whether the first event is the last of `events`.
    is_reversed: bool,
    receipts: Option<Box<Receipts>>,
}

/// A part that is at least this fraction of a batch is cut off.
const LARGE: usize = 4;

impl<E> Batch<E> {
    /// The same events, to be taken off from the front bit by bit.
    pub(crate) fn into_queue(mut self) -> BatchQueue<E> {
        self.align();
        BatchQueue {
            events: mem::replace(&mut self.events, Events::new()),
            is_reversed: false,
            receipts: self.receipts.take(),
        }
    }
}

impl<E> BatchQueue<E> {
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// How many events go to other storage if so many are taken.
    pub(crate) fn moved_by(&self, count: usize) -> usize {
        if self.events.is_shared() {
            return 0;
        }
        match self.is_to_cut(count) {
            true => self.events.len() - count,
            false => count,
        }
    }

    /// Takes off up to `count` events, with their receipts. One of the parts goes to other storage:
    /// `spare`, with nothing in it.
    pub(crate) fn take(&mut self, count: usize, spare: Vec<E>) -> Batch<E> {
        let count = count.min(self.events.len());
        let events = match self.events.split_shared(count) {
            Some(front) => front,
            None => self.take_events(count, spare).into(),
        };
        let receipts = self.receipts.as_mut().map(|all| all.split_front(count));
        Batch {
            events,
            receipts: receipts.map(Box::new),
            portion: None,
        }
    }

    /// All that is left.
    pub(crate) fn into_batch(mut self) -> Batch<E> {
        if self.is_reversed {
            self.events.own().reverse();
        }
        Batch {
            events: self.events,
            receipts: self.receipts,
            portion: None,
        }
    }

    fn is_to_cut(&self, count: usize) -> bool {
        !self.is_reversed && count.saturating_mul(LARGE) >= self.events.len()
    }

    fn take_events(&mut self, count: usize, mut spare: Vec<E>) -> Vec<E> {
        let is_to_cut = self.is_to_cut(count);
        let events = self.events.own();
        if is_to_cut {
            spare.extend(events.drain(count..));
            return mem::replace(events, spare);
        }
        if !self.is_reversed {
            events.reverse();
            self.is_reversed = true;
        }
        let first = events.len() - count;
        spare.extend(events.drain(first..).rev());
        spare
    }
}
