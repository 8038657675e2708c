use std::{fmt, ops::Range, time::Duration};

use kinesis_source::ShardId;

use super::{
    chance::{Chance, Purpose},
    expression,
};

/// A random part of the shards is stopped, one after another, and released in another order.
///
/// Of the orders in which parts of a system can fail and come back, this finds the rare ones. Which
/// shards are chosen and when each of them stops and is released follows from the plan's seed and
/// the shard's name; so shards that are made later take part, too, and with few shards it may happen
/// that none is chosen.
///
/// ```text
///        from      stopping_over     lasting       releasing_over
///   ───────┼──────────────────────┼───────────┼──────────────────────┼──────▶
///   shard 2     ├─────────────────────────────────────────┤
///   shard 5                ├──────────────────────┤
///   shard 7        ├──────────────────────────────────────────────┤
/// ```
///
/// ```
/// use std::time::Duration;
///
/// use kinesis_fake::{Fault, FaultPlan, Operation, Swizzle};
///
/// let plan = FaultPlan::new(7).with(
///     Fault::held([Operation::GetRecords, Operation::GetShardIterator]).swizzled(
///         Swizzle::of(0.5)
///             .from(Duration::from_secs(60))
///             .lasting(Duration::from_secs(30))
///             .every(Duration::from_secs(300)),
///     ),
/// );
/// # assert_eq!(plan.faults().len(), 1);
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct Swizzle {
    share: f64,
    from: Duration,
    stopping: Duration,
    lasting: Duration,
    releasing: Duration,
    every: Option<Duration>,
}

/// How long stopping and releasing take unless told otherwise.
const OVER: Duration = Duration::from_secs(10);

impl Swizzle {
    /// Chooses about that share of the shards, from 0 to 1. They begin to stop at once, over 10 s,
    /// and are released over the next 10 s.
    ///
    /// # Panics
    ///
    /// If it is no share.
    #[track_caller]
    pub const fn of(share: f64) -> Self {
        assert!(
            share >= 0.0 && share <= 1.0,
            "a swizzle's share of the shards is from 0 to 1"
        );
        Self {
            share,
            from: Duration::ZERO,
            stopping: OVER,
            lasting: Duration::ZERO,
            releasing: OVER,
            every: None,
        }
    }

    /// The first may stop that long after the plan began.
    #[must_use]
    pub const fn from(self, from: Duration) -> Self {
        Self { from, ..self }
    }

    /// The chosen stop within that time of each other.
    #[must_use]
    pub const fn stopping_over(self, stopping: Duration) -> Self {
        Self { stopping, ..self }
    }

    /// All chosen shards stand still at once for that long.
    #[must_use]
    pub const fn lasting(self, lasting: Duration) -> Self {
        Self { lasting, ..self }
    }

    /// The chosen are released within that time of each other.
    #[must_use]
    pub const fn releasing_over(self, releasing: Duration) -> Self {
        Self { releasing, ..self }
    }

    /// Chooses anew whenever that time has passed. What has not been released by then is.
    #[must_use]
    pub const fn every(self, every: Duration) -> Self {
        Self {
            every: Some(every),
            ..self
        }
    }

    /// From when to when `shard` is stopped, if it is at `now`. Counted from the plan's begin.
    pub(super) fn stop_of(
        &self,
        shard: &ShardId,
        now: Duration,
        chance: Chance,
    ) -> Option<Range<Duration>> {
        let since = now.checked_sub(self.from)?;
        let every = self.every.filter(|every| !every.is_zero());
        let round = every.map_or(0, |every| since.as_nanos() / every.as_nanos()) as u64;
        let begin = every.map_or(Duration::ZERO, |every| times(every, round));
        let share = |purpose| chance.share(purpose, Some(shard), round);
        if share(Purpose::Chosen) >= self.share {
            return None;
        }
        let stop = begin.saturating_add(part(self.stopping, share(Purpose::Stop)));
        let release = self
            .stopping
            .saturating_add(self.lasting)
            .saturating_add(part(self.releasing, share(Purpose::Release)));
        let release = begin.saturating_add(every.map_or(release, |every| release.min(every)));
        let from_begin = |since| self.from.saturating_add(since);
        (stop..release)
            .contains(&since)
            .then(|| from_begin(stop)..from_begin(release))
    }
}

/// That share of a span; the longest one there is, if a rounding leads beyond it.
fn part(span: Duration, share: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * share).unwrap_or(Duration::MAX)
}

fn times(span: Duration, count: u64) -> Duration {
    let nanos = span.as_nanos().saturating_mul(u128::from(count));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// As a Rust expression.
impl fmt::Debug for Swizzle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Swizzle::of({:?})", self.share)?;
        for (name, span, usual) in [
            ("from", self.from, Duration::ZERO),
            ("stopping_over", self.stopping, OVER),
            ("lasting", self.lasting, Duration::ZERO),
            ("releasing_over", self.releasing, OVER),
        ] {
            if span != usual {
                write!(f, ".{name}({})", expression::duration(span))?;
            }
        }
        match self.every {
            Some(every) => write!(f, ".every({})", expression::duration(every)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWIZZLE: Swizzle = Swizzle::of(0.5)
        .from(Duration::from_secs(100))
        .lasting(Duration::from_secs(5))
        .every(Duration::from_secs(60));

    /// When each of a hundred shards stops and is released in the round that begins at `begin`.
    fn stops(begin: u64, seed: u64) -> Vec<(usize, Duration, Duration)> {
        // All that are chosen stand still once stopping is over.
        let now = Duration::from_secs(begin + 12);
        let stop = |shard: usize| {
            let id = ShardId::new(format!("shardId-{shard:012}"));
            let stop = SWIZZLE.stop_of(&id, now, Chance::new(seed, 0))?;
            Some((shard, stop.start, stop.end))
        };
        (0..100).filter_map(stop).collect()
    }

    #[test]
    fn about_the_share_stops_within_its_time_and_is_released_in_another_order() {
        let mut stops = stops(100, 1);
        assert!((30..70).contains(&stops.len()), "{}", stops.len());
        for (_, stop, release) in &stops {
            assert!((100..110).contains(&stop.as_secs()), "{stop:?}");
            assert!((115..125).contains(&release.as_secs()), "{release:?}");
        }
        stops.sort_by_key(|(_, stop, _)| *stop);
        let by_stop: Vec<_> = stops.iter().map(|(shard, ..)| *shard).collect();
        stops.sort_by_key(|(_, _, release)| *release);
        let by_release: Vec<_> = stops.iter().map(|(shard, ..)| *shard).collect();
        assert_ne!(by_stop, by_release);
    }

    #[test]
    fn each_round_and_each_seed_chooses_anew_and_the_same_ones_again() {
        let chosen = |begin, seed| {
            let stops = stops(begin, seed).into_iter();
            stops.map(|(shard, ..)| shard).collect::<Vec<_>>()
        };
        assert_eq!(chosen(100, 1), chosen(100, 1));
        assert_ne!(chosen(100, 1), chosen(160, 1));
        assert_ne!(chosen(100, 1), chosen(100, 2));
    }

    #[test]
    fn nothing_stops_before_or_between_rounds() {
        let shards = (0..100).map(|shard| ShardId::new(format!("shardId-{shard:012}")));
        for shard in shards {
            for seconds in [0, 99, 126, 159, 186] {
                let now = Duration::from_secs(seconds);
                assert_eq!(SWIZZLE.stop_of(&shard, now, Chance::new(1, 0)), None);
            }
        }
    }
}
