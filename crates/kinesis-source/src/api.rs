use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{ApiError, ChildShard, Record, SequenceNumber, Shard, ShardId, Timestamp};

/// The calls that reading a stream takes: the transport under everything in this crate.
///
/// One value reads one stream. [`AwsKinesis`](crate::AwsKinesis) speaks to the real service,
/// `kinesis_fake::Fake` keeps a stream in memory, and a wrapper around either can limit, record or
/// disturb. Methods carry AWS's operation names; each makes one attempt, without retries, and says
/// by its error's [`Remedy`](crate::Remedy) what can be done. All are safe to cancel.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait KinesisApi: fmt::Debug + Send + Sync + 'static {
    /// The service's clock, as well as it is known here.
    fn now(&self) -> Timestamp;

    /// A moment that the service's clock has surely reached: what [`now`](Self::now) says, less what
    /// that may be ahead. `LATEST` is remembered as this moment, so that nothing is skipped that is put
    /// from now on.
    fn earliest_now(&self) -> Timestamp {
        self.now()
    }

    /// What the stream is and whether it can be read.
    /// ([DescribeStreamSummary](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html))
    async fn describe_stream_summary(&self) -> Result<StreamSummary, ApiError>;

    /// One page of the stream's shards: the first, or the one that `token` stands for. Open and
    /// closed ones, in no order, as long as any of their records is kept.
    /// ([ListShards](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html))
    async fn list_shards(&self, token: Option<NextToken>) -> Result<ShardsPage, ApiError>;

    /// An iterator to read `shard` from `position` on. It is good for five minutes.
    /// ([GetShardIterator](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html))
    async fn get_shard_iterator(
        &self,
        shard: &ShardId,
        position: &Position,
    ) -> Result<ShardIterator, ApiError>;

    /// Reads at most `limit` records (1 to 10,000), each of which says that it is of
    /// [the iterator's shard](ShardIterator::shard). The iterator stays good after an error.
    /// ([GetRecords](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html))
    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: usize,
    ) -> Result<RecordsPage, ApiError>;
}

/// The calls that fill a stream and change its shards. Reading needs none of them.
///
/// As with [`KinesisApi`], one value stands for one stream, and each method makes one attempt.
#[async_trait]
pub trait KinesisWriteApi: fmt::Debug + Send + Sync + 'static {
    /// Makes the stream, with `shards` shards. It is there once it is
    /// [active](StreamStatus::Active).
    async fn create_stream(&self, shards: u32) -> Result<(), ApiError>;

    /// Removes the stream and all its records.
    async fn delete_stream(&self) -> Result<(), ApiError>;

    /// Puts up to 500 records. The call may succeed and still refuse some of them: the answer has
    /// an entry for each, in order.
    /// ([PutRecords](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html))
    async fn put_records(&self, records: &[PutEntry]) -> Result<Vec<PutOutcome>, ApiError>;

    /// Splits `shard` in two: the upper one starts at hash key `new_starting_hash_key`.
    async fn split_shard(
        &self,
        shard: &ShardId,
        new_starting_hash_key: u128,
    ) -> Result<(), ApiError>;

    /// Merges two shards whose hash ranges touch.
    async fn merge_shards(&self, shard: &ShardId, adjacent: &ShardId) -> Result<(), ApiError>;
}

/// Where in a shard to read from, in the service's own terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// The oldest record still kept.
    TrimHorizon,
    /// After the newest record of the moment of the call.
    Latest,
    /// The first record that arrived at that moment or later.
    AtTimestamp(Timestamp),
    /// The record of that number.
    AtSequenceNumber(SequenceNumber),
    /// The record after the one of that number.
    AfterSequenceNumber(SequenceNumber),
}

/// A place in a shard that the service handed out: opaque, to be passed back as it is. It knows the shard, so that
/// what is read with it does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ShardIterator {
    shard: ShardId,
    text: Arc<str>,
}

impl ShardIterator {
    /// The iterator of that text, which the service gave out for `shard`.
    pub fn new(shard: ShardId, text: impl Into<Arc<str>>) -> Self {
        Self {
            shard,
            text: text.into(),
        }
    }

    /// The shard that it reads.
    pub fn shard(&self) -> &ShardId {
        &self.shard
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ShardIterator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardIterator({}, {} B)", self.shard, self.text.len())
    }
}

/// Where a listing goes on: opaque, good for five minutes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextToken(pub String);

/// What a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Whether it can be used.
    pub status: StreamStatus,
    /// When it was made. It tells a stream from another of the same name.
    pub created: Option<Timestamp>,
    /// How long records are kept, in hours.
    pub retention_hours: u32,
    /// How many shards take records.
    pub open_shards: u32,
}

/// Whether a stream can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamStatus {
    /// It is being made.
    Creating,
    /// It is being removed.
    Deleting,
    /// It can be read and written.
    Active,
    /// It can be read and written; its shards are changing.
    Updating,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardsPage {
    /// The shards.
    pub shards: Vec<Shard>,
    /// Where the listing goes on; `None` at its end.
    pub next: Option<NextToken>,
}

/// What one read returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordsPage {
    /// The records, in order. Often none, even while there are more further on.
    pub records: Vec<Record>,
    /// Where to read next; `None` once a closed shard has been read to its end.
    pub next: Option<ShardIterator>,
    /// How far this answer is behind the shard's tip, in milliseconds; zero when caught up.
    pub millis_behind_latest: Option<u64>,
    /// The shard's children, in the answer that reaches its end.
    pub children: Vec<ChildShard>,
}

/// A record to put. Its `Debug` shows sizes only.
#[derive(Clone, PartialEq, Eq)]
pub struct PutEntry {
    /// What decides on its shard: 1 to 256 characters. A stream that distributes records by itself
    /// needs none: there, it may be empty.
    pub partition_key: String,
    /// Overrides the hash of the partition key.
    pub explicit_hash_key: Option<u128>,
    /// What to put.
    pub data: bytes::Bytes,
}

impl fmt::Debug for PutEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutEntry")
            .field(
                "partition_key",
                &format_args!("({} B)", self.partition_key.len()),
            )
            .field("data", &format_args!("({} B)", self.data.len()))
            .finish_non_exhaustive()
    }
}

/// What became of one record of a [`put_records`](KinesisWriteApi::put_records).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is stored.
    Stored {
        /// The shard it fell on.
        shard: ShardId,
        /// Where it stands there.
        sequence_number: SequenceNumber,
    },
    /// It is not stored: put it again.
    Refused {
        /// The service's code, as `ProvisionedThroughputExceededException`.
        code: String,
        /// The service's sentence.
        message: String,
    },
}
