//! Subscriptions that bound what is on its way by weight.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use stage_core::{
    Batch, Consumer, Pipeline, PipelineHandle, SubscriptionStatus, Transform, Window, map,
};
use tokio::time::{Instant, sleep};

use stages::{Counter, Slow, Tracked};

const SECOND: Duration = Duration::from_secs(1);
const MIB: usize = 1 << 20;

/// Looks, whenever it takes something in, whether the subscription keeps to its limit.
#[derive(Clone)]
struct Auditor {
    handle: PipelineHandle,
    sizes: Arc<Vec<usize>>,
    limit: usize,
    window: usize,
    seen: Arc<Mutex<Vec<u64>>>,
    most_held_back: Arc<Mutex<usize>>,
    heaviest: Arc<Mutex<usize>>,
}

impl Auditor {
    fn new(pipeline: &Pipeline, sizes: &Arc<Vec<usize>>, limit: usize, window: usize) -> Self {
        Self {
            handle: pipeline.handle(),
            sizes: Arc::clone(sizes),
            limit,
            window,
            seen: Arc::default(),
            most_held_back: Arc::default(),
            heaviest: Arc::default(),
        }
    }

    fn look(&self, seen: &[u64]) {
        let status = subscription(&self.handle);
        let sent = status.on_the_way + status.in_hand;
        // What is sent and not settled is in a row.
        let weights = &self.sizes[seen.len()..seen.len() + sent];
        let weight: usize = weights.iter().sum();
        assert_eq!(status.weight, weight);
        let weighty = weights.iter().filter(|weight| **weight > 0).count();
        assert!(weight <= self.limit || weighty == 1, "{weights:?}");
        assert!(status.in_flight() + status.demand <= self.window);
        let mut most = self.most_held_back.lock().unwrap();
        *most = status.held_back.max(*most);
        let mut heaviest = self.heaviest.lock().unwrap();
        *heaviest = weight.max(*heaviest);
    }
}

impl Consumer<u64> for Auditor {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        let before = self.seen.lock().unwrap().clone();
        self.look(&before);
        sleep(SECOND).await;
        self.look(&before);
        self.seen.lock().unwrap().extend(batch.drain());
        Ok(())
    }
}

fn subscription(handle: &PipelineHandle) -> SubscriptionStatus {
    let status = handle.status();
    status.stage("sink").unwrap().subscriptions[0].clone()
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![
        2 => Just(0),
        6 => 1..1000usize,
        4 => 1000..MIB,
        2 => MIB..=10 * MIB,
    ];
    prop::collection::vec(size, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn events_of_any_weight_pass_within_the_limit(
        sizes in sizes(), limit in 0..3 * MIB, max in 1usize..20, min in 0usize..20,
    ) {
        let window = Window::new(max).with_min(min % max);
        let sizes = Arc::new(sizes);
        let (source, book) = Tracked::up_to(sizes.len() as u64);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let seen = runtime.block_on(async {
            let mut pipeline = Pipeline::new();
            let numbers = pipeline.produce(source);
            let auditor = Auditor::new(&pipeline, &sizes, limit, max);
            let weights = Arc::clone(&sizes);
            let subscription = numbers
                .subscribe(window)
                .bytes(limit, move |n| weights[*n as usize]);
            pipeline.stage("sink").consume(auditor.clone(), subscription);
            pipeline.run().await.unwrap();
            auditor.seen.lock().unwrap().clone()
        });
        prop_assert_eq!(seen, Vec::from_iter(0..sizes.len() as u64));
        prop_assert_eq!(book.acked().len(), sizes.len());
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_made_use_of_and_what_is_too_heavy_is_held_back() {
    let sizes = Arc::new([3, 3, 3, 3, 20, 1, 9, 1, 0, 10].repeat(5));
    let (source, book) = Tracked::up_to(50);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let auditor = Auditor::new(&pipeline, &sizes, 10, 16);
    let weights = Arc::clone(&sizes);
    let subscription = numbers
        .subscribe(Window::new(16))
        .bytes(10, move |n| weights[*n as usize]);
    pipeline
        .stage("sink")
        .consume(auditor.clone(), subscription);
    let start = Instant::now();
    pipeline.run().await.unwrap();
    assert_eq!(*auditor.heaviest.lock().unwrap(), 20);
    assert_eq!(*auditor.most_held_back.lock().unwrap(), 15);
    // Of each ten: three, one, the heavy one, two, two, one.
    assert_eq!(start.elapsed().as_secs(), 6 * 5);
    assert_eq!(book.acked().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn cancelling_nacks_what_is_held_back() {
    let (source, book) = Tracked::up_to(u64::MAX);
    let sink = Slow::by(10 * SECOND);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let (subscription, cancel) = numbers
        .subscribe(Window::new(8))
        .bytes(2, |_| 1)
        .with_handle();
    pipeline.stage("sink").consume(sink.clone(), subscription);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    let status = subscription_counts(&handle);
    assert_eq!(status, (0, 6, 0, 2, 2));
    let info = byte_limit(&handle);
    assert_eq!(info, Some(2));
    cancel.cancel();
    assert_eq!(book.nacked().len(), 6);
    running.await.unwrap().unwrap();
    assert_eq!((book.acked(), sink.seen()), (vec![0, 1], vec![0, 1]));
    assert_eq!(book.nacked().len(), book.outcomes().len() - 2);
}

fn subscription_counts(handle: &PipelineHandle) -> (usize, usize, usize, usize, usize) {
    let status = subscription(handle);
    let SubscriptionStatus {
        demand,
        held_back,
        on_the_way,
        in_hand,
        weight,
        ..
    } = status;
    (demand, held_back, on_the_way, in_hand, weight)
}

fn byte_limit(handle: &PipelineHandle) -> Option<usize> {
    subscription(handle).info.byte_limit
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_after_what_is_held_back() {
    let sink = Slow::by(SECOND);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(6));
    let subscription = numbers.subscribe(Window::new(100)).bytes(0, |_| 7);
    pipeline.stage("sink").consume(sink.clone(), subscription);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(1500 * SECOND / 1000).await;
    // The producer has ended and nothing waits there; five are left to be taken in.
    assert!(handle.status().stage("numbers").is_none());
    assert_eq!(subscription_counts(&handle).1, 4);
    assert_eq!(sink.changes(), ["numbers is there"]);
    running.await.unwrap().unwrap();
    assert_eq!(*sink.portions.lock().unwrap(), [1; 6]);
    assert_eq!(sink.changes(), ["numbers is there", "numbers is completed"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_by_hand_is_weighed_too() {
    let sink = Slow::by(SECOND);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    let (subscription, asker) = numbers.subscribe_manually();
    let subscription = subscription.bytes(10, |n| *n as usize);
    pipeline.stage("sink").consume(sink.clone(), subscription);
    let running = tokio::spawn(pipeline.run());
    asker.ask(10).unwrap();
    sleep(20 * SECOND).await;
    assert_eq!(*sink.portions.lock().unwrap(), [5, 1, 1, 1, 1, 1]);
    asker.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_heavy_event_holds_up_no_other_subscriber() {
    let (weighed, free) = (Slow::by(10 * SECOND), Slow::default());
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(100));
    let heavy = numbers.subscribe(Window::new(4)).bytes(1, |_| 100);
    pipeline.consume(weighed.clone(), heavy);
    pipeline.consume(free.clone(), numbers.subscribe(Window::new(4)));
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    assert_eq!(free.seen().len(), 96);
    running.await.unwrap().unwrap();
    assert_eq!(weighed.seen().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_transform_weighs_what_it_takes_in_and_what_it_gives() {
    fn same() -> impl Transform<u64, Out = u64> {
        map(|n: u64| n)
    }
    let (source, book) = Tracked::up_to(100);
    let sink = Slow::by(SECOND);
    let mut pipeline = Pipeline::new();
    let mut numbers = pipeline.produce(source);
    for limit in [3, 1000, 1] {
        let weighed = numbers
            .subscribe(Window::new(10))
            .bytes(limit, |n| 1 + *n as usize % 3);
        numbers = pipeline.transform(same(), weighed);
    }
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(6)));
    pipeline.run().await.unwrap();
    assert_eq!(sink.seen(), Vec::from_iter(0..100));
    assert_eq!(book.acked().len(), 100);
}
