//! Tasks of which it is known which one ended. Under `--cfg shuttle` they are made here, since
//! shuttle-tokio's do not say that.

#[cfg(not(shuttle))]
pub(crate) use tokio::task::{Id, JoinError, JoinSet};

#[cfg(shuttle)]
pub(crate) use under_shuttle::{Id, JoinError, JoinSet};

#[cfg(shuttle)]
mod under_shuttle;
