//! Looking at a pipeline and changing it while it runs.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use stage_core::{
    AddError, Asking, Batch, Consumer, Demand, End, Flow, IntakeError, LookupError, Mode, Pipeline,
    PipelineError, PipelineHandle, Producer, StageKind, StageState, SubscriptionInfo, Window,
    protocol::Buffer, push_source,
};
use tokio::time::{Instant, sleep, timeout};

use stages::{Counter, Double, Made, Slow, Tracked};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn stages_join_a_running_pipeline_and_are_taken_from_it() {
    let (first, second, third) = (Slow::by(SECOND), Slow::by(SECOND), Slow::by(SECOND));
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(u64::MAX));
    pipeline
        .stage("first")
        .consume(first.clone(), numbers.subscribe(Window::new(2)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(10 * SECOND).await;

    let numbers = handle.outlet::<u64>("numbers").unwrap();
    let doubled = handle
        .stage("double")
        .transform(Double, numbers.subscribe(Window::new(2)))
        .unwrap();
    handle
        .stage("second")
        .consume(second.clone(), doubled.subscribe(Window::new(2)))
        .unwrap();
    sleep(10 * SECOND).await;
    assert!(second.seen().iter().all(|n| n % 2 == 0));
    assert!(second.seen().len() > 5);

    handle.remove("first").unwrap();
    sleep(10 * SECOND).await;
    let left_at = first.seen().len();
    assert!(first.finished());
    assert_eq!(first.changes()[1], "numbers is cancelled: shut down");

    // Another takes what the first would have been given.
    let more = handle.outlet::<u64>("numbers").unwrap();
    handle
        .stage("third")
        .consume(third.clone(), more.subscribe(Window::new(2)))
        .unwrap();
    drop((numbers, doubled, more));
    sleep(10 * SECOND).await;
    assert_eq!(first.seen().len(), left_at);
    assert!(third.seen().len() > 5);

    handle.stop();
    running.await.unwrap().unwrap();
    let errors = [
        handle
            .stage("late")
            .consume(Slow::default(), [])
            .unwrap_err(),
        handle.stage("late").produce(Counter::up_to(1)).unwrap_err(),
    ];
    assert_eq!(errors, [AddError::Stopping, AddError::Stopping]);
    assert_eq!(handle.status().stages.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_running_consumer_is_given_more_subscriptions() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(3));
    let handle = pipeline.handle();
    let intake = pipeline.stage("sink").consume(
        sink.clone(),
        numbers.subscribe(Window::new(2)).mode(Mode::Temporary),
    );
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    let more = handle.stage("more").produce(Counter::up_to(5)).unwrap();
    intake.add(more.subscribe(Window::new(2))).unwrap();
    drop(more);
    sleep(SECOND).await;
    assert_eq!(sink.seen(), [0, 1, 2, 0, 1, 2, 3, 4]);
    // It stays, since one of its subscriptions was temporary.
    assert!(!running.is_finished());
    handle.stop();
    running.await.unwrap().unwrap();
    let nothing = Pipeline::new().stage("nothing").produce(Counter::up_to(1));
    let ended = intake.add(nothing.subscribe(Window::new(1))).unwrap_err();
    assert!(matches!(ended, IntakeError::StageEnded { stage, .. } if stage == "sink"));
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_joins_waits_for_subscribers_as_long_as_its_outlet_is_there() {
    let made = Made::default();
    let mut pipeline = Pipeline::new();
    let endless = pipeline.produce(Counter::up_to(u64::MAX));
    pipeline.consume(Slow::by(HOUR), endless.subscribe(Window::new(2)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    let late = handle
        .stage("late")
        .produce(Counter::noting(9, &made))
        .unwrap();
    sleep(HOUR).await;
    assert!(handle.status().stage("late").is_some());
    assert_eq!(*made.demands.lock().unwrap(), []);
    drop(late);
    sleep(SECOND).await;
    assert!(handle.status().stage("late").is_none());
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_joins_waits_for_subscriptions_that_no_stage_has_yet() {
    let mut pipeline = Pipeline::new();
    let endless = pipeline.produce(Counter::up_to(u64::MAX));
    pipeline.consume(Slow::by(HOUR), endless.subscribe(Window::new(2)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    let late = handle.stage("late").produce(Counter::up_to(9)).unwrap();
    let lanes = handle
        .stage("lanes")
        .partition(1, |n: &u64| *n)
        .produce(Counter::up_to(9))
        .unwrap();
    // What it was made from has gone by the time it is used.
    let mut subscriptions = vec![late.subscribe(Window::new(2))];
    drop(late);
    subscriptions.extend(lanes.into_iter().map(|lane| lane.subscribe(Window::new(2))));
    sleep(HOUR).await;
    let sink = Slow::default();
    handle
        .stage("sink")
        .consume(sink.clone(), subscriptions)
        .unwrap();
    sleep(SECOND).await;
    assert_eq!(sink.seen().len(), 18);
    let unused = handle.stage("unused").produce(Counter::up_to(9)).unwrap();
    let subscription = unused.subscribe(Window::new(2));
    drop(unused);
    sleep(SECOND).await;
    assert!(handle.status().stage("unused").is_some());
    drop(subscription);
    sleep(SECOND).await;
    assert!(handle.status().stage("unused").is_none());
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stage_with_lanes_joins_a_running_pipeline() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline
        .stage("numbers")
        .broadcast()
        .produce(Counter::up_to(60));
    let (subscription, asker) = numbers.subscribe_manually();
    pipeline.consume(Slow::default(), subscription);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    let numbers = handle.outlet::<u64>("numbers").unwrap();
    let by_key = handle
        .stage("by_key")
        .partition(3, |n: &u64| n % 7)
        .transform(Double, numbers.subscribe(Window::new(4)))
        .unwrap();
    let by_fn = handle
        .stage("by_fn")
        .partition_by(2, |n: &u64| (n % 3 < 2).then_some((n % 3) as usize))
        .transform(Double, numbers.subscribe(Window::new(4)))
        .unwrap();
    drop(numbers);
    let sinks: Vec<_> = by_key
        .into_iter()
        .chain(by_fn)
        .enumerate()
        .map(|(n, lane)| {
            let sink = Slow::default();
            let stage = handle.stage(format!("sink {n}"));
            stage
                .consume(sink.clone(), lane.subscribe(Window::new(4)))
                .unwrap();
            sink
        })
        .collect();
    asker.ask(1000).unwrap();
    running.await.unwrap().unwrap();
    let seen: Vec<Vec<u64>> = sinks.iter().map(Slow::seen).collect();
    for (n, lane) in seen[..3].iter().enumerate() {
        let lane_of = |n: &u64| stage_core::protocol::lane_for(&(n % 7), 3);
        assert!(lane.iter().all(|event| lane_of(event) == n));
        assert!(lane.is_sorted());
    }
    assert_eq!(seen[..3].concat().len(), 60);
    let of = |rest| Vec::from_iter((0..120).step_by(2).filter(|n| n % 3 == rest));
    assert_eq!(seen[3..], [of(0), of(1)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_looked_for_and_not_there_is_an_error_that_says_so() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(u64::MAX));
    pipeline
        .stage("sink")
        .consume(Slow::by(HOUR), numbers.subscribe(Window::new(2)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    let no_such = LookupError::NoSuchStage {
        name: "nobody".into(),
    };
    assert_eq!(handle.outlet::<u64>("nobody").unwrap_err(), no_such);
    assert_eq!(handle.remove("nobody").unwrap_err(), no_such);
    // What is wrong, and what to do.
    let outlet = |stage| handle.outlet::<u64>(stage).unwrap_err();
    let errors = [
        (
            handle.outlet::<u32>("numbers").unwrap_err(),
            "`numbers` are of type `u64`, not `u32`",
        ),
        (
            handle.intake::<u32>("sink").unwrap_err(),
            "`sink` are of type `u64`, not `u32`",
        ),
        (
            outlet("sink"),
            "`sink` is a consumer and hands no events on: subscribe to a stage",
        ),
        (
            handle.lane::<u64>("sink", 0).unwrap_err(),
            "`sink` is a consumer and hands no events on",
        ),
        (
            handle.intake::<u64>("numbers").unwrap_err(),
            "`numbers` is a producer and takes no events in: have",
        ),
        (
            handle.pause("sink").unwrap_err(),
            "`sink` is a consumer, which is not paused: pause",
        ),
        (
            handle.resume("sink").unwrap_err(),
            "`sink` is a consumer, which is not paused: pause",
        ),
    ];
    for (error, says) in errors {
        assert!(error.to_string().contains(says), "{error}");
    }
    let taken = handle.stage("sink").produce(Counter::up_to(1)).unwrap_err();
    assert_eq!(
        taken,
        AddError::NameTaken {
            name: "sink".into()
        }
    );
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_is_held_back_forgets_no_demand() {
    let (made, sink) = (Made::default(), Slow::default());
    let mut pipeline = Pipeline::new();
    let numbers = pipeline
        .stage("numbers")
        .produce(Counter::noting(u64::MAX, &made));
    let (subscription, asker) = numbers.subscribe_manually();
    pipeline.consume(sink.clone(), subscription);
    let handle = pipeline.handle();
    handle.pause("numbers").unwrap();
    let running = tokio::spawn(pipeline.run());
    for _ in 0..3 {
        asker.ask(5).unwrap();
        sleep(HOUR).await;
    }
    assert_eq!(*made.demands.lock().unwrap(), []);
    let status = handle.status();
    let numbers = status.stage("numbers").unwrap();
    assert_eq!((numbers.state, numbers.wanted), (StageState::Held, 15));
    handle.resume("numbers").unwrap();
    sleep(SECOND).await;
    assert_eq!(*made.demands.lock().unwrap(), [15]);
    assert_eq!(sink.seen().len(), 15);
    handle.stop();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_held_transform_holds_back_what_is_before_it() {
    let made = Made::default();
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::noting(u64::MAX, &made));
    let doubled = pipeline
        .stage("double")
        .transform(Double, numbers.subscribe(Window::new(10)));
    pipeline.consume(sink.clone(), doubled.subscribe(Window::new(4)));
    let handle = pipeline.handle();
    handle.pause("double").unwrap();
    let running = tokio::spawn(pipeline.run());
    sleep(HOUR).await;
    assert_eq!(*made.demands.lock().unwrap(), [10]);
    assert_eq!(sink.seen(), []);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_notice_passes_behind_the_events_that_are_there() {
    let sink = Slow::by(SECOND);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(u64::MAX));
    pipeline
        .stage("sink")
        .consume(sink.clone(), numbers.subscribe(Window::new(10)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(Duration::from_millis(500)).await;
    // Two portions of five have come, and a third is made when the first is done with.
    handle.passed("sink").await;
    let seen = sink.seen().len();
    assert!((10..=20).contains(&seen), "{seen}");
    handle.passed("numbers").await;
    handle.passed("nobody").await;
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_running_pipeline_is_described_as_data() {
    let sink = Slow::by(10 * SECOND);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(u64::MAX));
    let doubled = pipeline
        .stage("double")
        .transform(Double, numbers.subscribe(Window::new(100)));
    let window = Window::new(8).with_min(2);
    pipeline.stage("sink").consume(
        sink.clone(),
        doubled.subscribe(window).mode(Mode::Permanent),
    );
    let handle = pipeline.handle();
    assert_eq!(
        handle.status().stage("numbers").unwrap().state,
        StageState::Waiting
    );
    let started = Instant::now();
    let running = tokio::spawn(pipeline.run());
    sleep(5 * SECOND).await;
    let status = handle.status();
    assert!(!status.stopping);
    let names: Vec<_> = status
        .stages
        .iter()
        .map(|stage| (&*stage.name, stage.kind))
        .collect();
    assert_eq!(
        names,
        [
            ("double", StageKind::Transform),
            ("numbers", StageKind::Producer),
            ("sink", StageKind::Consumer),
        ]
    );
    let sink = status.stage("sink").unwrap();
    assert_eq!((sink.state, sink.since), (StageState::Running, started));
    assert_eq!((sink.handled, sink.nacked, sink.restarts), (0, 0, 0));
    let [subscription] = &*sink.subscriptions else {
        panic!("{sink:?}");
    };
    assert_eq!(
        (&*subscription.info.from, &*subscription.info.to),
        ("double", "sink")
    );
    assert_eq!(subscription.info.asking, Asking::Automatic(window));
    assert_eq!(subscription.info.mode, Mode::Permanent);
    assert_eq!(subscription.in_flight() + subscription.demand, 8);
    // The transform has finished the delivery that it had begun, in two portions of fifty. Eight
    // events had a taker.
    let double = status.stage("double").unwrap();
    assert_eq!(
        (double.handled, double.buffered, double.wanted),
        (100, 92, 0)
    );
    let numbers = status.stage("numbers").unwrap();
    assert_eq!((numbers.handled, numbers.buffered), (200, 0));
    running.abort();
}

/// Makes ten at once, whatever is asked for, and ends.
struct Ten;

impl Producer for Ten {
    type Event = u64;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
        batch.extend(0..10);
        Ok(Flow::End)
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_at_a_source_that_has_ended_is_seen() {
    let mut pipeline = Pipeline::new();
    let ten = pipeline.stage("ten").produce(Ten);
    let (subscription, ask) = ten.subscribe_manually();
    drop(ten);
    pipeline.consume(Slow::by(SECOND), subscription);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    for (asked, waiting) in [(4, 6), (5, 1)] {
        ask.ask(asked).unwrap();
        sleep(SECOND).await;
        let status = handle.status();
        let ten = status.stage("ten").unwrap();
        assert_eq!((ten.state, ten.buffered), (StageState::Draining, waiting));
    }
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn draining_has_a_deadline_and_a_report() {
    let (source, book) = Tracked::up_to(u64::MAX);
    let sink = Slow::by(10 * SECOND);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(source);
    let doubled = pipeline
        .stage("double")
        .transform(Double, numbers.subscribe(Window::new(20)));
    pipeline
        .stage("sink")
        .consume(sink.clone(), doubled.subscribe(Window::new(4)));
    let started = Instant::now();
    let report = pipeline
        .drain_within(15 * SECOND)
        .run_reporting(sleep(25 * SECOND))
        .await;
    assert_eq!(started.elapsed(), 40 * SECOND);
    assert!(report.timed_out);
    let error = report.result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the time for draining was up with 2 stages still at work, `double` among them"
    );
    // A portion of two each ten seconds; the fourth was cut off.
    let of = |name| {
        report
            .stages
            .iter()
            .find(|stage| &*stage.stage == name)
            .unwrap()
    };
    assert_eq!((of("sink").acked, of("sink").nacked), (6, 0));
    assert_eq!(of("sink").abandoned, 4);
    let handed_out = book.outcomes().len() as u64;
    assert_eq!(of("numbers").acked, handed_out);
    // Where each is, is known.
    let abandoned: u64 = report.stages.iter().map(|stage| stage.abandoned).sum();
    assert_eq!(6 + abandoned, handed_out);
    // A transform's batch is acked or nacked as one.
    assert_eq!(book.acked(), []);
    assert_eq!(book.nacked().len() as u64, handed_out);
}

#[tokio::test(start_paused = true)]
async fn a_drain_in_time_abandons_nothing() {
    let (source, book) = Tracked::up_to(u64::MAX);
    let sink = Slow::by(SECOND);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(source);
    pipeline
        .stage("sink")
        .consume(sink.clone(), numbers.subscribe(Window::new(8)));
    let report = pipeline
        .drain_within(15 * SECOND)
        .run_reporting(sleep(25 * SECOND))
        .await;
    report.result.unwrap();
    assert!(!report.timed_out);
    let names: Vec<_> = report.stages.iter().map(|stage| &*stage.stage).collect();
    assert_eq!(names, ["numbers", "sink"], "sources before sinks");
    assert!(
        report
            .stages
            .iter()
            .all(|stage| stage.abandoned + stage.nacked == 0)
    );
    assert_eq!(book.acked().len(), sink.seen().len());
    assert_eq!(book.nacked(), []);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_zero_drops_everything_at_once() {
    let (source, book) = Tracked::up_to(u64::MAX);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    pipeline.consume(Slow::by(HOUR), numbers.subscribe(Window::new(8)));
    let started = Instant::now();
    let report = pipeline
        .drain_within(Duration::ZERO)
        .run_reporting(sleep(SECOND))
        .await;
    assert_eq!(started.elapsed(), SECOND);
    assert!(matches!(
        report.result,
        Err(PipelineError::DrainTimedOut { .. })
    ));
    assert_eq!(book.nacked().len(), 8);
}

/// Of what sources say the longest counts, and nothing of it if the pipeline is told.
#[tokio::test(start_paused = true)]
async fn a_source_may_bring_a_deadline_and_the_pipeline_has_the_last_word() {
    for (told, expected) in [(None, 9), (Some(3), 3), (Some(20), 20)] {
        let (source, _book) = Tracked::up_to(u64::MAX);
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(source);
        pipeline.drain_by_default(5 * SECOND);
        if let Some(seconds) = told {
            pipeline = pipeline.drain_within(seconds * SECOND);
        }
        pipeline.drain_by_default(9 * SECOND);
        pipeline.drain_by_default(7 * SECOND);
        pipeline.consume(Slow::by(HOUR), numbers.subscribe(Window::new(8)));
        let started = Instant::now();
        let report = pipeline.run_reporting(sleep(SECOND)).await;
        assert!(report.timed_out);
        assert_eq!(started.elapsed(), (1 + expected) * SECOND);
    }
}

/// Whatever a stage does last, it can do within what is left; and where there is no time, it is not told of one.
#[tokio::test(start_paused = true)]
async fn what_is_left_of_the_drain_can_be_asked_for() {
    for time in [Some(20 * SECOND), Some(Duration::MAX), None] {
        let (source, _book) = Tracked::up_to(40);
        let mut pipeline = Pipeline::new();
        if let Some(time) = time {
            pipeline = pipeline.drain_within(time);
        }
        let handle = pipeline.handle();
        let numbers = pipeline.produce(source);
        pipeline.consume(Slow::by(10 * SECOND), numbers.subscribe(Window::new(8)));
        let running = tokio::spawn(pipeline.run());
        sleep(SECOND).await;
        assert_eq!(handle.drain_left(), None, "it does not stop yet");
        handle.stop();
        // Whoever asks first.
        let left = time.filter(|time| *time < Duration::MAX);
        assert_eq!(handle.drain_left(), left);
        sleep(3 * SECOND).await;
        let left = left.map(|left| left - 3 * SECOND);
        assert_eq!(handle.drain_left(), left);
        running.await.unwrap().unwrap();
        assert_eq!(handle.drain_left(), None, "it has ended");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_stage_had_is_reported_as_nacked() {
    struct FailsAt(u64);
    impl Consumer<u64> for FailsAt {
        type Error = std::io::Error;

        async fn consume(&mut self, batch: &mut Batch<u64>) -> std::io::Result<()> {
            match batch.contains(&self.0) {
                true => Err(std::io::Error::other("on purpose")),
                false => Ok(()),
            }
        }
    }
    let (source, book) = Tracked::up_to(u64::MAX);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    pipeline
        .stage("fails")
        .consume(FailsAt(9), numbers.subscribe(Window::new(8)));
    let report = pipeline.run_reporting(std::future::pending()).await;
    assert!(matches!(report.result, Err(PipelineError::Failed { .. })));
    let fails = report
        .stages
        .iter()
        .find(|stage| &*stage.stage == "fails")
        .unwrap();
    assert_eq!(fails.acked, 8);
    assert_eq!(fails.abandoned, 0);
    assert_eq!(book.acked().len(), 8);
    assert_eq!(fails.nacked, book.nacked().len() as u64);
}

/// Ready at any time, for ever.
struct Greedy(Arc<Mutex<u64>>);

impl Producer for Greedy {
    type Event = u64;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<u64>,
    ) -> Result<Flow, Infallible> {
        batch.extend(std::iter::repeat_n(0, demand.get()));
        *self.0.lock().unwrap() += 1;
        Ok(Flow::More)
    }
}

#[tokio::test]
async fn a_pipeline_that_never_waits_lets_other_tasks_run() {
    let rounds = Arc::default();
    let mut pipeline = Pipeline::new();
    let zeros = pipeline.produce(Greedy(Arc::clone(&rounds)));
    pipeline.consume(Slow::default(), zeros.subscribe(Window::new(100)));
    let running = tokio::spawn(pipeline.run());
    // This is the only thread, and each time that it gets here the others have let it.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(*rounds.lock().unwrap() > 10);
    running.abort();
}

/// Subscribes to another stage when the first of its subscriptions ends, which it does not go on
/// without.
struct Clings(PipelineHandle);

impl Consumer<u64> for Clings {
    type Error = Infallible;

    async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> {
        Ok(())
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, _: &End) {
        if &*subscription.from == "ends" {
            let goes_on = self.0.outlet::<u64>("goes on").unwrap();
            let intake = self.0.intake("clings").unwrap();
            intake.add(goes_on.subscribe(Window::new(1))).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_is_to_end_takes_nothing_new_in() {
    let mut pipeline = Pipeline::new();
    let (_push, source) = push_source::<u64>(Buffer::unbounded());
    let goes_on = pipeline.stage("goes on").produce(source);
    let ends = pipeline.stage("ends").produce(Counter::up_to(3));
    let subscriptions =
        [&goes_on, &ends].map(|outlet| outlet.subscribe(Window::new(1)).mode(Mode::Permanent));
    let clings = Clings(pipeline.handle());
    pipeline.stage("clings").consume(clings, subscriptions);
    let running = tokio::spawn(pipeline.run());
    let ended = timeout(HOUR, running).await;
    ended.expect("it goes on").unwrap().unwrap();
}

/// Its stages go with the runtime that they run on, whoever waits for the pipeline.
#[test]
fn stages_whose_runtime_has_ended_are_reported() {
    let build = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let (theirs, ours) = (build(), build());
    let mut pipeline = Pipeline::new();
    let (handle, source) = push_source::<u64>(Buffer::unbounded());
    let numbers = pipeline.stage("numbers").produce(source);
    pipeline
        .stage("made")
        .consume(Slow::by(SECOND), numbers.subscribe(Window::new(2)));
    let mut running = Box::pin(pipeline.run());
    theirs.block_on(async {
        let is_pending =
            std::future::poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx).is_pending()));
        assert!(is_pending.await);
        tokio::task::yield_now().await;
    });
    drop(theirs);
    let Err(PipelineError::Panicked { stage, message, .. }) = ours.block_on(running) else {
        panic!("its stages have gone");
    };
    assert_eq!((&*stage, &*message), ("made", "its task was cancelled"));
    assert!(handle.is_closed());
}
