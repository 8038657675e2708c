//! A place for one thing, out of which one takes it.

#[cfg(not(shuttle))]
use crossbeam_utils::atomic::AtomicCell;

#[cfg(shuttle)]
use crate::sync::{Mutex, PoisonError};

/// A thing, or nothing. To put it there is one step, and so is to take it: what was done before either
/// is seen after the next.
#[cfg(not(shuttle))]
pub(crate) struct Slot<T>(AtomicCell<Option<Box<T>>>);

#[cfg(shuttle)]
pub(crate) struct Slot<T>(Mutex<Option<Box<T>>>);

#[cfg(not(shuttle))]
impl<T> Slot<T> {
    /// What was there before is dropped.
    #[inline]
    pub(crate) fn put(&self, one: Box<T>) {
        drop(self.0.swap(Some(one)));
    }

    #[inline]
    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.0.take()
    }
}

#[cfg(shuttle)]
impl<T> Slot<T> {
    pub(crate) fn put(&self, one: Box<T>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(one);
    }

    pub(crate) fn take(&self) -> Option<Box<T>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }
}

impl<T> Default for Slot<T> {
    #[cfg(not(shuttle))]
    fn default() -> Self {
        Self(AtomicCell::new(None))
    }

    #[cfg(shuttle)]
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn it_takes_no_lock() {
        assert!(AtomicCell::<Option<Box<[u64; 9]>>>::is_lock_free());
    }
}
