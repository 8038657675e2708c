//! Stages that pass events on only as fast as the next stage asks for them.

mod error;

pub use error::BoxError;
