use serde::{Deserialize, Serialize};

use super::Call;
use crate::{
    model::{AccountLimits, Moment, RecordDistribution, Refusal, Resize, Service, StreamMode},
    serve::{
        check::Check,
        wire::{Nothing, check_stream, stream_name},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateShardCount {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    target_shard_count: Option<i64>,
    scaling_type: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ResizeAnswer {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    current_shard_count: u32,
    target_shard_count: u32,
}

impl Call for UpdateShardCount {
    type Outcome = ResizeAnswer;
    type Answer = ResizeAnswer;

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        let target = self.target_shard_count;
        check.required("targetShardCount", target.as_ref());
        check.range("targetShardCount", target, 1..=i64::MAX);
        let scaling = self.scaling_type.as_deref();
        check.required("scalingType", scaling);
        check.one_of("scalingType", scaling, &["UNIFORM_SCALING"]);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<ResizeAnswer, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        let target = self.target_shard_count.unwrap_or_default();
        // More than any stream has, which is refused.
        let target = u32::try_from(target).unwrap_or(u32::MAX);
        let Resize { current, target } = service.update_shard_count(stream, target, now)?;
        Ok(ResizeAnswer {
            stream_name: stream.to_owned(),
            stream_arn: service.settings().owner.arn(stream),
            current_shard_count: current,
            target_shard_count: target,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateStreamMode {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(default, deserialize_with = "crate::serve::wire::object")]
    stream_mode_details: Option<ModeIn>,
}

impl Call for UpdateStreamMode {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check.required("streamARN", self.stream_arn.as_ref());
        check_stream(check, None, self.stream_arn.as_deref());
        let mode = self.stream_mode_details.as_ref();
        check.required("streamModeDetails", mode);
        if let Some(mode) = mode {
            mode.check(check);
        }
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = stream_name(service, None, self.stream_arn.as_deref())?;
        let mode = self.stream_mode_details.as_ref().map(ModeIn::mode);
        service.update_stream_mode(stream, mode.unwrap_or_default(), now)?;
        Ok(Nothing {})
    }
}

/// A stream's mode, as CreateStream and UpdateStreamMode say it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ModeIn {
    stream_mode: Option<String>,
}

impl ModeIn {
    pub(super) fn check(&self, check: &mut Check) {
        let (member, mode) = ("streamModeDetails.streamMode", self.stream_mode.as_deref());
        check.required(member, mode);
        check.one_of(member, mode, &["PROVISIONED", "ON_DEMAND"]);
    }

    pub(super) fn mode(&self) -> StreamMode {
        match self.stream_mode.as_deref() {
            Some("ON_DEMAND") => StreamMode::OnDemand,
            _ => StreamMode::Provisioned,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateMaxRecordSize {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<i64>,
}

impl Call for UpdateMaxRecordSize {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check_stream(check, None, self.stream_arn.as_deref());
        let size = self.max_record_size_in_kib;
        check.required("maxRecordSizeInKiB", size.as_ref());
        check_record_size(check, size);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = stream_name(service, None, self.stream_arn.as_deref())?;
        let size = kib(self.max_record_size_in_kib.unwrap_or_default());
        service.update_max_record_size(stream, size, now)?;
        Ok(Nothing {})
    }
}

pub(super) fn check_record_size(check: &mut Check, kib: Option<i64>) {
    let range = &check.limits().record_kib;
    let range = i64::from(*range.start())..=i64::from(*range.end());
    check.range("maxRecordSizeInKiB", kib, range);
}

/// A number that has been checked. More than any stream has is refused.
pub(super) fn mib(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A number that has been checked.
pub(super) fn kib(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateRecordDistribution {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    record_distribution_strategy: Option<String>,
}

impl Call for UpdateRecordDistribution {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check.required("streamARN", self.stream_arn.as_ref());
        check_stream(check, None, self.stream_arn.as_deref());
        let strategy = self.record_distribution_strategy.as_deref();
        check.required("recordDistributionStrategy", strategy);
        check_strategy(check, strategy);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = stream_name(service, None, self.stream_arn.as_deref())?;
        let strategy = self.record_distribution_strategy.as_deref();
        let distribution = distribution(strategy.unwrap_or_default());
        service.update_stream_record_distribution_strategy(stream, distribution, now)?;
        Ok(Nothing {})
    }
}

pub(super) fn check_strategy(check: &mut Check, strategy: Option<&str>) {
    let all = ["AUTO", "USER_PARTITION_KEY"];
    check.one_of("recordDistributionStrategy", strategy, &all);
}

/// What a strategy that has been checked stands for.
pub(super) fn distribution(strategy: &str) -> RecordDistribution {
    match strategy {
        "AUTO" => RecordDistribution::Auto,
        _ => RecordDistribution::UserPartitionKey,
    }
}

#[derive(Deserialize)]
pub(super) struct DescribeLimits {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LimitsAnswer {
    shard_limit: u32,
    open_shard_count: u32,
    on_demand_stream_count: usize,
    on_demand_stream_count_limit: usize,
}

impl Call for DescribeLimits {
    type Outcome = AccountLimits;
    type Answer = LimitsAnswer;

    fn check(&self, _: &mut Check) {}

    fn act(&self, service: &mut Service, now: Moment) -> Result<AccountLimits, Refusal> {
        service.describe_limits(now)
    }
}

impl From<AccountLimits> for LimitsAnswer {
    fn from(limits: AccountLimits) -> Self {
        Self {
            shard_limit: limits.shard_limit,
            open_shard_count: limits.open_shards,
            on_demand_stream_count: limits.on_demand_streams,
            on_demand_stream_count_limit: limits.on_demand_stream_limit.min(MOST),
        }
    }
}

/// API DescribeLimits: the most that it says, also where no limit holds. Clients read 32 bits.
const MOST: usize = 1_000_000;
