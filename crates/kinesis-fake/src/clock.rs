use kinesis_source::Timestamp;
use tokio::time::Instant;

use crate::model::Moment;

/// Tells the model what time it is: tokio's time, counted from a fixed moment. Where tokio's clock
/// is paused, so is this one.
#[derive(Debug)]
pub(crate) struct Clock {
    epoch: Moment,
    started: Instant,
}

/// 2026-01-01T00:00:00Z: fixed, so that every run of a test has the same times.
pub(crate) const EPOCH: Timestamp = Timestamp::from_millis(1_767_225_600_000);

impl Clock {
    pub(crate) fn starting_at(epoch: Timestamp) -> Self {
        Self {
            epoch: epoch.into(),
            started: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.epoch.plus(self.started.elapsed())
    }

    /// That moment on tokio's clock; `None` if it lies too far ahead to be written.
    pub(crate) fn instant(&self, moment: Moment) -> Option<Instant> {
        self.started.checked_add(moment.since(self.epoch))
    }
}
