//! The program as scripts see it: its output, its exit codes, its one sentence on failure.

#![allow(clippy::unwrap_used)] // of clippy.toml's permission, which does not reach helpers

mod aggregated;
mod consume;
mod demo;
mod failures;
mod fan_out;
mod main_job;
mod metrics;
mod nowhere;
mod publish;
mod resume;
mod rig;
mod serve;
mod shards;
mod usage;
