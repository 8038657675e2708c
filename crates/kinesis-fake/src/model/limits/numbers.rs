//! What the service allows, number by number, and where that is said.

use std::{ops::RangeInclusive, time::Duration};

pub(crate) const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

// Sources. API: docs.aws.amazon.com/kinesis/latest/APIReference/API_<operation>.html.
// Quotas: docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html.

/// API GetShardIterator, GetRecords; quotas: "up to 5 transactions per second per shard".
pub(crate) const GET_RECORDS_PER_SECOND: u32 = 5;
/// API GetRecords, quotas: "2 MiB per second per shard".
pub(crate) const READ_BYTES_PER_SECOND: u64 = 2 * MIB as u64;
/// Quotas: "up to 2 MB/sec or 2,000 records/sec read throughput"; no other page has it.
pub(crate) const READ_RECORDS_PER_SECOND: u64 = 2_000;
/// API GetRecords: "up to 10,000 records per call".
pub(crate) const RECORDS_PER_ANSWER: usize = 10_000;
/// API GetRecords: "the maximum size of data that GetRecords can return is 10 MiB".
pub(crate) const BYTES_PER_ANSWER: usize = 10 * MIB;
/// API GetShardIterator: "a limit of five transactions per second per account per open shard".
pub(crate) const GET_SHARD_ITERATOR_PER_SECOND: u32 = 5;
/// Guide "Test your permissions and request inputs with dry run": 1 a second per stream, shared by all
/// operations that can be.
pub(crate) const DRY_RUNS_PER_SECOND: u32 = 1;
/// API GetShardIterator: "expires 5 minutes after it is returned to the requester".
pub(crate) const ITERATOR_LIFE: Duration = Duration::from_secs(300);
/// How far a lenient service lets reading run ahead; not documented.
pub(crate) const LENIENT_READ_BURST: Duration = Duration::from_secs(1);
/// API ListShards: "tokens expire after 300 seconds".
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// API PutRecords, quotas: "1 MiB per second per shard".
pub(crate) const WRITE_BYTES_PER_SECOND: u64 = MIB as u64;
/// API PutRecords, quotas: "1,000 records per second per shard".
pub(crate) const WRITE_RECORDS_PER_SECOND: u64 = 1_000;
/// Guide "Handle large records": it "bursts up to 10 MiBs, while averaging out to 1 MiB per second".
pub(crate) const WRITE_BURST_BYTES: u64 = 10 * MIB as u64;
/// API UpdateMaxRecordSize: "between 1024 and 10240 KiB".
pub(crate) const RECORD_KIB: RangeInclusive<u32> = 1_024..=10_240;
/// API IncreaseStreamRetentionPeriod: 24 hours is the default, and the least there is; 8,760 the most.
pub(crate) const RETENTION_HOURS: RangeInclusive<u32> = 24..=8_760;
/// API DescribeLimits: "one transaction per second per account".
pub(crate) const DESCRIBE_LIMITS_PER_SECOND: u32 = 1;
/// API UpdateShardCount: not "over 10 TPS".
pub(crate) const UPDATE_SHARD_COUNT_PER_SECOND: u32 = 10;
/// API UpdateShardCount: not "more than ten times per rolling 24-hour period per stream".
pub(crate) const UPDATE_SHARD_COUNT_PER_DAY: u32 = 10;
/// API UpdateShardCount: not "more than double" nor "below half your current shard count".
pub(crate) const UPDATE_SHARD_COUNT_FACTOR: u32 = 2;
/// API UpdateShardCount: not "more than 10000 shards in a stream".
pub(crate) const UPDATE_SHARD_COUNT_SHARDS: u32 = 10_000;
/// Guide "Choose the right mode": "switch between modes two times within 24 hours".
pub(crate) const MODE_SWITCHES_PER_DAY: u32 = 2;
/// API StartStreamEncryption, StopStreamEncryption: "25 times in a rolling 24-hour period", each.
pub(crate) const ENCRYPTION_CHANGES_PER_DAY: u32 = 25;
/// API AddTagsToStream, TagResource: "up to 50 tags".
pub(crate) const TAGS: usize = 50;
/// API Tag: the longest key.
pub(crate) const TAG_KEY_CHARS: usize = 128;
/// API Tag: the longest value.
pub(crate) const TAG_VALUE_CHARS: usize = 256;
/// Ours: as large as policies of other services may be.
pub(crate) const POLICY_BYTES: usize = 20 * KIB;
/// Guide "On-demand Advantage": the promise is for a day at least.
pub(crate) const COMMITMENT: Duration = Duration::from_secs(24 * 3_600);
/// Quotas: 50 streams on demand per account.
pub(crate) const ON_DEMAND_STREAMS: usize = 50;
/// Guide "Choose the right mode": "4 MB/s and 4,000 records per second for writes" at first.
pub(crate) const ON_DEMAND_SHARDS_AT_START: u32 = 4;
/// Quotas: a stream on demand writes 200 MB/s by default in the smaller regions.
pub(crate) const ON_DEMAND_SHARDS: u32 = 200;
/// Guide "Choose the right mode": throttled if traffic "more than doubles within 15 minutes".
pub(crate) const ON_DEMAND_GROWTH: Duration = Duration::from_secs(15 * 60);
/// Not documented: over how long the traffic of a stream on demand is averaged.
pub(crate) const ON_DEMAND_WINDOW: Duration = Duration::from_secs(60);
/// Guide "Choose the right mode": it takes "up to double" the traffic that it had at its peak.
pub(crate) const ON_DEMAND_HEADROOM: u32 = 2;
/// API PutRecords: "each request can support up to 500 records".
pub(crate) const RECORDS_PER_PUT: usize = 500;
/// API PutRecords: "up to a limit of 10 MiB for the entire request".
pub(crate) const BYTES_PER_PUT: usize = 10 * MIB;
/// API PutRecord: data and partition key together "must not exceed 1 MiB" unless raised.
pub(crate) const RECORD_BYTES: usize = MIB;
/// API PutRecord: "Unicode strings with a maximum length limit of 256 characters".
pub(crate) const PARTITION_KEY_CHARS: usize = 256;
/// Quotas: ListShards 100 a second.
pub(crate) const LIST_SHARDS_PER_SECOND: u32 = 100;
/// API ListShards: "1000 transactions per second per data stream".
pub(crate) const LIST_SHARDS_PER_SECOND_OF_STREAM: u32 = 1_000;
/// API ListShards: "the default value is 1000. If you specify a value greater than 1000, at most 1000
/// results are returned".
pub(crate) const SHARDS_PER_PAGE: usize = 1_000;
/// API DescribeStream: the same of 100.
pub(crate) const SHARDS_PER_DESCRIPTION: usize = 100;
/// API ListStreams: the same of 100.
pub(crate) const STREAMS_PER_PAGE: usize = 100;
/// API ListStreamConsumers: the same of 100.
pub(crate) const CONSUMERS_PER_PAGE: usize = 100;
/// API ListTagsForStream: a limit of 1 to 50.
pub(crate) const TAGS_PER_PAGE: usize = 50;
/// API ListShards, DescribeStream, ListStreams, ListStreamConsumers: 1 to 10,000 may be asked for.
pub(crate) const RESULTS_ASKED_FOR: usize = 10_000;
/// Quotas: DescribeStream 10 a second per account.
pub(crate) const DESCRIBE_STREAM_PER_SECOND: u32 = 10;
/// Quotas: DescribeStreamSummary 20 a second per account.
pub(crate) const DESCRIBE_STREAM_SUMMARY_PER_SECOND: u32 = 20;
/// Quotas: CreateStream, DeleteStream, ListStreams, SplitShard, MergeShards, both changes of retention,
/// those of tags, encryption and monitoring 5 a second per account; API DescribeAccountSettings,
/// UpdateAccountSettings and UpdateStreamWarmThroughput the same. The others are taken for like them.
pub(crate) const CONTROL_PER_SECOND: u32 = 5;
/// API CreateStream: no "more than five streams in the CREATING state at any point in time".
pub(crate) const STREAMS_IN_CREATION: usize = 5;
/// Quotas: 200 shards per account; 500 in us-east-1, us-west-2 and eu-west-1.
pub(crate) const OPEN_SHARDS: u32 = 200;
/// API RegisterStreamConsumer (per account), DeregisterStreamConsumer, ListStreamConsumers (per
/// stream): five a second.
pub(crate) const CONSUMERS_PER_SECOND: u32 = 5;
/// API DescribeStreamConsumer: "20 transactions per second per stream".
pub(crate) const DESCRIBE_STREAM_CONSUMER_PER_SECOND: u32 = 20;
/// API RegisterStreamConsumer: 20 for "On-demand Standard and Provisioned streams".
pub(crate) const CONSUMERS_PER_STREAM: usize = 20;
/// API RegisterStreamConsumer: 50 for "On-demand Advantage streams".
pub(crate) const CONSUMERS_PER_ADVANTAGE_STREAM: usize = 50;
/// API RegisterStreamConsumer: "you cannot have more than 5 consumers in a CREATING status".
pub(crate) const CONSUMERS_IN_CREATION: usize = 5;
/// API SubscribeToShard: "one call to SubscribeToShard per second per registered consumer per
/// shard".
pub(crate) const SUBSCRIBE_TO_SHARD_PER_SECOND: u32 = 1;
/// API SubscribeToShard: "within 5 seconds of a successful call, you'll get a
/// ResourceInUseException".
pub(crate) const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(5);
/// API SubscribeToShard: "for up to 5 minutes".
pub(crate) const SUBSCRIPTION_LIFE: Duration = Duration::from_secs(300);
/// API RegisterStreamConsumer: "up to 2 MiB per second for every shard".
pub(crate) const SUBSCRIPTION_BYTES_PER_SECOND: u64 = 2 * MIB as u64;
/// Not documented; as many as GetRecords may return.
pub(crate) const RECORDS_PER_EVENT: usize = 10_000;
/// Not documented; half a second's worth.
pub(crate) const BYTES_PER_EVENT: usize = MIB;
/// Not documented; after 30 s HTTP clients gave up in turn (amazon-kinesis-connector-flink #3).
pub(crate) const SUBSCRIBER_STALL: Duration = Duration::from_secs(30);
/// Ours: what one machine carries easily.
pub(crate) const MOST_CONSUMERS: usize = 10_000;
/// Bytes in an answer or an event that is held in memory as a whole, whatever is lifted.
pub(crate) const MOST_BYTES_AT_ONCE: u64 = 32 * 1_024 * KIB as u64;
/// Records in such an answer or event: each takes memory beside its bytes.
pub(crate) const MOST_RECORDS_AT_ONCE: usize = 100_000;
/// Ours: what one machine carries easily.
pub(crate) const MOST_SHARDS: u32 = 100_000;
/// Ours: more than any test wants, less than a machine has.
pub(crate) const STORED_BYTES: u64 = 4 * 1_024 * MIB as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Limits;

    /// Written out once more: who changes a number means to. The sources are above.
    #[test]
    fn the_numbers_are_those_of_the_documents() {
        let seconds = Duration::from_secs;
        assert_eq!(
            Limits::default(),
            Limits {
                get_records_per_second: Some(5),
                read_bytes_per_second: Some(2_097_152),
                read_records_per_second: Some(2_000),
                read_burst: Duration::ZERO,
                records_per_answer: 10_000,
                bytes_per_answer: 10_485_760,
                get_shard_iterator_per_second: Some(5),
                dry_runs_per_second: Some(1),
                iterator_life: Some(seconds(300)),
                token_life: Some(seconds(300)),
                write_bytes_per_second: Some(1_048_576),
                write_burst_bytes: 10_485_760,
                write_records_per_second: Some(1_000),
                records_per_put: 500,
                bytes_per_put: 10_485_760,
                record_bytes: 1_048_576,
                record_kib: 1_024..=10_240,
                partition_key_chars: 256,
                retention_hours: 24..=8_760,
                describe_limits_per_second: Some(1),
                update_shard_count_per_second: Some(10),
                update_shard_count_per_day: Some(10),
                update_shard_count_factor: Some(2),
                update_shard_count_shards: 10_000,
                mode_switches_per_day: Some(2),
                encryption_changes_per_day: Some(25),
                tags: 50,
                tag_key_chars: 128,
                tag_value_chars: 256,
                policy_bytes: 20_480,
                commitment: seconds(86_400),
                on_demand_streams: 50,
                on_demand_shards_at_start: 4,
                on_demand_shards: 200,
                on_demand_growth: seconds(900),
                on_demand_window: seconds(60),
                on_demand_headroom: 2,
                list_shards_per_second: Some(100),
                list_shards_per_second_of_stream: Some(1_000),
                shards_per_page: 1_000,
                shards_per_description: 100,
                streams_per_page: 100,
                consumers_per_page: 100,
                tags_per_page: 50,
                results_asked_for: 10_000,
                describe_stream_per_second: Some(10),
                describe_stream_summary_per_second: Some(20),
                control_per_second: Some(5),
                streams_in_creation: 5,
                open_shards: 200,
                consumers_per_second: Some(5),
                describe_stream_consumer_per_second: Some(20),
                consumers_per_stream: 20,
                consumers_per_advantage_stream: 50,
                consumers_in_creation: 5,
                subscribe_to_shard_per_second: Some(1),
                resubscribe_after: seconds(5),
                subscription_life: Some(seconds(300)),
                subscription_bytes_per_second: Some(2_097_152),
                records_per_event: 10_000,
                bytes_per_event: 1_048_576,
                subscriber_stall: Some(seconds(30)),
                stored_bytes: 4_294_967_296,
            }
        );
        let lenient = Limits::lenient();
        assert_eq!(lenient.read_burst, seconds(1));
        assert_eq!(lenient.read_records_per_second, None);
        let none = Limits::none();
        assert_eq!((none.tags, none.on_demand_shards), (50, 200));
        assert_eq!(
            (none.open_shards, none.consumers_per_stream),
            (100_000, 10_000)
        );
    }
}
