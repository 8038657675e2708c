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
//! // A shard that was split is read to its end, which names its children.
//! fake.split_shard(&shard.id, 1 << 127).await?;
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
//! # The rules
//!
//! Every number can be changed: [`Limits`], [`Durations`], [`Choices`] and the
//! [`Builder`]. The default is the service's, the stricter one where its documents differ. *API* is
//! the operation's page in the
//! [API reference](https://docs.aws.amazon.com/kinesis/latest/APIReference/), *Quotas* is
//! [Quotas and limits](https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html).
//!
//! | rule | value | source |
//! | --- | --- | --- |
//! | GetRecords, per shard | 5 in any second; an empty answer counts, a refused call does not | API GetRecords, Quotas |
//! | GetRecords, bytes per shard | 2 MiB a second, data and keys: an answer is given in full, then none until it is paid for; less than 1 ms is no debt | API GetRecords; the debt is derived from its two penalties |
//! | an answer | ≤ 10,000 records, ≤ 10 MiB, but one record always | API GetRecords |
//! | its limit | 1 to 10,000, else `InvalidArgument` | API GetRecords |
//! | after an error | the iterator stays good, nothing is lost | derived: an error carries no data |
//! | no next iterator | exactly when the shard is closed and read to its end; with it the children, each with all its parents | API GetRecords, KCL's `DataRetrievalUtil` |
//! | milliseconds behind | age of the first unread record, at least 1; 0 when there is none | API GetRecords |
//! | GetShardIterator, per shard | 5 in any second | API GetShardIterator |
//! | an iterator | opaque, sealed, ≤ 512 characters; expires after 300 s; garbage is `InvalidArgument` | API GetShardIterator; the length is general knowledge |
//! | at or after a number | of this shard and no other; its starting number is good though no record has it | API GetShardIterator, boto3 #1478, kinesis-mock #95 |
//! | at a time | the first record from then on; before the horizon is the horizon | API GetShardIterator |
//! | a number before the horizon | refused, or the horizon: [`OlderThanHorizon`] | undocumented, reports differ |
//! | a time to come | refused, or the end: [`FutureTimestamp`] | undocumented |
//! | the answer at a shard's end | with the last records, or one more: [`ShardEnd`] | seen both ways |
//! | sequence numbers | 56 digits, unique, growing within a shard; a child's are larger than its parents' | kinesalite's `db/index.js` |
//! | PutRecords | ≤ 500 records, ≤ 10 MiB; each record ≤ 1 MiB with its key; a key has 1 to 256 characters | API PutRecords, Quotas |
//! | writing, per shard | 1 MiB and 1,000 records a second, one second's worth at once; what is too much is refused record by record | API PutRecords, Quotas |
//! | placement | MD5 of the key, unless there is an explicit hash key | API PutRecord |
//! | ListShards | 100 in any second; pages of 1,000; a token is good for 300 s and stands alone | Quotas; API ListShards; the page size is general knowledge |
//! | DescribeStream, its summary | 10 and 20 in any second | Quotas |
//! | making, changing and removing streams, ListStreams | 5 in any second, of each; ≤ 5 streams in the making; ≤ 500 open shards | Quotas, API CreateStream |
//! | a split | an open shard; both parts have keys, the lower two at least | API SplitShard, kinesalite |
//! | a merge | two open shards whose ranges touch; the child names both | API MergeShards |
//! | while a stream changes | `ResourceInUse` for other changes; reads and writes go on | API SplitShard |
//! | retention | 24 hours, 24 to 8,760; then a record goes for good | API IncreaseStreamRetentionPeriod |
//! | a closed shard | is listed until retention after its end, when nothing it had can be left | API ListShards |
//!
//! Two rules are the fake's own: it keeps at most 4 GiB ([`stored_bytes`](Limits::stored_bytes)),
//! and arrival times are monotonic within a shard, which the service does not promise.
//!
//! # What is not here yet
//!
//! Enhanced fan-out (SubscribeToShard and its consumers), UpdateShardCount, on-demand streams,
//! records above 1 MiB that draw on a burst, encryption keys, tags, resource policies. HTTP takes
//! any signature.

mod builder;
mod calls;
mod clock;
mod failure;
mod fake;
mod faults;
pub mod model;
#[cfg(feature = "serve")]
mod serve;

pub use builder::Builder;
pub use calls::{Calls, Tally};
pub use fake::Fake;
pub use faults::{Fault, FaultPlan, FaultReport, FaultTally, Operations, Rewrite, Swizzle};
pub use model::{
    Choices, Durations, FutureTimestamp, Limits, OlderThanHorizon, Operation, ShardEnd,
};
#[cfg(feature = "serve")]
pub use serve::Server;
