//! For a delivery that is taken in by small portions, a stage asks once.
//!
//! Whoever is to make more has its turn after this stage's, where turns are short: to ask it after each
//! portion is to wake it for less than it could make. So the stage asks with the last portion of what
//! has come; or as soon as it waits for anything, since then others have their turn.

use super::{Debt, Inbox, Incoming};
use crate::Batch;

/// For more events at a time than these, to ask costs nothing worth saving.
pub(super) const FEW: usize = 250;

/// What a stage that is at work has not asked for yet.
pub(crate) struct PutOff<'a, E: Send + 'static> {
    links: &'a mut Vec<Option<Incoming<E>>>,
    slot: usize,
}

impl<E: Send + 'static> Inbox<E> {
    /// The portion to deal with, and what to ask for if that takes its time.
    #[inline(always)]
    pub(crate) fn at_work(&mut self, debt: &Debt) -> (&mut Batch<E>, PutOff<'_, E>) {
        let put_off = PutOff {
            links: &mut self.links,
            slot: debt.slot,
        };
        (&mut self.portion, put_off)
    }

    /// Before the stage waits: with what it has begun it may not go on, if it is held back.
    #[inline]
    pub(crate) fn ask_for_begun(&mut self) {
        if let Some(slot) = self.sole.or_else(|| self.turns.first().copied()) {
            let links = &mut self.links;
            PutOff { links, slot }.ask();
        }
    }
}

impl<E: Send + 'static> PutOff<'_, E> {
    #[cold]
    pub(crate) fn ask(self) {
        if let Some(Some(incoming)) = self.links.get_mut(self.slot) {
            // Whom it has woken has its turn now: the stage waits.
            incoming.ask();
        }
    }
}
