//! What the parts that threads share are made of.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, atomic};
