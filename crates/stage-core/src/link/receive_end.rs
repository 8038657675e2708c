use std::{collections::VecDeque, fmt, sync::Arc};

use super::Link;
use crate::{
    Batch, Demand,
    in_hand::Done,
    protocol::{End, Reason},
    spares::worth_keeping,
    subscription::Wish,
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

/// The end of a link that receives events. Dropping it cancels, and drops what is on its way.
pub(crate) struct ReceiveEnd<E> {
    pub(super) link: Arc<Link<E>>,
    /// There once an emptied batch was given back.
    pub(super) returning: Option<rtrb::Producer<Batch<E>>>,
}

/// What the receiving end finds.
pub(crate) enum Arrival<E> {
    Events(Batch<E>),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End(End),
}

impl<E> ReceiveEnd<E> {
    /// Takes the next batch.
    #[inline(always)]
    pub(crate) fn receive(&mut self) -> Arrival<E> {
        if self.is_cancelled() {
            return self.end();
        }
        // Before looking for what was sent before it ended.
        let has_ended = self.has_ended();
        match self.take() {
            Some(batch) => Arrival::Events(batch),
            None if has_ended => self.end(),
            None => Arrival::Nothing,
        }
    }

    /// Takes the next batch, if there is one, of a link that has not been cancelled.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<Batch<E>> {
        let received = self.link.received.load(Relaxed);
        if self.link.sent.load(Acquire) == received {
            return None;
        }
        let batch = self.link.inbound().next(&self.link)?;
        let events = batch.len() as u64;
        self.link.received.store(received + events, Release);
        Some(batch)
    }

    #[cold]
    fn end(&self) -> Arrival<E> {
        self.ended().map_or(Arrival::Nothing, Arrival::End)
    }

    /// Whether there is more to receive of what the last news was of: a batch, or the end.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        // What is held back is sent, too, and not to be received yet: a look more.
        self.link.sent.load(Acquire) != self.link.received.load(Relaxed) || self.has_ended()
    }

    /// Whether more may be sent, and is to be taken in.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        !self.has_ended() && !self.is_cancelled()
    }

    /// Whether nothing more is sent, or soon. There may be more to receive.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.link.is_ended.load(Acquire)
    }

    /// How it ended, if nothing more is to be received.
    pub(crate) fn ended(&self) -> Option<End> {
        if !self.link.is_ended.load(Acquire) && !self.is_cancelled() {
            return None;
        }
        let nothing_inbound = self.link.inbound().is_empty();
        let state = self.link.lock();
        let emptied = nothing_inbound && state.crowd.is_empty() && state.held_back() == 0;
        let ended = state.ended.as_ref().filter(|_| emptied);
        state.cancelled.as_ref().or(ended).cloned()
    }

    /// Gives an emptied batch back to where it came from.
    #[inline(always)]
    pub(crate) fn give_back(&mut self, emptied: Batch<E>) {
        if let Some(emptied) = worth_keeping(emptied) {
            let link = &self.link;
            let returning = self.returning.get_or_insert_with(|| link.lay_way_back());
            // If there are enough on their way, it goes.
            let _ = returning.push(emptied);
        }
    }

    /// What the next so many events weigh, that are to be dealt with, if that matters.
    #[inline(always)]
    pub(crate) fn hand_over(&self, events: usize) -> Option<VecDeque<usize>> {
        if !self.is_weighed() {
            return None;
        }
        let mut state = self.link.lock();
        let held_back = state.held_back.as_mut();
        held_back.map(|held_back| held_back.hand_over(events))
    }

    #[inline(always)]
    pub(crate) fn is_weighed(&self) -> bool {
        self.link.wish.scale.is_some()
    }

    /// Takes note that events of this weight were dealt with.
    #[inline(always)]
    pub(crate) fn settle(&self, Done { events, weight }: Done) {
        let settled = self.link.settled.load(Relaxed);
        self.link.settled.store(settled + events as u64, Release);
        if self.is_weighed() && self.link.lighten(weight) {
            self.link.down.pull();
        }
    }

    /// Asks for more. Returns whether the other side had to be woken.
    #[inline(always)]
    pub(crate) fn ask(&self, demand: Demand) -> bool {
        self.link.add(demand);
        self.link.up.pull()
    }

    /// How many events were sent to this end and are not settled.
    pub(crate) fn open(&self) -> usize {
        self.link.counts().open()
    }

    /// How many events were received by this end and are not settled.
    pub(crate) fn in_hand(&self) -> usize {
        self.link.counts().in_hand
    }

    /// Whether nothing more is to be taken in, not even what has come.
    #[inline(always)]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.link.is_cancelled.load(Acquire)
    }

    /// Says why it goes, which dropping does not. What is on its way is dropped, and counted as lost.
    pub(crate) fn cancel(&self, end: End) {
        self.link.cancel_with(end);
    }

    pub(crate) fn link(&self) -> &Arc<Link<E>> {
        &self.link
    }

    pub(crate) fn wish(&self) -> &Wish<E> {
        &self.link.wish
    }

    /// The stage at the other end.
    pub(crate) fn peer(&self) -> &Arc<str> {
        &self.link.info.from
    }
}

impl<E> Drop for ReceiveEnd<E> {
    fn drop(&mut self) {
        self.link.cancel_with(End::Cancelled(Reason::Dropped));
    }
}

impl<E> fmt::Debug for ReceiveEnd<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiveEnd(from {})", self.peer())
    }
}
