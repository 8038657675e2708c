use std::{fmt, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::{
    BoxError, Restart, SubscriptionInfo,
    meter::note_restart,
    protocol::{End, Generation},
};

/// Something that is made anew when it fails, and its policy.
pub(crate) struct Lives<F, S> {
    make: F,
    policy: Restart,
    /// The policy's time is what has gone by since.
    origin: Instant,
    generation: Generation,
    /// `None` between a failure and the next life.
    current: Option<S>,
    /// When the next life begins.
    next_at: Instant,
    /// The subscriptions that there are: each life is told of them.
    open: Vec<SubscriptionInfo>,
    /// For the log.
    what: &'static str,
}

/// Longer than anybody waits.
const FAR_OFF: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl<F: FnMut(Generation) -> S, S> Lives<F, S> {
    /// Makes the first one.
    pub(crate) fn new(what: &'static str, policy: Restart, mut make: F) -> Self {
        let origin = Instant::now();
        let generation = Generation::FIRST;
        Self {
            current: Some(make(generation)),
            make,
            policy,
            origin,
            generation,
            next_at: origin,
            open: Vec::new(),
            what,
        }
    }

    /// The present one. After a failure, waits and makes it, and tells it of the subscriptions.
    ///
    /// Cancel safe.
    pub(crate) async fn current(&mut self, tell: impl Fn(&mut S, &SubscriptionInfo)) -> &mut S {
        if self.current.is_none() {
            sleep_until(self.next_at).await;
            self.generation = self.generation.next();
            note_restart();
            info!(generation = %self.generation, "{} made anew", self.what);
        }
        let Self {
            current,
            make,
            generation,
            open,
            ..
        } = self;
        current.get_or_insert_with(|| {
            let mut fresh = make(*generation);
            for subscription in open {
                tell(&mut fresh, subscription);
            }
            fresh
        })
    }

    /// The present one, if there is one.
    pub(crate) fn if_any(&mut self) -> Option<&mut S> {
        self.current.as_mut()
    }

    /// Like [`if_any`](Self::if_any), to look at.
    pub(crate) fn look(&self) -> Option<&S> {
        self.current.as_ref()
    }

    /// A subscription is there.
    pub(crate) fn subscribed(
        &mut self,
        subscription: &SubscriptionInfo,
        tell: impl Fn(&mut S, &SubscriptionInfo),
    ) {
        self.open.push(subscription.clone());
        if let Some(present) = &mut self.current {
            tell(present, subscription);
        }
    }

    /// A subscription has ended. Nobody needs to know who was not told that it was there.
    pub(crate) fn unsubscribed(
        &mut self,
        subscription: &SubscriptionInfo,
        end: &End,
        tell: impl Fn(&mut S, &SubscriptionInfo, &End),
    ) {
        if let Some(at) = self.open.iter().position(|open| open == subscription) {
            self.open.remove(at);
        }
        if let Some(present) = &mut self.current {
            tell(present, subscription, end);
        }
    }

    /// Drops the present one, which has failed.
    ///
    /// # Errors
    ///
    /// The same error, if no restart mends it or there have been too many.
    pub(crate) fn failed(&mut self, error: BoxError) -> Result<(), BoxError> {
        self.current = None;
        if self.policy.is_final(&*error) {
            return Err(error);
        }
        let now = Instant::now();
        self.next_at = now;
        let wait = self.policy.after(now - self.origin);
        let (what, restarts) = (self.what, self.policy.recent());
        let Some(wait) = wait else {
            warn!(
                error = &*error as &dyn std::error::Error,
                generation = %self.generation,
                restarts,
                "{what} failed too often; giving up"
            );
            return Err(error);
        };
        warn!(
            error = &*error as &dyn std::error::Error,
            generation = %self.generation,
            restarts,
            ?wait,
            "{what} failed; making a new one"
        );
        // One that is too far off to be counted is far enough off.
        self.next_at = now.checked_add(wait).unwrap_or(now + FAR_OFF);
        Ok(())
    }
}

impl<F, S> fmt::Debug for Lives<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lives")
            .field("generation", &self.generation)
            .field("is_running", &self.current.is_some())
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
