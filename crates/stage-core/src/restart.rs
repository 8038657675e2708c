use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::{Batch, BoxError, Demand, Flow, Producer, panic::panic_message};

/// How often a failed producer may be made anew, and how long to wait before.
///
/// Pure: it is told the time, and reads no clock. The wait doubles with each restart that follows
/// another within the span, up to a maximum.
///
/// ```
/// use stage_core::Restart;
/// use std::time::Duration;
/// use tokio::time::Instant;
///
/// let mut restart = Restart::new(2, Duration::from_secs(60));
/// let now = Instant::now();
/// assert_eq!(restart.after(now), Some(Duration::from_millis(100)));
/// assert_eq!(restart.after(now), Some(Duration::from_millis(200)));
/// assert_eq!(restart.after(now), None, "a third within a minute");
/// assert!(restart.after(now + Duration::from_secs(61)).is_some());
/// ```
#[derive(Clone, Debug)]
pub struct Restart {
    most: usize,
    within: Duration,
    first_wait: Duration,
    longest_wait: Duration,
    recent: VecDeque<Instant>,
    /// Each says of which errors it knows that no fresh producer mends them.
    final_errors: Vec<fn(&(dyn Error + 'static)) -> bool>,
}

/// What waits are unless [`Restart::waiting`] says otherwise.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

impl Restart {
    /// At most `most` restarts within any span of `within`, with waits of 100 ms to 30 s.
    pub fn new(most: usize, within: Duration) -> Self {
        Self {
            most,
            within,
            first_wait: WAITS.0,
            longest_wait: WAITS.1,
            recent: VecDeque::new(),
            final_errors: Vec::new(),
        }
    }

    /// The same, with a wait of `first` before the first restart and never more than `longest`.
    #[must_use]
    pub fn waiting(self, first: Duration, longest: Duration) -> Self {
        Self {
            first_wait: first,
            longest_wait: longest,
            ..self
        }
    }

    /// The same, but without a restart after an error of which `is_final` says that a fresh
    /// producer would only meet it again. May be called more than once.
    #[must_use]
    pub fn unless(mut self, is_final: fn(&(dyn Error + 'static)) -> bool) -> Self {
        self.final_errors.push(is_final);
        self
    }

    /// How long to wait before the restart after a failure at `now`; `None` if there have been too
    /// many.
    pub fn after(&mut self, now: Instant) -> Option<Duration> {
        let forgotten = |then: &Instant| now.duration_since(*then) > self.within;
        while self.recent.front().is_some_and(forgotten) {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.most {
            return None;
        }
        let doublings = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        self.recent.push_back(now);
        let wait = self
            .first_wait
            .saturating_mul(2_u32.saturating_pow(doublings));
        Some(wait.min(self.longest_wait))
    }

    fn is_final(&self, error: &(dyn Error + 'static)) -> bool {
        self.final_errors.iter().any(|is_final| is_final(error))
    }
}

/// A producer that is made anew when it fails. See [`restarting`].
pub struct Restarting<F, P> {
    make: F,
    current: Current<P>,
    policy: Restart,
}

#[derive(Debug)]
enum Current<P> {
    Producing(P),
    /// The last one failed. The next one is made at this time.
    Waiting(Instant),
}

/// Wraps a producer so that, when it fails or panics, `make` makes a fresh one in its place.
///
/// Subscriptions and demand are the stage's, not the producer's: they outlive it. What the failed
/// one had put into its batch is handed out. A fresh one must take up where that ended, so `make`
/// usually shares a position with the producers it makes.
pub fn restarting<P: Producer>(
    policy: Restart,
    mut make: impl FnMut() -> P + Send + 'static,
) -> impl Producer<Event = P::Event, Error = BoxError> {
    let current = Current::Producing(make());
    Restarting {
        make,
        current,
        policy,
    }
}

impl<F, P> Restarting<F, P> {
    /// What to do about a failure: wait, or give up with it.
    fn failed(&mut self, error: BoxError) -> Result<(), BoxError> {
        if self.policy.is_final(&*error) {
            return Err(error);
        }
        let now = Instant::now();
        let Some(wait) = self.policy.after(now) else {
            return Err(error);
        };
        warn!(
            error = &*error as &dyn Error,
            ?wait,
            "producer failed; making a new one"
        );
        self.current = Current::Waiting(now + wait);
        Ok(())
    }
}

impl<F, P> Producer for Restarting<F, P>
where
    F: FnMut() -> P + Send + 'static,
    P: Producer,
{
    type Event = P::Event;
    type Error = BoxError;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<P::Event>,
    ) -> Result<Flow, BoxError> {
        loop {
            match &mut self.current {
                Current::Producing(producer) => {
                    match without_panic(producer.produce(demand, batch)).await {
                        Ok(flow) => return Ok(flow),
                        Err(error) => self.failed(error)?,
                    }
                    if !batch.is_empty() {
                        return Ok(Flow::More);
                    }
                }
                Current::Waiting(until) => {
                    sleep_until(*until).await;
                    self.current = Current::Producing((self.make)());
                }
            }
        }
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        match &mut self.current {
            Current::Producing(producer) => producer.finish().await.map_err(Into::into),
            Current::Waiting(_) => Ok(()),
        }
    }
}

/// Turns a panic into an error that says what the panic said.
async fn without_panic<T, E: Into<BoxError>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, BoxError> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        // The producer is replaced after a panic, so nobody sees it in a broken state.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(poll) => poll.map_err(Into::into),
            Err(payload) => {
                let message = panic_message(&*payload);
                Poll::Ready(Err(format!("panicked: {message}").into()))
            }
        }
    })
    .await
}

impl<F, P: fmt::Debug> fmt::Debug for Restarting<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            make: _,
            current,
            policy,
        } = self;
        f.debug_struct("Restarting")
            .field("current", current)
            .field("policy", policy)
            .finish_non_exhaustive()
    }
}
