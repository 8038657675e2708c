use std::time::Duration;

use kinesis_source::Timestamp;

/// A moment, to the nanosecond, counted from 1970-01-01T00:00:00Z.
///
/// Finer than the milliseconds in which Kinesis tells time: a reader that waits out its debt to the
/// nanosecond must not be throttled because somebody rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The moment that lies `span` after the epoch.
    pub const fn since_epoch(span: Duration) -> Self {
        Self(span)
    }

    /// The moment `span` later; stays at the largest one there is.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// The moment `span` earlier; stays at the epoch.
    #[must_use]
    pub const fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment as Kinesis tells it, cut to the millisecond.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX))
    }

    /// Whole seconds since the epoch.
    pub(crate) const fn seconds(self) -> u64 {
        self.0.as_secs()
    }

    /// Nanoseconds since the epoch; enough until the year 2554.
    pub(crate) fn nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }
}

impl From<Timestamp> for Moment {
    /// A moment before the epoch becomes the epoch.
    fn from(timestamp: Timestamp) -> Self {
        let millis = u64::try_from(timestamp.as_millis()).unwrap_or(0);
        Self(Duration::from_millis(millis))
    }
}
