//! What happens when things fail: retries, dead letters, restarts, generations, pools of tasks.

#![allow(clippy::unwrap_used)]

mod logs;
mod machines;
mod pool;
mod resilient;
mod restarting;
#[path = "../stages/mod.rs"]
mod stages;
mod support;
mod threads;
mod tracker;
