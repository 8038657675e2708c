use std::time::Duration;

mod numbers;
mod rate;
mod throughput;

use numbers::*;

pub(crate) use numbers::{KIB, ON_DEMAND_SHARDS_AT_START, RECORD_KIB, TRAFFIC_WINDOW};
pub(crate) use rate::Rate;
pub(crate) use throughput::{Allowance, Debt};

/// What the service allows, each from the service's own documents.
///
/// The default is strict: where two documents differ, the smaller number holds; but for
/// [`read_records_per_second`](Self::read_records_per_second), see there. `None` lifts a
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
    /// Records a second that GetRecords reads of a shard, as bytes are. `None` by default: one page of
    /// the documents has 2,000 and no other, and nobody reports to have met it. Who would rather be
    /// safe sets [`READ_RECORDS_PER_SECOND`](Self::READ_RECORDS_PER_SECOND).
    pub read_records_per_second: Option<u64>,
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
    /// Bytes that a shard takes at once, of records that are larger than a second's worth. It fills
    /// up at the same rate, and all records draw on it.
    pub write_burst_bytes: u64,
    /// Records a second that a shard takes.
    pub write_records_per_second: Option<u64>,
    /// Records in one PutRecords.
    pub records_per_put: usize,
    /// Bytes in one PutRecords, data and partition keys.
    pub bytes_per_put: usize,
    /// Bytes in a record, data and partition key, unless the stream takes larger ones.
    pub record_bytes: usize,
    /// Characters in a partition key.
    pub partition_key_chars: usize,
    /// Calls of DescribeLimits in any second.
    pub describe_limits_per_second: Option<u32>,
    /// Calls of UpdateShardCount in any second.
    pub update_shard_count_per_second: Option<u32>,
    /// How often a stream's shard count may be updated in any 24 hours.
    pub update_shard_count_per_day: Option<u32>,
    /// How often a stream's mode may be switched in any 24 hours.
    pub mode_switches_per_day: Option<u32>,
    /// How often a stream's encryption may be started in any 24 hours, and how often stopped.
    pub encryption_changes_per_day: Option<u32>,
    /// Tags of a stream or a consumer.
    pub tags: usize,
    /// Streams on demand.
    pub on_demand_streams: usize,
    /// Shards that a stream on demand grows to at most.
    pub on_demand_shards: u32,
    /// How long after its traffic has grown a stream on demand grows.
    pub on_demand_growth: Duration,
    /// Calls of ListShards in any second.
    pub list_shards_per_second: Option<u32>,
    /// Calls of DescribeStream in any second.
    pub describe_stream_per_second: Option<u32>,
    /// Calls of DescribeStreamSummary in any second.
    pub describe_stream_summary_per_second: Option<u32>,
    /// Calls in any second of each operation that makes, changes or removes a stream, of ListStreams,
    /// and of each that is about tags, policies or the account's settings.
    pub control_per_second: Option<u32>,
    /// Streams that are being made at one moment.
    pub streams_in_creation: usize,
    /// Open shards of all streams that are provisioned.
    pub open_shards: u32,
    /// Calls in any second of each: RegisterStreamConsumer, DeregisterStreamConsumer and
    /// ListStreamConsumers.
    pub consumers_per_second: Option<u32>,
    /// Calls of DescribeStreamConsumer in any second, for each stream.
    pub describe_stream_consumer_per_second: Option<u32>,
    /// Consumers of a stream.
    pub consumers_per_stream: usize,
    /// Consumers of a stream on demand while the account has On-demand Advantage: a
    /// [commitment](crate::model::Commitment).
    pub consumers_per_advantage_stream: usize,
    /// Consumers of a stream that are being registered at one moment.
    pub consumers_in_creation: usize,
    /// Calls of SubscribeToShard in any second, for each consumer and shard.
    pub subscribe_to_shard_per_second: Option<u32>,
    /// How long after a SubscribeToShard that succeeded another one for the same consumer and shard
    /// is refused. From then on it takes over.
    pub resubscribe_after: Duration,
    /// How long a subscription lasts.
    pub subscription_life: Option<Duration>,
    /// Bytes a second that a subscription sends, data and partition keys. An event may have more;
    /// the next one then waits.
    pub subscription_bytes_per_second: Option<u64>,
    /// Records in an event of a subscription.
    pub records_per_event: usize,
    /// Bytes in an event of a subscription. One record is sent however large it is.
    pub bytes_per_event: usize,
    /// How long an event may wait for its subscriber to take it before the connection breaks.
    pub subscriber_stall: Option<Duration>,
    /// Bytes that all streams keep: not a limit of the service but of the memory at hand.
    pub stored_bytes: u64,
}

impl Limits {
    /// Records a second that a shard is read at, by one page of the documents.
    pub const READ_RECORDS_PER_SECOND: u64 = READ_RECORDS_PER_SECOND;

    /// The service's, but for reading: it may run a second ahead of its rate in bytes, as people see
    /// bursts that the documents do not promise.
    pub fn lenient() -> Self {
        Self {
            read_burst: LENIENT_READ_BURST,
            ..Self::default()
        }
    }

    /// Lifts them all, for benchmarks. What is left guards memory: [`open_shards`] is 100,000, and
    /// [`stored_bytes`] stays. Iterators and tokens do not expire.
    ///
    /// [`open_shards`]: Self::open_shards
    /// [`stored_bytes`]: Self::stored_bytes
    pub const fn none() -> Self {
        Self {
            get_records_per_second: None,
            read_bytes_per_second: None,
            read_records_per_second: None,
            read_burst: Duration::ZERO,
            records_per_answer: usize::MAX,
            bytes_per_answer: usize::MAX,
            get_shard_iterator_per_second: None,
            iterator_life: None,
            token_life: None,
            write_bytes_per_second: None,
            write_burst_bytes: u64::MAX,
            write_records_per_second: None,
            records_per_put: usize::MAX,
            bytes_per_put: usize::MAX,
            record_bytes: usize::MAX,
            partition_key_chars: usize::MAX,
            describe_limits_per_second: None,
            update_shard_count_per_second: None,
            update_shard_count_per_day: None,
            mode_switches_per_day: None,
            encryption_changes_per_day: None,
            tags: TAGS,
            on_demand_streams: usize::MAX,
            on_demand_shards: ON_DEMAND_SHARDS,
            on_demand_growth: ON_DEMAND_GROWTH,
            list_shards_per_second: None,
            describe_stream_per_second: None,
            describe_stream_summary_per_second: None,
            control_per_second: None,
            streams_in_creation: usize::MAX,
            open_shards: MOST_SHARDS,
            consumers_per_second: None,
            describe_stream_consumer_per_second: None,
            consumers_per_stream: MOST_CONSUMERS,
            consumers_per_advantage_stream: MOST_CONSUMERS,
            consumers_in_creation: usize::MAX,
            subscribe_to_shard_per_second: None,
            resubscribe_after: Duration::ZERO,
            subscription_life: None,
            subscription_bytes_per_second: None,
            records_per_event: RECORDS_PER_EVENT,
            bytes_per_event: BYTES_PER_EVENT,
            subscriber_stall: None,
            stored_bytes: STORED_BYTES,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            get_records_per_second: Some(GET_RECORDS_PER_SECOND),
            read_bytes_per_second: Some(READ_BYTES_PER_SECOND),
            read_records_per_second: None,
            read_burst: Duration::ZERO,
            records_per_answer: RECORDS_PER_ANSWER,
            bytes_per_answer: BYTES_PER_ANSWER,
            get_shard_iterator_per_second: Some(GET_SHARD_ITERATOR_PER_SECOND),
            iterator_life: Some(ITERATOR_LIFE),
            token_life: Some(TOKEN_LIFE),
            write_bytes_per_second: Some(WRITE_BYTES_PER_SECOND),
            write_burst_bytes: WRITE_BURST_BYTES,
            write_records_per_second: Some(WRITE_RECORDS_PER_SECOND),
            records_per_put: RECORDS_PER_PUT,
            bytes_per_put: BYTES_PER_PUT,
            record_bytes: RECORD_BYTES,
            partition_key_chars: PARTITION_KEY_CHARS,
            describe_limits_per_second: Some(DESCRIBE_LIMITS_PER_SECOND),
            update_shard_count_per_second: Some(UPDATE_SHARD_COUNT_PER_SECOND),
            update_shard_count_per_day: Some(UPDATE_SHARD_COUNT_PER_DAY),
            mode_switches_per_day: Some(MODE_SWITCHES_PER_DAY),
            encryption_changes_per_day: Some(ENCRYPTION_CHANGES_PER_DAY),
            tags: TAGS,
            on_demand_streams: ON_DEMAND_STREAMS,
            on_demand_shards: ON_DEMAND_SHARDS,
            on_demand_growth: ON_DEMAND_GROWTH,
            list_shards_per_second: Some(LIST_SHARDS_PER_SECOND),
            describe_stream_per_second: Some(DESCRIBE_STREAM_PER_SECOND),
            describe_stream_summary_per_second: Some(DESCRIBE_STREAM_SUMMARY_PER_SECOND),
            control_per_second: Some(CONTROL_PER_SECOND),
            streams_in_creation: STREAMS_IN_CREATION,
            open_shards: OPEN_SHARDS,
            consumers_per_second: Some(CONSUMERS_PER_SECOND),
            describe_stream_consumer_per_second: Some(DESCRIBE_STREAM_CONSUMER_PER_SECOND),
            consumers_per_stream: CONSUMERS_PER_STREAM,
            consumers_per_advantage_stream: CONSUMERS_PER_ADVANTAGE_STREAM,
            consumers_in_creation: CONSUMERS_IN_CREATION,
            subscribe_to_shard_per_second: Some(SUBSCRIBE_TO_SHARD_PER_SECOND),
            resubscribe_after: RESUBSCRIBE_AFTER,
            subscription_life: Some(SUBSCRIPTION_LIFE),
            subscription_bytes_per_second: Some(SUBSCRIPTION_BYTES_PER_SECOND),
            records_per_event: RECORDS_PER_EVENT,
            bytes_per_event: BYTES_PER_EVENT,
            subscriber_stall: Some(SUBSCRIBER_STALL),
            stored_bytes: STORED_BYTES,
        }
    }
}
