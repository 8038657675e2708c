//! The rules of the conformance kit that are about concurrency, under schedules that shuttle chooses.
//! Empty unless built with `--cfg shuttle`:
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p stage-core --test shuttle --target-dir target/shuttle
//! ```
//!
//! A failure prints its schedule. `SHUTTLE_SCHEDULE=…`, with the test's name, does it once again.

#![cfg(shuttle)]
#![allow(clippy::unwrap_used)]

mod acks;
mod cancel;
mod demand;
mod end;
mod order;
mod parts;
mod schedules;
