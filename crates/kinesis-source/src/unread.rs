use std::time::Duration;

use tokio::time::Instant;

use crate::Timestamp;

/// How old the oldest record may be that comes after what was read of a shard, as far as clocks tell.
///
/// It arrived no earlier than the last one that was read, and no earlier than a moment at which there
/// was none. While that is well within the stream's retention, nothing that comes next can have been
/// trimmed, and reading just goes on. Otherwise the service has to be asked whether the last record is
/// still there: see [`Doubt`](crate::doubt::Doubt).
///
/// Pure: it is told what comes, and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    /// It arrived at that moment or later, by the service's clock.
    since: Option<Timestamp>,
    /// There was none at that moment, by the service's clock.
    none_until: Option<Timestamp>,
    /// When something was read last, by ours. It stands in for the time of arrival on servers that do
    /// not say it.
    read_at: Instant,
}

/// How long a stream keeps records at least.
/// (<https://docs.aws.amazon.com/streams/latest/dev/kinesis-extended-retention.html>)
pub(crate) const LEAST_RETENTION: Duration = Duration::from_secs(24 * 3_600);

/// So long before a record ages out it is looked after. Clocks differ, times of arrival are approximate
/// and may go back a little from one record to the next, and a call takes its time.
pub(crate) const MARGIN: Duration = Duration::from_secs(3_600);

/// The same, where looking after it costs more.
pub(crate) const CLOSE: Duration = Duration::from_secs(300);

/// A time without records that is worth a look, where they may just have gone.
const LEAP: Duration = Duration::from_secs(1);

/// How far our idea of the service's clock may be ahead of it, where that would hide a loss.
pub(crate) const CLOCK_SLACK: Duration = Duration::from_secs(60);

impl Unread {
    /// After what is read now, which arrived at `arrival`, if that is known.
    pub(crate) fn after(arrival: Option<Timestamp>, read_at: Instant) -> Self {
        Self {
            since: arrival,
            none_until: None,
            read_at,
        }
    }

    /// Nothing is read yet. What is to be arrived at that moment or later.
    pub(crate) fn of_start(since: Timestamp, now: Instant) -> Self {
        Self::after(Some(since), now)
    }

    /// It arrived at that moment or later, if that is known.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Whether what has come now, by a record that arrived at `arrival`, leaves out a time from which only
    /// some streams keep records still: those whose retention is longer than [the least](LEAST_RETENTION),
    /// and that may be shortened at any moment.
    pub(crate) fn leaps_to(
        &self,
        arrival: Option<Timestamp>,
        now: impl FnOnce() -> Timestamp,
    ) -> bool {
        self.since.zip(arrival).is_some_and(|(since, arrival)| {
            arrival.since(since) >= LEAP && is_long_ago(since, now())
        })
    }

    /// Whether some streams do not keep what comes next: those whose retention is [the
    /// least](LEAST_RETENTION), which this one's may become at any moment.
    pub(crate) fn is_long_ago(&self, now: impl FnOnce() -> Timestamp) -> bool {
        self.since.is_some_and(|since| is_long_ago(since, now()))
    }

    /// More was read, the last of which arrived at `arrival`, if that is known.
    pub(crate) fn advance(&mut self, arrival: Option<Timestamp>, read_at: Instant) {
        // A time that is behind the one before was no lower bound; what is known of that is.
        self.since = self.since.max(arrival);
        self.none_until = None;
        self.read_at = read_at;
    }

    /// There was nothing at that moment, by our idea of the service's clock.
    pub(crate) fn found_none(&mut self, at: Timestamp, read_at: Instant) {
        let at = at.minus(CLOCK_SLACK);
        self.since = self.since.max(Some(at));
        self.none_until = self.none_until.max(Some(at));
        self.read_at = read_at;
    }

    /// When there was nothing, if that is known.
    pub(crate) fn none_until(&self) -> Option<Timestamp> {
        self.none_until
    }

    /// Whether what comes next may not be kept any more, in a stream that keeps records for so long.
    /// `now` is asked for if it matters.
    pub(crate) fn may_be_trimmed(
        &self,
        retention: Duration,
        margin: Duration,
        now: impl FnOnce() -> Timestamp,
        local_now: Instant,
    ) -> bool {
        let age = match self.since {
            Some(since) => now().since(since),
            None => local_now.saturating_duration_since(self.read_at),
        };
        age >= retention.saturating_sub(margin)
    }
}

fn is_long_ago(since: Timestamp, now: Timestamp) -> bool {
    now.since(since) >= LEAST_RETENTION - CLOSE
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = LEAST_RETENTION;

    fn hour(number: u32) -> Timestamp {
        Timestamp::from_millis(0).plus(HOUR * number)
    }

    #[test]
    fn it_is_as_old_as_the_last_record_or_the_last_moment_without_one() {
        let local = Instant::now();
        let is_old_at =
            |unread: Unread, now| unread.may_be_trimmed(DAY, MARGIN, || hour(now), local);
        let mut unread = Unread::after(Some(hour(10)), local);
        assert!(!is_old_at(unread, 32));
        assert!(is_old_at(unread, 33));
        assert_eq!(unread.none_until(), None);
        unread.found_none(hour(20), local);
        assert!(!is_old_at(unread, 42));
        assert!(is_old_at(unread, 43));
        let until = hour(20).minus(CLOCK_SLACK);
        assert_eq!(unread.none_until(), Some(until));
        // It has no time, or one that is behind.
        for arrival in [None, Some(hour(15))] {
            let mut unread = unread;
            unread.advance(arrival, local);
            assert!(!is_old_at(unread, 42));
            assert!(is_old_at(unread, 43));
            assert_eq!(unread.none_until(), None);
        }
        unread.advance(Some(hour(21)), local);
        assert!(!is_old_at(unread, 43));
        assert!(is_old_at(unread, 44));
    }

    #[test]
    fn a_stream_that_keeps_more_lets_it_grow_older() {
        let local = Instant::now();
        let unread = Unread::after(Some(hour(0)), local);
        assert!(!unread.may_be_trimmed(7 * DAY, MARGIN, || hour(166), local));
        assert!(unread.may_be_trimmed(7 * DAY, MARGIN, || hour(167), local));
    }

    #[test]
    fn a_leap_is_one_in_time_and_beyond_a_day() {
        let unread = Unread::after(Some(hour(10)), Instant::now());
        let seconds = |seconds| Some(hour(10).plus(Duration::from_secs(1) * seconds));
        assert!(unread.leaps_to(seconds(1), || hour(34)));
        assert!(!unread.leaps_to(seconds(0), || hour(34)));
        assert!(!unread.leaps_to(None, || hour(34)));
        assert!(!unread.leaps_to(seconds(1), || hour(33)));
    }

    #[test]
    fn without_a_time_of_arrival_the_time_of_reading_counts() {
        let local = Instant::now();
        let unread = Unread::after(None, local);
        let never = || unreachable!("it does not matter");
        assert!(!unread.may_be_trimmed(DAY, MARGIN, never, local + 22 * HOUR));
        assert!(unread.may_be_trimmed(DAY, MARGIN, never, local + 23 * HOUR));
    }
}
