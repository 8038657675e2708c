//! An in-memory Kinesis with the service's real limits, for tests.

mod builder;
mod calls;
mod clock;
mod failure;
mod fake;
mod faults;
pub mod model;
#[cfg(feature = "serve")]
mod serve;

pub use builder::Builder;
pub use calls::{Calls, Tally};
pub use fake::Fake;
pub use faults::Fault;
pub use model::{
    Choices, Durations, FutureTimestamp, Limits, OlderThanHorizon, Operation, ShardEnd,
};
#[cfg(feature = "serve")]
pub use serve::Server;
