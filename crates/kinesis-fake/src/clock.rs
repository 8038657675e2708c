use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kinesis_source::Timestamp;
use tokio::time::Instant;

use crate::model::Moment;

/// Tells the model what time it is, counted from a fixed moment.
#[derive(Debug)]
pub(crate) struct Clock {
    epoch: Moment,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Where tokio's clock is paused, so is this one. It goes so many times as fast.
    Tokio { started: Instant, rate: u32 },
    /// Time passes when it is told to.
    Manual { passed: Mutex<Duration> },
}

/// 2026-01-01T00:00:00Z: fixed, so that every run of a test has the same times.
pub(crate) const EPOCH: Timestamp = Timestamp::from_millis(1_767_225_600_000);

impl Clock {
    /// Follows tokio's clock, from that moment on, so many times as fast: once at least.
    pub(crate) fn starting_at(epoch: Timestamp, rate: u32) -> Self {
        Self {
            epoch: epoch.into(),
            source: Source::Tokio {
                started: Instant::now(),
                rate: rate.max(1),
            },
        }
    }

    /// Stands at that moment.
    pub(crate) fn standing_at(epoch: Timestamp) -> Self {
        Self {
            epoch: epoch.into(),
            source: Source::Manual {
                passed: Mutex::default(),
            },
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.epoch.plus(match &self.source {
            Source::Tokio { started, rate } => started.elapsed().saturating_mul(*rate),
            Source::Manual { passed } => *passed.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// Lets time pass; whether it may be told to.
    pub(crate) fn advance(&self, span: Duration) -> bool {
        let Source::Manual { passed } = &self.source else {
            return false;
        };
        let mut passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
        *passed = passed.saturating_add(span);
        true
    }

    /// Whether time passes only when it is told to.
    pub(crate) fn is_manual(&self) -> bool {
        matches!(self.source, Source::Manual { .. })
    }

    /// That moment on tokio's clock; `None` if it lies too far ahead to be written, or if this one
    /// has nothing to do with it.
    pub(crate) fn instant(&self, moment: Moment) -> Option<Instant> {
        match self.source {
            Source::Tokio { started, rate } => {
                // Rounded up: whoever wakes then does not wake too early.
                let nanos = moment.since(self.epoch).as_nanos().div_ceil(rate.into());
                started.checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))
            }
            Source::Manual { .. } => None,
        }
    }
}
