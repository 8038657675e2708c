use std::{fmt, sync::Arc};

use crate::sync::{Mutex, PoisonError};

/// Emptied storage on its way back to the stage that filled it, so that a steady flow of batches
/// allocates nothing.
pub(crate) struct Spares<E>(Mutex<Vec<Vec<E>>>);

/// The most storages to keep. More batches than that are rarely on their way at once.
const MAX_KEPT: usize = 8;

/// The largest storage worth keeping, in bytes. A stage may be one of thousands that are idle.
const MAX_BYTES: usize = 32 * 1024;

impl<E> Spares<E> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Vec::new())))
    }

    /// Storage with nothing in it.
    pub(crate) fn take(&self) -> Vec<E> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().unwrap_or_default()
    }

    /// Takes storage back.
    pub(crate) fn give(&self, mut storage: Vec<E>) {
        storage.clear();
        let bytes = storage.capacity().saturating_mul(size_of::<E>());
        if storage.capacity() == 0 || bytes > MAX_BYTES {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT {
            kept.push(storage);
        }
    }
}

impl<E> fmt::Debug for Spares<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spares")
    }
}
