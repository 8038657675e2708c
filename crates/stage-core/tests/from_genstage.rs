//! What tests of GenStage's are about that no other test here shows. See `COVERAGE.md`.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    convert::Infallible,
    io, panic,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use stage_core::{
    AddError, Batch, Children, End, Mode, Outlet, Pipeline, PipelineError, PipelineHandle,
    Subscription, SubscriptionInfo, Transform, Window, WindowError, filter, pool, protocol::Buffer,
    push_source,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use stages::{Counter, Double, Made, Slow, Tracked};

const SECOND: Duration = Duration::from_secs(1);

/// Makes two of each, and notes how many it takes in at once, and how what is before it has ended.
#[derive(Clone, Default)]
struct Twice {
    portions: Arc<Mutex<Vec<usize>>>,
    ends: Arc<Mutex<Vec<End>>>,
}

impl Twice {
    fn portions(&self) -> Vec<usize> {
        self.portions.lock().unwrap().clone()
    }

    fn ends(&self) -> Vec<End> {
        self.ends.lock().unwrap().clone()
    }
}

impl Transform<u64> for Twice {
    type Out = u64;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), Infallible> {
        self.portions.lock().unwrap().push(batch.len());
        out.extend(batch.drain().flat_map(|event| [event; 2]));
        Ok(())
    }

    fn unsubscribed(&mut self, info: &SubscriptionInfo, end: &End) {
        if &*info.to == "twice" {
            self.ends.lock().unwrap().push(end.clone());
        }
    }
}

fn twice_each(until: u64) -> Vec<u64> {
    (0..until).flat_map(|event| [event; 2]).collect()
}

fn none() -> [Subscription<u64>; 0] {
    []
}

/// A pipeline that runs, and goes on though nothing in it does.
fn run(mut pipeline: Pipeline) -> (PipelineHandle, JoinHandle<Result<(), PipelineError>>) {
    let idle = pipeline.stage("idle").produce(Counter::up_to(u64::MAX));
    let (subscription, asker) = idle.subscribe_manually();
    asker.let_go();
    pipeline
        .stage("idler")
        .consume(Slow::default(), subscription.mode(Mode::Temporary));
    (pipeline.handle(), tokio::spawn(pipeline.run()))
}

/// GenStage: `with 80% min demand` and `with 20% min demand`, with a stage in the middle that is
/// subscribed at first or late.
#[tokio::test(start_paused = true)]
async fn in_a_chain_each_stage_takes_in_by_its_own_window() {
    // What the one in the middle takes in, and the last one: at most fifty.
    for (min, middle, last) in [(80, 20, 40), (20, 80, 50)] {
        for is_late in [false, true] {
            let (twice, sink) = (Twice::default(), Slow::default());
            let window = Window::new(100).with_min(min);
            let mut pipeline = Pipeline::new();
            let doubled = if is_late {
                // One that keeps it waiting for others.
                let silent = pipeline.produce(Counter::up_to(u64::MAX));
                let (subscription, asker) = silent.subscribe_manually();
                asker.let_go();
                pipeline
                    .stage("twice")
                    .transform(twice.clone(), subscription)
            } else {
                let numbers = pipeline.stage("numbers").produce(Counter::up_to(1_000));
                let subscription = numbers.subscribe(window);
                pipeline
                    .stage("twice")
                    .transform(twice.clone(), subscription)
            };
            let intake = pipeline.handle().intake::<u64>("twice").unwrap();
            let subscription = doubled.subscribe(Window::new(100).with_min(50));
            pipeline.stage("sink").consume(sink.clone(), subscription);
            let (handle, running) = run(pipeline);
            sleep(SECOND).await;
            if is_late {
                assert_eq!(twice.portions(), []);
                let numbers = handle.stage("numbers").produce(Counter::up_to(1_000));
                intake.add(numbers.unwrap().subscribe(window)).unwrap();
            }
            sleep(SECOND).await;
            assert_eq!(sink.seen(), twice_each(1_000));
            let (portions, taken) = (twice.portions(), sink.portions.lock().unwrap().clone());
            assert_eq!(
                (portions[0], portions.iter().max()),
                (middle, Some(&middle))
            );
            assert_eq!((taken[0], taken.iter().max()), (last, Some(&50)));
            running.abort();
        }
    }
}

/// GenStage: `keeps emitting events even when discarded`.
#[tokio::test(start_paused = true)]
async fn a_transform_that_drops_everything_asks_for_more_all_the_same() {
    let (made, sink) = (Made::default(), Slow::default());
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::noting(5_000, &made));
    let window = Window::new(100).with_min(80);
    let nothing = pipeline.transform(filter(|_| false), numbers.subscribe(window));
    pipeline.consume(sink.clone(), nothing.subscribe(Window::new(100)));
    timeout(SECOND, pipeline.run()).await.unwrap().unwrap();
    assert_eq!(made.events.load(Ordering::SeqCst), 5_000);
    assert_eq!(sink.seen(), []);
}

/// GenStage: `with shared (broadcast) demand`, with and without a `synchronizer subscriber`, by a
/// producer and by a producer_consumer.
#[tokio::test(start_paused = true)]
async fn all_are_given_what_is_broadcast_once_all_have_asked() {
    for (by_transform, has_silent) in [(false, false), (false, true), (true, false), (true, true)] {
        let sinks = [Slow::default(), Slow::default()];
        let mut pipeline = Pipeline::new();
        let outlet: Outlet<u64> = if by_transform {
            let numbers = pipeline.produce(Counter::up_to(300));
            let subscription = numbers.subscribe(Window::new(1_000));
            let stage = pipeline.stage("all").broadcast();
            stage.transform(Twice::default(), subscription)
        } else {
            pipeline
                .stage("all")
                .broadcast()
                .produce(Counter::up_to(300))
        };
        let (subscription, silent) = outlet.subscribe_manually();
        if has_silent {
            pipeline.consume(Slow::default(), subscription);
        }
        for (sink, max) in sinks.iter().zip([10, 20]) {
            let window = Window::new(max).with_min(0);
            pipeline.consume(sink.clone(), outlet.subscribe(window));
        }
        drop(outlet);
        let running = tokio::spawn(pipeline.run());
        sleep(SECOND).await;
        if has_silent {
            assert_eq!(sinks.each_ref().map(Slow::seen), [vec![], vec![]]);
            silent.cancel();
            sleep(SECOND).await;
        }
        let all = match by_transform {
            true => twice_each(300),
            false => (0..300).collect(),
        };
        for sink in &sinks {
            assert_eq!(sink.seen(), all);
            // The one who asks for less at once sets the pace of both.
            assert_eq!(sink.portions.lock().unwrap().iter().max(), Some(&10));
        }
        running.await.unwrap().unwrap();
    }
}

/// GenStage: `queued events with lost producer`.
#[tokio::test(start_paused = true)]
async fn what_waits_before_a_transform_outlives_its_producer() {
    let (twice, sink) = (Twice::default(), Slow::default());
    let window = Window::new(100).with_min(50);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(100));
    let subscription = numbers.subscribe(window);
    let stage = pipeline.stage("twice");
    let doubled = stage.transform(twice.clone(), subscription.mode(Mode::Temporary));
    drop((numbers, doubled));
    let kept = pipeline.handle().outlet::<u64>("twice").unwrap();
    let (handle, running) = run(pipeline);
    sleep(SECOND).await;
    assert!(handle.status().stage("numbers").is_none(), "it has ended");
    assert_eq!((twice.portions(), twice.ends()), (vec![], vec![]));
    // The first to ask is given all of it, and the end is told behind it.
    let stage = handle.stage("sink");
    stage.consume(sink.clone(), kept.subscribe(window)).unwrap();
    sleep(SECOND).await;
    assert_eq!(sink.seen(), twice_each(100));
    assert_eq!(
        (twice.portions(), twice.ends()),
        (vec![50, 50], vec![End::Completed])
    );
    assert!(handle.status().stage("twice").is_some(), "it goes on");
    running.abort();
}

/// GenStage: `can be set to :accumulate on init` and `via API`, `can be set to :forward via API before
/// subscriptions`, `is not reset when set to :accumulate and is already accumulating`.
#[tokio::test(start_paused = true)]
async fn a_stage_is_held_back_or_not_whenever_that_is_said() {
    // Whether it is held before it runs, and what is said of it while nobody has subscribed.
    for (is_held, said) in [
        (true, &[][..]),
        (false, &[true]),
        (true, &[false]),
        (true, &[true]),
        (false, &[true, false, true]),
    ] {
        let (made, sink) = (Made::default(), Slow::default());
        let mut pipeline = Pipeline::new();
        drop(
            pipeline
                .stage("numbers")
                .produce(Counter::noting(u64::MAX, &made)),
        );
        let kept = pipeline.handle().outlet::<u64>("numbers").unwrap();
        if is_held {
            pipeline.handle().pause("numbers").unwrap();
        }
        let (handle, running) = run(pipeline);
        sleep(SECOND).await;
        for hold in said {
            match hold {
                true => handle.pause("numbers").unwrap(),
                false => handle.resume("numbers").unwrap(),
            }
        }
        let (subscription, asker) = kept.subscribe_manually();
        handle
            .stage("sink")
            .consume(sink.clone(), subscription)
            .unwrap();
        asker.ask(4).unwrap();
        sleep(SECOND).await;
        if *said.last().unwrap_or(&is_held) {
            assert_eq!(
                (sink.seen(), made.events.load(Ordering::SeqCst)),
                (vec![], 0)
            );
            handle.resume("numbers").unwrap();
            sleep(SECOND).await;
        }
        assert_eq!(sink.seen(), [0, 1, 2, 3]);
        running.abort();
    }
}

/// GenStage: `can be set to :accumulate via API using broadcast`.
#[tokio::test(start_paused = true)]
async fn what_is_pushed_while_a_broadcast_is_held_is_for_those_who_are_there_when_it_goes_on() {
    let old = [Slow::default(), Slow::default()];
    let new = [Slow::default(), Slow::default()];
    let (push, source) = push_source(Buffer::keep_first(100));
    let mut pipeline = Pipeline::new();
    drop(pipeline.stage("pushed").broadcast().produce(source));
    let pushed = pipeline.handle().outlet::<u64>("pushed").unwrap();
    for (sink, name) in old.iter().zip(["first", "second"]) {
        let subscription = pushed.subscribe(Window::new(1_000));
        pipeline.stage(name).consume(sink.clone(), subscription);
    }
    // Before it is called: a call that waits is finished though the stage is held.
    pipeline.handle().pause("pushed").unwrap();
    let (handle, running) = run(pipeline);
    sleep(SECOND).await;
    handle.remove("first").unwrap();
    handle.remove("second").unwrap();
    sleep(SECOND).await;
    for event in 1..=4_u64 {
        assert_eq!(push.push([event]).dropped, 0);
    }
    sleep(SECOND).await;
    for (sink, name) in new.iter().zip(["third", "fourth"]) {
        let subscription = pushed.subscribe(Window::new(1_000));
        handle
            .stage(name)
            .consume(sink.clone(), subscription)
            .unwrap();
    }
    sleep(SECOND).await;
    assert_eq!(new.each_ref().map(Slow::seen), [vec![], vec![]]);
    handle.resume("pushed").unwrap();
    sleep(SECOND).await;
    assert_eq!(
        new.each_ref().map(Slow::seen),
        [vec![1, 2, 3, 4], vec![1, 2, 3, 4]]
    );
    assert_eq!(old.each_ref().map(Slow::seen), [vec![], vec![]]);
    running.abort();
}

/// GenStage: `delivers info to …`: to each kind of stage `immediately`, and to a producer_consumer
/// `when there is incoming buffer`.
#[tokio::test(start_paused = true)]
async fn a_notice_passes_at_once_where_nothing_waits_and_else_behind_it() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(10));
    let subscription = numbers.subscribe(Window::new(10));
    let doubled = pipeline.stage("double").transform(Double, subscription);
    let (subscription, asker) = doubled.subscribe_manually();
    pipeline.stage("sink").consume(sink.clone(), subscription);
    let handle = pipeline.handle();
    handle.pause("numbers").unwrap();
    let running = tokio::spawn(pipeline.run());
    for stage in ["numbers", "double", "sink"] {
        timeout(SECOND, handle.passed(stage)).await.unwrap();
    }
    // Ten events come to lie before the transform, since nobody asks it for any.
    handle.resume("numbers").unwrap();
    sleep(SECOND).await;
    let passed = tokio::spawn({
        let handle = handle.clone();
        async move { handle.passed("double").await }
    });
    sleep(SECOND).await;
    assert!(!passed.is_finished(), "events are before it");
    asker.ask(10).unwrap();
    timeout(SECOND, passed).await.unwrap().unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(sink.seen().len(), 10);
}

/// GenStage: `init/1` of each kind of stage: a name that is taken, and options that cannot be. What
/// else it tries, the compiler refuses.
#[tokio::test(start_paused = true)]
async fn what_no_stage_can_be_made_with_is_refused() {
    for kind in ["producer", "consumer", "producer_consumer"] {
        let mut pipeline = Pipeline::new();
        let taken = pipeline.stage("taken").produce(Counter::up_to(1));
        let other = pipeline.produce(Counter::up_to(1));
        pipeline.consume(Slow::default(), taken.subscribe(Window::new(1)));
        let subscription = other.subscribe(Window::new(1));
        let stage = pipeline.stage("taken");
        match kind {
            "producer" => drop(stage.produce(Counter::up_to(1))),
            "consumer" => drop(stage.consume(Slow::default(), subscription)),
            _ => drop(stage.transform(Double, subscription)),
        }
        let error = pipeline.run().await.unwrap_err();
        assert!(matches!(error, PipelineError::NameTaken { .. }), "{error}");
        assert_eq!(error.stage(), "taken");
    }
    let (handle, running) = run(Pipeline::new());
    let name = "idle".to_owned();
    let taken = AddError::NameTaken { name };
    let producer = handle.stage("idle").produce(Counter::up_to(1));
    let consumer = handle.stage("idle").consume(Slow::default(), none());
    let transform = handle.stage("idle").transform(Double, none());
    let all = [producer.err(), consumer.err(), transform.err()];
    assert_eq!(all, [(); 3].map(|()| Some(taken.clone())));
    running.abort();

    assert_eq!(Window::try_new(0, 0), Err(WindowError::MaxIsZero));
    Window::try_new(5, 5).unwrap_err();
    panic::catch_unwind(|| Buffer::<u64>::keep_first(0)).unwrap_err();
}

/// GenStage: `terminates children with integer shutdown`, `and abnormal reason`, and `with expired
/// integer shutdown`.
#[tokio::test(start_paused = true)]
async fn the_tasks_of_a_pool_have_as_long_to_end_as_a_drain_has() {
    let (source, book) = Tracked::up_to(3);
    // The first ends well in time, the second does not end well, and the third does not end.
    let work = |event: u64| async move {
        sleep(2 * SECOND).await;
        match event {
            0 => Ok(()),
            1 => Err(io::Error::other("on purpose")),
            _ => std::future::pending().await,
        }
    };
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let tasks = pool(3, Children::Temporary, work);
    pipeline.consume(tasks, numbers.subscribe(Window::new(3)));
    let started = Instant::now();
    let report = pipeline
        .drain_within(5 * SECOND)
        .run_reporting(sleep(SECOND))
        .await;
    assert_eq!(started.elapsed(), 6 * SECOND);
    assert!(report.timed_out);
    assert_eq!((book.acked(), book.nacked()), (vec![0], vec![1, 2]));
}
