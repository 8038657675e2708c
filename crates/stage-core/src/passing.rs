use std::ops::{Deref, DerefMut};

use crate::{Batch, spares::worth_keeping};

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
        // An idle stage keeps no more of its storage than another.
        *self.0 = worth_keeping(self.0.emptied()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_storage_does_not_stay() {
        let mut batch = Batch::new();
        for (events, is_kept) in [(1_000, true), (100_000, false)] {
            Passing::of(&mut batch).extend(0..events);
            assert!(batch.is_empty());
            assert_eq!(batch.capacity() > 0, is_kept);
        }
    }
}
