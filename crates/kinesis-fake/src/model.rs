//! The service as a pure model: no clock, no I/O, no task. Time is an argument of each call.
//!
//! A [`Service`] holds streams by name and answers each operation at the [`Moment`] that it is
//! told, which must not lie before the one of the last call. The same calls at the same moments
//! give the same answers.
//!
//! ```
//! use std::time::Duration;
//!
//! use kinesis_fake::model::{Moment, Service, Settings};
//! use kinesis_source::Position;
//!
//! let mut service = Service::new(Settings::default());
//! let now = Moment::since_epoch(Duration::from_secs(1_767_225_600));
//! service.create_stream("orders", 1, now)?;
//! let now = now.plus(Duration::from_secs(20)); // by then it is active
//! let shard = "shardId-000000000000".into();
//! let iterator = service.get_shard_iterator("orders", &shard, &Position::Latest, now)?;
//!
//! // Five minutes later it is still good, and a moment later it is not.
//! let later = now.plus(Duration::from_secs(300));
//! assert!(service.get_records(iterator.as_str(), 10, later).is_ok());
//! let refusal = service.get_records(iterator.as_str(), 10, later.plus(Duration::from_millis(1)));
//! assert_eq!(refusal.unwrap_err().code(), "ExpiredIteratorException");
//! # Ok::<(), kinesis_fake::model::Refusal>(())
//! ```

mod capacity;
mod consumer;
mod encryption;
mod iterator;
mod limits;
mod metric;
mod moment;
mod operation;
mod owner;
mod refusal;
mod refusing;
mod seal;
mod sequence;
mod service;
mod settings;
mod shard;
mod stream;
mod subscription;
mod tags;
mod token;

pub use capacity::{AccountLimits, Capacity, RecordDistribution, Resize, StreamMode};
pub use encryption::EncryptedRecords;
pub use limits::Limits;
#[cfg(feature = "serve")]
pub(crate) use limits::{MOST_BYTES_AT_ONCE, MOST_RECORDS_AT_ONCE};
pub use metric::Metric;
pub use moment::Moment;
pub use operation::Operation;
pub use owner::Owner;
pub use refusal::Refusal;
pub(crate) use refusing::Refusing;
pub use service::{Commitment, DryRun, Listing, MetricsChange, NewStream, Service, WarmThroughput};
pub use settings::{
    Choices, Continuation, DeletingStream, Durations, ForeignArn, FutureTimestamp, MergeOrder,
    NoPolicy, OlderThanHorizon, ReadLimit, Settings, ShardEnd, SubscriptionRefusal, Takeover,
    TimeBeforeHorizon,
};
pub use stream::ShardFilter;
pub use subscription::{Sent, SubscriptionId};
pub use tags::Tags;

#[cfg(feature = "serve")]
pub(crate) use owner::{is_consumer_arn, is_resource_arn, is_stream_arn};
pub(crate) use refusal::{INTERNAL_FAILURE, MOST_WRONG, wrong};
#[cfg(feature = "serve")]
pub(crate) use stream::status_name;
