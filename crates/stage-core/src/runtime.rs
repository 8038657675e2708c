#[cfg(not(shuttle))]
use tokio::runtime::Handle;

/// Which runtime a task is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runtime {
    #[cfg(not(shuttle))]
    id: tokio::runtime::Id,
    has_other_threads: bool,
}

impl Runtime {
    /// The one of the task that this is called in, which there is.
    pub(crate) fn current() -> Self {
        #[cfg(not(shuttle))]
        {
            let handle = Handle::current();
            Self {
                id: handle.id(),
                has_other_threads: has_threads(&handle),
            }
        }
        #[cfg(shuttle)]
        Self {
            has_other_threads: has_other_threads(),
        }
    }

    /// Whether others may go on while a stage has its turn.
    #[inline]
    pub(crate) fn has_other_threads(self) -> bool {
        self.has_other_threads
    }
}

impl PartialEq for Runtime {
    #[cfg(not(shuttle))]
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// Shuttle has one.
    #[cfg(shuttle)]
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Whether this is called in a runtime that has other threads.
#[cfg(not(shuttle))]
pub(crate) fn has_other_threads() -> bool {
    Handle::try_current().is_ok_and(|handle| has_threads(&handle))
}

#[cfg(not(shuttle))]
fn has_threads(handle: &Handle) -> bool {
    handle.runtime_flavor() != tokio::runtime::RuntimeFlavor::CurrentThread
}

/// Shuttle's does not say, and real time, by which such things are decided, means nothing there.
#[cfg(shuttle)]
pub(crate) fn has_other_threads() -> bool {
    false
}
