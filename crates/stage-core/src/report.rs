use std::sync::Arc;

use crate::{PipelineError, meter::Meter};

/// How a pipeline ended, stage by stage. Made by
/// [`Pipeline::run_reporting`](crate::Pipeline::run_reporting).
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "the report holds the pipeline's error"]
pub struct DrainReport {
    /// The stages that had not ended when the pipeline began to stop, in the order in which they
    /// ended.
    pub stages: Vec<StageReport>,
    /// Whether the time for draining was up before all of them had.
    pub timed_out: bool,
    /// What [`Pipeline::run_until`](crate::Pipeline::run_until) would have returned.
    pub result: Result<(), PipelineError>,
}

/// What became of one stage's events.
///
/// What one call was given counts as a whole, once the call is over: if it is cut off, all of it was
/// abandoned, whichever receipts it had settled by then. What a stage keeps for later within itself, as
/// [`batching`](crate::batching()) does, it has taken in: if that is dropped, its receipts are nacked, and
/// no number here says so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageReport {
    /// The stage's name.
    pub stage: Arc<str>,
    /// How many events it took in well, or made, in all its life.
    pub acked: u64,
    /// How many events were nacked: since it failed, because a subscription of it was cancelled, or
    /// one by one where a [pool](crate::pool()) does so.
    pub nacked: u64,
    /// How many events it had, or were on their way to it, when the time for draining was up. They
    /// were nacked, too.
    pub abandoned: u64,
}

impl DrainReport {
    pub(crate) fn new() -> Self {
        Self {
            stages: Vec::new(),
            timed_out: false,
            result: Ok(()),
        }
    }

    /// The report of a pipeline that never ran.
    pub(crate) fn refused(error: PipelineError) -> Self {
        Self {
            result: Err(error),
            ..Self::new()
        }
    }
}

impl StageReport {
    pub(crate) fn of(meter: &Meter) -> Self {
        let counts = meter.counts();
        Self {
            stage: Arc::clone(&meter.stage),
            acked: counts.handled,
            nacked: counts.nacked,
            abandoned: counts.abandoned,
        }
    }
}
