use std::{
    fmt::{self, Display, Write},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// How long to wait before each try after failures in a row: exponential, with jitter.
///
/// The jitter comes from a seed, so that a test sees the same waits each time, and so that a
/// thousand shards that are throttled together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    seed: u64,
    /// Since the first failure in a row. Most shards never have one.
    waits: Option<Box<ExponentialBackoff>>,
    failures: u32,
}

/// The wait after a first failure. Jitter adds up to as much again.
const FIRST: Duration = Duration::from_millis(250);

/// No wait is longer, but for its jitter.
const LONGEST: Duration = Duration::from_secs(10);

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            waits: None,
            failures: 0,
        }
    }

    /// Jitter of its own for each name.
    pub(crate) fn for_name(name: impl Display) -> Self {
        Self::new(seed_of(name))
    }

    /// Counts a failure, and returns how long to wait.
    pub(crate) fn failed(&mut self) -> Duration {
        self.failures += 1;
        let seed = self.seed;
        let waits = self.waits.get_or_insert_with(|| Box::new(waits(seed)));
        waits.next().unwrap_or(LONGEST)
    }

    /// How many failures there were in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Takes note of a success, and returns how many failures came before it.
    pub(crate) fn succeeded(&mut self) -> u32 {
        if self.failures > 0 {
            self.seed = self
                .seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            self.waits = None;
        }
        std::mem::take(&mut self.failures)
    }
}

fn waits(seed: u64) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(FIRST)
        .with_max_delay(LONGEST)
        .with_factor(2.0)
        .without_max_times()
        .with_jitter()
        .with_jitter_seed(seed)
        .build()
}

/// A seed of its own for each name.
pub(crate) fn seed_of(name: impl Display) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    // It takes all that is written.
    let _ = write!(hash, "{name}");
    hash.0
}

/// FNV-1a: stable over versions and platforms, which std's hashers do not promise.
struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = text.bytes().fold(self.0, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_start_over_after_a_success() {
        let mut backoff = Backoff::for_name("shardId-000000000000");
        let waits: Vec<Duration> = iter::repeat_with(|| backoff.failed()).take(20).collect();
        assert!(waits[0] >= FIRST && waits[0] <= 2 * FIRST, "{waits:?}");
        assert!(
            waits[19] >= LONGEST && waits[19] <= 2 * LONGEST + FIRST,
            "{waits:?}"
        );
        assert_eq!(backoff.succeeded(), 20);
        assert_eq!(backoff.succeeded(), 0);
        assert!(backoff.failed() <= 2 * FIRST);
    }

    #[test]
    fn a_seed_is_the_same_whatever_it_is_made_on() {
        // As FNV-1a has them.
        assert_eq!(seed_of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(seed_of("foobar"), 0x8594_4171_f739_67e8);
        let shard = "shardId-000000000007";
        assert_eq!(seed_of(crate::ShardId::from(shard)), seed_of(shard));
    }

    #[test]
    fn a_name_always_waits_the_same_and_others_wait_otherwise() {
        let waits = |name| {
            let mut backoff = Backoff::for_name(name);
            [backoff.failed(), backoff.failed(), backoff.failed()]
        };
        assert_eq!(waits("a"), waits("a"));
        assert_ne!(waits("a"), waits("b"));
    }
}
