//! What wraps a stage passes on all that the stage is told, not only its events.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use stage_core::{
    Batch, BoxConsumer, BoxError, BoxProducer, BoxTransform, Consumer, Demand, End, Flow,
    OnFailure, Pipeline, Producer, Quota, Restart, SubscriptionInfo, Transform, Window, pausable,
    rate_limited, resilient, resilient_transform, restarting_consumer, restarting_producer,
    restarting_transform,
};
use tokio::time::{Instant, sleep};

/// Notes what it is told.
#[derive(Clone, Default)]
struct Told {
    log: Arc<Mutex<Vec<String>>>,
    /// Fails at the first of its events, in its first life.
    fails: bool,
    kept: Option<Instant>,
}

impl Told {
    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(what.to_owned());
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn fail(&self) -> Result<(), BoxError> {
        match self.fails {
            true => Err("on purpose".into()),
            false => Ok(()),
        }
    }
}

impl Producer for Told {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        self.fail()?;
        batch.push(1);
        Ok(Flow::End)
    }

    fn subscribed(&mut self, _: &SubscriptionInfo) {
        self.note("subscribed");
    }

    fn unsubscribed(&mut self, _: &SubscriptionInfo, _: &End) {
        self.note("unsubscribed");
    }
}

impl Consumer<u64> for Told {
    type Error = BoxError;

    async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), BoxError> {
        self.fail()
    }

    async fn while_idle(&mut self) -> Result<(), BoxError> {
        self.note("idle");
        std::future::pending().await
    }

    fn subscribed(&mut self, _: &SubscriptionInfo) {
        self.note("subscribed");
    }

    fn unsubscribed(&mut self, _: &SubscriptionInfo, _: &End) {
        self.note("unsubscribed");
    }
}

impl Transform<u64> for Told {
    type Out = u64;
    type Error = BoxError;

    async fn transform(&mut self, _: &mut Batch<u64>, _: &mut Batch<u64>) -> Result<(), BoxError> {
        self.fail()?;
        self.kept = Some(Instant::now() + Duration::from_secs(1));
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.kept
    }

    async fn elapsed(&mut self, out: &mut Batch<u64>) -> Result<(), BoxError> {
        self.kept = None;
        self.note("elapsed");
        out.push(2);
        Ok(())
    }

    fn subscribed(&mut self, _: &SubscriptionInfo) {
        self.note("subscribed");
    }

    fn unsubscribed(&mut self, _: &SubscriptionInfo, _: &End) {
        self.note("unsubscribed");
    }
}

/// One event, and then nothing for a minute.
struct OneAndWait(bool);

impl Producer for OneAndWait {
    type Event = u64;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
        if self.0 {
            sleep(Duration::from_secs(60)).await;
            return Ok(Flow::End);
        }
        self.0 = true;
        batch.push(0);
        Ok(Flow::More)
    }
}

fn policy() -> Restart {
    Restart::new(3, Duration::from_secs(60))
}

async fn run_producer(told: &Told, producer: impl Producer<Event = u64>) -> Vec<String> {
    let mut pipeline = Pipeline::new();
    let out = pipeline.produce(producer);
    pipeline.consume(Told::default(), out.subscribe(Window::new(4)));
    pipeline.run().await.unwrap();
    told.log()
}

async fn run_consumer(told: &Told, consumer: impl Consumer<u64>) -> Vec<String> {
    let mut pipeline = Pipeline::new();
    let out = pipeline.produce(OneAndWait(false));
    pipeline.consume(consumer, out.subscribe(Window::new(4)));
    pipeline.run().await.unwrap();
    told.log()
}

async fn run_transform(told: &Told, transform: impl Transform<u64, Out = u64>) -> Vec<String> {
    let mut pipeline = Pipeline::new();
    let out = pipeline.produce(OneAndWait(false));
    let out = pipeline.transform(transform, out.subscribe(Window::new(4)));
    pipeline.consume(Told::default(), out.subscribe(Window::new(4)));
    pipeline.run().await.unwrap();
    told.log()
}

#[tokio::test(start_paused = true)]
async fn a_wrapped_producer_is_told_of_its_subscriptions() {
    let told = || Told::default();
    let expected = ["subscribed", "unsubscribed"];
    let one = told();
    assert_eq!(
        run_producer(&one, BoxProducer::new(one.clone())).await,
        expected
    );
    let one = told();
    assert_eq!(run_producer(&one, pausable(one.clone()).0).await, expected);
    let one = told();
    let quota = Quota::per_second(10);
    assert_eq!(
        run_producer(&one, rate_limited(one.clone(), quota).0).await,
        expected
    );
    let one = told();
    let inner = one.clone();
    let lives = restarting_producer(policy(), move |generation| Told {
        fails: generation.get() == 0,
        ..inner.clone()
    });
    // The second life is told, too.
    assert_eq!(
        run_producer(&one, lives).await,
        ["subscribed", "subscribed", "unsubscribed"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrapped_consumer_is_told_of_its_subscriptions_and_may_idle() {
    let expected = ["subscribed", "idle", "unsubscribed"];
    let one = Told::default();
    assert_eq!(
        run_consumer(&one, BoxConsumer::new(one.clone())).await,
        expected
    );
    let one = Told::default();
    let careful = resilient(one.clone(), OnFailure::retry(2).then_stop());
    assert_eq!(run_consumer(&one, careful).await, expected);
    let one = Told::default();
    let inner = one.clone();
    let lives = restarting_consumer(policy(), move |generation| Told {
        fails: generation.get() == 0,
        ..inner.clone()
    });
    assert_eq!(
        run_consumer(&one, lives).await,
        ["subscribed", "subscribed", "idle", "unsubscribed"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrapped_transform_is_told_of_both_its_sides_and_of_time() {
    let expected = [
        "subscribed",
        "subscribed",
        "elapsed",
        "unsubscribed",
        "unsubscribed",
    ];
    let one = Told::default();
    assert_eq!(
        run_transform(&one, BoxTransform::new(one.clone())).await,
        expected
    );
    let one = Told::default();
    let careful = resilient_transform(one.clone(), OnFailure::retry(2).then_stop());
    assert_eq!(run_transform(&one, careful).await, expected);
    let one = Told::default();
    let inner = one.clone();
    let lives = restarting_transform(policy(), move |_| inner.clone());
    assert_eq!(run_transform(&one, lives).await, expected);
}
