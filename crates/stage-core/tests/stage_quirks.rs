//! Where GenStage's stages stall or change the order, and ours do not. The names are those of the
//! traces; those of dispatchers are in `quirks.rs`.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use stage_core::{Mode, Pipeline, PipelineHandle, Window, protocol::Buffer, push_source};
use tokio::{sync::Semaphore, time::sleep};

use stages::{Counter, Double, Made, Slow};

/// Lets every stage do what it can.
async fn settle() {
    sleep(Duration::from_secs(1)).await;
}

fn numbers(events: impl IntoIterator<Item = u64>) -> Vec<u64> {
    events.into_iter().collect()
}

fn run(pipeline: Pipeline) -> PipelineHandle {
    let handle = pipeline.handle();
    tokio::spawn(pipeline.run());
    handle
}

/// GenStage's producer_consumer goes on to pull for one that has left, without limit, and what it
/// makes for nobody loses its place: the next one gets it out of order.
#[tokio::test(start_paused = true)]
async fn pc_demand_not_used_up() {
    let (made, first, second) = (Made::default(), Slow::default(), Slow::default());
    let gate = Arc::new(Semaphore::new(0));
    let mut pipeline = Pipeline::new();
    let counted = pipeline.produce(Counter::noting(u64::MAX, &made));
    let held_up = {
        let gate = Arc::clone(&gate);
        stages::Gated::new(Double, gate)
    };
    let doubled = pipeline.transform(held_up, counted.subscribe(Window::new(4).with_min(2)));
    let (subscription, leaves) = doubled.subscribe_manually();
    pipeline
        .stage("first")
        .consume(first.clone(), subscription.mode(Mode::Temporary));
    let (subscription, stays) = doubled.subscribe_manually();
    pipeline
        .stage("second")
        .consume(second.clone(), subscription);
    let _running = run(pipeline);
    // It has asked for a hundred, and leaves while the transform is at work on the first two.
    leaves.ask(100).unwrap();
    settle().await;
    leaves.cancel();
    settle().await;
    gate.add_permits(1_000_000);
    settle().await;
    // The delivery that it had begun is finished, and then its window is full.
    assert_eq!(made.events.load(Ordering::SeqCst), 4 + 4);
    assert_eq!(first.seen(), []);
    for asked in [1, 2, 3, 10] {
        stays.ask(asked).unwrap();
        settle().await;
    }
    assert_eq!(second.seen(), numbers((0..16).map(|n| n * 2)));
    stays.cancel();
}

/// The same where a new subscriber holds the flow.
#[tokio::test(start_paused = true)]
async fn pc_demand_not_used_up_by_a_broadcast() {
    let (made, first, second) = (Made::default(), Slow::default(), Slow::default());
    let gate = Arc::new(Semaphore::new(0));
    let mut pipeline = Pipeline::new();
    let counted = pipeline.produce(Counter::noting(u64::MAX, &made));
    let held_up = stages::Gated::new(Double, Arc::clone(&gate));
    let doubled = pipeline
        .stage("double")
        .broadcast()
        .transform(held_up, counted.subscribe(Window::new(4).with_min(2)));
    let (subscription, asks) = doubled.subscribe_manually();
    pipeline.stage("first").consume(first.clone(), subscription);
    let handle = run(pipeline);
    asks.ask(100).unwrap();
    settle().await;
    let (subscription, joins) = doubled.subscribe_manually();
    handle
        .stage("second")
        .consume(second.clone(), subscription)
        .unwrap();
    settle().await;
    gate.add_permits(1_000_000);
    settle().await;
    assert_eq!(made.events.load(Ordering::SeqCst), 4 + 4);
    for asked in [1, 2, 3, 10] {
        joins.ask(asked).unwrap();
        settle().await;
    }
    assert_eq!(first.seen(), numbers((0..16).map(|n| n * 2)));
    assert_eq!(second.seen(), first.seen());
    asks.cancel();
    joins.cancel();
}

/// While it accumulates, GenStage's producer takes what an ask would get out of its buffer and puts
/// it behind what is emitted later, where the buffer's limit does not hold.
#[tokio::test(start_paused = true)]
async fn accumulate_takes_buffer() {
    let sink = Slow::default();
    let (push, source) = push_source(Buffer::keep_first(8));
    let mut pipeline = Pipeline::new();
    let pushed = pipeline.stage("push").produce(source);
    let (subscription, asks) = pushed.subscribe_manually();
    pipeline.consume(sink.clone(), subscription);
    let handle = run(pipeline);
    settle().await;
    push.push(0..5);
    handle.pause("push").unwrap();
    settle().await;
    asks.ask(3).unwrap();
    settle().await;
    assert_eq!(push.buffered(), 5, "they stay where they are");
    assert_eq!(push.push(5..10).dropped, 2, "and count");
    handle.resume("push").unwrap();
    settle().await;
    assert_eq!(sink.seen(), [0, 1, 2]);
    asks.ask(100).unwrap();
    settle().await;
    push.push(10..12);
    settle().await;
    assert_eq!(sink.seen(), numbers((0..8).chain(10..12)), "and in order");
    asks.cancel();
}

/// Once it has refused a process that is subscribed, GenStage's broadcast has forgotten it: the next
/// subscription is accepted, and everything comes twice.
#[tokio::test(start_paused = true)]
async fn already_subscribed_forgets_process() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let counted = pipeline
        .stage("counter")
        .broadcast()
        .produce(Counter::up_to(20));
    let (subscription, asks) = counted.subscribe_manually();
    let intake = pipeline.stage("sink").consume(sink.clone(), subscription);
    let running = tokio::spawn(pipeline.run());
    settle().await;
    for _ in 0..3 {
        intake.add(counted.subscribe(Window::new(5))).unwrap();
        settle().await;
    }
    asks.ask(100).unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(sink.seen(), numbers(0..20), "each once");
    let refused = "counter is cancelled: it is subscribed already";
    let changes = sink.changes();
    let refused = changes.iter().filter(|change| *change == refused);
    assert_eq!(refused.count(), 3);
}

/// After a cancel GenStage takes the next asks for covered by what is on its way, also when that has
/// come and lies in the buffer: there it stays, and newer events overtake it.
#[tokio::test(start_paused = true)]
async fn waiting_with_buffer() {
    let (first, second) = (Slow::default(), Slow::default());
    let (push, source) = push_source(Buffer::unbounded());
    let mut pipeline = Pipeline::new();
    let pushed = pipeline.produce(source);
    let (subscription, leaves) = pushed.subscribe_manually();
    pipeline
        .stage("first")
        .consume(first.clone(), subscription.mode(Mode::Temporary));
    let (subscription, stays) = pushed.subscribe_manually();
    pipeline
        .stage("second")
        .consume(second.clone(), subscription);
    let _running = run(pipeline);
    leaves.ask(10).unwrap();
    settle().await;
    leaves.cancel();
    settle().await;
    // Some of the ten come, and nobody asks.
    push.push(0..4);
    settle().await;
    stays.ask(3).unwrap();
    settle().await;
    assert_eq!(second.seen(), [0, 1, 2], "they are there, and are given");
    push.push(4..10);
    settle().await;
    stays.ask(4).unwrap();
    settle().await;
    assert_eq!(second.seen(), numbers(0..7), "and in order");
    stays.ask(5).unwrap();
    settle().await;
    assert_eq!(push.wanted(), 2, "three are there");
    assert_eq!((first.seen(), second.seen()), (vec![], numbers(0..10)));
    stays.cancel();
}

/// Held back until all are there, as GenStage's guide has it: where one that comes later asks for
/// less, GenStage's broadcast stands still for ever after.
#[tokio::test(start_paused = true)]
async fn stale_requested() {
    let (first, second) = (Slow::default(), Slow::default());
    let mut pipeline = Pipeline::new();
    let counted = pipeline
        .stage("counter")
        .broadcast()
        .produce(Counter::up_to(42));
    pipeline
        .stage("first")
        .consume(first.clone(), counted.subscribe(Window::new(10)));
    let handle = pipeline.handle();
    handle.pause("counter").unwrap();
    let running = tokio::spawn(pipeline.run());
    settle().await;
    handle
        .stage("second")
        .consume(second.clone(), counted.subscribe(Window::new(2)))
        .unwrap();
    drop(counted);
    settle().await;
    handle.resume("counter").unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(first.seen(), numbers(0..42));
    assert_eq!(second.seen(), first.seen());
}

/// The same where what was asked for before comes when the other is there: it is handed back, and
/// GenStage believes it to be on its way for ever.
#[tokio::test(start_paused = true)]
async fn stale_requested_of_what_is_handed_back() {
    let (first, second) = (Slow::default(), Slow::default());
    let (push, source) = push_source(Buffer::unbounded());
    let mut pipeline = Pipeline::new();
    let pushed = pipeline.stage("push").broadcast().produce(source);
    let (subscription, asks) = pushed.subscribe_manually();
    pipeline.stage("first").consume(first.clone(), subscription);
    let handle = run(pipeline);
    asks.ask(10).unwrap();
    settle().await;
    assert_eq!(push.wanted(), 10);
    let (subscription, joins) = pushed.subscribe_manually();
    handle
        .stage("second")
        .consume(second.clone(), subscription)
        .unwrap();
    joins.ask(2).unwrap();
    settle().await;
    push.push(0..10);
    settle().await;
    let status = handle.status();
    assert_eq!(status.stage("push").unwrap().buffered, 8);
    for _ in 0..4 {
        asks.ask(2).unwrap();
        joins.ask(2).unwrap();
        settle().await;
    }
    assert_eq!(first.seen(), numbers(0..10));
    asks.ask(2).unwrap();
    joins.ask(5).unwrap();
    settle().await;
    assert_eq!(push.wanted(), 5, "it asks for more");
    push.push(10..15);
    settle().await;
    assert_eq!(second.seen(), numbers(0..15));
    assert_eq!(first.seen(), second.seen());
    asks.cancel();
    joins.cancel();
}

/// GenStage does not ask again for events that belong nowhere: in the end it asks for nothing.
#[tokio::test(start_paused = true)]
async fn none_not_rerequested() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let lane_of = |event: &u64| (!event.is_multiple_of(2)).then_some(0);
    let lanes = pipeline
        .stage("counter")
        .partition_by(1, lane_of)
        .produce(Counter::up_to(80));
    for lane in lanes {
        pipeline
            .stage("sink")
            .consume(sink.clone(), lane.subscribe(Window::new(4)));
    }
    pipeline.run().await.unwrap();
    assert_eq!(sink.seen(), numbers((0..40).map(|n| n * 2 + 1)));
}
