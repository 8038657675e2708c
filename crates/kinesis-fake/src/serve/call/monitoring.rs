use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Call;
use crate::{
    model::{Metric, MetricsChange, Moment, Refusal, Service},
    serve::{
        check::{self, Check},
        wire::{Most, check_stream, stream_name},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Monitoring {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_level_metrics: Option<Most<String, 100>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MonitoringAnswer {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    current_shard_level_metrics: Vec<&'static str>,
    desired_shard_level_metrics: Vec<&'static str>,
}

impl Monitoring {
    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        let member = "shardLevelMetrics";
        check.required(member, self.shard_level_metrics.as_ref());
        if let Some(Most(metrics)) = &self.shard_level_metrics {
            let value = format!("Value {}", check::list(metrics));
            check.length_of(value, member, metrics.len(), 1..=7);
            let mut known: Vec<_> = Metric::ALL.iter().map(|it| it.name()).collect();
            known.push(ALL);
            for metric in metrics {
                check.one_of(member, Some(metric), &known);
            }
        }
    }

    fn metrics(&self) -> Vec<Metric> {
        let Some(Most(metrics)) = &self.shard_level_metrics else {
            return Vec::new();
        };
        match metrics.iter().any(|metric| metric == ALL) {
            true => Metric::ALL.to_vec(),
            false => metrics
                .iter()
                .filter_map(|it| Metric::from_name(it))
                .collect(),
        }
    }

    fn stream(&self, service: &Service) -> Result<&str, Refusal> {
        stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )
    }
}

impl MonitoringAnswer {
    fn new(stream: &str, service: &Service, (before, after): MetricsChange) -> Self {
        Self {
            stream_name: stream.to_owned(),
            stream_arn: service.settings().owner.arn(stream),
            current_shard_level_metrics: names(&before),
            desired_shard_level_metrics: names(&after),
        }
    }
}

pub(super) fn names(metrics: &BTreeSet<Metric>) -> Vec<&'static str> {
    metrics.iter().map(|metric| metric.name()).collect()
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct EnableEnhancedMonitoring(Monitoring);

impl Call for EnableEnhancedMonitoring {
    type Outcome = MonitoringAnswer;
    type Answer = MonitoringAnswer;

    fn check(&self, check: &mut Check) {
        self.0.check(check);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<MonitoringAnswer, Refusal> {
        let stream = self.0.stream(service)?;
        let change = service.enable_enhanced_monitoring(stream, &self.0.metrics(), now)?;
        Ok(MonitoringAnswer::new(stream, service, change))
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct DisableEnhancedMonitoring(Monitoring);

impl Call for DisableEnhancedMonitoring {
    type Outcome = MonitoringAnswer;
    type Answer = MonitoringAnswer;

    fn check(&self, check: &mut Check) {
        self.0.check(check);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<MonitoringAnswer, Refusal> {
        let stream = self.0.stream(service)?;
        let change = service.disable_enhanced_monitoring(stream, &self.0.metrics(), now)?;
        Ok(MonitoringAnswer::new(stream, service, change))
    }
}

/// Stands for all of them.
const ALL: &str = "ALL";
