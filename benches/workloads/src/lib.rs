//! What is measured, and how stage-core does it.
//!
//! A [`Job`] moves numbered events between tasks. Whoever takes them in adds their numbers up, and
//! the [`Tally`] is compared with what it has to be: what was not moved was not measured.

mod event;
pub mod stage;
mod tally;
mod workload;

pub use event::{Bytes1k, Event, Toil, ToilAtEnd};
pub use tally::{InOrder, LANES, SharedTally, Sink, Sum, Tally, lane_of};
pub use workload::{Bars, Job, Shape, WORKLOADS, Workload, parts};
