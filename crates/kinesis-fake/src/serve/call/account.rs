use serde::{Deserialize, Serialize};

use super::{Call, capacity::mib};
use crate::{
    model::{Commitment, Moment, Refusal, Service, WarmThroughput},
    serve::{
        check::Check,
        wire::{Time, check_stream, stream_name},
    },
};

#[derive(Deserialize)]
pub(super) struct DescribeAccountSettings {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SettingsAnswer {
    minimum_throughput_billing_commitment: CommitmentOut,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CommitmentOut {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_allowed_end_at: Option<Time>,
}

impl SettingsAnswer {
    fn new(it: Commitment, now: Moment) -> Self {
        let time = |moment: Moment| Time::from(moment.timestamp());
        let holds = it.holds(now);
        Self {
            minimum_throughput_billing_commitment: CommitmentOut {
                status: match (holds, it.ended) {
                    (false, _) => "DISABLED",
                    (true, None) => "ENABLED",
                    (true, Some(_)) => "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
                },
                started_at: it.started.map(time),
                ended_at: it.ended.filter(|_| !holds).map(time),
                earliest_allowed_end_at: it.earliest_end.filter(|_| holds).map(time),
            },
        }
    }
}

impl Call for DescribeAccountSettings {
    type Outcome = SettingsAnswer;
    type Answer = SettingsAnswer;

    fn check(&self, _: &mut Check) {}

    fn act(&self, service: &mut Service, now: Moment) -> Result<SettingsAnswer, Refusal> {
        let commitment = service.describe_account_settings(now)?;
        Ok(SettingsAnswer::new(commitment, now))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateAccountSettings {
    #[serde(default, deserialize_with = "crate::serve::wire::object")]
    minimum_throughput_billing_commitment: Option<CommitmentIn>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommitmentIn {
    status: Option<String>,
}

impl Call for UpdateAccountSettings {
    type Outcome = SettingsAnswer;
    type Answer = SettingsAnswer;

    fn check(&self, check: &mut Check) {
        let commitment = self.minimum_throughput_billing_commitment.as_ref();
        check.required("minimumThroughputBillingCommitment", commitment);
        if let Some(commitment) = commitment {
            let member = "minimumThroughputBillingCommitment.status";
            let status = commitment.status.as_deref();
            check.required(member, status);
            check.one_of(member, status, &["ENABLED", "DISABLED"]);
        }
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<SettingsAnswer, Refusal> {
        let commitment = self.minimum_throughput_billing_commitment.as_ref();
        let status = commitment.and_then(|it| it.status.as_deref());
        let commitment = service.update_account_settings(status == Some("ENABLED"), now)?;
        Ok(SettingsAnswer::new(commitment, now))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateStreamWarmThroughput {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_throughput_mib_per_second: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WarmAnswer {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    warm_throughput: WarmOut,
}

#[derive(Serialize)]
pub(super) struct WarmOut {
    #[serde(rename = "TargetMiBps")]
    target: u32,
    #[serde(rename = "CurrentMiBps")]
    current: u32,
}

impl From<WarmThroughput> for WarmOut {
    fn from(warm: WarmThroughput) -> Self {
        Self {
            target: warm.target,
            current: warm.current,
        }
    }
}

impl Call for UpdateStreamWarmThroughput {
    type Outcome = WarmAnswer;
    type Answer = WarmAnswer;

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        let warm = self.warm_throughput_mib_per_second;
        check.required("warmThroughputMiBps", warm.as_ref());
        check.range("warmThroughputMiBps", warm, 0..=i64::MAX);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<WarmAnswer, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        let target = mib(self.warm_throughput_mib_per_second.unwrap_or_default());
        let warm = service.update_stream_warm_throughput(stream, target, now)?;
        Ok(WarmAnswer {
            stream_name: stream.to_owned(),
            stream_arn: service.settings().owner.arn(stream),
            warm_throughput: warm.into(),
        })
    }
}
