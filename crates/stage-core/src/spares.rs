use std::fmt;

/// Emptied storage that has come back to the stage that filled it, so that a steady flow of batches
/// allocates nothing.
pub(crate) struct Spares<E>(Vec<Vec<E>>);

/// The most storages to keep.
const MAX_KEPT: usize = 32;

/// The largest storage worth keeping, in bytes. A stage may be one of thousands that are idle.
const MAX_BYTES: usize = 32 * 1024;

impl<E> Spares<E> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Storage with nothing in it, for so many events: if there is any, with room for them.
    pub(crate) fn take(&mut self, events: usize) -> Vec<E> {
        match self.0.last() {
            Some(last) if last.capacity() < events => self.take_larger(events),
            _ => self.0.pop().unwrap_or_default(),
        }
    }

    #[cold]
    fn take_larger(&mut self, events: usize) -> Vec<E> {
        let larger = self.0.iter().rposition(|kept| kept.capacity() >= events);
        match larger {
            Some(larger) => self.0.swap_remove(larger),
            None => self.0.pop().unwrap_or_default(),
        }
    }

    /// Takes storage back, with nothing in it.
    pub(crate) fn give(&mut self, storage: Vec<E>) {
        debug_assert!(storage.is_empty());
        if is_worth_keeping(&storage) && self.0.len() < MAX_KEPT {
            self.0.push(storage);
        }
    }
}

/// Whether storage is to come back.
pub(crate) fn is_worth_keeping<E>(storage: &Vec<E>) -> bool {
    let bytes = storage.capacity().saturating_mul(size_of::<E>());
    bytes > 0 && bytes <= MAX_BYTES
}

impl<E> Default for Spares<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Spares<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spares({})", self.0.len())
    }
}
