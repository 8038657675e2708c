use tokio::sync::watch;

use crate::{Batch, Demand, End, Flow, Producer, SubscriptionInfo};

/// A producer that can be paused. Made by [`pausable`].
#[derive(Debug)]
#[must_use = "it does nothing until it is added to a pipeline"]
pub struct Pausable<P> {
    producer: P,
    paused: watch::Receiver<bool>,
}

/// Pauses a producer and lets it go on. Made by [`pausable`].
#[derive(Clone, Debug)]
pub struct PauseHandle(watch::Sender<bool>);

/// Lets `producer` be paused while the pipeline runs.
///
/// A pause holds back the next call of [`produce`](Producer::produce), not one that is under way:
/// to interrupt that might lose events. So up to one more batch may come. What has been asked for
/// by then, and later, is kept until it goes on. A pipeline stops as promptly as ever.
///
/// ```
/// use stage_core::{Pipeline, Window, for_each, from_iter, pausable};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stage_core::PipelineError> {
/// let (numbers, pause) = pausable(from_iter(0..100_u64));
/// let mut pipeline = Pipeline::new();
/// let numbers = pipeline.produce(numbers);
/// pipeline.consume(for_each(|n: u64| println!("{n}")), numbers.subscribe(Window::new(10)));
/// pause.pause();
/// // At any time, from anywhere:
/// pause.resume();
/// pipeline.run().await
/// # }
/// ```
///
/// # Cancel safety
///
/// As that of `producer`.
pub fn pausable<P: Producer>(producer: P) -> (Pausable<P>, PauseHandle) {
    let (handle, paused) = watch::channel(false);
    (Pausable { producer, paused }, PauseHandle(handle))
}

impl PauseHandle {
    /// Holds the producer back before its next call. If it is paused already, nothing changes.
    pub fn pause(&self) {
        self.0.send_replace(true);
    }

    /// Lets the producer go on. Dropping the last handle does so, too: nobody else could.
    pub fn resume(&self) {
        self.0.send_replace(false);
    }

    /// Whether the producer is paused.
    pub fn is_paused(&self) -> bool {
        *self.0.borrow()
    }
}

impl<P: Producer> Producer for Pausable<P> {
    type Event = P::Event;
    type Error = P::Error;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<P::Event>,
    ) -> Result<Flow, P::Error> {
        // Without handles it goes on.
        let _ = self.paused.wait_for(|paused| !paused).await;
        self.producer.produce(demand, batch).await
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
