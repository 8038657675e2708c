//! The conformance kit, on our own stages and on broken ones.

#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used)]

mod misfits;
mod ours;
mod specs;
mod zoo;
