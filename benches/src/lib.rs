//! The workloads of `bench_workloads`, by us and by others.
//!
//! | file | what |
//! |---|---|
//! | `workloads/` | what is measured, the bars that are set, and stage-core: a package of its own |
//! | `channels.rs` | any channel, one event at a time; `peers/` are the channels |
//! | `batches.rs` | vectors over tokio's channel, by hand |
//! | `fused.rs` | one task, as the limit of what can be |
//! | `ping.rs` | round trips |
//! | `bin/ratios` | the program that measures |

mod batches;
mod candidate;
mod channels;
mod fused;
mod peers;
mod ping;

pub use bench_workloads::{Bars, Bytes1k, Job, Shape, Tally, Toil, ToilAtEnd, WORKLOADS, Workload};
pub use candidate::{Candidate, Event, FEW, OUTSIDE, PEERS, STEPS, candidates};
pub use ping::{Ping, pings_by_demand, pings_through_a_stage};
