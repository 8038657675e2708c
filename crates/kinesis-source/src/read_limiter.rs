use std::{fmt, num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::{Instant, sleep, sleep_until};

/// Keeps the calls for one shard within what the service allows, by waiting.
pub(crate) struct ReadLimiter {
    calls: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<std::time::Instant>>,
    /// When what has been read so far is paid for.
    paid_at: Instant,
}

/// Calls of one kind a second and shard: GetRecords as well as GetShardIterator. All readers of a
/// shard share them.
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>)
pub(crate) const CALLS_PER_SECOND: NonZeroU32 = NonZeroU32::new(5).expect("five is not zero");

/// Bytes a second and shard. After a larger answer the service refuses reads until the average is
/// met. (Same page.)
const BYTES_PER_SECOND: u64 = 2 * 1024 * 1024;

impl ReadLimiter {
    pub(crate) fn new() -> Self {
        // Evenly spaced: a burst leaves no room for a reader beside this one.
        let quota = Quota::per_second(CALLS_PER_SECOND).allow_burst(NonZeroU32::MIN);
        Self {
            calls: RateLimiter::direct_with_clock(quota, TokioClock),
            paid_at: Instant::now(),
        }
    }

    /// Waits until a call is allowed, and counts it.
    ///
    /// Cancel safe: a call is counted only when this returns.
    pub(crate) async fn turn(&self) {
        sleep_until(self.paid_at).await;
        while let Err(not_until) = self.calls.check() {
            sleep(not_until.wait_time_from(TokioClock.now())).await;
        }
    }

    /// Counts the bytes of an answer that has just come.
    pub(crate) fn charge(&mut self, bytes: u64) {
        let span = Duration::from_micros(bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND);
        self.paid_at = self.paid_at.max(Instant::now()) + span;
    }
}

impl fmt::Debug for ReadLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadLimiter")
            .field("paid_at", &self.paid_at)
            .finish_non_exhaustive()
    }
}

/// Tokio's clock, which tests can pause. (Governor's own waits run on real time.)
#[derive(Clone, Debug)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = std::time::Instant;

    fn now(&self) -> Self::Instant {
        Instant::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_spaced_evenly() {
        let (limiter, start) = (ReadLimiter::new(), Instant::now());
        for _ in 0..51 {
            limiter.turn().await;
        }
        let took = start.elapsed().as_millis();
        assert!(
            (10_000..10_100).contains(&took),
            "{took} ms for 50 intervals"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_answer_is_paid_for_before_the_next_call() {
        let (mut limiter, start) = (ReadLimiter::new(), Instant::now());
        limiter.turn().await;
        limiter.charge(10 * 1024 * 1024);
        limiter.turn().await;
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_is_not_saved_up() {
        let mut limiter = ReadLimiter::new();
        sleep(Duration::from_secs(3600)).await;
        let start = Instant::now();
        limiter.charge(2 * 1024 * 1024);
        limiter.turn().await;
        limiter.turn().await;
        assert!(start.elapsed() >= Duration::from_millis(1_200));
    }
}
