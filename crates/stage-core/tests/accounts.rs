//! What reports and status say became of events, when something fails, is cancelled or cut off; and
//! that the time for draining bounds it all.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    convert::Infallible,
    future::pending,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use stage_core::{
    AddError, Batch, Children, Consumer, Demand, DrainReport, End, Flow, Mode, Pipeline,
    PipelineError, Producer, Restart, StageReport, SubscriptionInfo, Window, from_stream, pool,
    protocol::{Backlog, Dispatcher, Handout, Refused, SubscriptionId, Terms},
    restarting_consumer,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use stages::{Counter, Double, Gated, Slow, Tracked};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Makes 15 events, whatever is asked for, and fails.
struct Hasty;

impl Producer for Hasty {
    type Event = u64;
    type Error = io::Error;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
        batch.extend(0..15);
        Err(io::Error::other("on purpose"))
    }
}

/// Makes two at a time.
struct ByTwo(Tracked);

impl Producer for ByTwo {
    type Event = u64;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<u64>,
    ) -> Result<Flow, Infallible> {
        // Who asks without bound is not to stop the clock.
        sleep(Duration::from_micros(1)).await;
        self.0
            .produce(demand.min(Demand::new(2).unwrap()), batch)
            .await
    }
}

struct FailsAfter(Duration);

impl Consumer<u64> for FailsAfter {
    type Error = io::Error;

    async fn consume(&mut self, _: &mut Batch<u64>) -> io::Result<()> {
        sleep(self.0).await;
        Err(io::Error::other("on purpose"))
    }
}

/// Never comes back.
struct Stuck;

impl Consumer<u64> for Stuck {
    type Error = io::Error;

    async fn consume(&mut self, _: &mut Batch<u64>) -> io::Result<()> {
        pending().await
    }
}

fn of<'a>(report: &'a DrainReport, stage: &str) -> &'a StageReport {
    let mut stages = report.stages.iter();
    stages.find(|report| &*report.stage == stage).unwrap()
}

fn counts(report: &DrainReport, stage: &str) -> (u64, u64, u64) {
    let StageReport {
        acked,
        nacked,
        abandoned,
        ..
    } = *of(report, stage);
    (acked, nacked, abandoned)
}

#[tokio::test(start_paused = true)]
async fn the_time_for_draining_bounds_a_stage_that_has_failed_with_events_left() {
    let start = Instant::now();
    let mut pipeline = Pipeline::new().drain_within(SECOND);
    let numbers = pipeline.stage("numbers").produce(Hasty);
    pipeline
        .stage("stuck")
        .consume(Stuck, numbers.subscribe(Window::new(10)));
    let report = pipeline.run_reporting(sleep(HOUR)).await;
    assert_eq!(start.elapsed(), SECOND);
    assert!(report.timed_out);
    assert_eq!(counts(&report, "numbers"), (15, 0, 5));
    assert_eq!(counts(&report, "stuck"), (0, 0, 10));
}

/// The same of a stage in the middle.
#[tokio::test(start_paused = true)]
async fn and_a_transform_that_has() {
    struct Thrice;

    impl stage_core::Transform<u64> for Thrice {
        type Out = u64;
        type Error = io::Error;

        async fn transform(
            &mut self,
            batch: &mut Batch<u64>,
            out: &mut Batch<u64>,
        ) -> io::Result<()> {
            if batch.contains(&4) {
                return Err(io::Error::other("on purpose"));
            }
            out.extend(batch.drain().flat_map(|n| [n; 3]));
            Ok(())
        }
    }

    let start = Instant::now();
    let mut pipeline = Pipeline::new().drain_within(SECOND);
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    let window = Window::new(6).with_min(4);
    let thrice = pipeline
        .stage("thrice")
        .transform(Thrice, numbers.subscribe(window));
    pipeline.consume(Stuck, thrice.subscribe(Window::new(9)));
    let report = pipeline.run_reporting(pending()).await;
    assert_eq!(start.elapsed(), SECOND);
    assert!(report.timed_out);
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_to_a_consumer_that_fails_is_nacked() {
    let (numbers, book) = Tracked::up_to(u64::MAX);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(ByTwo(numbers));
    pipeline
        .stage("fails")
        .consume(FailsAfter(SECOND), numbers.subscribe(Window::new(10)));
    let report = pipeline.run_reporting(pending()).await;
    assert!(matches!(report.result, Err(PipelineError::Failed { .. })));
    assert_eq!(counts(&report, "fails"), (0, 10, 0));
    assert_eq!(book.nacked().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_when_its_subscription_was_cancelled_is_nacked() {
    let (numbers, book) = Tracked::up_to(u64::MAX);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(ByTwo(numbers));
    let (subscription, cancel) = numbers.subscribe(Window::new(10).with_min(5)).with_handle();
    pipeline.stage("slow").consume(Slow::by(HOUR), subscription);
    let (kept, _stays) = numbers.subscribe_manually();
    pipeline.stage("stays").consume(Slow::default(), kept);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run_reporting(pending()));
    sleep(SECOND).await;
    let slow = handle.status().stage("slow").unwrap().clone();
    assert_eq!(slow.subscriptions[0].in_flight(), 10);
    cancel.cancel();
    assert_eq!(
        (book.acked().len(), book.nacked().len()),
        (0, 8),
        "two are in hand"
    );
    sleep(2 * HOUR).await;
    assert_eq!((book.acked().len(), book.nacked().len()), (2, 8));
    handle.stop();
    drop(_stays);
    let report = running.await.unwrap();
    // It has ended before the pipeline was told to stop: what it lost is in no report.
    assert!(report.stages.iter().all(|stage| &*stage.stage != "slow"));
    assert_eq!(counts(&report, "numbers").1, 0);
}

/// The same, while the stage that was cancelled goes on by another subscription.
#[tokio::test(start_paused = true)]
async fn and_is_counted_with_the_stage_that_it_was_on_its_way_to() {
    let mut pipeline = Pipeline::new();
    let (cut, stays) = (
        pipeline.produce(Counter::up_to(u64::MAX)),
        pipeline.produce(Counter::up_to(u64::MAX)),
    );
    let window = Window::new(10).with_min(5);
    let (first, cancel) = cut.subscribe(window).with_handle();
    let slow = Slow::by(SECOND);
    pipeline
        .stage("slow")
        .consume(slow.clone(), [first, stays.subscribe(window)]);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run_reporting(pending()));
    sleep(SECOND / 2).await;
    cancel.cancel();
    sleep(SECOND).await;
    assert_eq!(handle.status().stage("slow").unwrap().nacked, 5);
    handle.stop();
    let report = running.await.unwrap();
    assert_eq!(counts(&report, "slow").1, 5);
    assert_eq!(counts(&report, "slow").0, slow.seen().len() as u64);
}

#[tokio::test(start_paused = true)]
async fn what_a_pool_nacks_is_not_taken_in_well() {
    let (numbers, book) = Tracked::up_to(20);
    let mut pipeline = Pipeline::new().drain_within(HOUR);
    let numbers = pipeline.produce(numbers);
    let work = |n: u64| async move {
        sleep(SECOND).await;
        match n % 4 {
            0 => Err(io::Error::other("on purpose")),
            1 => panic!("on purpose"),
            _ => Ok(()),
        }
    };
    pipeline.stage("pool").consume(
        pool(3, Children::Temporary, work),
        numbers.subscribe(Window::new(6)),
    );
    // Stopping, so that the stage is in the report; all twenty have been asked for by then.
    let report = pipeline.run_reporting(sleep(6 * SECOND)).await;
    report.result.as_ref().unwrap();
    assert_eq!((book.acked().len(), book.nacked().len()), (10, 10));
    assert_eq!(counts(&report, "pool"), (10, 10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_group_forgets_who_has_left() {
    let mut pipeline = Pipeline::new();
    let (group, numbers) = pipeline.group();
    let stays = Slow::default();
    pipeline.consume(stays.clone(), numbers.subscribe(Window::new(4)));
    let (cancelled, cancel) = numbers.subscribe(Window::new(4)).with_handle();
    pipeline
        .stage("cancelled")
        .consume(Slow::default(), cancelled);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    for n in 0..5 {
        let name = format!("guest {n}");
        handle
            .stage(&name)
            .consume(Slow::default(), numbers.subscribe(Window::new(4)))
            .unwrap();
        sleep(SECOND).await;
        handle.remove(&name).unwrap();
        sleep(SECOND).await;
    }
    cancel.cancel();
    sleep(SECOND).await;
    assert!(
        handle.status().stage("cancelled").is_none(),
        "it waits for members that it would not be linked with"
    );
    group.add("numbers/0", Counter::up_to(7)).unwrap();
    sleep(SECOND).await;
    assert!(format!("{group:?}").contains("subscribers: 1"), "{group:?}");
    assert_eq!(stays.seen().len(), 7);
    drop(group);
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_stops_holds_nobody_back() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    let gate = Arc::new(Semaphore::new(3));
    let doubled = pipeline.stage("double").transform(
        Gated::new(Double, Arc::clone(&gate)),
        numbers.subscribe(Window::new(4)),
    );
    pipeline.consume(sink.clone(), doubled.subscribe(Window::new(4)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    handle.pause("double").unwrap();
    gate.add_permits(1000);
    sleep(SECOND).await;
    let held = sink.seen().len();
    handle.stop();
    // Too late to hold it back again.
    handle.pause("double").unwrap();
    running.await.unwrap().unwrap();
    assert!(sink.seen().len() > held, "what it had taken in is drained");
}

/// Gives one event, and panics when it is to give more.
#[derive(Debug, Default)]
struct Brittle {
    to: Option<SubscriptionId>,
    asked: usize,
    has_given: bool,
}

impl Dispatcher<u64> for Brittle {
    fn subscribe(&mut self, id: SubscriptionId, _: Terms<u64>) -> Result<(), Refused> {
        self.to = Some(id);
        Ok(())
    }

    fn ask(&mut self, _: SubscriptionId, demand: Demand) {
        self.asked += demand.get();
    }

    fn cancel(&mut self, _: SubscriptionId) {}

    fn demand(&self) -> usize {
        self.asked
    }

    fn dispatch(&mut self, backlog: &mut Backlog<u64>, handout: &mut Handout<u64>) {
        if self.asked == 0 {
            return;
        }
        assert!(!self.has_given, "on purpose");
        self.has_given = true;
        self.asked -= 1;
        handout.deliver(self.to.unwrap(), backlog.take(1));
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Option<End>>>);

impl Consumer<u64> for Told {
    type Error = io::Error;

    async fn consume(&mut self, _: &mut Batch<u64>) -> io::Result<()> {
        sleep(SECOND).await;
        Ok(())
    }

    fn unsubscribed(&mut self, _: &SubscriptionInfo, end: &End) {
        *self.0.lock().unwrap() = Some(end.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_that_panics_while_its_stage_drains_has_panicked() {
    let told = Told::default();
    let mut pipeline = Pipeline::new();
    // It makes all that it makes at once, and is draining when it is asked again.
    let numbers = pipeline
        .stage("two")
        .dispatch(Brittle::default())
        .produce(Two);
    pipeline.consume(told.clone(), numbers.subscribe(Window::new(1)));
    let error = pipeline.run().await.unwrap_err();
    assert!(
        matches!(&error, PipelineError::Panicked { stage, message, .. } if stage == "two" && message == "on purpose"),
        "{error}"
    );
    let end = told.0.lock().unwrap().clone().unwrap();
    assert_eq!(end.to_string(), "down: panicked: on purpose");
}

/// Makes two events, though it is asked for one.
struct Two;

impl Producer for Two {
    type Event = u64;
    type Error = io::Error;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
        batch.extend(0..2);
        Ok(Flow::End)
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_partition_panics_on_is_counted() {
    let mut pipeline = Pipeline::new().drain_within(HOUR);
    let lanes = pipeline
        .stage("numbers")
        .partition_by(2, |n: &u64| {
            assert!(*n != 7, "on purpose");
            Some((*n % 2) as usize)
        })
        .produce(Counter::up_to(u64::MAX));
    for lane in lanes {
        pipeline.consume(Slow::default(), lane.subscribe(Window::new(5)));
    }
    let report = pipeline.run_reporting(pending()).await;
    assert!(matches!(report.result, Err(PipelineError::Panicked { .. })));
    assert_eq!(counts(&report, "numbers"), (10, 10, 0));
}

/// Also once all that it makes goes to the one subscriber that it has.
#[tokio::test(start_paused = true)]
async fn what_weights_panic_on_is_counted() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(u64::MAX));
    let subscription = numbers.subscribe(Window::new(4)).bytes(100, |n: &u64| {
        assert!(*n != 10, "on purpose");
        1
    });
    pipeline.stage("sink").consume(sink.clone(), subscription);
    let report = pipeline.run_reporting(pending()).await;
    assert!(matches!(report.result, Err(PipelineError::Panicked { .. })));
    // Four at a time: the third four, that were being weighed.
    assert_eq!(sink.seen(), Vec::from_iter(0..8));
    assert_eq!(counts(&report, "numbers"), (12, 4, 0));
    assert_eq!(counts(&report, "sink"), (8, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_time_for_draining_runs_from_the_stop() {
    struct Finishes(Duration);

    impl Consumer<u64> for Finishes {
        type Error = Infallible;

        async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> {
            Ok(())
        }

        async fn finish(&mut self) -> Result<(), Infallible> {
            sleep(self.0).await;
            Ok(())
        }
    }

    let start = Instant::now();
    let mut pipeline = Pipeline::new().drain_within(10 * SECOND);
    let numbers = pipeline.produce(from_stream(futures_util::stream::pending::<u64>()));
    for finishing in [6, 12, 18] {
        pipeline.consume(
            Finishes(finishing * SECOND),
            numbers.subscribe(Window::new(4)),
        );
    }
    let report = pipeline.run_reporting(sleep(SECOND)).await;
    assert!(report.timed_out);
    assert_eq!(start.elapsed(), 11 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn no_time_is_too_long() {
    let mut pipeline = Pipeline::new().drain_within(Duration::MAX);
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    pipeline.consume(Slow::by(SECOND), numbers.subscribe(Window::new(4)));
    pipeline.run_until(sleep(HOUR)).await.unwrap();

    let restart = Restart::new(3, HOUR).waiting(Duration::MAX, Duration::MAX);
    let mut pipeline = Pipeline::new().drain_within(SECOND);
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    let fails = restarting_consumer(restart, |_| FailsAfter(SECOND));
    pipeline.consume(fails, numbers.subscribe(Window::new(4)));
    let error = pipeline.run_until(sleep(HOUR)).await.unwrap_err();
    // It still waits to begin again.
    assert!(
        matches!(error, PipelineError::DrainTimedOut { .. }),
        "{error}"
    );
}

/// Ends one way or another once it has taken in some.
struct Ends(&'static str);

impl Consumer<u64> for Ends {
    type Error = io::Error;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
        match self.0 {
            _ if batch.iter().all(|n| *n < 101) => Ok(()),
            "fails" => Err(io::Error::other("on purpose")),
            "panics" => panic!("on purpose"),
            _ => {
                sleep(2 * SECOND).await;
                Ok(())
            }
        }
    }
}

/// A consumer of one lane fails, panics or leaves; the other goes on.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_lane_whose_subscriber_has_gone() {
    for (what, ends_by_itself) in [("fails", false), ("panics", false), ("leaves", true)] {
        let until = if ends_by_itself { 116 } else { u64::MAX };
        let (numbers, book) = Tracked::up_to(until);
        let mut pipeline = Pipeline::new();
        let mut lanes = pipeline
            .stage("numbers")
            .partition_by(2, |n| Some((*n % 2) as usize))
            .produce(numbers);
        let (gone, cancel) = lanes
            .pop()
            .unwrap()
            .subscribe(Window::new(10))
            .with_handle();
        let stays = Slow::default();
        let lane = lanes.pop().unwrap();
        pipeline.consume(stays.clone(), lane.subscribe(Window::new(10)));
        pipeline.stage("gone").consume(Ends(what), gone);
        let leaving = tokio::spawn(async move {
            sleep(SECOND).await;
            if ends_by_itself {
                cancel.cancel();
            }
            sleep(HOUR).await;
            drop(cancel);
        });
        let handle = pipeline.handle();
        // Nobody can use it any more once the pipeline stops.
        let _outlet = (!ends_by_itself).then(|| handle.outlet::<u64>("numbers"));
        let running = pipeline.run_reporting(pending());
        let report = timeout(HOUR / 2, running).await.expect(what);
        assert_eq!(report.result.is_ok(), ends_by_itself, "{what}");
        leaving.abort();
        if ends_by_itself {
            assert_eq!(stays.seen().len(), 58, "{what}: all of the other lane");
            assert!(!book.nacked().is_empty(), "{what}");
        } else {
            let numbers = of(&report, "numbers");
            assert!(numbers.nacked > 0, "{what}: {report:?}");
        }
        assert!(book.outcomes().iter().all(Option::is_some), "{what}");
    }
}

/// Nor does a transform, if the pipeline stops: what is on its way to it is to be drained.
#[tokio::test(start_paused = true)]
async fn a_transform_is_not_halted_by_a_lane_whose_subscriber_has_gone() {
    for what in ["fails", "panics"] {
        let (numbers, book) = Tracked::up_to(u64::MAX);
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(numbers);
        let stage = pipeline.stage("halves");
        let halves = stage.partition_by(2, |n: &u64| Some((*n / 2 % 2) as usize));
        let halves = halves.transform(Double, numbers.subscribe(Window::new(50)));
        let mut halves = halves.into_iter();
        let (gone, stays) = (halves.next().unwrap(), halves.next().unwrap());
        pipeline.consume(Ends(what), gone.subscribe(Window::new(10)));
        pipeline.consume(
            Slow::by(SECOND),
            stays.subscribe(Window::new(10).with_min(9)),
        );
        let running = pipeline.run_reporting(pending());
        let report = timeout(HOUR, running).await.expect(what);
        assert!(report.result.is_err(), "{what}");
        assert!(of(&report, "halves").nacked > 0, "{what}: {report:?}");
        assert!(book.outcomes().iter().all(Option::is_some), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_without_bound_takes_nothing_from_others() {
    // By demand, it is given all, but what the other asked for is remembered.
    let mut pipeline = Pipeline::new();
    let numbers = pipeline
        .stage("numbers")
        .produce(ByTwo(Tracked::up_to(u64::MAX).0));
    let (greedy, cancel) = numbers.subscribe(Window::new(usize::MAX)).with_handle();
    pipeline.consume(Slow::by(SECOND / 100), greedy);
    let other = Slow::by(SECOND / 100);
    pipeline.consume(other.clone(), numbers.subscribe(Window::new(10)));
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    cancel.cancel();
    sleep(SECOND).await;
    assert!(other.seen().len() > 10, "{:?}", other.seen());
    running.abort();

    // With lanes, what waits for the other is bounded.
    let mut pipeline = Pipeline::new();
    let lanes = pipeline
        .stage("numbers")
        .partition_by(2, |n| Some((*n % 2) as usize))
        .produce(Counter::up_to(200_000));
    let sinks = [Slow::default(), Slow::by(SECOND)];
    let windows = [usize::MAX, 1_000];
    for ((lane, sink), window) in lanes.into_iter().zip(&sinks).zip(windows) {
        pipeline.consume(sink.clone(), lane.subscribe(Window::new(window)));
    }
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    let mut most = 0;
    while !running.is_finished() {
        sleep(SECOND).await;
        let status = handle.status();
        most = most.max(
            status
                .stage("numbers")
                .map_or(0, |numbers| numbers.buffered),
        );
    }
    running.await.unwrap().unwrap();
    assert_eq!(sinks.map(|sink| sink.seen().len()), [100_000, 100_000]);
    assert!((1..=(1 << 14) + 1_000).contains(&most), "{most} waited");
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_cannot_be_added_leaves_no_trace() {
    let (numbers, book) = Tracked::up_to(u64::MAX);
    let sink = Slow::by(SECOND / 1_000);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(numbers);
    let (group, members) = pipeline.group();
    let window = Window::new(4);
    let permanent = members.subscribe(window).mode(Mode::Permanent);
    pipeline
        .stage("sink")
        .consume(sink.clone(), [numbers.subscribe(window), permanent]);
    group
        .add("one", from_stream(futures_util::stream::pending::<u64>()))
        .unwrap();
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    for _ in 0..100 {
        let again = handle
            .stage("sink")
            .consume(Slow::default(), numbers.subscribe(window));
        assert!(matches!(again, Err(AddError::NameTaken { .. })));
        let again = group.add("one", Counter::up_to(7));
        assert!(matches!(again, Err(AddError::NameTaken { .. })));
        sleep(SECOND / 100).await;
    }
    assert!(!running.is_finished());
    assert_eq!(book.nacked(), []);
    assert_eq!(sink.changes().len(), 2, "{:?}", sink.changes());
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn what_nobody_selects_is_not_lost() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let stage = pipeline.stage("numbers").broadcast();
    let (numbers, book) = Tracked::up_to(u64::MAX);
    let numbers = stage.produce(ByTwo(numbers));
    let even = numbers
        .subscribe(Window::new(10))
        .selecting(|n: &u64| n.is_multiple_of(2));
    pipeline.consume(sink.clone(), even);
    let report = pipeline.run_reporting(sleep(SECOND)).await;
    let (made, nacked, abandoned) = counts(&report, "numbers");
    assert_eq!(made, 2 * sink.seen().len() as u64);
    assert_eq!((nacked, abandoned), (0, 0));
    assert_eq!(book.nacked(), []);
}

/// What a dispatcher of one's own does not hand out, or to nobody, is lost, and counted.
#[tokio::test(start_paused = true)]
async fn what_a_dispatcher_loses_is_counted() {
    #[derive(Debug, Default)]
    struct Loses {
        asked: usize,
    }

    impl Dispatcher<u64> for Loses {
        fn subscribe(&mut self, _: SubscriptionId, _: Terms<u64>) -> Result<(), Refused> {
            Ok(())
        }

        fn ask(&mut self, _: SubscriptionId, demand: Demand) {
            self.asked += demand.get();
        }

        fn cancel(&mut self, _: SubscriptionId) {}

        fn demand(&self) -> usize {
            self.asked
        }

        fn dispatch(&mut self, backlog: &mut Backlog<u64>, handout: &mut Handout<u64>) {
            drop(backlog.take(3));
            handout.deliver(SubscriptionId(77), backlog.take(2));
        }
    }

    let (numbers, book) = Tracked::up_to(5);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline
        .stage("numbers")
        .dispatch(Loses::default())
        .produce(numbers);
    pipeline.consume(Slow::default(), numbers.subscribe(Window::new(5)));
    let handle = pipeline.handle();
    let running = pipeline.run_reporting(async {
        handle.passed("numbers").await;
    });
    let report = running.await;
    report.result.unwrap();
    assert_eq!(book.nacked().len(), 5);
}
