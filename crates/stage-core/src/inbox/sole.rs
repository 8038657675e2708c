//! While there is one subscription and nothing out of the ordinary, there is nothing to take turns
//! with.

use std::task::Context;

use super::{Debt, Inbox, Input};
use crate::line::Line;

/// What a stage is looking for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Events,
    /// Only what has come of a delivery that is begun.
    Begun,
    /// Only what is no event.
    Nothing,
}

impl<E: Send + 'static> Inbox<E> {
    /// What has come from the only subscription; `None` if there is none, or other news.
    #[inline(always)]
    pub(super) fn look_at_sole(&mut self, wish: Wish) -> Option<Option<Input>> {
        let slot = self.sole?;
        if let Some(Some(incoming)) = self.links.get_mut(slot)
            && self.desk.bell.is_only(slot)
            && !incoming.hand.has_returned()
            && !incoming.end.is_cancelled()
        {
            let is_begun = !incoming.rest.is_empty();
            let has_ended = incoming.end.has_ended();
            let portion = match wish {
                Wish::Events | Wish::Begun if is_begun => Some(incoming.take_rest()),
                Wish::Events => incoming.take_next(),
                Wish::Begun | Wish::Nothing => None,
            };
            if let Some(batch) = portion {
                incoming.hand_over(&mut self.portion, batch);
                return Some(Some(Input::Events(Debt { slot })));
            }
            if !has_ended {
                return Some(None);
            }
        }
        self.leave_sole(slot);
        None
    }

    /// After a look at nothing: has the task woken by news, unless there is some already.
    #[inline]
    #[must_use = "if there is news, the task must not wait"]
    pub(crate) fn sleep(&mut self, cx: &Context<'_>) -> bool {
        if let Some(slot) = self.sole
            && let Some(Some(incoming)) = self.links.get(slot)
        {
            let wants_events = self.wants_events;
            let is_quiet = || {
                let end = &incoming.end;
                end.is_open() && !incoming.hand.has_returned() && !(wants_events && end.has_more())
            };
            return self
                .desk
                .bell
                .sleep_but_for(slot, &mut self.ear, cx, is_quiet);
        }
        self.desk.bell.sleep(&mut self.ear, cx)
    }

    /// Whether there is only one subscription, and nothing of it to look at beyond what the next news
    /// is of.
    #[inline]
    pub(super) fn sole_has_nothing(&self) -> bool {
        let incoming = self.sole.and_then(|slot| self.links.get(slot));
        matches!(incoming, Some(Some(incoming)) if incoming.rest.is_empty() && !incoming.end.has_more())
    }

    /// Sees whether there is nothing but one subscription from here on. Only after a look at
    /// everything: then who has come has been told of. Notices that wait do not matter, since they go by
    /// what is settled, nor that the stage is closing, since that cancels.
    #[cold]
    pub(super) fn find_sole(&mut self) {
        let slot = self.links.iter().position(Option::is_some);
        if let Some(slot) = slot.filter(|slot| self.desk.bell.tells_apart(*slot))
            && let Some(Some(incoming)) = self.links.get_mut(slot)
            && incoming.end.is_open()
            // What is held back is sent, and not to be received.
            && !incoming.end.is_weighed()
        {
            // It is looked at each time from here on.
            incoming.has_turn = false;
            self.turns = Line::new();
            self.sole = Some(slot);
        }
    }

    /// It takes turns again, and has the first: it may have more than what the last news was of.
    #[cold]
    fn leave_sole(&mut self, slot: usize) {
        self.sole = None;
        if let Some(Some(incoming)) = self.links.get(slot)
            && incoming.hand.has_returned()
        {
            self.take_back(slot);
        }
        self.give_turn(slot);
    }
}
