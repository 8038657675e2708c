use std::{fmt, sync::Arc};

use rtrb::PushError;

use super::Link;
use crate::{
    Batch, Demand,
    protocol::{Down, End, ExcessEvents},
    spares::Spares,
    subscription::Wish,
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

/// The end of a link that sends events. Dropping it ends the flow, after what has been sent.
pub(crate) struct SendEnd<E> {
    pub(super) link: Arc<Link<E>>,
    /// There once something was sent.
    pub(super) ring: Option<rtrb::Producer<Batch<E>>>,
    /// Emptied batches that have come back, once some have.
    pub(super) returned: Option<rtrb::Consumer<Batch<E>>>,
    /// How much of what is asked for it has seen.
    pub(super) seen: u64,
}

/// What the sending end finds.
pub(crate) enum Request {
    /// So many events are asked for, on top of what was. Perhaps none.
    Ask(Option<Demand>),
    /// Nothing is wanted any more.
    Cancel(End),
}

impl<E> SendEnd<E> {
    /// Takes what the other side has asked for since the last call.
    pub(crate) fn request(&mut self) -> Request {
        if self.link.is_cancelled.load(Acquire)
            && let Some(end) = &self.link.lock().cancelled
        {
            return Request::Cancel(end.clone());
        }
        let asked = self.link.asked();
        let unseen = asked - self.seen;
        self.seen = asked;
        let unseen = if asked == u64::MAX && unseen > 0 {
            usize::MAX
        } else {
            usize::try_from(unseen).unwrap_or(usize::MAX)
        };
        Request::Ask(Demand::new(unseen))
    }

    /// How many events are asked for and not sent. `None` if it has been cancelled, or they cannot be
    /// counted.
    #[inline]
    pub(crate) fn due(&self) -> Option<usize> {
        let asked = self.link.asked();
        if asked == u64::MAX || self.link.is_cancelled.load(Acquire) {
            return None;
        }
        usize::try_from(asked - self.link.sent.load(Relaxed)).ok()
    }

    pub(crate) fn is_weighed(&self) -> bool {
        self.link.wish.scale.is_some()
    }

    /// Takes one of the emptied batches that have come back.
    #[inline(always)]
    pub(crate) fn take_returned(&mut self) -> Option<Batch<E>> {
        match &mut self.returned {
            Some(returned) => returned.pop().ok(),
            None => self.take_first_returned(),
        }
    }

    #[cold]
    fn take_first_returned(&mut self) -> Option<Batch<E>> {
        if !self.link.is_returning.load(Acquire) {
            return None;
        }
        self.returned = self.link.lock().returned.take();
        self.returned.as_mut()?.pop().ok()
    }

    /// Takes the emptied batches that have come back.
    pub(crate) fn reclaim(&mut self, spares: &mut Spares<E>) {
        while let Some(emptied) = self.take_returned() {
            spares.give(emptied);
        }
    }

    /// Sends events, or holds back what is too heavy. If the other side has gone, they are dropped.
    /// Returns whether it had to be woken.
    ///
    /// # Errors
    ///
    /// If they are more than were asked for: the stage has broken the protocol. They are dropped.
    pub(crate) fn send(&mut self, batch: Batch<E>) -> Result<bool, ExcessEvents> {
        let link = &*self.link;
        if link.is_cancelled.load(Acquire) {
            link.drop_unsent(batch);
            return Ok(false);
        }
        let (asked, sent) = (link.asked(), link.sent.load(Relaxed));
        let (due, events) = (asked - sent, batch.len() as u64);
        if events > due {
            let excess = ExcessEvents {
                asked: usize::try_from(due).unwrap_or(usize::MAX),
                received: batch.len(),
            };
            link.drop_unsent(batch);
            return Err(excess);
        }
        Ok(self.send_asked(batch))
    }

    /// The same, of no more events than are [due](Self::due).
    #[inline(always)]
    pub(crate) fn send_asked(&mut self, batch: Batch<E>) -> bool {
        let link = &*self.link;
        let sent = link.sent.load(Relaxed) + batch.len() as u64;
        link.sent.store(sent, Release);
        if let Some(scale) = &link.wish.scale {
            // Not under the lock: it is somebody else's code.
            let weights = scale.weigh(&batch);
            link.hold_back(batch, weights);
        } else if link.is_crowded.load(Acquire) {
            link.join_crowd(batch);
        } else {
            let ring = self.ring.get_or_insert_with(|| link.lay_ring());
            if let Err(PushError::Full(batch)) = ring.push(batch) {
                link.join_crowd(batch);
            }
        }
        let has_woken = link.down.pull();
        if link.is_cancelled.load(Acquire) {
            // Whoever cancelled it may not have seen this.
            link.drop_inbound();
        }
        has_woken
    }

    /// Ends the flow, after what has been sent.
    pub(crate) fn close(self, end: End) {
        self.end(end);
    }

    fn end(&self, end: End) {
        // Only this end sets it.
        if self.link.is_ended.load(Relaxed) {
            return;
        }
        let mut state = self.link.lock();
        state.ended = Some(end);
        // After all that was sent.
        self.link.is_ended.store(true, Release);
        drop(state);
        self.link.down.pull();
    }

    pub(crate) fn link(&self) -> &Arc<Link<E>> {
        &self.link
    }

    pub(crate) fn wish(&self) -> &Wish<E> {
        &self.link.wish
    }

    /// The stage at the other end.
    pub(crate) fn peer(&self) -> &Arc<str> {
        &self.link.info.to
    }
}

impl<E> Drop for SendEnd<E> {
    fn drop(&mut self) {
        self.end(End::Down(Down::Aborted));
    }
}

impl<E> fmt::Debug for SendEnd<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendEnd(to {})", self.peer())
    }
}
