//! Demand accounting, as pure state machines.
//!
//! Nothing in this module waits, spawns, sends or reads a clock. Each machine takes one input at a
//! time and returns what should be done about it, so that a property test or a recorded trace can
//! drive it exactly as the tokio shell does.
//!
//! | who | keeps | is told | decides |
//! |---|---|---|---|
//! | the asking side | a [`Ledger`] per subscription | how many events have come | how many to take in at once, and what to ask then |
//! | the asking side | a [`Mode`] per subscription | how it ended | whether the stage goes on without it |
//! | the sending side | a [`Dispatcher`] for its stage, a [`Buffer`] | asks, cancels, events and notices | who gets which events, and what is dropped if there are too many |
//! | a subscription that weighs its events | a [`ByteWindow`] | what events weigh, and which are settled | how many to hold back |
//! | a source whose progress matters | a [`Watermark`], or [`Tracking`] | what was handed out and what is settled | how far everything is done |
//! | who supervises | a [`Restart`] | failures | whether to make anew, and when |
//! | who guards a consumer | a [`Triage`] | failures | whether to retry, to halve or to give up |
//! | a pool of tasks | a [`Pool`] | who started and how it ended | whom to start again, and what to ask then |
//!
//! Demand is a *level*. The sending side asks its producer for
//! `dispatcher.demand() - buffer.len()` and nothing else is remembered, so that there are no
//! counters that could disagree after a cancel.

mod backlog;
mod backoff;
mod buffer;
mod byte_window;
mod demand;
mod dispatch;
mod end;
mod generation;
mod ledger;
mod mark;
mod pool;
mod ranges;
mod restart;
mod tracking;
mod triage;
mod watermark;
mod window;

pub use backlog::Backlog;
pub use backoff::Backoff;
pub use buffer::Buffer;
pub use byte_window::ByteWindow;
pub use demand::Demand;
pub use dispatch::{
    Broadcast, ByDemand, Delivery, Dispatcher, Handout, Partition, Refused, Selector, Terms,
    lane_for,
};
pub use end::{Down, End, Fate, Mode, Reason};
pub use generation::Generation;
pub use ledger::{ExcessEvents, Ledger};
pub use mark::Mark;
pub use pool::{Ask, ChildEnd, ChildId, Children, Pool};
pub use restart::Restart;
pub use tracking::{Refusal, Refusals, Settled, Tracking};
pub use triage::{Case, Triage, Verdict};
pub use watermark::{SettleError, Watermark};
pub use window::{Window, WindowError};

/// Names one subscription among those of a stage. A subscription that comes after another has gone
/// may be given its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub u64);
