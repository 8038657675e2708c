//! How much is allowed when. Pure: it is told the time, and reads no clock.

use std::time::Duration;

use tokio::time::Instant;

/// How many events may be made in what time.
///
/// It is kept over every span of time, of whatever length and wherever it begins: there are never
/// more events than the rate times the span, plus the burst.
///
/// ```
/// use stage_core::Quota;
/// use std::time::Duration;
///
/// let spread = Quota::per_second(100).with_burst(1);
/// let hourly = Quota::new(5000, Duration::from_secs(3600));
/// # assert_ne!(spread, hourly);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    events: u32,
    per: Duration,
    burst: u32,
}

/// The longest time that a rate is reckoned by: 292 years.
const MAX_PER: u128 = i64::MAX as u128;

impl Quota {
    /// Nothing is allowed.
    pub const PAUSED: Self = Self::per_second(0);

    /// `events` events in each second, and as many at once after a pause.
    pub const fn per_second(events: u32) -> Self {
        Self::new(events, Duration::from_secs(1))
    }

    /// `events` events in each span of `per`, and as many at once after a pause. If `events` is
    /// zero, nothing is allowed.
    ///
    /// # Panics
    ///
    /// If `per` is zero.
    pub const fn new(events: u32, per: Duration) -> Self {
        assert!(!per.is_zero(), "a quota is for some time");
        Self {
            events,
            per,
            burst: events,
        }
    }

    /// The same, with `events` at once after a pause, and at the start. It is one at least.
    ///
    /// A small burst costs some of the rate: sleep is good to a millisecond, and what would have
    /// been allowed in the meantime, beyond the burst, is lost.
    #[must_use]
    pub const fn with_burst(self, events: u32) -> Self {
        Self {
            burst: events,
            ..self
        }
    }

    /// What one event is worth.
    fn worth(&self) -> i128 {
        // At most `i64::MAX`.
        self.per.as_nanos().min(MAX_PER) as i128
    }

    /// The most that may be there to be taken at once.
    fn capacity(&self) -> i128 {
        if self.events == 0 {
            return 0;
        }
        i128::from(self.burst.max(1)) * self.worth()
    }
}

/// Fills at the rate of a [`Quota`], as far as its burst, and is taken from.
///
/// With each nanosecond it gains as much as the quota has events, and an event is worth as much as
/// the quota's time has nanoseconds: so nothing is rounded.
#[derive(Debug)]
pub(super) struct Bucket {
    quota: Quota,
    /// Below zero, more was taken than there was.
    level: i128,
    as_of: Instant,
}

impl Bucket {
    pub(super) fn full(quota: Quota, now: Instant) -> Self {
        Self {
            quota,
            level: quota.capacity(),
            as_of: now,
        }
    }

    pub(super) fn quota(&self) -> Quota {
        self.quota
    }

    /// How many events may be made now.
    pub(super) fn allowed(&mut self, now: Instant) -> usize {
        self.fill(now);
        let events = self.level.max(0) / self.quota.worth();
        usize::try_from(events).unwrap_or(usize::MAX)
    }

    /// When something will be allowed, as of the last time that it was told. `None` if it never
    /// will, with this quota.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        let missing = self.quota.worth().saturating_sub(self.level).max(0);
        let wait = match self.quota.events {
            0 => return None,
            events => missing.unsigned_abs().div_ceil(u128::from(events)),
        };
        let wait = Duration::from_nanos(u64::try_from(wait).ok()?);
        self.as_of.checked_add(wait)
    }

    /// Takes note that events have been made, perhaps more than were allowed.
    pub(super) fn take(&mut self, events: usize, now: Instant) {
        self.fill(now);
        let taken = (events as i128).saturating_mul(self.quota.worth());
        self.level = self.level.saturating_sub(taken);
    }

    /// Changes the quota. What there is to be taken, or was taken too much, stays the same number
    /// of events, and is cut to the new burst when it is next asked for.
    pub(super) fn set(&mut self, quota: Quota, now: Instant) {
        self.fill(now);
        let (old, new) = (self.quota.worth(), quota.worth());
        let (events, part) = (self.level.div_euclid(old), self.level.rem_euclid(old));
        self.level = events.saturating_mul(new).saturating_add(part * new / old);
        self.quota = quota;
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.as_of).as_nanos();
        // Less than 2^94 times 2^32.
        let gained = passed as i128 * i128::from(self.quota.events);
        let level = self.level.saturating_add(gained);
        self.level = level.min(self.quota.capacity());
        self.as_of = self.as_of.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Wait(Duration),
        /// Takes so many, if that is allowed, and perhaps some more.
        Take {
            wanted: usize,
            excess: usize,
        },
        /// Waits until something is allowed, and takes it.
        Await,
        Set(Quota),
    }

    /// Spans of time of which this is a multiple.
    const SPANS: [u64; 4] = [1, 2, 5, 10];
    const COMMON: i128 = 10_000_000_000;

    fn quotas() -> impl Strategy<Value = Quota> {
        let span = prop::sample::select(&SPANS[..]).prop_map(Duration::from_secs);
        (0u32..50, span, 0u32..20)
            .prop_map(|(events, per, burst)| Quota::new(events, per).with_burst(burst))
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0u64..3_000_000_000).prop_map(|nanos| Step::Wait(Duration::from_nanos(nanos))),
            6 => (1usize..30, prop_oneof![3 => Just(0), 1 => 0usize..9])
                .prop_map(|(wanted, excess)| Step::Take { wanted, excess }),
            2 => Just(Step::Await),
            2 => quotas().prop_map(Step::Set),
        ];
        prop::collection::vec(step, 1..80)
    }

    /// What one stretch of time under one quota was like.
    #[derive(Default)]
    struct Stretch {
        /// Gained in it, in events times [`COMMON`].
        gained: i128,
        /// Taken at its end as far as it was asked for, and on top of that.
        taken: usize,
        excess: usize,
        /// How many may be there at its end.
        burst: u32,
    }

    proptest! {
        #[test]
        fn no_span_has_more_than_rate_times_time_and_burst(first in quotas(), steps in steps()) {
            let (mut quota, mut now) = (first, Instant::now());
            let mut bucket = Bucket::full(quota, now);
            let mut stretches = Vec::new();
            for step in steps {
                let mut stretch = Stretch::default();
                let before = now;
                match step {
                    Step::Wait(time) => now += time,
                    Step::Await => {
                        let allowed = bucket.allowed(now);
                        match bucket.ready_at() {
                            None => prop_assert_eq!((quota.events, allowed), (0, 0)),
                            Some(at) => {
                                if allowed == 0 && at > now + Duration::from_nanos(1) {
                                    let early = at - Duration::from_nanos(1);
                                    prop_assert_eq!(bucket.allowed(early), 0, "could be had earlier");
                                }
                                now = now.max(at);
                                stretch.taken = bucket.allowed(now);
                                prop_assert!(stretch.taken > 0, "not there when it was to be");
                                bucket.take(stretch.taken, now);
                            }
                        }
                    }
                    Step::Take { wanted, excess } => {
                        stretch.taken = bucket.allowed(now).min(wanted);
                        prop_assert!(stretch.taken == 0 || quota.events > 0, "paused");
                        stretch.excess = if stretch.taken > 0 { excess } else { 0 };
                        bucket.take(stretch.taken + stretch.excess, now);
                    }
                    Step::Set(new) => {
                        bucket.set(new, now);
                        prop_assert_eq!(bucket.quota(), new);
                        quota = new;
                    }
                }
                let worth = COMMON / quota.per.as_nanos() as i128;
                stretch.gained = (now - before).as_nanos() as i128 * i128::from(quota.events) * worth;
                stretch.burst = if quota.events == 0 { 0 } else { quota.burst.max(1) };
                stretches.push(stretch);
            }
            for (n, first) in stretches.iter().enumerate() {
                // From the end of one stretch to the end of another. What was taken too much has
                // been made up for when something is allowed again.
                let (mut taken, mut allowed) = (0, i128::from(first.burst) * COMMON);
                for (m, stretch) in stretches[n..].iter().enumerate() {
                    if m > 0 {
                        allowed += stretch.gained;
                    }
                    taken += stretch.taken as i128;
                    prop_assert!(stretch.taken == 0 || taken * COMMON <= allowed, "{taken}");
                    taken += stretch.excess as i128;
                }
            }
        }

        /// Nothing that could have been taken is lost by taking it in parts or by asking often.
        #[test]
        fn what_is_taken_as_soon_as_it_is_there_adds_up_to_the_rate(
            // With a burst of one, what comes in the nanosecond of waiting too long is lost.
            quota in quotas().prop_filter("lossy", |quota| quota.events > 0 && quota.burst > 1),
            asks in prop::collection::vec(0u64..2_000_000_000, 1..50),
        ) {
            let start = Instant::now();
            let end = start + Duration::from_secs(100);
            let (mut bucket, mut taken) = (Bucket::full(quota, start), 0);
            let mut asks = asks.into_iter();
            loop {
                let now = bucket.ready_at().unwrap().max(bucket.as_of);
                if now > end {
                    break;
                }
                bucket.take(1, now);
                taken += 1;
                // Asking in between changes nothing.
                if let Some(between) = asks.next().map(Duration::from_nanos)
                    && bucket.ready_at().unwrap() > now + between
                {
                    prop_assert_eq!(bucket.allowed(now + between), 0);
                }
            }
            let gained = u128::from(quota.events) * 100 / u128::from(quota.per.as_secs());
            prop_assert_eq!(taken, gained + u128::from(quota.burst));
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        let now = Instant::now();
        let later = now + Duration::from_secs(u64::from(u32::MAX));
        let extremes = [
            Quota::new(u32::MAX, Duration::MAX).with_burst(u32::MAX),
            Quota::new(u32::MAX, Duration::from_nanos(1)).with_burst(u32::MAX),
            Quota::new(1, Duration::MAX),
            Quota::PAUSED,
        ];
        for first in extremes {
            for then in extremes {
                let mut bucket = Bucket::full(first, now);
                bucket.take(usize::MAX, now);
                bucket.set(then, later);
                bucket.take(usize::MAX, later);
                bucket.set(first, later);
                assert_eq!(bucket.allowed(later), 0);
                let _ = bucket.ready_at();
            }
        }
    }

    #[test]
    fn changing_the_quota_often_costs_nothing() {
        let now = Instant::now();
        let quota = Quota::new(1, Duration::from_secs(10)).with_burst(2);
        let mut bucket = Bucket::full(quota, now);
        bucket.take(2, now);
        for second in 1..10 {
            let same_rate = Quota::new(second, Duration::from_secs(10 * u64::from(second)));
            bucket.set(same_rate, now + Duration::from_secs(second.into()));
        }
        assert_eq!(bucket.ready_at(), Some(now + Duration::from_secs(10)));
    }

    #[test]
    fn a_pause_keeps_debts_and_gives_nothing_for_free() {
        let now = Instant::now();
        let mut bucket = Bucket::full(Quota::per_second(10), now);
        bucket.take(15, now);
        bucket.set(Quota::PAUSED, now);
        let later = now + Duration::from_secs(60);
        assert_eq!((bucket.allowed(later), bucket.ready_at()), (0, None));
        bucket.set(Quota::new(1, Duration::from_secs(10)), later);
        // Five are owed, and then one is allowed.
        let ready = later + Duration::from_secs(60);
        assert_eq!(bucket.ready_at(), Some(ready));
        assert_eq!(bucket.allowed(ready), 1);
    }
}
