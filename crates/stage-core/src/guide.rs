//! The ideas one by one, each with an example that runs.
//!
//! | page | answers |
//! |---|---|
//! | [`demand`] | how much is on its way, who asks, and what to choose for a window |
//! | [`dispatchers`] | who gets which events |
//! | [`receipts`] | how a source knows what became of an event |
//! | [`supervision`] | what happens when something fails, and what to do about it |
//! | [`writing_a_source`] | a producer of one's own, from ten lines to one with checkpoints |
//! | [`testing_your_stage`] | tests on a clock that does not run |
//! | [`coming_from`] | GenStage, Broadway or tokio-stream in these terms |

#[doc = include_str!("guide/coming_from.md")]
pub mod coming_from {}
#[doc = include_str!("guide/demand.md")]
pub mod demand {}
#[doc = include_str!("guide/dispatchers.md")]
pub mod dispatchers {}
#[doc = include_str!("guide/receipts.md")]
pub mod receipts {}
#[doc = include_str!("guide/supervision.md")]
pub mod supervision {}
#[doc = include_str!("guide/testing_your_stage.md")]
pub mod testing_your_stage {}
#[doc = include_str!("guide/writing_a_source.md")]
pub mod writing_a_source {}
