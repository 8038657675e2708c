//! Producers that the rules use to make things difficult.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::yield_now, time::sleep};

use crate::{
    Batch, BoxError, BoxProducer, Demand, End, Flow, Producer, SubscriptionInfo, Transform,
    testing::probe::{ON_PURPOSE, Signal, Trouble},
};

/// Goes wrong after so many events, is slow, or makes everything at once. Notes what it is told.
pub(crate) struct Spoiled {
    pub(crate) producer: BoxProducer<u64>,
    pub(crate) trouble: Option<(u64, Trouble)>,
    pub(crate) delay: Duration,
    /// Makes all its events in one call.
    pub(crate) eager: bool,
    pub(crate) yields: usize,
    pub(crate) log: Log,
    made: u64,
    /// The producer has ended, before it was to go wrong.
    has_ended: bool,
}

/// What a producer was told.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Signal>>>);

impl Log {
    pub(crate) fn get(&self) -> Vec<Signal> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, signal: Signal) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(signal);
    }
}

impl Spoiled {
    pub(crate) fn new(producer: BoxProducer<u64>) -> Self {
        Self {
            producer,
            trouble: None,
            delay: Duration::ZERO,
            eager: false,
            yields: 0,
            log: Log::default(),
            made: 0,
            has_ended: false,
        }
    }
}

impl Producer for Spoiled {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
        for _ in 0..self.yields {
            yield_now().await;
        }
        loop {
            let mut demand = demand;
            if let Some((at, trouble)) = self.trouble {
                let left = Demand::new(at.saturating_sub(self.made) as usize);
                let Some(left) = left.filter(|_| !self.has_ended) else {
                    goes_wrong(trouble)?;
                    return Ok(Flow::End);
                };
                demand = demand.min(left);
            }
            let before = batch.len();
            let flow = self.producer.produce(demand, batch).await?;
            self.made += (batch.len() - before) as u64;
            if self.trouble.is_some() && flow == Flow::End {
                // It makes more at a time than it is asked for, or has no more to make. It goes wrong all
                // the same, at the next call.
                self.has_ended = true;
                return Ok(Flow::More);
            }
            if !self.eager || flow == Flow::End {
                return Ok(flow);
            }
        }
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.log.note(Signal::Subscribed);
        self.producer.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.log.note(Signal::Ended(end.clone()));
        self.producer.unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        self.log.note(Signal::Finished);
        self.producer.finish().await
    }
}

fn goes_wrong(trouble: Trouble) -> Result<(), BoxError> {
    match trouble {
        Trouble::Fails => Err(ON_PURPOSE.into()),
        Trouble::Panics => panic!("{ON_PURPOSE}"),
    }
}

/// A transform that goes wrong on an event.
pub(crate) struct SpoiledRelay<T> {
    pub(crate) transform: T,
    pub(crate) at: u64,
    pub(crate) trouble: Trouble,
}

impl<T: Transform<u64, Out = u64>> Transform<u64> for SpoiledRelay<T> {
    type Out = u64;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), BoxError> {
        if batch.contains(&self.at) {
            goes_wrong(self.trouble)?;
        }
        self.transform
            .transform(batch, out)
            .await
            .map_err(Into::into)
    }

    async fn finish(&mut self, out: &mut Batch<u64>) -> Result<(), BoxError> {
        self.transform.finish(out).await.map_err(Into::into)
    }
}
