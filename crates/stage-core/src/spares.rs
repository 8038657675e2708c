use std::fmt;

use crate::Batch;

/// Emptied batches that have come back to the stage that filled them, so that a steady flow of batches
/// allocates nothing.
pub(crate) struct Spares<E> {
    /// With room for events.
    roomy: Vec<Batch<E>>,
    /// Without, since others have it: for events that are shared.
    bare: Vec<Batch<E>>,
}

/// The most to keep of each.
const MAX_KEPT: usize = 32;

/// The largest storage worth keeping, in bytes. A stage may be one of thousands that are idle.
const MAX_BYTES: usize = 32 * 1024;

impl<E> Spares<E> {
    pub(crate) const fn new() -> Self {
        Self {
            roomy: Vec::new(),
            bare: Vec::new(),
        }
    }

    /// A batch with nothing in it, for so many events: if there is any, with room for them. For none, one
    /// without room.
    pub(crate) fn take(&mut self, events: usize) -> Batch<E> {
        let roomy = match self.roomy.last() {
            _ if events == 0 => None,
            Some(last) if last.capacity() < events => self.take_larger(events),
            _ => self.roomy.pop(),
        };
        roomy.or_else(|| self.bare.pop()).unwrap_or_default()
    }

    #[cold]
    fn take_larger(&mut self, events: usize) -> Option<Batch<E>> {
        let larger = self.roomy.iter().rposition(|it| it.capacity() >= events);
        match larger {
            Some(larger) => Some(self.roomy.swap_remove(larger)),
            None => self.roomy.pop(),
        }
    }

    /// Takes one back, with nothing in it.
    pub(crate) fn give(&mut self, emptied: Batch<E>) {
        debug_assert!(emptied.is_empty());
        let Some(emptied) = worth_keeping(emptied) else {
            return;
        };
        let all = match emptied.capacity() {
            0 => &mut self.bare,
            _ => &mut self.roomy,
        };
        if all.len() < MAX_KEPT {
            all.push(emptied);
        }
    }
}

/// What of an emptied batch is to come back.
#[inline]
pub(crate) fn worth_keeping<E>(mut emptied: Batch<E>) -> Option<Batch<E>> {
    let bytes = emptied.capacity().saturating_mul(size_of::<E>());
    if bytes > MAX_BYTES {
        drop(emptied.take_storage());
    }
    emptied.is_something().then_some(emptied)
}

impl<E> Default for Spares<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Spares<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spares")
            .field("roomy", &self.roomy.len())
            .field("bare", &self.bare.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emptied(capacity: usize) -> Batch<u64> {
        let mut batch = Batch::from(Vec::with_capacity(capacity));
        batch.push(1);
        batch.emptied()
    }

    #[test]
    fn who_needs_room_has_it_if_there_is_any() {
        let mut spares = Spares::new();
        for capacity in [100, 10, 20] {
            spares.give(emptied(capacity));
        }
        assert_eq!(spares.take(15).capacity(), 20);
        assert_eq!(spares.take(15).capacity(), 100, "the next one is too small");
        assert_eq!(spares.take(15).capacity(), 10, "it grows");
        assert!(!spares.take(15).is_something());
    }

    #[test]
    fn without_its_events_a_batch_is_for_who_needs_no_room() {
        let mut spares = Spares::new();
        spares.give(emptied(10));
        let mut bare = emptied(10);
        drop(bare.take_storage());
        spares.give(bare);
        let bare = spares.take(0);
        assert!(bare.is_something() && bare.capacity() == 0);
        assert!(!spares.take(0).is_something(), "the other has room");
        spares.give(bare);
        assert_eq!(spares.take(1).capacity(), 10);
        assert!(spares.take(1).is_something(), "rather than none");
    }

    #[test]
    fn large_storage_is_not_kept_nor_are_very_many() {
        let mut spares = Spares::new();
        let most = MAX_BYTES / size_of::<u64>();
        for capacity in [most, most + 1] {
            spares.give(emptied(capacity));
        }
        assert_eq!((spares.roomy.len(), spares.bare.len()), (1, 1));
        spares.give(Batch::new());
        assert_eq!(spares.bare.len(), 1, "that is nothing to keep");
        for _ in 0..2 * MAX_KEPT {
            spares.give(emptied(1));
            spares.give(emptied(most + 1));
        }
        assert_eq!(
            (spares.roomy.len(), spares.bare.len()),
            (MAX_KEPT, MAX_KEPT)
        );
    }
}
