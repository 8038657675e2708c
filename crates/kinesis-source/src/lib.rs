//! Amazon Kinesis as a source of events, read on demand.
//!
//! [`StreamSource`] reads a whole stream into a [`stage_core::Pipeline`]: it finds the shards, reads
//! each only as fast as the pipeline asks, outlasts what Kinesis does meanwhile, follows splits and
//! merges, and remembers what the pipeline's sinks have taken in. This runs as it stands, on a
//! stream in memory; with [`AwsKinesis`] in place of the fake it reads the real one.
//!
//! ```
//! use std::{convert::Infallible, sync::Arc};
//!
//! use kinesis_fake::Fake;
//! use kinesis_source::{Record, StreamSource};
//! use stage_core::{Batch, Consumer, Pipeline, Window};
//!
//! /// Takes records in. When `consume` returns, they are acknowledged.
//! struct Count(usize);
//!
//! impl Consumer<Record> for Count {
//!     type Error = Infallible;
//!
//!     async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Infallible> {
//!         self.0 += batch.len();
//!         Ok(())
//!     }
//!
//!     async fn finish(&mut self) -> Result<(), Infallible> {
//!         assert_eq!(self.0, 100);
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fake = Fake::new(4);
//! fake.put_numbered(0..100)?;
//!
//! let mut pipeline = Pipeline::new();
//! let (records, handle) = StreamSource::new("orders", Arc::new(fake)).add_to(&mut pipeline);
//! pipeline.consume(Count(0), records.subscribe(Window::new(1_000)));
//! pipeline.run_until(async move { handle.caught_up().await }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - **Nothing is lost.** A checkpoint never passes a record that is not acknowledged, whatever
//!   order the acknowledgements come in. A process that is killed goes on at the last checkpoint.
//!   Records since then come again: delivery is at least once.
//! - **Each key in order.** A shard is read once its parents are finished: both of them, after a
//!   merge. Children begin at their first record, never at the tip.
//! - **What the stream itself loses is told.** Reading goes on at the last record that is done, to see
//!   that it is there: records that the stream did not keep for long enough are [`DataLoss`], and no
//!   silent gap.
//! - **`LATEST` is decided once.** It becomes a moment that is stored before the first read. No
//!   failure goes back to the tip; [`PinnedPosition`], which readers start from, cannot express it.
//! - **Nothing passes unseen or stops silently.** Throttling, expired iterators, time-outs and errors
//!   of the service are outlasted, with back-off, from the last record; what does not pass halts the
//!   shard or fails the pipeline, with a [`StreamError`] or [`ShardError`] that says what to do.
//! - **Each change is told.** Throttling, failures, losses, splits, subscriptions, checkpoints that are not
//!   stored: a typed [`SourceEvent`] when it begins and when it is over, by [`StreamHandle::events`], and a
//!   line of the log made from it. Neither has data, partition keys or credentials in it.
//! - **One shard does not stop the others.** What keeps failing, or is nacked again and again, is parked and
//!   tried once in a while ([`SourceEvent::ShardParked`]); what cannot go on is stopped
//!   ([`SourceEvent::ShardStopped`]), unless [`OnShardFailure`] says otherwise; what should have come and has not is told ([`SourceEvent::Stuck`]);
//!   [`StreamHandle::explain`] says what each shard waits for.
//! - **Memory is bounded.** A shard never reads more than is asked for: with a window of 1,000 there
//!   are at most 1,000 of its records on their way, for as long as the sink takes. With
//!   [`Deaggregation`], one answer of 10 MiB at most waits to be taken apart. And however many shards
//!   there are, all that is on its way comes out of one [`ByteBudget`], 256 MiB unless said otherwise.
//! - **What cannot be remembered is not piled up.** While checkpoints cannot be stored, shards go on for
//!   [so many records](StreamSource::unsaved_at_most), and then wait; so they do when a sink keeps one
//!   receipt and acks all the others. Who keeps one for too long is [told](StreamSource::settle_within).
//! - **It stops when it is told to.** What has been handed out is drained, for as long as the pipeline
//!   [allows](stage_core::Pipeline::drain_within) (25 s, unless it is told), and remembered meanwhile;
//!   [a report](StreamHandle::drain_report) says how far each shard came.
//! - **Polling and fan-out are interchangeable.** [`FanOut`] is one call more on a source; everything
//!   above holds for both, checkpoints included.
//! - **Good manners.** At most five reads and 2 MiB a second and shard, evenly spaced; once a second
//!   where nothing comes.
//!
//! # How it is put together
//!
//! | part | is |
//! |---|---|
//! | [`KinesisApi`] | the transport: four calls, errors by [`Remedy`]. Implement it to wrap or replace one |
//! | [`KinesisFanOutApi`] | the calls of enhanced fan-out: consumers, and subscriptions to shards |
//! | [`ShardSource`] | a [`Producer`](stage_core::Producer) that reads one shard |
//! | [`StreamSource`] | a stage that coordinates, and one `ShardSource` for each shard |
//! | [`StreamSource::add_lanes_to`] | records of a shard on several lanes, each key in order |
//! | [`FanOut`] | how shards send their records to a consumer, instead of being asked for them |
//! | [`ByteBudget`] | how many bytes of records may be in memory, for all shards of all sources |
//! | [`Deaggregation`] | how records that the KPL aggregated are taken apart; [`kpl`] does it |
//! | [`EndPosition`] | where a replay ends, and with it the pipeline |
//! | [`CheckpointStore`] | where progress is kept: [in memory](MemoryCheckpointStore), in a file, or your own |
//! | [`StreamHandle`] | how each shard is doing, and when everything has been read; seeks |
//! | [`SourceEvent`] | what changes, one event for each change |
//!
//! # Numbers
//!
//! Lag, records read and acknowledged, throttles, headroom to the stream's retention time and others go to the `metrics`
//! facade: see [`metric_names`] for all of them.
//!
//! # Features
//!
//! `aws` (default): the AWS SDK behind [`AwsKinesis`]. `credentials-process` (default) and `sso`:
//! more ways to get credentials. `redb` (default): checkpoints in a file. `mock`: `MockKinesisApi`
//! for unit tests of your own. Keep the log targets `aws_smithy_runtime` and `aws_sigv4` above
//! `trace`: at that level the SDK logs what was put.

mod aggregation;
mod api;
mod api_error;
mod arrival;
#[cfg(feature = "aws")]
mod aws;
mod backoff;
mod byte_budget;
mod checkpoint;
mod condition;
mod coordinator;
mod data_loss;
mod deaggregation;
mod denial;
mod doubt;
mod end_position;
mod ending;
mod explanation;
mod fan_out;
mod fan_out_api;
mod feed;
mod footprint;
mod governor;
mod headway;
mod held_subscription;
pub mod kpl;
mod lag;
mod lineage;
mod listing;
mod meters;
pub mod metric_names;
mod news;
mod not_caught_up;
mod on_shard_failure;
mod outage;
mod park_reason;
mod pinned_position;
mod place;
mod polling;
mod progress;
mod read_size;
mod reader;
mod record;
mod reporter;
mod saving;
mod seek;
mod sequence_number;
mod sequence_numbers;
mod shard;
mod shard_calls;
mod shard_drain_report;
mod shard_error;
mod shard_graph;
mod shard_source;
mod shard_watch;
mod shared_listing;
mod source_event;
mod source_watch;
mod start_position;
mod stock;
mod stream_error;
mod stream_source;
mod stream_status;
mod subscribing;
mod supervision;
mod supervisor;
mod telling;
#[cfg(test)]
mod test_log;
mod timestamp;
mod tip;
mod unpacker;
mod unread;
mod unsettled;
mod waiting_for;

pub use aggregation::{Aggregation, ExplicitHashKey};
#[cfg(any(test, feature = "mock"))]
pub use api::MockKinesisApi;
pub use api::{
    KinesisApi, KinesisWriteApi, NextToken, Position, PutEntry, PutOutcome, RecordsPage,
    ShardIterator, ShardsPage, StreamStatus, StreamSummary,
};
pub use api_error::{ApiError, Remedy};
#[cfg(feature = "aws")]
pub use aws::{AwsConfigError, AwsKinesis, AwsKinesisBuilder, FailedBeneath};
pub use byte_budget::ByteBudget;
#[cfg(feature = "redb")]
pub use checkpoint::FileCheckpointStore;
pub use checkpoint::{
    Checkpoint, CheckpointError, CheckpointStore, MemoryCheckpointStore, StreamIdentity,
};
pub use data_loss::{DataLoss, OnDataLoss};
pub use deaggregation::{Deaggregation, OutsideRange};
pub use end_position::EndPosition;
pub use explanation::{BudgetLevel, Explanation, ShardExplanation, Totals, Waiting};
pub use fan_out::{Deregistration, FanOut};
#[cfg(any(test, feature = "mock"))]
pub use fan_out_api::MockKinesisFanOutApi;
pub use fan_out_api::{
    ConsumerAddress, ConsumerArn, ConsumerStatus, ConsumersPage, KinesisFanOutApi,
    ShardSubscription, StreamConsumer, SubscribeEvent,
};
pub use not_caught_up::NotCaughtUp;
pub use on_shard_failure::OnShardFailure;
pub use park_reason::ParkReason;
pub use pinned_position::PinnedPosition;
pub use record::Record;
pub use reporter::SourceEvents;
pub use seek::SeekError;
pub use sequence_number::{InvalidSequenceNumber, SequenceNumber};
pub use shard::{ChildShard, HashRange, Shard, ShardId};
pub use shard_drain_report::ShardDrainReport;
pub use shard_error::ShardError;
pub use shard_source::ShardSource;
pub use source_event::{SourceEvent, StreamEnd};
pub use start_position::StartPosition;
pub use stream_error::StreamError;
pub use stream_source::StreamSource;
pub use stream_status::{ShardState, ShardStatus, StreamHandle};
pub use timestamp::Timestamp;
pub use waiting_for::WaitingFor;

/// Checks for whoever writes another part: does it keep the promises of its trait?
pub mod testing {
    pub use crate::checkpoint::conformance::checkpoint_store;
}
