use std::fmt;

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::{BoxError, Restart, SubscriptionInfo, meter::note_restart, protocol::Generation};

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
    /// The subscriptions that are open: what each life is told first.
    subscriptions: Vec<SubscriptionInfo>,
    tell: fn(&mut S, &SubscriptionInfo),
    /// For the log.
    what: &'static str,
}

impl<F: FnMut(Generation) -> S, S> Lives<F, S> {
    /// Makes the first one. Each is told by `tell` of the subscriptions that it has.
    pub(crate) fn new(
        what: &'static str,
        policy: Restart,
        tell: fn(&mut S, &SubscriptionInfo),
        mut make: F,
    ) -> Self {
        let origin = Instant::now();
        let generation = Generation::FIRST;
        Self {
            current: Some(make(generation)),
            make,
            policy,
            origin,
            generation,
            next_at: origin,
            subscriptions: Vec::new(),
            tell,
            what,
        }
    }

    /// The present one. After a failure, waits and makes it.
    ///
    /// Cancel safe.
    pub(crate) async fn current(&mut self) -> &mut S {
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
            subscriptions,
            tell,
            ..
        } = self;
        current.get_or_insert_with(|| {
            let mut next = make(*generation);
            for subscription in subscriptions {
                tell(&mut next, subscription);
            }
            next
        })
    }

    /// Takes note of a subscription.
    pub(crate) fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.subscriptions.push(subscription.clone());
        if let Some(current) = &mut self.current {
            (self.tell)(current, subscription);
        }
    }

    /// Forgets a subscription that has ended, and returns whom to tell, if there is anybody.
    pub(crate) fn unsubscribed(&mut self, subscription: &SubscriptionInfo) -> Option<&mut S> {
        let mut open = self.subscriptions.iter();
        if let Some(at) = open.position(|open| open == subscription) {
            self.subscriptions.remove(at);
        }
        self.current.as_mut()
    }

    /// The present one, to be looked at.
    pub(crate) fn present(&self) -> Option<&S> {
        self.current.as_ref()
    }

    /// The present one, if there is one.
    pub(crate) fn if_any(&mut self) -> Option<&mut S> {
        self.current.as_mut()
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
        self.next_at += wait;
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
