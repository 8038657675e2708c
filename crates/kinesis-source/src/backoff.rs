use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// How long to wait before each try after failures in a row: exponential, with jitter.
///
/// The jitter comes from a seed, so that a test sees the same waits each time, and so that a
/// thousand shards that are throttled together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: ExponentialBuilder,
    seed: u64,
    waits: ExponentialBackoff,
    failures: u32,
}

/// The wait after a first failure. Jitter adds up to as much again.
const FIRST: Duration = Duration::from_millis(250);

/// No wait is longer, but for its jitter.
const LONGEST: Duration = Duration::from_secs(10);

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        let policy = ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .with_factor(2.0)
            .without_max_times()
            .with_jitter();
        Self {
            policy,
            seed,
            waits: policy.with_jitter_seed(seed).build(),
            failures: 0,
        }
    }

    /// Jitter of its own for each name.
    pub(crate) fn for_name(name: &str) -> Self {
        Self::new(seed_of(name))
    }

    /// Counts a failure, and returns how long to wait.
    pub(crate) fn failed(&mut self) -> Duration {
        self.failures += 1;
        self.waits.next().unwrap_or(LONGEST)
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
            self.waits = self.policy.with_jitter_seed(self.seed).build();
        }
        std::mem::take(&mut self.failures)
    }
}

/// A seed of its own for each name.
pub(crate) fn seed_of(name: &str) -> u64 {
    // FNV-1a: stable over versions and platforms, which std's hashers do not promise.
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
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
    fn a_name_always_waits_the_same_and_others_wait_otherwise() {
        let waits = |name| {
            let mut backoff = Backoff::for_name(name);
            [backoff.failed(), backoff.failed(), backoff.failed()]
        };
        assert_eq!(waits("a"), waits("a"));
        assert_ne!(waits("a"), waits("b"));
    }
}
