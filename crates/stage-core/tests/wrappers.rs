//! What is wrapped is told what a stage is told: the traits' defaulted methods are easily forgotten.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use stage_core::{
    Batch, BoxConsumer, BoxProducer, BoxTransform, Consumer, Demand, End, Flow, Mode, OnFailure,
    Pipeline, Producer, Quota, Restart, SubscriptionInfo, Transform, Window, map, rate_limited,
    resilient, resilient_transform, restarting, restarting_consumer, restarting_producer,
    restarting_transform,
};
use tokio::time::{Instant, sleep};

use stages::{Counter, Slow};

const SECOND: Duration = Duration::from_secs(1);

/// Notes what it is told.
#[derive(Clone, Default)]
struct Probe {
    log: Arc<Mutex<Vec<String>>>,
    /// For the notes: which life it is.
    life: String,
    /// Fails on the first event, or while it is idle.
    fails: Option<&'static str>,
    kept: Option<u64>,
    due: Option<Instant>,
    is_idle: bool,
}

impl Probe {
    fn life(&self, life: stage_core::Generation, fails: Option<&'static str>) -> Self {
        Self {
            log: Arc::clone(&self.log),
            life: format!("{life}: "),
            fails,
            ..Self::default()
        }
    }

    fn note(&self, what: &str) {
        let line = format!("{}{what}", self.life);
        self.log.lock().unwrap().push(line);
    }

    fn fail(&self, at: &str) -> io::Result<()> {
        match self.fails == Some(at) {
            true => Err(io::Error::other("on purpose")),
            false => Ok(()),
        }
    }

    fn told(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn note_subscribed(&self, info: &SubscriptionInfo) {
        self.note(&format!("{} to {}", info.from, info.to));
    }

    fn note_unsubscribed(&self, info: &SubscriptionInfo, end: &End) {
        self.note(&format!("{} to {} {end}", info.from, info.to));
    }
}

impl Producer for Probe {
    type Event = u64;
    type Error = io::Error;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
        self.note("call");
        self.fail("call")?;
        batch.push(7);
        Ok(Flow::End)
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.note_subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.note_unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.note("finish");
        Ok(())
    }
}

impl Consumer<u64> for Probe {
    type Error = io::Error;

    async fn consume(&mut self, _: &mut Batch<u64>) -> io::Result<()> {
        self.note("call");
        self.fail("call")
    }

    async fn while_idle(&mut self) -> io::Result<()> {
        if !self.is_idle {
            self.is_idle = true;
            self.note("idle");
        }
        self.fail("idle")?;
        std::future::pending().await
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.note_subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.note_unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.note("finish");
        Ok(())
    }
}

/// Keeps an event back for a minute.
impl Transform<u64> for Probe {
    type Out = u64;
    type Error = io::Error;

    async fn transform(&mut self, batch: &mut Batch<u64>, _: &mut Batch<u64>) -> io::Result<()> {
        self.note("call");
        self.fail("call")?;
        self.kept = batch.drain().next();
        self.due = Some(Instant::now() + 60 * SECOND);
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }

    async fn elapsed(&mut self, out: &mut Batch<u64>) -> io::Result<()> {
        self.note("elapsed");
        self.due = None;
        out.extend(self.kept.take());
        self.fail("elapsed")
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.note_subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.note_unsubscribed(subscription, end);
    }

    async fn finish(&mut self, _: &mut Batch<u64>) -> io::Result<()> {
        self.note("finish");
        Ok(())
    }
}

fn policy() -> Restart {
    Restart::new(3, 60 * SECOND)
}

/// A number each hour, two in all.
struct Hourly(u64);

impl Producer for Hourly {
    type Event = u64;
    type Error = io::Error;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
        sleep(3600 * SECOND).await;
        self.0 += 1;
        if self.0 == 2 {
            return Ok(Flow::End);
        }
        batch.push(self.0);
        Ok(Flow::More)
    }
}

async fn produce(probe: &Probe, producer: impl Producer<Event = u64>) -> Vec<String> {
    let mut pipeline = Pipeline::new();
    let from = pipeline.stage("probe").produce(producer);
    pipeline
        .stage("down")
        .consume(Slow::default(), from.subscribe(Window::new(4)));
    pipeline.run().await.unwrap();
    probe.told()
}

async fn consume(probe: &Probe, consumer: impl Consumer<u64>) -> Vec<String> {
    let mut pipeline = Pipeline::new();
    let from = pipeline.stage("up").produce(Hourly(0));
    pipeline
        .stage("probe")
        .consume(consumer, from.subscribe(Window::new(4)));
    pipeline.run().await.unwrap();
    probe.told()
}

async fn transform(probe: &Probe, transform: impl Transform<u64, Out = u64>) -> Vec<String> {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let from = pipeline.stage("up").produce(Hourly(0));
    let through = pipeline
        .stage("probe")
        .transform(transform, from.subscribe(Window::new(4)));
    pipeline
        .stage("down")
        .consume(sink.clone(), through.subscribe(Window::new(4)));
    pipeline.run().await.unwrap();
    probe.told()
}

#[tokio::test(start_paused = true)]
async fn wrapped_producers_are_told_everything() {
    let expected = ["probe to down", "call", "probe to down completed", "finish"];
    let p = Probe::default;
    let q = Quota::per_second(10);
    for (wrapper, told) in [
        ("none", {
            let p = p();
            produce(&p, p.clone()).await
        }),
        ("boxed", {
            let p = p();
            produce(&p, BoxProducer::new(p.clone())).await
        }),
        ("limited", {
            let p = p();
            produce(&p, rate_limited(p.clone(), q).0).await
        }),
        ("restarting", {
            let p = p();
            let make = p.clone();
            produce(&p, restarting(policy(), move || make.clone())).await
        }),
        ("with steps", {
            let p = p();
            produce(&p, Producer::then(p.clone(), map(|n: u64| n))).await
        }),
    ] {
        assert_eq!(told, expected, "{wrapper}");
    }
}

#[tokio::test(start_paused = true)]
async fn wrapped_consumers_are_told_everything() {
    let expected = [
        "up to probe",
        "idle",
        "call",
        "up to probe completed",
        "finish",
    ];
    let p = Probe::default;
    let skip = || OnFailure::no_retry().then_skip();
    for (wrapper, told) in [
        ("none", {
            let p = p();
            consume(&p, p.clone()).await
        }),
        ("boxed", {
            let p = p();
            consume(&p, BoxConsumer::new(p.clone())).await
        }),
        ("resilient", {
            let p = p();
            consume(&p, resilient(p.clone(), skip())).await
        }),
        ("restarting", {
            let p = p();
            let make = p.clone();
            consume(&p, restarting_consumer(policy(), move |_| make.clone())).await
        }),
        ("with steps", {
            let p = p();
            consume(&p, p.clone().after(map(|n: u64| n))).await
        }),
    ] {
        assert_eq!(told, expected, "{wrapper}");
    }
}

#[tokio::test(start_paused = true)]
async fn wrapped_transforms_are_told_everything() {
    let expected = [
        "probe to down",
        "up to probe",
        "call",
        "elapsed",
        "up to probe completed",
        "finish",
        "probe to down completed",
    ];
    let p = Probe::default;
    let skip = || OnFailure::no_retry().then_skip();
    for (wrapper, told) in [
        ("none", {
            let p = p();
            transform(&p, p.clone()).await
        }),
        ("boxed", {
            let p = p();
            transform(&p, BoxTransform::new(p.clone())).await
        }),
        ("resilient", {
            let p = p();
            transform(&p, resilient_transform(p.clone(), skip())).await
        }),
        ("restarting", {
            let p = p();
            let make = p.clone();
            transform(&p, restarting_transform(policy(), move |_| make.clone())).await
        }),
        ("with steps", {
            let p = p();
            transform(&p, Transform::then(p.clone(), map(|n: u64| n))).await
        }),
    ] {
        assert_eq!(told, expected, "{wrapper}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_life_is_told_of_the_subscriptions_that_are_open() {
    let probe = Probe::default();
    let make = probe.clone();
    let make = move |life| {
        make.life(
            life,
            (life == stage_core::Generation::FIRST).then_some("call"),
        )
    };
    let told = produce(&probe, restarting_producer(policy(), make)).await;
    assert_eq!(
        told,
        [
            "0: probe to down",
            "0: call",
            "1: probe to down",
            "1: call",
            "1: probe to down completed",
            "1: finish",
        ]
    );

    for fails in ["call", "idle"] {
        let probe = Probe::default();
        let make = probe.clone();
        let first = stage_core::Generation::FIRST;
        let make = move |life| make.life(life, (life == first).then_some(fails));
        let told = consume(&probe, restarting_consumer(policy(), make)).await;
        let expected: &[&str] = match fails {
            "call" => &[
                "0: up to probe",
                "0: idle",
                "0: call",
                "1: up to probe",
                "1: call",
                "1: idle",
                "1: up to probe completed",
                "1: finish",
            ],
            _ => &[
                "0: up to probe",
                "0: idle",
                "1: up to probe",
                "1: idle",
                "1: call",
                "1: up to probe completed",
                "1: finish",
            ],
        };
        assert_eq!(told, expected);
    }

    let probe = Probe::default();
    let make = probe.clone();
    let first = stage_core::Generation::FIRST;
    let make = move |life| make.life(life, (life == first).then_some("elapsed"));
    let told = transform(&probe, restarting_transform(policy(), make)).await;
    assert_eq!(
        told,
        [
            "0: probe to down",
            "0: up to probe",
            "0: call",
            // It fails, and what it had put out is gone. The next is made when it is needed.
            "0: elapsed",
            "1: probe to down",
            "1: finish",
            "1: probe to down completed",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_life_is_not_told_of_what_is_over() {
    let probe = Probe::default();
    let make = probe.clone();
    let first = stage_core::Generation::FIRST;
    let make = move |life| make.life(life, (life == first).then_some("idle"));
    let slow = Restart::new(3, 60 * SECOND).waiting(SECOND, SECOND);
    let mut pipeline = Pipeline::new();
    let one = pipeline.stage("one").produce(Hourly(0));
    let two = pipeline.stage("two").produce(Counter::up_to(u64::MAX));
    let (two, cancel) = two.subscribe_manually();
    pipeline.stage("probe").consume(
        restarting_consumer(slow, make),
        [one.subscribe(Window::new(4)), two.mode(Mode::Temporary)],
    );
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND / 2).await;
    // Between two lives.
    cancel.cancel();
    sleep(SECOND).await;
    handle.stop();
    running.await.unwrap().unwrap();
    let told = probe.told();
    assert_eq!(told[..3], ["0: one to probe", "0: two to probe", "0: idle"]);
    assert_eq!(told[3..5], ["1: one to probe", "1: idle"]);
    assert!(
        !told[3..].iter().any(|line| line.contains("two")),
        "{told:?}"
    );
}
