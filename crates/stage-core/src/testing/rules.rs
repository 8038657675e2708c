//! What each rule looks at. Their statements are in the table of rules.

#![allow(clippy::unused_async)] // all have one shape

mod acks;
mod cancel;
mod demand;
mod end;
mod order;
mod resources;

pub(super) use {acks::*, cancel::*, demand::*, end::*, order::*, resources::*};
