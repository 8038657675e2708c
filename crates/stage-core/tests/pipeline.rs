//! Whole pipelines, on a paused clock.

#![allow(clippy::unwrap_used)] // clippy.toml's allowance does not reach helpers outside `#[test]`

mod stages;

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use stage_core::{
    AddError, Batch, Consumer, Demand, Flow, Pipeline, PipelineError, Producer, Restart, Transform,
    Window, restarting,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use stages::{Counter, Double, Fails, Made, Slow};

#[tokio::test(start_paused = true)]
async fn every_event_arrives_in_order() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(1000));
    let doubled = pipeline.transform(Double, numbers.subscribe(Window::new(7)));
    pipeline.consume(sink.clone(), doubled.subscribe(Window::new(10)));
    pipeline.run().await.unwrap();
    assert_eq!(sink.seen(), (0..1000).map(|n| n * 2).collect::<Vec<_>>());
    assert!(sink.finished.load(Ordering::SeqCst));
}

#[test]
fn every_event_arrives_on_many_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    for window in [1, 2, 3, 10, 100] {
        let sink = Slow::default();
        let mut pipeline = Pipeline::new();
        let sources: Vec<_> = (0..4)
            .map(|_| pipeline.produce(Counter::up_to(2_000)))
            .collect();
        let numbers = sources
            .iter()
            .map(|source| source.subscribe(Window::new(window)));
        let doubled = pipeline.transform(Double, numbers);
        pipeline.consume(sink.clone(), doubled.subscribe(Window::new(window)));
        runtime.block_on(pipeline.run()).unwrap();
        let mut seen = sink.seen();
        seen.sort_unstable();
        let expected: Vec<u64> = (0..2_000).flat_map(|n| [n * 2; 4]).collect();
        assert_eq!(seen, expected, "window {window}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_taken_in_and_asked_for_by_halves_of_the_window() {
    let (made, sink) = (Made::default(), Slow::by(Duration::from_secs(1)));
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::noting(25, &made));
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
    pipeline.run().await.unwrap();
    assert_eq!(*sink.portions.lock().unwrap(), [5, 5, 5, 5, 5]);
    assert_eq!(*made.demands.lock().unwrap(), [10, 5, 5, 5]);
}

/// Asks somebody afar, who may only be asked so often.
struct Far(Counter);

impl Producer for Far {
    type Event = u64;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<u64>,
    ) -> Result<Flow, Infallible> {
        sleep(Duration::from_millis(200)).await;
        self.0.produce(demand, batch).await
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_it_makes_is_told_of_all_that_is_wanted() {
    let (made, sink) = (Made::default(), Slow::default());
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Far(Counter::noting(20_000, &made)));
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(1_000)));
    pipeline.run().await.unwrap();
    assert!(sink.seen().into_iter().eq(0..20_000));
    assert_eq!(*made.demands.lock().unwrap(), [1_000; 20]);
}

#[tokio::test(start_paused = true)]
async fn who_takes_many_in_at_a_time_is_not_sent_more_that_would_have_to_be_cut() {
    // What is fewer is made at once.
    for (window, least, most) in [(1_000, 500, 500), (400, 400, 400)] {
        let (made, sink) = (Made::default(), Slow::default());
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Counter::noting(20_000, &made));
        pipeline.consume(sink.clone(), numbers.subscribe(Window::new(window)));
        pipeline.run().await.unwrap();
        assert!(sink.seen().into_iter().eq(0..20_000));
        let portions = sink.portions.lock().unwrap();
        assert!(portions.iter().all(|events| *events == window / 2));
        let demands = made.demands.lock().unwrap();
        // The first are made before it is known that nobody else subscribes.
        assert_eq!(demands[0], window);
        let bounds = (demands[1..].iter().min(), demands[1..].iter().max());
        assert_eq!(bounds, (Some(&least), Some(&most)), "window {window}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_is_never_ahead_by_more_than_the_window() {
    struct Checks {
        made: Made,
        taken: usize,
        furthest: Arc<AtomicUsize>,
    }
    impl Consumer<u64> for Checks {
        type Error = Infallible;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
            sleep(Duration::from_secs(1)).await;
            let ahead = self.made.events.load(Ordering::SeqCst) - self.taken;
            self.furthest.fetch_max(ahead, Ordering::SeqCst);
            self.taken += batch.len();
            Ok(())
        }
    }
    for (max, min) in [(1, 0), (2, 0), (10, 5), (10, 9), (10, 0), (100, 80)] {
        let (made, furthest) = (Made::default(), Arc::default());
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Counter::noting(500, &made));
        let checks = Checks {
            made,
            taken: 0,
            furthest: Arc::clone(&furthest),
        };
        pipeline.consume(checks, numbers.subscribe(Window::new(max).with_min(min)));
        pipeline.run().await.unwrap();
        assert_eq!(furthest.load(Ordering::SeqCst), max, "max {max}, min {min}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transform_takes_nothing_in_while_nothing_is_wanted_of_it() {
    let made = Made::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::noting(10_000, &made));
    let doubled = pipeline.transform(Double, numbers.subscribe(Window::new(10)));
    pipeline.consume(Slow::by(Duration::MAX), doubled.subscribe(Window::new(4)));
    let stalled = tokio::time::timeout(Duration::from_secs(3600), pipeline.run());
    assert!(stalled.await.is_err());
    // Ten may lie before the transform. It has finished the first delivery of ten, of which four had
    // a taker, and has begun no second.
    assert_eq!(made.events.load(Ordering::SeqCst), 20);
}

#[tokio::test(start_paused = true)]
async fn demand_that_cannot_be_met_is_remembered() {
    /// Has one event a second, whatever is asked for.
    struct Trickle(u64, Arc<Mutex<Vec<usize>>>);
    impl Producer for Trickle {
        type Event = u64;
        type Error = Infallible;
        async fn produce(
            &mut self,
            demand: Demand,
            batch: &mut Batch<u64>,
        ) -> Result<Flow, Infallible> {
            self.1.lock().unwrap().push(demand.get());
            sleep(Duration::from_secs(1)).await;
            batch.push(self.0);
            self.0 += 1;
            Ok(if self.0 < 7 { Flow::More } else { Flow::End })
        }
    }
    let (demands, sink) = (Arc::default(), Slow::default());
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Trickle(0, Arc::clone(&demands)));
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(4)));
    pipeline.run().await.unwrap();
    assert_eq!(sink.seen(), (0..7).collect::<Vec<_>>());
    // Four, three and two are what is left of the first four; each time two are due, two more are
    // asked for.
    assert_eq!(*demands.lock().unwrap(), [4, 3, 2, 3, 2, 3, 2]);
}

#[tokio::test(start_paused = true)]
async fn more_than_was_asked_for_waits() {
    /// Makes everything at once, however little is asked for.
    struct Burst(Made);
    impl Producer for Burst {
        type Event = u64;
        type Error = Infallible;
        async fn produce(
            &mut self,
            demand: Demand,
            batch: &mut Batch<u64>,
        ) -> Result<Flow, Infallible> {
            let calls = self.0.demands.lock().unwrap().len() as u64;
            self.0.demands.lock().unwrap().push(demand.get());
            batch.extend(calls * 100..(calls + 1) * 100);
            Ok(if calls < 2 { Flow::More } else { Flow::End })
        }
    }
    let (made, sink) = (Made::default(), Slow::by(Duration::from_secs(1)));
    let mut pipeline = Pipeline::new();
    let burst = pipeline.produce(Burst(made.clone()));
    pipeline.consume(sink.clone(), burst.subscribe(Window::new(10)));
    let run = tokio::spawn(pipeline.run());
    sleep(Duration::from_secs(15)).await;
    assert_eq!(
        made.demands.lock().unwrap().len(),
        1,
        "not called while events wait"
    );
    run.await.unwrap().unwrap();
    assert_eq!(sink.seen(), (0..300).collect::<Vec<_>>());
    assert!(
        sink.portions
            .lock()
            .unwrap()
            .iter()
            .all(|&events| events <= 5)
    );
}

#[tokio::test(start_paused = true)]
async fn many_consumers_share_a_producer() {
    let sinks: Vec<_> = (0..3)
        .map(|n| Slow::by(Duration::from_millis(10 + n)))
        .collect();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(300));
    for sink in &sinks {
        pipeline.consume(sink.clone(), numbers.subscribe(Window::new(8)));
    }
    pipeline.run().await.unwrap();
    let mut all = Vec::new();
    for sink in &sinks {
        assert!(sink.seen().is_sorted());
        assert!(sink.seen().len() > 50, "each does its share");
        all.extend(sink.seen());
    }
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn many_producers_feed_one_consumer_in_turn() {
    let sink = Slow::by(Duration::from_secs(1));
    let mut pipeline = Pipeline::new();
    let sources: Vec<_> = (0..3)
        .map(|_| pipeline.produce(Counter::up_to(50)))
        .collect();
    let subscriptions = sources
        .iter()
        .map(|source| source.subscribe(Window::new(4)));
    pipeline.consume(sink.clone(), subscriptions);
    pipeline.run().await.unwrap();
    let seen = sink.seen();
    assert_eq!(seen.len(), 150);
    // All that has come of one at once, and then of the next: four at first, then two.
    assert_eq!(seen[..12], [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
    assert_eq!(seen[12..18], [4, 5, 4, 5, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn stopping_drains_what_was_produced() {
    let (made, sink) = (Made::default(), Slow::by(Duration::from_secs(1)));
    let (stop, stopped) = oneshot::channel::<()>();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::noting(u64::MAX, &made));
    let doubled = pipeline.transform(Double, numbers.subscribe(Window::new(10)));
    pipeline.consume(sink.clone(), doubled.subscribe(Window::new(10)));
    tokio::spawn(async move {
        sleep(Duration::from_millis(2500)).await;
        stop.send(()).unwrap();
    });
    pipeline
        .run_until(async { stopped.await.unwrap() })
        .await
        .unwrap();
    let produced = made.events.load(Ordering::SeqCst) as u64;
    assert!(produced > 10);
    assert_eq!(
        sink.seen(),
        (0..produced).map(|n| n * 2).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn stopping_interrupts_a_producer_and_keeps_what_it_had() {
    /// Puts one event out and waits for ever for the next.
    struct Half(bool);
    impl Producer for Half {
        type Event = u64;
        type Error = Infallible;
        async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
            assert!(
                !std::mem::replace(&mut self.0, true),
                "called after the stop"
            );
            batch.push(7);
            std::future::pending().await
        }
    }
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Half(false));
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
    pipeline
        .run_until(sleep(Duration::from_secs(1)))
        .await
        .unwrap();
    assert_eq!(sink.seen(), [7]);
}

#[tokio::test(start_paused = true)]
async fn a_producer_finishes_after_its_events_were_handed_out() {
    struct Farewell(Counter, Arc<Mutex<Vec<u64>>>, Arc<AtomicUsize>);
    impl Producer for Farewell {
        type Event = u64;
        type Error = Infallible;
        async fn produce(
            &mut self,
            demand: Demand,
            batch: &mut Batch<u64>,
        ) -> Result<Flow, Infallible> {
            self.0.produce(demand, batch).await
        }
        async fn finish(&mut self) -> Result<(), Infallible> {
            sleep(Duration::from_secs(60)).await;
            self.2.store(self.1.lock().unwrap().len(), Ordering::SeqCst);
            Ok(())
        }
    }
    let (sink, seen_then) = (Slow::by(Duration::from_secs(1)), Arc::default());
    let mut pipeline = Pipeline::new();
    let source = Farewell(
        Counter::up_to(20),
        Arc::clone(&sink.seen),
        Arc::clone(&seen_then),
    );
    let numbers = pipeline.produce(source);
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(4)));
    pipeline.run().await.unwrap();
    assert_eq!(seen_then.load(Ordering::SeqCst), 20);
}

struct Flaky {
    inner: Arc<tokio::sync::Mutex<Counter>>,
    failing_at: Option<u64>,
    panics: bool,
}

impl Producer for Flaky {
    type Event = u64;
    type Error = io::Error;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
        let mut counter = self.inner.lock().await;
        let flow = counter.produce(demand, batch).await.unwrap();
        if self.failing_at.is_some_and(|at| counter.next >= at) {
            assert!(!self.panics, "flaked");
            return Err(io::Error::other("flaked"));
        }
        Ok(flow)
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_producer_keeps_its_subscribers_and_what_it_had_made() {
    for panics in [false, true] {
        let counter = Arc::new(tokio::sync::Mutex::new(Counter::up_to(100)));
        let mut failing_at = vec![80, 50, 10];
        let policy = Restart::new(3, Duration::from_secs(60));
        let source = restarting(policy, move || Flaky {
            inner: Arc::clone(&counter),
            failing_at: failing_at.pop(),
            panics,
        });
        let sink = Slow::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(source);
        pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
        let start = Instant::now();
        pipeline.run().await.unwrap();
        assert_eq!(
            sink.seen(),
            (0..100).collect::<Vec<_>>(),
            "panics: {panics}"
        );
        assert_eq!(
            start.elapsed().as_millis(),
            100 + 200 + 400,
            "waits that double"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_restarts_are_a_failure_with_the_last_reason() {
    let policy = Restart::new(2, Duration::from_secs(60));
    let source = restarting(policy, || Flaky {
        inner: Arc::new(tokio::sync::Mutex::new(Counter::up_to(100))),
        failing_at: Some(0),
        panics: true,
    });
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("flaky").produce(source);
    pipeline.consume(Slow::default(), numbers.subscribe(Window::new(10)));
    let error = pipeline.run().await.unwrap_err();
    let PipelineError::Failed { stage, source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(stage, "flaky");
    assert_eq!(source.to_string(), "panicked: flaked");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_no_restart_mends_is_a_failure_at_once() {
    for (panics, restarts) in [(false, 0), (true, 2)] {
        let policy = Restart::new(2, Duration::from_secs(60))
            .unless(|error| error.is::<io::Error>())
            .unless(|error| error.is::<std::fmt::Error>());
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let source = restarting(policy, move || {
            count.fetch_add(1, Ordering::SeqCst);
            Flaky {
                inner: Arc::new(tokio::sync::Mutex::new(Counter::up_to(100))),
                failing_at: Some(0),
                panics,
            }
        });
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(source);
        pipeline.consume(Slow::default(), numbers.subscribe(Window::new(10)));
        assert!(pipeline.run().await.is_err());
        assert_eq!(made.load(Ordering::SeqCst), 1 + restarts);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_stage_is_named_and_what_was_made_before_is_delivered() {
    let inner = Arc::new(tokio::sync::Mutex::new(Counter::up_to(100)));
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("flaky").produce(Flaky {
        inner,
        failing_at: Some(10),
        panics: false,
    });
    let sink = Slow::default();
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
    let error = pipeline.run().await.unwrap_err();
    assert_eq!(error.to_string(), "stage `flaky` failed");
    assert_eq!(error.stage(), "flaky");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "flaked");
    assert_eq!(sink.seen(), (0..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_with_a_name_and_a_message() {
    struct Panics;
    impl Consumer<u64> for Panics {
        type Error = Infallible;
        async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> {
            panic!("on purpose")
        }
    }
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    pipeline
        .stage("panics")
        .consume(Panics, numbers.subscribe(Window::new(10)));
    let error = pipeline.run().await.unwrap_err();
    assert!(matches!(error, PipelineError::Panicked { .. }));
    assert_eq!(error.to_string(), "stage `panics` panicked: on purpose");
}

#[tokio::test(start_paused = true)]
async fn a_failure_at_the_end_stops_what_is_before_it_and_drains_what_is_beside() {
    let (made, sink) = (Made::default(), Slow::by(Duration::from_secs(1)));
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    let doubled = pipeline.transform(Double, numbers.subscribe(Window::new(10)));
    pipeline
        .stage("fails")
        .consume(Fails, doubled.subscribe(Window::new(10)));
    let others = pipeline
        .stage("others")
        .produce(Counter::noting(u64::MAX, &made));
    pipeline.consume(sink.clone(), others.subscribe(Window::new(10)));
    let error = pipeline.run().await.unwrap_err();
    assert_eq!(error.to_string(), "stage `fails` failed");
    let made = made.events.load(Ordering::SeqCst) as u64;
    assert_eq!(sink.seen(), (0..made).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_the_demand_goes_to_others_when_a_consumer_leaves() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(100));
    pipeline
        .stage("fails")
        .consume(Fails, numbers.subscribe(Window::new(10)));
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
    let error = pipeline.run().await.unwrap_err();
    assert_eq!(error.stage(), "fails");
    // The first ten went to the one that failed.
    let seen = sink.seen();
    assert!(seen.first().is_some_and(|&first| first >= 10), "{seen:?}");
    assert!(seen.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn what_a_transform_keeps_back_comes_at_the_end() {
    /// Gives nothing until the end, then everything.
    #[derive(Default)]
    struct Hoard(Vec<u64>);
    impl Transform<u64> for Hoard {
        type Out = u64;
        type Error = Infallible;
        async fn transform(
            &mut self,
            batch: &mut Batch<u64>,
            _: &mut Batch<u64>,
        ) -> Result<(), Infallible> {
            self.0.extend(batch.drain());
            Ok(())
        }
        async fn finish(&mut self, out: &mut Batch<u64>) -> Result<(), Infallible> {
            out.append_vec(std::mem::take(&mut self.0));
            Ok(())
        }
    }
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(100));
    let hoarded = pipeline.transform(Hoard::default(), numbers.subscribe(Window::new(3)));
    pipeline.consume(sink.clone(), hoarded.subscribe(Window::new(2)));
    pipeline.run().await.unwrap();
    assert_eq!(sink.seen(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn producers_join_a_running_pipeline_and_leave_it() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let (group, numbers) = pipeline.group();
    group.add("numbers/first", Counter::up_to(10)).unwrap();
    let doubled = pipeline.transform(Double, numbers.subscribe(Window::new(4)));
    pipeline.consume(sink.clone(), doubled.subscribe(Window::new(4)));
    let run = tokio::spawn(pipeline.run());
    for round in 0..50 {
        sleep(Duration::from_secs(1)).await;
        assert!(!run.is_finished(), "open as long as more may come");
        // A name is free again once its stage has ended.
        group.add("numbers/next", Counter::up_to(10)).unwrap();
        assert_eq!(sink.seen().len(), 10 * (round + 1));
    }
    let endless = Counter::up_to(u64::MAX);
    group.add("numbers/endless", Stalled(endless)).unwrap();
    let taken = group.add("numbers/endless", Counter::up_to(1)).unwrap_err();
    let name = "numbers/endless".to_owned();
    assert_eq!(taken, AddError::NameTaken { name });
    drop(group);
    run.await.unwrap().unwrap();
    assert_eq!(sink.seen().len(), 51 * 10 + 1);
}

/// Makes one event after a minute, and ends.
struct Stalled(Counter);

impl Producer for Stalled {
    type Event = u64;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
        sleep(Duration::from_secs(60)).await;
        batch.push(self.0.next);
        Ok(Flow::End)
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_ends_when_its_pipeline_stops_although_handles_are_left() {
    let sink = Slow::by(Duration::from_millis(10));
    let mut pipeline = Pipeline::new();
    let (group, numbers) = pipeline.group();
    group
        .add("numbers/endless", Counter::up_to(u64::MAX))
        .unwrap();
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(4)));
    assert!(!group.is_closed());
    pipeline
        .run_until(sleep(Duration::from_millis(25)))
        .await
        .unwrap();
    assert!(!sink.seen().is_empty());
    assert!(group.is_closed());
    let refused = group.add("numbers/late", Counter::up_to(10));
    assert_eq!(refused, Err(AddError::Stopping));
    // Also before it runs.
    let mut pipeline = Pipeline::new();
    let (group, _numbers) = pipeline.group::<u64>();
    pipeline.handle().stop();
    assert!(group.is_closed());
    drop(pipeline);
    assert!(group.is_closed());
}

#[tokio::test(start_paused = true)]
async fn each_member_of_a_group_serves_all_its_subscribers() {
    let sinks = [
        Slow::by(Duration::from_secs(1)),
        Slow::by(Duration::from_secs(1)),
    ];
    let mut pipeline = Pipeline::new();
    let (group, numbers) = pipeline.group();
    for sink in &sinks {
        pipeline.consume(sink.clone(), numbers.subscribe(Window::new(2)));
    }
    for member in 0..3 {
        group
            .add(format!("numbers/{member}"), Counter::up_to(20))
            .unwrap();
    }
    drop(group);
    pipeline.run().await.unwrap();
    assert_eq!(sinks[0].seen().len() + sinks[1].seen().len(), 60);
    assert!(sinks.iter().all(|sink| sink.seen().len() > 10));
}

#[tokio::test]
async fn mistakes_in_the_graph_are_named_before_anything_runs() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("twice").produce(Counter::up_to(1));
    pipeline
        .stage("twice")
        .consume(Slow::default(), numbers.subscribe(Window::new(1)));
    let error = pipeline.run().await.unwrap_err();
    assert!(matches!(error, PipelineError::NameTaken { .. }));
    assert_eq!(error.stage(), "twice");

    let mut pipeline = Pipeline::new();
    let _ = pipeline.stage("lonely").produce(Counter::up_to(1));
    let error = pipeline.run().await.unwrap_err();
    assert!(matches!(error, PipelineError::NoSubscriber { .. }));
    assert!(error.to_string().contains("`lonely`"));
}

#[tokio::test(start_paused = true)]
async fn stages_without_a_name_are_named_after_their_types() {
    let mut pipeline = Pipeline::new();
    let sources: Vec<_> = (0..2)
        .map(|_| pipeline.produce(Counter::up_to(1)))
        .collect();
    pipeline.consume(
        Fails,
        sources
            .iter()
            .map(|source| source.subscribe(Window::new(1))),
    );
    let shown = format!("{pipeline:?}");
    assert_eq!(shown, r#"Pipeline({"Counter", "Counter-2", "Fails"})"#);
    assert_eq!(pipeline.run().await.unwrap_err().stage(), "Fails");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_of_nothing_ends() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    pipeline.consume(sink.clone(), []);
    pipeline.run().await.unwrap();
    assert!(sink.finished.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_running_pipeline_leaves_no_stage_behind() {
    struct Held(#[allow(dead_code)] Arc<()>);
    impl Consumer<u64> for Held {
        type Error = Infallible;
        async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> {
            std::future::pending().await
        }
    }
    let held = Arc::new(());
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    pipeline.consume(Held(Arc::clone(&held)), numbers.subscribe(Window::new(10)));
    let run = pipeline.run();
    assert!(
        tokio::time::timeout(Duration::from_secs(1), run)
            .await
            .is_err()
    );
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&held), 1);
}
