use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::time::Instant;

use super::watch::{Cut, MOST_POLLS, Watch};
use crate::{Batch, Consumer, Demand, End, Flow, Producer, SubscriptionInfo, Transform};

/// A user's stage, under the eyes of the [`Watch`]. It does what the stage does, as long as that ever
/// waits for something.
pub(crate) struct Gauged<S> {
    stage: S,
    gauge: Gauge,
}

/// How often a stage was polled at one time.
#[derive(Default)]
struct Gauge {
    at: Option<Instant>,
    polls: u32,
}

impl<S> Gauged<S> {
    pub(crate) fn new(stage: S) -> Self {
        Self {
            stage,
            gauge: Gauge::default(),
        }
    }
}

impl Gauge {
    /// A call that events are the matter of.
    async fn call<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut measure = Measure::default();
        self.poll_all(work, |watch, took| {
            measure.watch.get_or_insert_with(|| Arc::clone(watch));
            measure.longest = measure.longest.max(took);
        })
        .await
    }

    /// Another.
    async fn wait<T>(&mut self, work: impl Future<Output = T>) -> T {
        self.poll_all(work, |_, _| {}).await
    }

    async fn poll_all<T>(
        &mut self,
        work: impl Future<Output = T>,
        mut took: impl FnMut(&Arc<Watch>, Duration),
    ) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let Some(watch) = Watch::here() else {
                return work.as_mut().poll(cx);
            };
            if self.spins() {
                watch.cut(Cut::Spins);
                return Poll::Pending;
            }
            let entered = watch.enter();
            let polled = work.as_mut().poll(cx);
            took(&watch, entered.elapsed());
            polled
        })
        .await
    }

    fn spins(&mut self) -> bool {
        let now = Instant::now();
        if self.at != Some(now) {
            (self.at, self.polls) = (Some(now), 0);
        }
        self.polls = self.polls.saturating_add(1);
        self.polls > MOST_POLLS
    }
}

/// Tells how long a call had the thread, when that is over, however it ends.
#[derive(Default)]
struct Measure {
    watch: Option<Arc<Watch>>,
    longest: Duration,
}

impl Drop for Measure {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.took(self.longest);
        }
    }
}

/// A call that cannot wait.
fn at_once<T>(call: impl FnOnce() -> T) -> T {
    let watch = Watch::here();
    let _entered = watch.as_ref().map(|watch| watch.enter());
    call()
}

impl<P: Producer> Producer for Gauged<P> {
    type Event = P::Event;
    type Error = P::Error;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<P::Event>,
    ) -> Result<Flow, P::Error> {
        let Self { stage, gauge } = self;
        gauge.call(stage.produce(demand, batch)).await
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        at_once(|| self.stage.subscribed(subscription));
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        at_once(|| self.stage.unsubscribed(subscription, end));
    }

    async fn finish(&mut self) -> Result<(), P::Error> {
        let Self { stage, gauge } = self;
        gauge.wait(stage.finish()).await
    }
}

impl<E: Send + 'static, C: Consumer<E>> Consumer<E> for Gauged<C> {
    type Error = C::Error;

    async fn consume(&mut self, batch: &mut Batch<E>) -> Result<(), C::Error> {
        let Self { stage, gauge } = self;
        gauge.call(stage.consume(batch)).await
    }

    async fn while_idle(&mut self) -> Result<(), C::Error> {
        let Self { stage, gauge } = self;
        gauge.wait(stage.while_idle()).await
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        at_once(|| self.stage.subscribed(subscription));
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        at_once(|| self.stage.unsubscribed(subscription, end));
    }

    async fn finish(&mut self) -> Result<(), C::Error> {
        let Self { stage, gauge } = self;
        gauge.wait(stage.finish()).await
    }
}

impl<In: Send + 'static, T: Transform<In>> Transform<In> for Gauged<T> {
    type Out = T::Out;
    type Error = T::Error;

    async fn transform(
        &mut self,
        batch: &mut Batch<In>,
        out: &mut Batch<T::Out>,
    ) -> Result<(), T::Error> {
        let Self { stage, gauge } = self;
        gauge.call(stage.transform(batch, out)).await
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        at_once(|| self.stage.subscribed(subscription));
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        at_once(|| self.stage.unsubscribed(subscription, end));
    }

    fn due(&self) -> Option<Instant> {
        at_once(|| self.stage.due())
    }

    async fn elapsed(&mut self, out: &mut Batch<T::Out>) -> Result<(), T::Error> {
        let Self { stage, gauge } = self;
        gauge.call(stage.elapsed(out)).await
    }

    async fn finish(&mut self, out: &mut Batch<T::Out>) -> Result<(), T::Error> {
        let Self { stage, gauge } = self;
        gauge.wait(stage.finish(out)).await
    }
}
