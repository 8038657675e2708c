//! The program as scripts see it: its output, its exit codes, its one sentence on failure.

#![allow(clippy::unwrap_used)] // of clippy.toml's permission, which does not reach helpers

mod aggregated;
mod consume;
mod demo;
mod failures;
mod fan_out;
#[cfg(unix)]
mod live;
#[cfg(unix)]
mod live_refused;
#[cfg(target_os = "linux")]
mod live_terminal;
mod main_job;
mod metrics;
mod nowhere;
mod publish;
mod resume;
mod rig;
mod serve;
mod shards;
#[cfg(target_os = "linux")]
mod terminal;
mod usage;
