use std::collections::BTreeSet;

use super::Service;
use crate::model::{Metric, Moment, Operation, Refusal};

/// The metrics before a change and after it.
pub type MetricsChange = (BTreeSet<Metric>, BTreeSet<Metric>);

impl Service {
    /// Wants metrics of a stream's shards reported. None is; only DescribeStream and
    /// DescribeStreamSummary show that they are wanted. Returns the metrics before and after.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `ResourceInUse` unless it is active;
    /// `LimitExceeded`.
    pub fn enable_enhanced_monitoring(
        &mut self,
        stream: &str,
        metrics: &[Metric],
        now: Moment,
    ) -> Result<MetricsChange, Refusal> {
        self.admit(Operation::EnableEnhancedMonitoring, now)?;
        self.change_metrics(stream, now, |wanted| wanted.extend(metrics))
    }

    /// Wants metrics no longer. Returns the metrics before and after.
    ///
    /// # Errors
    ///
    /// As [`enable_enhanced_monitoring`](Self::enable_enhanced_monitoring).
    pub fn disable_enhanced_monitoring(
        &mut self,
        stream: &str,
        metrics: &[Metric],
        now: Moment,
    ) -> Result<MetricsChange, Refusal> {
        self.admit(Operation::DisableEnhancedMonitoring, now)?;
        self.change_metrics(stream, now, |wanted| {
            wanted.retain(|metric| !metrics.contains(metric));
        })
    }

    fn change_metrics(
        &mut self,
        stream: &str,
        now: Moment,
        change: impl FnOnce(&mut BTreeSet<Metric>),
    ) -> Result<MetricsChange, Refusal> {
        let stream = self.stream(stream, now)?;
        stream.check_active()?;
        let before = stream.metrics.clone();
        change(&mut stream.metrics);
        Ok((before, stream.metrics.clone()))
    }
}
