//! What is done for a stage that makes what it is asked for at once, to hand over less often.
//!
//! It makes events for one subscriber after the other: to call it again costs less than to divide what
//! it has made for all. And what waits in a lane whose subscriber asks for many goes with what it makes next.
//!
//! One that waits, perhaps for an answer from afar, or has less to give, or more, is told of all that is
//! asked for, and what waits goes before.

use std::mem;

use super::Outbox;
use crate::Demand;

/// Whether a stage makes what it is asked for, and at once.
#[derive(Debug, Default)]
pub(super) struct Promptness {
    /// How much it was asked for last. Nothing, if it is none that is asked.
    asked: usize,
    /// It has waited since.
    waited: bool,
    /// So it did, the last time.
    is_prompt: bool,
}

impl Promptness {
    #[inline]
    pub(super) fn made(&mut self, events: usize) {
        let is_all = events > 0 && events == self.asked;
        self.is_prompt = !mem::take(&mut self.waited) && is_all;
    }
}

impl<E: Send + 'static> Outbox<E> {
    /// How much of this to make at once.
    #[inline]
    pub(crate) fn in_one_piece(&mut self, demand: Demand) -> Demand {
        match self.is_asked_in_pieces() {
            true => self.next_piece(demand),
            false => demand,
        }
    }

    /// Other than by a sole subscriber that takes in few at a time.
    #[inline]
    pub(super) fn is_asked_in_pieces(&self) -> bool {
        let sole = self.sole.as_ref();
        sole.is_none_or(|sole| sole.piece.is_some())
    }

    #[inline(never)]
    fn next_piece(&mut self, mut demand: Demand) -> Demand {
        if self.promptness.is_prompt {
            let piece = match &self.sole {
                Some(sole) => sole.piece,
                None => self.dispatcher.piece(),
            };
            demand = piece.map_or(demand, |piece| demand.min(piece));
        }
        self.promptness.asked = demand.get();
        demand
    }

    /// The stage does not do at once what it was called for.
    #[cold]
    pub(super) fn note_that_work_waits(&mut self) {
        self.promptness.waited = true;
        self.deliver_what_is_owed();
    }

    /// After news: hands out what waits, or has it go with what the stage is called for next.
    #[inline]
    pub(super) fn deliver_unless_more_follows(&mut self) {
        if !self.has_events() || !self.makes_more_at_once() {
            self.deliver_what_waits();
        } else {
            self.is_owing = true;
        }
    }

    /// Whether what waits can wait, and the next look is sure to find that more is wanted, of a stage that
    /// makes it at once.
    fn makes_more_at_once(&self) -> bool {
        self.promptness.is_prompt
            && !self.seat.is_slow()
            && !self.is_unusual
            && self.notices.is_empty()
            && self.buffer.is_empty()
            && self.dispatcher.can_wait()
            && self.is_wanted()
    }

    /// Hands out what should have gone with events that do not come, or not at once.
    #[inline]
    pub(super) fn deliver_what_is_owed(&mut self) {
        if self.is_owing {
            self.deliver();
        }
    }
}
