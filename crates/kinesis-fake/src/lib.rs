//! An in-memory Kinesis with the service's real limits, for tests.
//!
//! A consumer that works against a forgiving stand-in meets the real service's rules in production:
//! five reads a second, iterators that expire, shards that end and name their children. A [`Fake`]
//! imposes those rules, as [`KinesisApi`](kinesis_source::KinesisApi) and on tokio's clock, so that
//! a test on a paused clock sees hours go by in milliseconds and every run is the same.
//!
//! ```
//! use std::time::Duration;
//!
//! use kinesis_fake::{Fake, Operation};
//! use kinesis_source::{KinesisApi, KinesisWriteApi, Position, Remedy};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fake = Fake::new(1);
//! fake.put("customer-42", "an order")?;
//! let shard = fake.list_shards(None).await?.shards.remove(0);
//!
//! let iterator = fake.get_shard_iterator(&shard.id, &Position::TrimHorizon).await?;
//! let page = fake.get_records(&iterator, 100).await?;
//! assert_eq!(&page.records[0].data[..], b"an order");
//! assert_eq!(page.millis_behind_latest, Some(0), "caught up");
//!
//! // An iterator is good for five minutes.
//! tokio::time::sleep(Duration::from_secs(301)).await;
//! let next = page.next.expect("the shard is open");
//! let error = fake.get_records(&next, 100).await.unwrap_err();
//! assert_eq!(error.remedy(), Remedy::RenewIterator);
//!
//! // A shard that was split is read to its end, which names its children. A split takes its time.
//! fake.split_shard(&shard.id, 1 << 127).await?;
//! tokio::time::sleep(Duration::from_secs(30)).await;
//! let after = Position::AfterSequenceNumber(page.records[0].sequence_number.clone());
//! let iterator = fake.get_shard_iterator(&shard.id, &after).await?;
//! let end = fake.get_records(&iterator, 100).await?;
//! assert_eq!((end.next, end.children.len()), (None, 2));
//!
//! assert_eq!(fake.calls().of(Operation::GetRecords).made, 3);
//! assert_eq!(fake.calls().throttled(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # How it is built
//!
//! The [`model`] is pure: streams, shards, limits, and time as an argument. [`Fake`] puts it on
//! tokio's clock, counts [calls](Fake::calls) and lets go wrong what a [`FaultPlan`] says. With the
//! feature `serve`, `Server` speaks AWS JSON and CBOR over HTTP, for the SDKs of any language.
//!
//! # Testing your consumer
//!
//! [`testing_your_consumer`] goes through it: [`Deliveries`] checks what a consumer was given,
//! [`Resharding`] changes the shards meanwhile, and a [`Worker`] is paused, killed, cut off or wrong
//! about the time.
//!
//! # The rules
//!
//! [`rules`] has them all: each with its value, where the service says so, and the test that it is
//! kept. Every number can be changed: [`Limits`], [`Durations`], [`Choices`] and the [`Builder`].
//! The default is the service's, the stricter one where its documents differ.
//!
//! # What is not here
//!
//! Channels and queues, which are newer than the rest of the API. Encryption, policies and metrics are
//! [said and not done](rules#tags-policies-encryption-monitoring-and-the-account). HTTP takes any
//! signature.

mod builder;
mod calls;
mod clock;
mod deliveries;
mod failure;
mod fake;
mod faults;
pub mod model;
mod resharding;
#[cfg(feature = "serve")]
mod serve;
mod worker;

#[doc = include_str!("rules.md")]
pub mod rules {}

#[doc = include_str!("testing.md")]
pub mod testing_your_consumer {}

pub use builder::Builder;
pub use calls::{Calls, Tally};
pub use deliveries::{Deliveries, WrongDelivery};
pub use fake::{Fake, TestOutcome};
pub use faults::{
    Fault, FaultPlan, FaultReport, FaultTally, NeverStrikes, Operations, Rewrite, Swizzle,
};
pub use model::{
    AccountLimits, Choices, Continuation, DeletingStream, Durations, ForeignArn, FutureTimestamp,
    Limits, MergeOrder, NoPolicy, OlderThanHorizon, Operation, ReadLimit, RecordDistribution,
    Resize, ShardEnd, StreamMode, SubscriptionRefusal, Takeover, TimeBeforeHorizon,
};
pub use resharding::{Reshard, Resharding};
#[cfg(feature = "serve")]
pub use serve::Server;
pub use worker::{Dependency, Gate, Worker, WorkerApi};
