//! A stage that runs cannot be given its own events.

#![allow(clippy::unwrap_used)]

mod stages;

use std::time::Duration;

use stage_core::{
    IntakeError, Mode, Outlet, Pipeline, PipelineError, PipelineHandle, Subscription, Window,
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use stages::{Counter, Double, Slow};

const MINUTE: Duration = Duration::from_secs(60);

/// Numbers, doubled twice.
fn doubled_twice(from: Option<Subscription<u64>>) -> (Pipeline, Slow) {
    let (mut pipeline, sink) = (Pipeline::new(), Slow::default());
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(100));
    let subscriptions: Vec<_> = from.into_iter().chain([small(&numbers)]).collect();
    let once = pipeline.stage("once").transform(Double, subscriptions);
    let twice = pipeline.stage("twice").transform(Double, small(&once));
    pipeline.stage("sink").consume(sink.clone(), small(&twice));
    (pipeline, sink)
}

fn small(outlet: &Outlet<u64>) -> Subscription<u64> {
    outlet.subscribe(Window::new(4))
}

type Running = JoinHandle<Result<(), PipelineError>>;

fn run(pipeline: Pipeline) -> (PipelineHandle, Running) {
    (pipeline.handle(), tokio::spawn(pipeline.run()))
}

/// Subscribes `stage` to `upstream`, which may be in another pipeline.
fn subscribe(
    handle: &PipelineHandle,
    stage: &str,
    to: &PipelineHandle,
    upstream: &str,
) -> Result<(), IntakeError> {
    let outlet = to.outlet(upstream).unwrap();
    handle.intake(stage).unwrap().add(small(&outlet))
}

async fn ends(running: Running) {
    timeout(MINUTE, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stage_is_not_subscribed_to_itself_or_to_one_that_it_feeds() {
    let (pipeline, sink) = doubled_twice(None);
    let handle = pipeline.handle();
    for upstream in ["once", "twice"] {
        let error = subscribe(&handle, "once", &handle, upstream).unwrap_err();
        let IntakeError::Cycle {
            stage,
            upstream: to,
            ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!((&**stage, &**to), ("once", upstream));
        assert!(error.to_string().contains("no cycles"), "{error}");
    }
    // Nothing has come of it: all is handed on, and all end.
    let (_, running) = run(pipeline);
    ends(running).await;
    assert_eq!(sink.seen().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn events_may_come_by_two_ways() {
    let (pipeline, sink) = doubled_twice(None);
    let handle = pipeline.handle();
    subscribe(&handle, "twice", &handle, "numbers").unwrap();
    let (_, running) = run(pipeline);
    ends(running).await;
    // Each came by one of them.
    assert_eq!(sink.seen().len(), 100);
}

/// What has been cancelled brings no events, also before the stages have heard of it.
#[tokio::test(start_paused = true)]
async fn a_subscription_that_was_cancelled_is_no_part_of_a_cycle() {
    let (mut pipeline, sink) = (Pipeline::new(), Slow::default());
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(100));
    let first = pipeline.stage("first").transform(Double, small(&numbers));
    let (from_first, link) = small(&first).mode(Mode::Temporary).with_handle();
    let subscriptions = [small(&numbers), from_first];
    let second = pipeline.stage("second").transform(Double, subscriptions);
    for outlet in [&first, &second] {
        pipeline.consume(sink.clone(), small(outlet));
    }
    let handle = pipeline.handle();
    let error = subscribe(&handle, "first", &handle, "second").unwrap_err();
    assert!(matches!(error, IntakeError::Cycle { .. }), "{error:?}");
    link.cancel();
    subscribe(&handle, "first", &handle, "second").unwrap();
    let (_, running) = run(pipeline);
    sleep(MINUTE).await;
    assert_eq!(sink.seen().len(), 100);
    // It would take others in place of the one that was cancelled.
    handle.stop();
    ends(running).await;
}

/// Stages of other pipelines may have the same names.
#[tokio::test(start_paused = true)]
async fn a_stage_of_another_pipeline_is_another_stage() {
    let (other, _) = doubled_twice(None);
    let elsewhere = other.handle();
    let fed = small(&elsewhere.outlet("twice").unwrap());
    let (pipeline, sink) = doubled_twice(Some(fed));
    let handle = pipeline.handle();
    // By names alone, `once` is fed by `twice`, which it feeds.
    subscribe(&handle, "twice", &elsewhere, "once").unwrap();
    subscribe(&handle, "twice", &handle, "numbers").unwrap();
    let running = [run(other).1, run(pipeline).1];
    for running in running {
        ends(running).await;
    }
    assert!(sink.seen().len() > 100);
}
