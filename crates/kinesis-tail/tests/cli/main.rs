//! The program as scripts see it: its output, its exit codes, its one sentence on failure.

#![allow(clippy::unwrap_used)] // of clippy.toml's permission, which does not reach helpers

mod consume;
mod demo;
mod failures;
mod nowhere;
mod publish;
mod resume;
mod rig;
mod serve;
mod shards;
mod usage;
