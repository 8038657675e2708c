//! Tasks that are waited for together: a set of tokio's, or under `--cfg shuttle` one of shuttle's.

#[cfg(not(shuttle))]
pub(crate) use tokio::task::{JoinError, JoinSet};

#[cfg(shuttle)]
pub(crate) use under_shuttle::{JoinError, JoinSet};

#[cfg(shuttle)]
mod under_shuttle;
