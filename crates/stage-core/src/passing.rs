use std::ops::{Deref, DerefMut};

use crate::Batch;

/// A batch that is kept for its storage, while it has events in it. When this is dropped, however that comes, it has
/// none, and what receipts are left nack: not later, as somebody may wait for that.
pub(crate) struct Passing<'a, E>(&'a mut Batch<E>);

impl<'a, E> Passing<'a, E> {
    /// Of a batch with nothing in it.
    pub(crate) fn of(batch: &'a mut Batch<E>) -> Self {
        Self(batch)
    }
}

impl<E> Deref for Passing<'_, E> {
    type Target = Batch<E>;

    fn deref(&self) -> &Batch<E> {
        self.0
    }
}

impl<E> DerefMut for Passing<'_, E> {
    fn deref_mut(&mut self) -> &mut Batch<E> {
        self.0
    }
}

impl<E> Drop for Passing<'_, E> {
    fn drop(&mut self) {
        self.0.empty();
    }
}
