use kinesis_source::ShardId;
use serde::Deserialize;

use super::Call;
use crate::{
    faults::About,
    model::{Moment, Refusal, Service},
    serve::wire::{Nothing, hash_key, stream_name},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateStream {
    stream_name: String,
    shard_count: Option<i64>,
    stream_mode_details: Option<ModeIn>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ModeIn {
    stream_mode: String,
}

impl Call for CreateStream {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let mode = self.stream_mode_details.as_ref();
        if mode.is_some_and(|mode| mode.stream_mode != "PROVISIONED") {
            return Err(Refusal::validation(
                "This service knows streams of the mode PROVISIONED only.",
            ));
        }
        // What is out of bounds becomes none or too many, and either is refused.
        let shards = self.shard_count.unwrap_or_default().max(0);
        let shards = u32::try_from(shards).unwrap_or(u32::MAX);
        service.create_stream(&self.stream_name, shards, now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteStream {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
}

impl Call for DeleteStream {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = stream_name(self.stream_name.as_deref(), self.stream_arn.as_deref())?;
        service.delete_stream(stream, now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SplitShard {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_to_split: String,
    new_starting_hash_key: String,
}

impl Call for SplitShard {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn about(&self) -> About {
        About::Shard(ShardId::new(&*self.shard_to_split))
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = stream_name(self.stream_name.as_deref(), self.stream_arn.as_deref())?;
        let shard = ShardId::new(&*self.shard_to_split);
        let at = hash_key(&self.new_starting_hash_key)?;
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
    shard_to_merge: String,
    adjacent_shard_to_merge: String,
}

impl Call for MergeShards {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn about(&self) -> About {
        About::Shard(ShardId::new(&*self.shard_to_merge))
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = stream_name(self.stream_name.as_deref(), self.stream_arn.as_deref())?;
        let shard = ShardId::new(&*self.shard_to_merge);
        let adjacent = ShardId::new(&*self.adjacent_shard_to_merge);
        service.merge_shards(stream, &shard, &adjacent, now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Retention {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    retention_period_hours: i64,
}

impl Retention {
    fn stream(&self) -> Result<&str, Refusal> {
        stream_name(self.stream_name.as_deref(), self.stream_arn.as_deref())
    }

    /// What is out of bounds becomes zero, which is refused.
    fn hours(&self) -> u32 {
        u32::try_from(self.retention_period_hours).unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct IncreaseRetention(Retention);

impl Call for IncreaseRetention {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        service.increase_retention(self.0.stream()?, self.0.hours(), now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct DecreaseRetention(Retention);

impl Call for DecreaseRetention {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        service.decrease_retention(self.0.stream()?, self.0.hours(), now)?;
        Ok(Nothing {})
    }
}
