//! Nothing but the README, so that its program is compiled.
#![doc = include_str!("../README.md")]
