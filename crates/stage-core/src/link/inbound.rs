use std::{collections::VecDeque, mem};

use super::Link;
use crate::{
    Batch,
    sync::atomic::Ordering::{Acquire, Release},
};

/// The receiving side of a ring, and of the crowd.
pub(super) struct Inbound<E> {
    /// There once something was sent.
    pub(super) ring: Option<rtrb::Consumer<Batch<E>>>,
    /// Those of the crowd that have not been received yet. They come before what is in the ring.
    pub(super) taken: VecDeque<Batch<E>>,
}

impl<E> Inbound<E> {
    #[inline(always)]
    pub(super) fn next(&mut self, link: &Link<E>) -> Option<Batch<E>> {
        if let Some(batch) = self.taken.pop_front() {
            return Some(batch);
        }
        if let Some(batch) = self.pop() {
            return Some(batch);
        }
        if link.is_crowded.load(Acquire) {
            self.take_crowd(link);
        }
        self.taken.pop_front()
    }

    #[inline]
    fn pop(&mut self) -> Option<Batch<E>> {
        self.ring.as_mut()?.pop().ok()
    }

    #[cold]
    pub(super) fn take_crowd(&mut self, link: &Link<E>) {
        let mut state = link.lock();
        // Nothing joins the crowd now, and as long as there is one, nothing new is in the ring.
        while let Some(batch) = self.pop() {
            self.taken.push_back(batch);
        }
        self.taken.append(&mut state.crowd);
        link.is_crowded.store(false, Release);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.ring.as_ref().is_none_or(|ring| ring.is_empty())
    }

    /// Takes everything out.
    pub(super) fn empty(&mut self) -> VecDeque<Batch<E>> {
        let mut all = mem::take(&mut self.taken);
        while let Some(batch) = self.pop() {
            all.push_back(batch);
        }
        all
    }
}
