//! Every fault of `faults.md`, part 4, that one process can meet (A to E and G), each with twenty
//! seeds, in paused time, on the fake. Whatever goes wrong, the invariants I1 to I10 hold:
//!
//! | | what holds | where it is looked at |
//! |---|---|---|
//! | I1 | every record that was put is delivered and acknowledged in the end | `invariants.rs` |
//! | I2 | no checkpoint passes a record that is not acknowledged | `invariants.rs` |
//! | I3 | each process gets a shard's records without a gap and in order, from the checkpoint on | `invariants.rs` |
//! | I4 | what comes again came after the checkpoint, and nothing does after a clean stop | by I3 |
//! | I5 | no checkpoint goes back | `invariants.rs` |
//! | I6 | no record of a child before all of its parents' are acknowledged | `invariants.rs` |
//! | I7 | no more is on its way than the window lets through | `world.rs` |
//! | I8 | no more calls than are allowed, and no storms of retries | `world.rs` |
//! | I9 | once it is over, all is done within a bounded time | `World::settle` |
//! | I10 | nothing that was put is in a log or an error, and logs do not flood | `canary.rs` |
//!
//! Elsewhere: what a connection does to F12, F13 and F39 (`aws_on_fake.rs`, `aws_fan_out.rs`), numbers
//! of any length for F21 (`sequence_number.rs`), memory for F19, F45 and F71 (`byte_budget.rs`,
//! `stalled_shards.rs`, `kpl`), and a drop at each await for F72 (`dropping.rs`). Who wrote a consumer
//! with one of fourteen mistakes would be told so here: `wrong.rs`.
//!
//! `FAULT_SEEDS=200` tries more seeds, `FAULT_SEED=17` one alone.

#![allow(clippy::unwrap_used)]

#[path = "../dice/mod.rs"]
mod dice;
#[path = "../kpl/reference.rs"]
mod reference;

mod by_hand;
mod canary;
mod clocks;
mod control_plane;
mod data_plane;
mod fan_out;
mod handler;
mod invariants;
mod lease;
mod log;
mod process;
mod records;
mod seeds;
mod watched;
mod world;
mod wrong;
