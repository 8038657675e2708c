//! The workloads of `ratios`, for each candidate.
//!
//! A [`Job`] moves numbered events between tasks. Whoever takes them in adds their numbers up, and
//! the [`Tally`] is compared with what it has to be: what was not moved was not measured.
//!
//! | file | what |
//! |---|---|
//! | `workload.rs` | what is measured, and the bars that are set |
//! | `stage.rs` | stage-core |
//! | `channels.rs` | any channel, one event at a time; `peers/` are the channels |
//! | `batches.rs` | vectors over tokio's channel, by hand |
//! | `fused.rs` | one task, as the limit of what can be |
//! | `ping.rs` | round trips |

mod batches;
mod candidate;
mod channels;
mod event;
mod fused;
mod peers;
mod ping;
mod stage;
mod tally;
mod workload;

pub use candidate::{Candidate, candidates};
pub use event::{Bytes1k, Event, Toil, ToilAtEnd};
pub use ping::{Ping, pings};
pub use tally::Tally;
pub use workload::{Bars, Job, Shape, WORKLOADS, Workload};
