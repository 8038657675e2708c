//! A stage that makes what it is asked for at once makes it for one subscriber after the other: to call it
//! again costs less than to divide what it has made for all.
//!
//! One that waits, perhaps for an answer from afar, or has less to give, or more, is told of all that is
//! asked for.

use std::mem;

use super::Outbox;
use crate::Demand;

/// Whether a stage makes what it is asked for, and at once.
#[derive(Debug, Default)]
pub(super) struct Promptness {
    /// How much it was asked for last.
    asked: usize,
    /// It has waited since.
    waited: bool,
    /// So it did, the last time.
    is_prompt: bool,
}

impl Promptness {
    pub(super) fn waits(&mut self) {
        self.waited = true;
    }

    #[inline]
    pub(super) fn made(&mut self, events: usize) {
        self.is_prompt = !mem::take(&mut self.waited) && events == self.asked;
    }
}

impl<E: Send + 'static> Outbox<E> {
    /// How much of this to make at once.
    #[inline]
    pub(crate) fn in_one_piece(&mut self, demand: Demand) -> Demand {
        let Some(sole) = &self.sole else {
            return self.next_piece(demand);
        };
        let piece = sole.piece.filter(|_| self.promptness.is_prompt);
        let piece = piece.map_or(demand, |piece| demand.min(piece));
        self.promptness.asked = piece.get();
        piece
    }

    #[inline(never)]
    fn next_piece(&mut self, mut demand: Demand) -> Demand {
        if self.promptness.is_prompt
            && let Some(piece) = self.dispatcher.piece()
        {
            demand = demand.min(piece);
        }
        self.promptness.asked = demand.get();
        demand
    }
}
