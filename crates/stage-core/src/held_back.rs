use std::collections::VecDeque;

use crate::{
    Batch,
    protocol::{Backlog, ByteWindow},
};

/// Events that were given to a subscriber and are too heavy to be sent at once, in order.
pub(crate) struct HeldBack<E> {
    window: ByteWindow,
    events: Backlog<E>,
}

impl<E> HeldBack<E> {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            window: ByteWindow::new(limit),
            events: Backlog::new(),
        }
    }

    /// Holds events of these weights back.
    pub(crate) fn hold(&mut self, batch: Batch<E>, weights: Vec<usize>) {
        self.window.hold(weights);
        self.events.push(batch);
    }

    /// What is to be sent now.
    pub(crate) fn release(&mut self) -> Option<Batch<E>> {
        match self.window.release() {
            0 => None,
            events => Some(self.events.take(events)),
        }
    }

    /// The receiving side takes so many events in hand. Returns what they weigh, in order.
    pub(crate) fn hand_over(&mut self, events: usize) -> VecDeque<usize> {
        self.window.hand_over(events).collect()
    }

    /// Events of this weight have been dealt with.
    pub(crate) fn settle(&mut self, weight: usize) {
        self.window.settle(weight);
    }

    /// How many events are held back.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// How much the events weigh that are sent and not settled.
    pub(crate) fn weight(&self) -> usize {
        self.window.open()
    }
}
