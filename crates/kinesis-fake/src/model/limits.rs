use std::time::Duration;

mod rate;
mod throughput;

pub(crate) use rate::Rate;
pub(crate) use throughput::{Allowance, Debt};

/// What the service allows, each from the service's own documents.
///
/// The default is strict: where two documents differ, the smaller number holds. `None` lifts a
/// limit.
///
/// ```
/// use kinesis_fake::Limits;
///
/// let mut limits = Limits::default();
/// limits.write_records_per_second = None;
/// assert_eq!(limits.get_records_per_second, Some(5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Calls of GetRecords in any second, for each shard. An empty answer counts; a refused call
    /// does not.
    pub get_records_per_second: Option<u32>,
    /// Bytes a second that GetRecords reads of a shard, data and partition keys. An answer may have
    /// more; what it took too much must be waited out.
    pub read_bytes_per_second: Option<u64>,
    /// How far reading may run ahead of that rate before it is refused.
    pub read_burst: Duration,
    /// Records in an answer of GetRecords, and the largest limit that may be asked for.
    pub records_per_answer: usize,
    /// Bytes in an answer of GetRecords. One record is returned however large it is.
    pub bytes_per_answer: usize,
    /// Calls of GetShardIterator in any second, for each shard.
    pub get_shard_iterator_per_second: Option<u32>,
    /// How long an iterator is good.
    pub iterator_life: Option<Duration>,
    /// How long a token of a listing is good.
    pub token_life: Option<Duration>,
    /// Bytes a second that a shard takes, data and partition keys.
    pub write_bytes_per_second: Option<u64>,
    /// Records a second that a shard takes.
    pub write_records_per_second: Option<u64>,
    /// Records in one PutRecords.
    pub records_per_put: usize,
    /// Bytes in one PutRecords, data and partition keys.
    pub bytes_per_put: usize,
    /// Bytes in a record, data and partition key.
    pub record_bytes: usize,
    /// Characters in a partition key.
    pub partition_key_chars: usize,
    /// Calls of ListShards in any second.
    pub list_shards_per_second: Option<u32>,
    /// Calls of DescribeStream in any second.
    pub describe_stream_per_second: Option<u32>,
    /// Calls of DescribeStreamSummary in any second.
    pub describe_stream_summary_per_second: Option<u32>,
    /// Calls in any second of each operation that makes, changes or removes a stream, and of
    /// ListStreams.
    pub control_per_second: Option<u32>,
    /// Streams that are being made at one moment.
    pub streams_in_creation: usize,
    /// Open shards of all streams.
    pub open_shards: u32,
    /// Bytes that all streams keep: not a limit of the service but of the memory at hand.
    pub stored_bytes: u64,
}

impl Limits {
    /// Lifts them all, for benchmarks. What is left guards memory: [`open_shards`] is 100,000, and
    /// [`stored_bytes`] stays. Iterators and tokens do not expire.
    ///
    /// [`open_shards`]: Self::open_shards
    /// [`stored_bytes`]: Self::stored_bytes
    pub const fn none() -> Self {
        Self {
            get_records_per_second: None,
            read_bytes_per_second: None,
            read_burst: Duration::ZERO,
            records_per_answer: usize::MAX,
            bytes_per_answer: usize::MAX,
            get_shard_iterator_per_second: None,
            iterator_life: None,
            token_life: None,
            write_bytes_per_second: None,
            write_records_per_second: None,
            records_per_put: usize::MAX,
            bytes_per_put: usize::MAX,
            record_bytes: usize::MAX,
            partition_key_chars: usize::MAX,
            list_shards_per_second: None,
            describe_stream_per_second: None,
            describe_stream_summary_per_second: None,
            control_per_second: None,
            streams_in_creation: usize::MAX,
            open_shards: MOST_SHARDS,
            stored_bytes: STORED_BYTES,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            get_records_per_second: Some(GET_RECORDS_PER_SECOND),
            read_bytes_per_second: Some(READ_BYTES_PER_SECOND),
            read_burst: Duration::ZERO,
            records_per_answer: RECORDS_PER_ANSWER,
            bytes_per_answer: BYTES_PER_ANSWER,
            get_shard_iterator_per_second: Some(GET_SHARD_ITERATOR_PER_SECOND),
            iterator_life: Some(ITERATOR_LIFE),
            token_life: Some(TOKEN_LIFE),
            write_bytes_per_second: Some(WRITE_BYTES_PER_SECOND),
            write_records_per_second: Some(WRITE_RECORDS_PER_SECOND),
            records_per_put: RECORDS_PER_PUT,
            bytes_per_put: BYTES_PER_PUT,
            record_bytes: RECORD_BYTES,
            partition_key_chars: PARTITION_KEY_CHARS,
            list_shards_per_second: Some(LIST_SHARDS_PER_SECOND),
            describe_stream_per_second: Some(DESCRIBE_STREAM_PER_SECOND),
            describe_stream_summary_per_second: Some(DESCRIBE_STREAM_SUMMARY_PER_SECOND),
            control_per_second: Some(CONTROL_PER_SECOND),
            streams_in_creation: STREAMS_IN_CREATION,
            open_shards: OPEN_SHARDS,
            stored_bytes: STORED_BYTES,
        }
    }
}

const MIB: usize = 1_024 * 1_024;

// Sources. API: docs.aws.amazon.com/kinesis/latest/APIReference/API_<operation>.html.
// Quotas: docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html.

/// API GetShardIterator, GetRecords; quotas: "up to 5 transactions per second per shard".
pub(crate) const GET_RECORDS_PER_SECOND: u32 = 5;
/// API GetRecords, quotas: "2 MiB per second per shard".
pub(crate) const READ_BYTES_PER_SECOND: u64 = 2 * MIB as u64;
/// API GetRecords: "up to 10,000 records per call".
pub(crate) const RECORDS_PER_ANSWER: usize = 10_000;
/// API GetRecords: "the maximum size of data that GetRecords can return is 10 MiB".
pub(crate) const BYTES_PER_ANSWER: usize = 10 * MIB;
/// API GetShardIterator: "a limit of five transactions per second per account per open shard".
pub(crate) const GET_SHARD_ITERATOR_PER_SECOND: u32 = 5;
/// API GetShardIterator: "expires 5 minutes after it is returned to the requester".
pub(crate) const ITERATOR_LIFE: Duration = Duration::from_secs(300);
/// API ListShards: "tokens expire after 300 seconds".
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// API PutRecords, quotas: "1 MiB per second per shard".
pub(crate) const WRITE_BYTES_PER_SECOND: u64 = MIB as u64;
/// API PutRecords, quotas: "1,000 records per second per shard".
pub(crate) const WRITE_RECORDS_PER_SECOND: u64 = 1_000;
/// API PutRecords: "each request can support up to 500 records".
pub(crate) const RECORDS_PER_PUT: usize = 500;
/// API PutRecords: "up to a limit of 10 MiB for the entire request".
pub(crate) const BYTES_PER_PUT: usize = 10 * MIB;
/// API PutRecord: data and partition key together "must not exceed 1 MiB" unless raised.
pub(crate) const RECORD_BYTES: usize = MIB;
/// API PutRecord: "Unicode strings with a maximum length limit of 256 characters".
pub(crate) const PARTITION_KEY_CHARS: usize = 256;
/// Quotas: ListShards 100 a second; the API's text says 1,000 per stream.
pub(crate) const LIST_SHARDS_PER_SECOND: u32 = 100;
/// Quotas: DescribeStream 10 a second per account.
pub(crate) const DESCRIBE_STREAM_PER_SECOND: u32 = 10;
/// Quotas: DescribeStreamSummary 20 a second per account.
pub(crate) const DESCRIBE_STREAM_SUMMARY_PER_SECOND: u32 = 20;
/// Quotas: CreateStream, DeleteStream, ListStreams, SplitShard, MergeShards and both changes of
/// retention 5 a second per account.
pub(crate) const CONTROL_PER_SECOND: u32 = 5;
/// API CreateStream: no "more than five streams in the CREATING state at any point in time".
pub(crate) const STREAMS_IN_CREATION: usize = 5;
/// Quotas: 500 shards per account in the large regions, 200 elsewhere.
pub(crate) const OPEN_SHARDS: u32 = 500;
/// Ours: what one machine carries easily.
const MOST_SHARDS: u32 = 100_000;
/// Ours: more than any test wants, less than a machine has.
const STORED_BYTES: u64 = 4 * 1_024 * MIB as u64;
