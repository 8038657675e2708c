//! Events that a consumer keeps in hand beyond its calls.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    convert::Infallible,
    future::pending,
    io, mem,
    sync::{Arc, Mutex, atomic::Ordering},
    thread,
    time::Duration,
};

use futures_util::stream;
use proptest::prelude::*;
use stage_core::{
    Batch, Consumer, InHand, OnFailure, Pipeline, PipelineHandle, Transform, Window, from_stream,
    resilient,
};
use tokio::time::{sleep, timeout};

use stages::{Counter, Made, Slow};

const SECOND: Duration = Duration::from_secs(1);

/// Keeps everything in hand, one by one, until somebody takes it from there.
#[derive(Clone, Default)]
struct Keeper {
    kept: Arc<Mutex<Vec<InHand>>>,
    seen: Arc<Mutex<Vec<u64>>>,
    fails_at: Option<u64>,
}

impl Keeper {
    fn seen(&self) -> Vec<u64> {
        self.seen.lock().unwrap().clone()
    }

    fn kept(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    /// Is done with the `n`-th that is kept.
    fn drop_one(&self, n: usize) {
        let one = self.kept.lock().unwrap().remove(n);
        drop(one);
    }
}

impl Consumer<u64> for Keeper {
    type Error = io::Error;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
        let mut in_hand = batch.keep_in_hand();
        assert_eq!(in_hand.events(), batch.len());
        for event in batch.drain() {
            if self.fails_at == Some(event) {
                return Err(io::Error::other("on purpose"));
            }
            let one = in_hand.split(1);
            assert_eq!(one.events(), 1);
            self.kept.lock().unwrap().push(one);
            self.seen.lock().unwrap().push(event);
        }
        assert_eq!(in_hand.split(1).events(), 0);
        Ok(())
    }
}

fn in_hand(handle: &PipelineHandle) -> (usize, usize, u64) {
    let status = handle.status();
    let sink = status.stage("sink").unwrap();
    let subscription = &sink.subscriptions[0];
    (subscription.in_hand, subscription.weight, sink.handled)
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_in_hand_is_asked_for_again_when_it_is_let_go_of() {
    let (keeper, made) = (Keeper::default(), Made::default());
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::noting(10, &made));
    let window = Window::new(4).with_min(2);
    pipeline
        .stage("sink")
        .consume(keeper.clone(), numbers.subscribe(window));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    assert_eq!((keeper.kept(), in_hand(&handle)), (4, (4, 0, 0)));
    // In any order.
    keeper.drop_one(2);
    sleep(SECOND).await;
    assert_eq!((keeper.kept(), in_hand(&handle)), (3, (3, 0, 1)));
    keeper.drop_one(0);
    sleep(SECOND).await;
    assert_eq!((keeper.kept(), in_hand(&handle)), (4, (4, 0, 2)));
    assert_eq!(*made.demands.lock().unwrap(), [4, 2]);
    while !running.is_finished() {
        keeper.drop_one(0);
        sleep(SECOND).await;
    }
    running.await.unwrap().unwrap();
    assert_eq!(keeper.seen(), Vec::from_iter(0..10));
    // It may well outlive all else.
    assert!(keeper.kept() > 0);
    keeper.kept.lock().unwrap().clear();
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_in_hand_gives_its_weight_back_when_it_is_let_go_of() {
    let keeper = Keeper::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(8));
    let subscription = numbers
        .subscribe(Window::new(10).with_min(0))
        .bytes(10, |n| *n as usize);
    pipeline.stage("sink").consume(keeper.clone(), subscription);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    // 0 to 4 weigh ten.
    for (drop, kept, weight) in [
        (None, 5, 10),
        (Some(1), 4, 9),
        (Some(3), 4, 10),
        (Some(1), 3, 8),
    ] {
        if let Some(n) = drop {
            keeper.drop_one(n);
        }
        sleep(SECOND).await;
        let (in_hand, weighs, _) = in_hand(&handle);
        assert_eq!((in_hand, weighs), (kept, weight));
    }
    while !running.is_finished() {
        keeper.drop_one(0);
        sleep(SECOND).await;
    }
    running.await.unwrap().unwrap();
    assert_eq!(keeper.seen(), Vec::from_iter(0..8));
}

/// Moves its batches elsewhere.
#[derive(Clone, Default)]
struct Hoarder(Arc<Mutex<Vec<Batch<u64>>>>);

impl Consumer<u64> for Hoarder {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        let mut hoard = self.0.lock().unwrap();
        for old in hoard.iter() {
            assert_eq!(old.keep_in_hand().events(), 0);
        }
        hoard.push(mem::take(batch));
        drop(hoard);
        assert_eq!(batch.keep_in_hand().events(), 0);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_a_portion_that_is_over_or_of_no_portion() {
    let hoarder = Hoarder::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(20));
    pipeline.consume(hoarder.clone(), numbers.subscribe(Window::new(4)));
    pipeline.run().await.unwrap();
    let hoard = hoarder.0.lock().unwrap();
    assert_eq!(hoard.len(), 10);
    assert!(hoard.iter().all(|old| old.keep_in_hand().events() == 0));
    let loose = Batch::from_iter([1, 2, 3]);
    assert_eq!(loose.keep_in_hand().split(2).events(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_kept_once() {
    struct Twice;
    impl Consumer<u64> for Twice {
        type Error = Infallible;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
            let (all, none) = (batch.keep_in_hand(), batch.keep_in_hand());
            assert_eq!((all.events(), none.events()), (batch.len(), 0));
            Ok(())
        }
    }
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(100));
    pipeline.consume(Twice, numbers.subscribe(Window::new(7)));
    timeout(SECOND, pipeline.run()).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn copies_that_a_wrapper_makes_are_kept_as_the_originals() {
    let keeper = Keeper::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    let policy = OnFailure::retry(2).bisecting().then_skip();
    pipeline.stage("sink").consume(
        resilient(keeper.clone(), policy),
        numbers.subscribe(Window::new(6)),
    );
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    assert_eq!((keeper.kept(), in_hand(&handle).0), (6, 6));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_transform_keeps_events_in_hand_too() {
    struct Later(Keeper);
    impl Transform<u64> for Later {
        type Out = u64;
        type Error = io::Error;
        async fn transform(
            &mut self,
            batch: &mut Batch<u64>,
            _: &mut Batch<u64>,
        ) -> io::Result<()> {
            self.0.consume(batch).await
        }
    }
    let keeper = Keeper::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    let later = pipeline
        .stage("sink")
        .transform(Later(keeper.clone()), numbers.subscribe(Window::new(4)));
    pipeline.consume(Slow::default(), later.subscribe(Window::new(4)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    assert_eq!((keeper.kept(), in_hand(&handle)), (4, (4, 0, 0)));
    for _ in 0..4 {
        keeper.drop_one(0);
    }
    sleep(SECOND).await;
    assert_eq!((keeper.kept(), in_hand(&handle)), (4, (4, 0, 4)));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_by_a_stage_that_fails_is_counted_as_nacked() {
    let keeper = Keeper {
        fails_at: Some(5),
        ..Keeper::default()
    };
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(8));
    pipeline
        .stage("sink")
        .consume(keeper.clone(), numbers.subscribe(Window::new(4)));
    let running = tokio::spawn(pipeline.run_reporting(pending()));
    sleep(SECOND).await;
    keeper.drop_one(0);
    keeper.drop_one(1);
    keeper.drop_one(0);
    let report = running.await.unwrap();
    report.result.unwrap_err();
    let sink = report.stages.iter().find(|stage| &*stage.stage == "sink");
    let sink = sink.unwrap();
    assert_eq!(sink.acked, 3);
    assert_eq!(sink.acked + sink.nacked, 7, "the window, and what was done");
    keeper.kept.lock().unwrap().clear();
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_beyond_the_end_of_its_subscription_is_counted_when_it_is_let_go_of() {
    let keeper = Keeper::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    let others = pipeline.produce(from_stream(stream::pending()));
    let (subscription, asker) = numbers.subscribe(Window::new(4)).with_handle();
    let from = [subscription, others.subscribe(Window::new(1))];
    pipeline.stage("sink").consume(keeper.clone(), from);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run_reporting(pending()));
    let handled = || handle.status().stage("sink").unwrap().handled;
    sleep(SECOND).await;
    keeper.drop_one(0);
    asker.cancel();
    sleep(SECOND).await;
    assert_eq!((handled(), keeper.kept()), (1, 3));
    let subscriptions = handle.status().stage("sink").unwrap().subscriptions.len();
    assert_eq!(subscriptions, 1, "the other is there");
    for total in 2..=4 {
        keeper.drop_one(0);
        assert_eq!(handled(), total);
    }
    handle.stop();
    let report = running.await.unwrap();
    let sink = report.stages.iter().find(|stage| &*stage.stage == "sink");
    assert_eq!(sink.map(|sink| (sink.acked, sink.nacked)), Some((4, 0)));
}

#[test]
fn any_thread_may_let_go() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let (keeper, made) = (Keeper::default(), Made::default());
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::noting(3000, &made));
    let weighed = numbers
        .subscribe(Window::new(8))
        .bytes(20, |n| *n as usize % 7);
    pipeline.consume(keeper.clone(), weighed);
    let running = runtime.spawn(pipeline.run());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !running.is_finished() {
                    let one = keeper.kept.lock().unwrap().pop();
                    match one {
                        Some(one) => drop(one),
                        None => thread::yield_now(),
                    }
                }
            });
        }
    });
    runtime.block_on(running).unwrap().unwrap();
    assert_eq!(keeper.seen().len(), 3000);
}

#[derive(Clone, Debug)]
enum Step {
    Drop(usize),
    Wait,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// In whatever order they are let go of, what is kept and what is on its way never exceed the
    /// window, and the flow never stops.
    #[test]
    fn the_window_holds(
        steps in prop::collection::vec(
            prop_oneof![3 => (0usize..9).prop_map(Step::Drop), 1 => Just(Step::Wait)], 0..60),
        max in 1usize..9, min in 0usize..9, limit in prop::option::of(0usize..30),
    ) {
        let window = Window::new(max).with_min(min % max);
        let (keeper, made) = (Keeper::default(), Made::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut pipeline = Pipeline::new();
            let numbers = pipeline.produce(Counter::noting(50, &made));
            let mut subscription = numbers.subscribe(window);
            if let Some(limit) = limit {
                subscription = subscription.bytes(limit, |n| *n as usize % 11);
            }
            pipeline.stage("sink").consume(keeper.clone(), subscription);
            let running = tokio::spawn(pipeline.run());
            let mut done = 0;
            for step in steps {
                match step {
                    Step::Drop(n) if keeper.kept() > 0 => {
                        keeper.drop_one(n % keeper.kept());
                        done += 1;
                    }
                    _ => sleep(SECOND).await,
                }
                let made = made.events.load(Ordering::SeqCst);
                prop_assert!(made - done <= max, "{made} made, {done} done");
            }
            while keeper.seen().len() < 50 {
                sleep(SECOND).await;
                prop_assert!(keeper.kept() > 0, "the flow has stopped");
                keeper.drop_one(0);
            }
            timeout(SECOND, running).await.unwrap().unwrap().unwrap();
            prop_assert_eq!(keeper.seen(), Vec::from_iter(0..50));
            Ok(())
        })?;
    }
}
