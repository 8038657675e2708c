use std::{ops::RangeInclusive, time::Duration};

mod numbers;
mod rate;
mod throughput;

use numbers::*;

pub(crate) use numbers::{KIB, MOST_BYTES_AT_ONCE, MOST_RECORDS_AT_ONCE, RETENTION_HOURS};
pub(crate) use rate::Rate;
pub(crate) use throughput::{Allowance, Debt};

/// What the service allows, each from the service's own documents.
///
/// The default is strict: where two documents differ, the smaller number holds. `None` lifts a limit.
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
    /// Records a second that GetRecords reads of a shard, as bytes are. One page of the documents has
    /// 2,000, that of the quotas, and no other has a number: the stricter holds. Nobody reports to have
    /// met it: [`lenient`](Self::lenient) has none.
    pub read_records_per_second: Option<u64>,
    /// How far reading may run ahead of that rate before it is refused.
    pub read_burst: Duration,
    /// Records in an answer of GetRecords, and the largest limit that may be asked for.
    pub records_per_answer: usize,
    /// Bytes in an answer of GetRecords. One record is returned however large it is.
    pub bytes_per_answer: usize,
    /// Calls of GetShardIterator in any second, for each shard.
    pub get_shard_iterator_per_second: Option<u32>,
    /// Calls in any second, for each stream, that are only to be checked (`DryRun`), of all operations
    /// together.
    pub dry_runs_per_second: Option<u32>,
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
    /// How large UpdateMaxRecordSize and CreateStream may let records be, in KiB.
    pub record_kib: RangeInclusive<u32>,
    /// Characters in a partition key.
    pub partition_key_chars: usize,
    /// How long IncreaseStreamRetentionPeriod and DecreaseStreamRetentionPeriod may let records be
    /// kept, in hours.
    pub retention_hours: RangeInclusive<u32>,
    /// Calls of DescribeLimits in any second.
    pub describe_limits_per_second: Option<u32>,
    /// Calls of UpdateShardCount in any second.
    pub update_shard_count_per_second: Option<u32>,
    /// How often a stream's shard count may be updated in any 24 hours.
    pub update_shard_count_per_day: Option<u32>,
    /// How many times as many shards as there are UpdateShardCount may ask for; as few as that part
    /// of them, too.
    pub update_shard_count_factor: Option<u32>,
    /// Shards that UpdateShardCount may ask for.
    pub update_shard_count_shards: u32,
    /// How often a stream's mode may be switched in any 24 hours.
    pub mode_switches_per_day: Option<u32>,
    /// How often a stream's encryption may be started in any 24 hours, and how often stopped.
    pub encryption_changes_per_day: Option<u32>,
    /// Tags of a stream or a consumer.
    pub tags: usize,
    /// Characters in a tag's key.
    pub tag_key_chars: usize,
    /// Characters in a tag's value.
    pub tag_value_chars: usize,
    /// Bytes in a policy.
    pub policy_bytes: usize,
    /// How long an account is [committed](crate::model::Commitment) at least.
    pub commitment: Duration,
    /// Streams on demand.
    pub on_demand_streams: usize,
    /// Shards that a stream on demand begins with: one at least.
    pub on_demand_shards_at_start: u32,
    /// Shards that a stream on demand grows to at most.
    pub on_demand_shards: u32,
    /// How long after its traffic has grown a stream on demand grows.
    pub on_demand_growth: Duration,
    /// Over how long the traffic of a stream on demand is counted, before it is told whether that has
    /// grown.
    pub on_demand_window: Duration,
    /// How many times that traffic a stream on demand has shards for.
    pub on_demand_headroom: u32,
    /// Calls of ListShards in any second, for all streams together: one document has 100 and says
    /// nothing of streams. For the other, which has 1,000 for each stream, lift this one.
    pub list_shards_per_second: Option<u32>,
    /// Calls of ListShards in any second, for each stream.
    pub list_shards_per_second_of_stream: Option<u32>,
    /// Shards in a page of ListShards, however many are asked for. A page has one at least, as all
    /// pages have.
    pub shards_per_page: usize,
    /// Shards in an answer of DescribeStream, however many are asked for.
    pub shards_per_description: usize,
    /// Streams in a page of ListStreams, however many are asked for.
    pub streams_per_page: usize,
    /// Consumers in a page of ListStreamConsumers, however many are asked for.
    pub consumers_per_page: usize,
    /// Tags in a page of ListTagsForStream, and the most that may be asked for.
    pub tags_per_page: usize,
    /// The most that may be asked for in a page of shards, streams or consumers, and in a
    /// description.
    pub results_asked_for: usize,
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
    /// Records in an event of a subscription: 100,000 at most, whatever is said.
    pub records_per_event: usize,
    /// Bytes in an event of a subscription: 32 MiB at most, whatever is said. One record is sent however large it is.
    pub bytes_per_event: usize,
    /// How long an event may wait for its subscriber to take it before the connection breaks: of the
    /// subscriber's time, whatever the [clock's rate](crate::Builder::clock_rate).
    pub subscriber_stall: Option<Duration>,
    /// Bytes that all streams keep: not a limit of the service but of the memory at hand. A record
    /// takes 168 besides its data and its key.
    pub stored_bytes: u64,
}

impl Limits {
    /// The service's, but for reading: it may run a second ahead of its rate in bytes, as people see
    /// bursts that the documents do not promise; and only bytes are counted, not records, as in all
    /// documents but one.
    pub fn lenient() -> Self {
        Self {
            read_burst: LENIENT_READ_BURST,
            read_records_per_second: None,
            ..Self::default()
        }
    }

    /// Lifts them all, for benchmarks. What is left guards memory: [`open_shards`] is 100,000, and
    /// [`stored_bytes`] stays; over HTTP, an answer has 32 MiB and 100,000 records at most. Iterators and tokens do not expire. What holds nobody up stays as it
    /// is: pages, tags and policies, the ranges of settings, how a stream on demand grows.
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
            dry_runs_per_second: None,
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
            update_shard_count_factor: None,
            update_shard_count_shards: u32::MAX,
            mode_switches_per_day: None,
            encryption_changes_per_day: None,
            on_demand_streams: usize::MAX,
            list_shards_per_second: None,
            list_shards_per_second_of_stream: None,
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
            subscriber_stall: None,
            ..Self::standard()
        }
    }

    /// The service's.
    const fn standard() -> Self {
        Self {
            get_records_per_second: Some(GET_RECORDS_PER_SECOND),
            read_bytes_per_second: Some(READ_BYTES_PER_SECOND),
            read_records_per_second: Some(READ_RECORDS_PER_SECOND),
            read_burst: Duration::ZERO,
            records_per_answer: RECORDS_PER_ANSWER,
            bytes_per_answer: BYTES_PER_ANSWER,
            get_shard_iterator_per_second: Some(GET_SHARD_ITERATOR_PER_SECOND),
            dry_runs_per_second: Some(DRY_RUNS_PER_SECOND),
            iterator_life: Some(ITERATOR_LIFE),
            token_life: Some(TOKEN_LIFE),
            write_bytes_per_second: Some(WRITE_BYTES_PER_SECOND),
            write_burst_bytes: WRITE_BURST_BYTES,
            write_records_per_second: Some(WRITE_RECORDS_PER_SECOND),
            records_per_put: RECORDS_PER_PUT,
            bytes_per_put: BYTES_PER_PUT,
            record_bytes: RECORD_BYTES,
            record_kib: RECORD_KIB,
            partition_key_chars: PARTITION_KEY_CHARS,
            retention_hours: RETENTION_HOURS,
            describe_limits_per_second: Some(DESCRIBE_LIMITS_PER_SECOND),
            update_shard_count_per_second: Some(UPDATE_SHARD_COUNT_PER_SECOND),
            update_shard_count_per_day: Some(UPDATE_SHARD_COUNT_PER_DAY),
            update_shard_count_factor: Some(UPDATE_SHARD_COUNT_FACTOR),
            update_shard_count_shards: UPDATE_SHARD_COUNT_SHARDS,
            mode_switches_per_day: Some(MODE_SWITCHES_PER_DAY),
            encryption_changes_per_day: Some(ENCRYPTION_CHANGES_PER_DAY),
            tags: TAGS,
            tag_key_chars: TAG_KEY_CHARS,
            tag_value_chars: TAG_VALUE_CHARS,
            policy_bytes: POLICY_BYTES,
            commitment: COMMITMENT,
            on_demand_streams: ON_DEMAND_STREAMS,
            on_demand_shards_at_start: ON_DEMAND_SHARDS_AT_START,
            on_demand_shards: ON_DEMAND_SHARDS,
            on_demand_growth: ON_DEMAND_GROWTH,
            on_demand_window: ON_DEMAND_WINDOW,
            on_demand_headroom: ON_DEMAND_HEADROOM,
            list_shards_per_second: Some(LIST_SHARDS_PER_SECOND),
            list_shards_per_second_of_stream: Some(LIST_SHARDS_PER_SECOND_OF_STREAM),
            shards_per_page: SHARDS_PER_PAGE,
            shards_per_description: SHARDS_PER_DESCRIPTION,
            streams_per_page: STREAMS_PER_PAGE,
            consumers_per_page: CONSUMERS_PER_PAGE,
            tags_per_page: TAGS_PER_PAGE,
            results_asked_for: RESULTS_ASKED_FOR,
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

impl Default for Limits {
    fn default() -> Self {
        Self::standard()
    }
}
