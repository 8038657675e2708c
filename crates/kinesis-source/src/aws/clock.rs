use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

use aws_sdk_kinesis::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::BoxError,
    primitives::{DateTime, DateTimeFormat},
};

use crate::Timestamp;

/// The local clock, put right by the `Date` of the service's answers.
#[derive(Debug, Default)]
pub(super) struct ServiceClock {
    /// How many milliseconds the service is ahead.
    ahead: AtomicI64,
}

/// A difference up to this is none: `Date` has whole seconds, and an answer takes its time.
const TOLERANCE_MILLIS: i64 = 2_000;

/// How far [`ServiceClock::now`] may be ahead of the service, once it has answered: by the tolerance, and
/// by the half second that a `Date` may be put right too much; and how far the clock that tells times of
/// arrival may be behind the one of `Date`.
pub(super) const MOST_AHEAD: Duration = Duration::from_secs(5);

impl ServiceClock {
    pub(super) fn now(&self) -> Timestamp {
        let local = Timestamp::from(SystemTime::now()).as_millis();
        Timestamp::from_millis(local.saturating_add(self.ahead.load(Ordering::Relaxed)))
    }

    fn observe(&self, local: Timestamp, date: &str) {
        // Without a date that can be read, what is known of the service stays as it is.
        if let Ok(service) = DateTime::from_str(date, DateTimeFormat::HttpDate) {
            let ahead = ahead_millis(local.as_millis(), service.secs());
            self.ahead.store(ahead, Ordering::Relaxed);
        }
    }
}

/// How far a service that says `service_secs` is ahead of `local_millis`; zero if that may be due
/// to how it says it.
fn ahead_millis(local_millis: i64, service_secs: i64) -> i64 {
    let middle_of_second = service_secs.saturating_mul(1_000).saturating_add(500);
    let ahead = middle_of_second.saturating_sub(local_millis);
    if ahead.saturating_abs() <= TOLERANCE_MILLIS {
        0
    } else {
        ahead
    }
}

/// Sees each answer as soon as its head is there, before its body has been read.
#[derive(Debug)]
pub(super) struct ReadDate(pub(super) std::sync::Arc<ServiceClock>);

impl Intercept for ReadDate {
    fn name(&self) -> &'static str {
        "ReadDate"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.0.observe(SystemTime::now().into(), date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: i64 = 1_700_000_000_000;

    #[test]
    fn small_differences_are_none() {
        for local in [LOCAL - 1_500, LOCAL, LOCAL + 999, LOCAL + 2_500] {
            assert_eq!(ahead_millis(local, LOCAL / 1_000), 0, "{local}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_is_put_right() {
        assert_eq!(ahead_millis(LOCAL, LOCAL / 1_000 + 3_600), 3_600_500);
        assert_eq!(ahead_millis(LOCAL, LOCAL / 1_000 - 3_600), -3_599_500);
        assert_eq!(ahead_millis(LOCAL, i64::MAX), i64::MAX - LOCAL);
    }

    #[test]
    fn a_date_that_makes_no_sense_changes_nothing() {
        let clock = ServiceClock::default();
        let local = Timestamp::from_millis(LOCAL);
        clock.observe(local, "Tue, 14 Nov 2023 23:13:20 GMT");
        for date in ["", "soon", "Tue, 99 Nov 2023 23:13:20 GMT"] {
            clock.observe(local, date);
        }
        assert_eq!(clock.ahead.load(Ordering::Relaxed), 3_600_500);
    }
}
