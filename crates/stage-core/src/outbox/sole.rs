//! While all events go to one subscriber, the dispatcher need not be asked about each batch.

use std::task::Context;

use super::{Outbox, Wanted};
use crate::{Batch, Demand, protocol::SubscriptionId};

/// The only subscriber, to which events go past the dispatcher.
///
/// What it has asked for and been given meanwhile the dispatcher is told once there is anything else:
/// another subscriber, a cancel, a notice, events that nobody has asked for.
#[derive(Debug)]
pub(super) struct Sole {
    slot: usize,
    /// How many events the dispatcher does not know of.
    given: usize,
    /// The most to make at a time, if it is made at once.
    pub(super) piece: Option<Demand>,
}

/// Who takes in at least so many together is sent no more at a time: what comes need not be cut, which
/// moves half of it. To hand over fewer takes longer than to move them.
const WORTH_SENDING: usize = 250;

/// What the dispatcher is told at once must be countable, wherever this runs.
const MAX_GIVEN: usize = 1 << 30;

impl<E: Send + 'static> Outbox<E> {
    /// What the sole subscriber asks for; `None` if there is none, or other news.
    #[inline]
    pub(super) fn look_at_sole(&mut self) -> Option<Option<Wanted>> {
        let sole = self.sole.as_ref()?;
        let due = match self.links.get(sole.slot) {
            Some(Some(link)) if sole.given <= MAX_GIVEN => {
                let is_only = self.desk.bell.is_only(sole.slot);
                is_only.then(|| link.due()).flatten()
            }
            _ => None,
        };
        let Some(due) = due else {
            self.leave_sole();
            return None;
        };
        self.left = due;
        self.seat.meter.waiting(0, due);
        Some(Demand::new(due).map(Wanted::Events))
    }

    /// After a look at nothing: has the task woken by news, unless there is some already.
    #[inline]
    #[must_use = "if there is news, the task must not wait"]
    pub(crate) fn sleep(&mut self, cx: &Context<'_>) -> bool {
        if let Some(Sole { slot, .. }) = self.sole
            && let Some(Some(link)) = self.links.get(slot)
        {
            let is_quiet = || link.due() == Some(self.left);
            let bell = &self.desk.bell;
            let is_asleep = bell.sleep_but_for(slot, &mut self.ear, cx, is_quiet);
            if !is_asleep {
                // For those who go by what the bell says.
                bell.remind(slot);
            }
            return is_asleep;
        }
        self.desk.bell.sleep(&mut self.ear, cx)
    }

    /// Sends events to the sole subscriber, if there is one that has asked for them. Otherwise they
    /// come back.
    #[inline(always)]
    pub(super) fn send_to_sole(&mut self, batch: Batch<E>) -> Option<Batch<E>> {
        let events = batch.len();
        let Some(sole) = self.sole.as_mut().filter(|_| events > 0) else {
            return Some(batch);
        };
        if let Some(Some(link)) = self.links.get_mut(sole.slot)
            && let Some(due) = link.due()
            && due >= events
        {
            sole.given += events;
            self.left = self.left.saturating_sub(events);
            self.seat.meter.waiting(0, self.left);
            self.has_woken |= link.send_asked(batch);
            return None;
        }
        self.leave_sole();
        Some(batch)
    }

    /// An emptied batch for so many events, if the sole subscriber has given one back.
    #[inline(always)]
    pub(super) fn batch_of_sole(&mut self, events: usize) -> Option<Batch<E>> {
        let slot = self.sole.as_ref()?.slot;
        let emptied = self.links.get_mut(slot)?.as_mut()?.take_returned()?;
        if emptied.capacity() >= events {
            return Some(emptied);
        }
        self.buffer.front().spares.give(emptied);
        None
    }

    /// How much more the sole subscriber asks for, if there is one.
    #[inline]
    pub(super) fn wanted_by_sole(&self) -> Option<usize> {
        let slot = self.sole.as_ref()?.slot;
        let link = self.links.get(slot)?.as_ref()?;
        Some(link.due().unwrap_or_default())
    }

    /// Sees whether all events go to one subscriber from here on. Only after a look at everything
    /// else.
    #[cold]
    pub(super) fn find_sole(&mut self) {
        let Some(SubscriptionId(id)) = self.dispatcher.sole() else {
            return;
        };
        let slot = id as usize;
        let is_plain = !self.is_unusual
            && !self.held
            && self.notices.is_empty()
            && self.buffer.is_empty()
            && self.buffer.marks() == 0
            && self.dispatcher.held() == 0
            && self.desk.bell.tells_apart(slot);
        let link = self.links.get(slot).and_then(Option::as_ref);
        if is_plain
            && let Some(link) = link.filter(|link| !link.is_weighed() && link.due().is_some())
        {
            let portion = link.wish().asking.portion();
            let piece = portion.filter(|events| *events >= WORTH_SENDING);
            self.sole = Some(Sole {
                slot,
                given: 0,
                piece: piece.and_then(Demand::new),
            });
        }
    }

    /// Tells the dispatcher what went past it.
    #[cold]
    pub(super) fn leave_sole(&mut self) {
        let Some(Sole { slot, given, .. }) = self.sole.take() else {
            return;
        };
        self.read_request(slot);
        let is_open = matches!(self.links.get(slot), Some(Some(_)));
        if is_open && given > 0 {
            let to = self.dispatcher.claim(given);
            debug_assert_eq!(to, Some(SubscriptionId(slot as u64)), "all go to it");
        }
    }
}
