mod bucket;

use std::{fmt, sync::Arc};

use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep_until},
};

use self::bucket::Bucket;
pub use self::bucket::Quota;
use crate::{
    Batch, Demand, Flow, Producer, SubscriptionInfo,
    protocol::End,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A producer that makes no more events than a [`Quota`] allows. Made by [`rate_limited`].
#[derive(Debug)]
#[must_use = "it does nothing until it is added to a pipeline"]
pub struct RateLimited<P> {
    producer: P,
    limit: Arc<Limit>,
}

/// Changes the [`Quota`] of a producer while it runs. Made by [`rate_limited`].
#[derive(Clone)]
pub struct RateHandle(Arc<Limit>);

/// Has `producer` make no more events than `quota` allows. The handle changes the quota while the
/// pipeline runs.
///
/// The producer is asked for no more at once than is allowed at that time, and not at all while
/// nothing is: the demand of the stages downstream is kept until then. If it gives more than it is
/// asked for, nothing is thrown away: it is not asked again before the quota has made up for that.
///
/// ```
/// use stage_core::{Pipeline, Quota, Window, for_each, from_iter, rate_limited};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), stage_core::PipelineError> {
/// let (numbers, rate) = rate_limited(from_iter(0..100_u64), Quota::per_second(10));
/// let mut pipeline = Pipeline::new();
/// let numbers = pipeline.produce(numbers);
/// pipeline.consume(for_each(|n: u64| println!("{n}")), numbers.subscribe(Window::new(10)));
/// # rate.set(Quota::PAUSED);
/// // At any time, from anywhere:
/// rate.set(Quota::per_second(1000));
/// pipeline.run().await
/// # }
/// ```
///
/// # Cancel safety
///
/// As that of `producer`. What it has put out by then counts.
pub fn rate_limited<P: Producer>(producer: P, quota: Quota) -> (RateLimited<P>, RateHandle) {
    let limit = Arc::new(Limit {
        bucket: Mutex::new(Bucket::full(quota, Instant::now())),
        changed: Notify::new(),
    });
    let handle = RateHandle(Arc::clone(&limit));
    (RateLimited { producer, limit }, handle)
}

impl RateHandle {
    /// Changes the quota. It takes effect at once, also if the producer waits for the old one to
    /// allow something. What has been allowed and not used remains, as far as the new burst allows.
    pub fn set(&self, quota: Quota) {
        self.0.bucket().set(quota, Instant::now());
        self.0.changed.notify_waiters();
    }

    /// The quota as it is.
    pub fn quota(&self) -> Quota {
        self.0.bucket().quota()
    }
}

impl<P: Producer> Producer for RateLimited<P> {
    type Event = P::Event;
    type Error = P::Error;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<P::Event>,
    ) -> Result<Flow, P::Error> {
        let allowed = self.limit.allowed().await;
        let charge = Charge {
            limit: &self.limit,
            before: batch.len(),
            batch,
        };
        self.producer
            .produce(demand.min(allowed), charge.batch)
            .await
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.producer.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.producer.unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> Result<(), P::Error> {
        self.producer.finish().await
    }
}

/// What a producer and its handles share.
struct Limit {
    bucket: Mutex<Bucket>,
    changed: Notify,
}

impl Limit {
    /// Waits until something is allowed, and says how much.
    async fn allowed(&self) -> Demand {
        loop {
            // Before the bucket is looked at, so that no change is missed.
            let changed = self.changed.notified();
            let ready_at = {
                let mut bucket = self.bucket();
                if let Some(allowed) = Demand::new(bucket.allowed(Instant::now())) {
                    return allowed;
                }
                bucket.ready_at()
            };
            match ready_at {
                None => changed.await,
                Some(ready_at) => select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(ready_at) => {}
                },
            }
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what is put into a batch, however the call that does so ends.
struct Charge<'a, E> {
    limit: &'a Limit,
    batch: &'a mut Batch<E>,
    before: usize,
}

impl<E> Drop for Charge<'_, E> {
    fn drop(&mut self) {
        let made = self.batch.len().saturating_sub(self.before);
        self.limit.bucket().take(made, Instant::now());
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bucket().quota().fmt(f)
    }
}

impl fmt::Debug for RateHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RateHandle").field(&self.0).finish()
    }
}
