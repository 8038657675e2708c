//! Channels of others.

mod crossfire;
mod flume;
mod futures;
mod kanal;
mod tokio;

pub(crate) use crossfire::{Mpmc as CrossfireMpmc, Mpsc as CrossfireMpsc, Spsc as CrossfireSpsc};
pub(crate) use flume::Flume;
pub(crate) use futures::Futures;
pub(crate) use kanal::Kanal;
pub(crate) use tokio::{RecvMany, TokioMpsc};
