use kinesis_source::{NextToken, ShardId, ShardsPage, StreamSummary};
use serde::{Deserialize, Serialize};

use super::{Call, account::WarmOut, monitoring::names};
use crate::{
    faults::About,
    model::{
        Listing, Moment, RecordDistribution, Refusal, Service, ShardFilter, StreamMode, status_name,
    },
    serve::{
        check::Check,
        wire::{ShardOut, Time, check_stream, count, encryption_type, stream_name},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListShards {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    exclusive_start_shard_id: Option<String>,
    max_results: Option<i64>,
    stream_creation_timestamp: Option<Time>,
    #[serde(default, deserialize_with = "crate::serve::wire::object")]
    shard_filter: Option<FilterIn>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FilterIn {
    r#type: Option<String>,
    shard_id: Option<String>,
    timestamp: Option<Time>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardsAnswer {
    shards: Vec<ShardOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Call for ListShards {
    type Outcome = ShardsPage;
    type Answer = ShardsAnswer;

    fn about(&self) -> About {
        let token = self.next_token.clone().map(NextToken);
        token.map_or(About::Whole, About::Token)
    }

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        check.length("nextToken", self.next_token.as_deref(), 1..=MOST_TOKEN);
        let start = self.exclusive_start_shard_id.as_deref();
        check.name("exclusiveStartShardId", start);
        check.results("maxResults", self.max_results);
        if let Some(filter) = &self.shard_filter {
            let kind = filter.r#type.as_deref();
            check.required("shardFilter.type", kind);
            check.one_of("shardFilter.type", kind, &FILTERS);
            check.name("shardFilter.shardId", filter.shard_id.as_deref());
        }
    }

    fn size(page: &ShardsPage) -> usize {
        page.shards.len() * SHARD_SIZE
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<ShardsPage, Refusal> {
        let max_results = count(self.max_results);
        let token = self.next_token.clone().map(NextToken);
        let listing = match &token {
            Some(token) => {
                self.check_token_alone()?;
                let arn = self.stream_arn.as_deref();
                Listing::Next {
                    stream: arn
                        .map(|arn| stream_name(service, None, Some(arn)))
                        .transpose()?,
                    token,
                    max_results,
                }
            }
            None => {
                let stream = stream_name(
                    service,
                    self.stream_name.as_deref(),
                    self.stream_arn.as_deref(),
                )?;
                if let Some(created) = self.stream_creation_timestamp {
                    service.check_created(stream, created.into(), now)?;
                }
                Listing::First {
                    stream,
                    filter: self.filter()?,
                    max_results,
                }
            }
        };
        service.list_shards(&listing, now)
    }
}

impl From<ShardsPage> for ShardsAnswer {
    fn from(page: ShardsPage) -> Self {
        Self {
            shards: page.shards.into_iter().map(ShardOut::from).collect(),
            next_token: page.next.map(|token| token.0),
        }
    }
}

impl ListShards {
    /// A token knows the stream and the filter, and the service wants neither said again.
    fn check_token_alone(&self) -> Result<(), Refusal> {
        let said = [
            ("StreamName", self.stream_name.is_some()),
            (
                "ExclusiveStartShardId",
                self.exclusive_start_shard_id.is_some(),
            ),
            ("ShardFilter", self.shard_filter.is_some()),
            (
                "StreamCreationTimestamp",
                self.stream_creation_timestamp.is_some(),
            ),
        ];
        match said.into_iter().find(|(_, said)| *said) {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::invalid_argument(format!(
                "NextToken and {name} cannot be provided together."
            ))),
        }
    }

    fn filter(&self) -> Result<ShardFilter, Refusal> {
        match (&self.exclusive_start_shard_id, &self.shard_filter) {
            (None, None) => Ok(ShardFilter::default()),
            (Some(id), None) => Ok(ShardFilter::AfterShardId(ShardId::new(&**id))),
            (None, Some(filter)) => filter.meant(),
            (Some(_), Some(_)) => Err(Refusal::invalid_argument(
                "ExclusiveStartShardId and ShardFilter cannot be provided together.",
            )),
        }
    }
}

impl FilterIn {
    fn meant(&self) -> Result<ShardFilter, Refusal> {
        let kind = self.r#type.as_deref().unwrap_or_default();
        match (kind, &self.shard_id, self.timestamp) {
            ("AFTER_SHARD_ID", Some(id), _) => Ok(ShardFilter::AfterShardId(ShardId::new(&**id))),
            ("AT_TRIM_HORIZON", ..) => Ok(ShardFilter::AtTrimHorizon),
            ("FROM_TRIM_HORIZON", ..) => Ok(ShardFilter::FromTrimHorizon),
            ("AT_LATEST", ..) => Ok(ShardFilter::AtLatest),
            ("AT_TIMESTAMP", _, Some(time)) => Ok(ShardFilter::AtTimestamp(time.into())),
            ("FROM_TIMESTAMP", _, Some(time)) => Ok(ShardFilter::FromTimestamp(time.into())),
            (kind, ..) => Err(Refusal::invalid_argument(format!(
                "ShardFilter of type {kind:.60} is incomplete: it lacks its ShardId or Timestamp."
            ))),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeStream {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamAnswer {
    stream_description: Description,
}

impl Call for DescribeStream {
    type Outcome = StreamAnswer;
    type Answer = StreamAnswer;

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        check.results("limit", self.limit);
        let start = self.exclusive_start_shard_id.as_deref();
        check.name("exclusiveStartShardId", start);
    }

    fn size(answer: &StreamAnswer) -> usize {
        let shards = answer.stream_description.shards.as_ref();
        shards.map_or(0, Vec::len) * SHARD_SIZE
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<StreamAnswer, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        let most = count(self.limit).unwrap_or(usize::MAX);
        let after = self.exclusive_start_shard_id.as_deref().map(ShardId::new);
        let (summary, shards, more) = service.describe_stream(stream, after.as_ref(), most, now)?;
        let capacity = service.capacity(stream, now)?;
        Ok(StreamAnswer {
            stream_description: Description {
                shards: Some(shards.into_iter().map(ShardOut::from).collect()),
                has_more_shards: Some(more),
                ..Description::summary(summary, capacity.mode, service, now)?
            },
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeStreamSummary {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SummaryAnswer {
    stream_description_summary: Description,
}

impl Call for DescribeStreamSummary {
    type Outcome = SummaryAnswer;
    type Answer = SummaryAnswer;

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<SummaryAnswer, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        let summary = service.describe_stream_summary(stream, now)?;
        let capacity = service.capacity(stream, now)?;
        let open_shards = summary.open_shards;
        // Also where no limit holds: clients know no other sizes.
        let most_kib = *service.settings().limits.record_kib.end() as usize;
        Ok(SummaryAnswer {
            stream_description_summary: Description {
                open_shard_count: Some(open_shards),
                consumer_count: Some(capacity.consumers),
                max_record_size_in_kib: Some(most_kib.min(capacity.record_bytes / 1_024)),
                record_distribution_strategy: Some(strategy_name(capacity.distribution)),
                warm_throughput: capacity.warm_throughput.map(WarmOut::from),
                ..Description::summary(summary, capacity.mode, service, now)?
            },
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(flatten)]
    stream: StreamOut,
    retention_period_hours: u32,
    enhanced_monitoring: [Monitoring; 1],
    encryption_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_throughput: Option<WarmOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Vec<ShardOut>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_more_shards: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_shard_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_count: Option<usize>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_record_size_in_kib: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_distribution_strategy: Option<&'static str>,
}

/// The metrics that are wanted. There are none.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Monitoring {
    shard_level_metrics: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamOut {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: ModeOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_creation_timestamp: Option<Time>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ModeOut {
    stream_mode: &'static str,
}

impl Description {
    fn summary(
        summary: StreamSummary,
        mode: StreamMode,
        service: &mut Service,
        now: Moment,
    ) -> Result<Self, Refusal> {
        let metrics = service.metrics(&summary.name, now)?;
        let key_id = service.encryption_key(&summary.name, now)?;
        Ok(Self {
            retention_period_hours: summary.retention_hours,
            stream: StreamOut::new(summary, mode),
            enhanced_monitoring: [Monitoring {
                shard_level_metrics: names(&metrics),
            }],
            encryption_type: encryption_type(key_id.is_some()),
            key_id,
            warm_throughput: None,
            shards: None,
            has_more_shards: None,
            open_shard_count: None,
            consumer_count: None,
            max_record_size_in_kib: None,
            record_distribution_strategy: None,
        })
    }
}

impl StreamOut {
    fn new(summary: StreamSummary, mode: StreamMode) -> Self {
        Self {
            stream_name: summary.name,
            stream_arn: summary.arn,
            stream_status: status_name(summary.status),
            stream_mode_details: ModeOut {
                stream_mode: match mode {
                    StreamMode::Provisioned => "PROVISIONED",
                    StreamMode::OnDemand => "ON_DEMAND",
                },
            },
            stream_creation_timestamp: summary.created.map(Time::from),
        }
    }
}

fn strategy_name(distribution: RecordDistribution) -> &'static str {
    match distribution {
        RecordDistribution::UserPartitionKey => "USER_PARTITION_KEY",
        RecordDistribution::Auto => "AUTO",
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListStreams {
    limit: Option<i64>,
    exclusive_start_stream_name: Option<String>,
    /// The name of the last stream of the page before: that is all there is to know.
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamsAnswer {
    stream_names: Vec<String>,
    has_more_streams: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    stream_summaries: Vec<StreamOut>,
}

impl Call for ListStreams {
    type Outcome = StreamsAnswer;
    type Answer = StreamsAnswer;

    fn check(&self, check: &mut Check) {
        check.results("limit", self.limit);
        let start = self.exclusive_start_stream_name.as_deref();
        check.name("exclusiveStartStreamName", start);
        check.length("nextToken", self.next_token.as_deref(), 1..=MOST_TOKEN);
    }

    fn size(answer: &StreamsAnswer) -> usize {
        answer.stream_names.len() * STREAM_SIZE
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<StreamsAnswer, Refusal> {
        let after = self.next_token.as_deref();
        let after = after.or(self.exclusive_start_stream_name.as_deref());
        let most = count(self.limit).unwrap_or(usize::MAX);
        let (streams, more) = service.list_streams(after, most, now)?;
        let names: Vec<_> = streams.iter().map(|stream| stream.name.clone()).collect();
        let mut summaries = Vec::new();
        for stream in streams {
            let mode = service.capacity(&stream.name, now)?.mode;
            summaries.push(StreamOut::new(stream, mode));
        }
        Ok(StreamsAnswer {
            next_token: names.last().filter(|_| more).cloned(),
            stream_names: names,
            has_more_streams: more,
            stream_summaries: summaries,
        })
    }
}

/// API ListShards, ListStreams: the longest token.
const MOST_TOKEN: usize = 1_048_576;
/// API ShardFilter: Type.
const FILTERS: [&str; 6] = [
    "AFTER_SHARD_ID",
    "AT_TRIM_HORIZON",
    "FROM_TRIM_HORIZON",
    "AT_LATEST",
    "AT_TIMESTAMP",
    "FROM_TIMESTAMP",
];

/// The most bytes that a shard's description has: three names, four numbers.
const SHARD_SIZE: usize = 768;
/// The same of a stream's, which has its name three times.
const STREAM_SIZE: usize = 768;
