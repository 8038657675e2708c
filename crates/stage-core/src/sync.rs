//! What the parts that threads share are made of. Under `--cfg shuttle` they are made of what shuttle
//! can schedule: see `tests/shuttle`.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, atomic};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, PoisonError, atomic};
