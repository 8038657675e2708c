use kinesis_source::ShardId;
use serde::Deserialize;

use super::{
    Call,
    capacity::{ModeIn, check_record_size, check_strategy, distribution, kib, mib},
    tagging::{TagsIn, check_tags, tags},
};
use crate::{
    faults::About,
    model::{Moment, NewStream, Refusal, Service, StreamMode},
    serve::{
        check::{Check, Pattern},
        wire::{Nothing, check_stream, hash_key, stream_name},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateStream {
    stream_name: Option<String>,
    shard_count: Option<i64>,
    #[serde(default, deserialize_with = "crate::serve::wire::object")]
    stream_mode_details: Option<ModeIn>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<i64>,
    record_distribution_strategy: Option<String>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_throughput_mib_per_second: Option<i64>,
    tags: Option<TagsIn>,
}

impl Call for CreateStream {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check.required("streamName", self.stream_name.as_ref());
        check.name("streamName", self.stream_name.as_deref());
        check.range("shardCount", self.shard_count, 1..=i64::MAX);
        if let Some(mode) = &self.stream_mode_details {
            mode.check(check);
        }
        check_record_size(check, self.max_record_size_in_kib);
        check_strategy(check, self.record_distribution_strategy.as_deref());
        let warm = self.warm_throughput_mib_per_second;
        check.range("warmThroughputMiBps", warm, 0..=i64::MAX);
        check_tags(check, self.tags.as_ref(), 0);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let name = self.stream_name.as_deref().unwrap_or_default();
        let mode = self.stream_mode_details.as_ref().map(ModeIn::mode);
        // What is out of bounds becomes none or too many, and either is refused.
        let shards = self.shard_count.unwrap_or_default().max(0);
        let shards = u32::try_from(shards).unwrap_or(u32::MAX);
        let strategy = self.record_distribution_strategy.as_deref();
        let new = NewStream {
            shards: (mode != Some(StreamMode::OnDemand)).then_some(shards),
            record_kib: self.max_record_size_in_kib.map(kib),
            distribution: strategy.map(distribution).unwrap_or_default(),
            warm: self.warm_throughput_mib_per_second.map(mib),
            tags: tags(self.tags.as_ref()),
        };
        service.create_described_stream(name, &new, now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteStream {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    enforce_consumer_deletion: Option<bool>,
}

impl Call for DeleteStream {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        match self.enforce_consumer_deletion.unwrap_or_default() {
            true => service.delete_stream_and_consumers(stream, now)?,
            false => service.delete_stream(stream, now)?,
        }
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SplitShard {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_to_split: Option<String>,
    new_starting_hash_key: Option<String>,
}

impl Call for SplitShard {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        check.required("shardToSplit", self.shard_to_split.as_ref());
        check.name("shardToSplit", self.shard_to_split.as_deref());
        let key = self.new_starting_hash_key.as_deref();
        check.required("newStartingHashKey", key);
        check.pattern("newStartingHashKey", key, Pattern::HashKey);
    }

    fn about(&self) -> About {
        About::Shard(shard(self.shard_to_split.as_deref()))
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        let shard = shard(self.shard_to_split.as_deref());
        let at = hash_key(self.new_starting_hash_key.as_deref().unwrap_or_default())?;
        service.split_shard(stream, &shard, at, now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MergeShards {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_to_merge: Option<String>,
    adjacent_shard_to_merge: Option<String>,
}

impl Call for MergeShards {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        for (member, shard) in [
            ("shardToMerge", self.shard_to_merge.as_deref()),
            (
                "adjacentShardToMerge",
                self.adjacent_shard_to_merge.as_deref(),
            ),
        ] {
            check.required(member, shard);
            check.name(member, shard);
        }
    }

    fn about(&self) -> About {
        About::Shard(shard(self.shard_to_merge.as_deref()))
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        let one = shard(self.shard_to_merge.as_deref());
        let adjacent = shard(self.adjacent_shard_to_merge.as_deref());
        service.merge_shards(stream, &one, &adjacent, now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Retention {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    retention_period_hours: Option<i64>,
}

impl Retention {
    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        let hours = self.retention_period_hours.as_ref();
        check.required("retentionPeriodHours", hours);
    }

    fn stream(&self, service: &Service) -> Result<&str, Refusal> {
        stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )
    }

    /// What is out of bounds becomes zero, which is refused.
    fn hours(&self) -> u32 {
        u32::try_from(self.retention_period_hours.unwrap_or_default()).unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct IncreaseRetention(Retention);

impl Call for IncreaseRetention {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        self.0.check(check);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = self.0.stream(service)?;
        service.increase_retention(stream, self.0.hours(), now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct DecreaseRetention(Retention);

impl Call for DecreaseRetention {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        self.0.check(check);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = self.0.stream(service)?;
        service.decrease_retention(stream, self.0.hours(), now)?;
        Ok(Nothing {})
    }
}

/// The shard that a request names; the check tells if it names none.
fn shard(name: Option<&str>) -> ShardId {
    ShardId::new(name.unwrap_or_default())
}
