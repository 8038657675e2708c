//! Asking and cancelling by hand, and what a stage does when a subscription ends.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex, atomic::Ordering},
    thread,
    time::Duration,
};

use stage_core::{
    AskError, Batch, Demand, End, Flow, Mode, Pipeline, PipelineError, Producer, SubscriptionInfo,
    Window,
    protocol::{Backlog, Dispatcher, Handout, Reason, Refused, SubscriptionId, Terms},
};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

use stages::{Counter, Double, Fails, Made, Slow, Tracked};

/// Lets every stage do what it can.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_by_hand_comes_and_no_more() {
    let (made, sink) = (Made::default(), Slow::default());
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::noting(u64::MAX, &made));
    let (subscription, handle) = numbers.subscribe_manually();
    pipeline.consume(sink.clone(), subscription);
    let running = tokio::spawn(pipeline.run());
    sleep(HOUR).await;
    assert_eq!(sink.seen(), []);
    for (asked, total) in [(1, 1), (1, 2), (2, 4), (10, 14)] {
        handle.ask(asked).unwrap();
        sleep(HOUR).await;
        assert_eq!(sink.seen().len(), total);
    }
    // Each ask is served by itself, and what comes together is taken in together.
    assert_eq!(*made.demands.lock().unwrap(), [1, 1, 2, 10]);
    assert_eq!(*sink.portions.lock().unwrap(), [1, 1, 2, 10]);
    handle.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_by_hand_beside_a_window_comes_once_and_is_taken_in_by_portions() {
    let (made, sink) = (Made::default(), Slow::by(Duration::from_secs(1)));
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::noting(u64::MAX, &made));
    let window = Window::new(4).with_min(2);
    let (subscription, handle) = numbers.subscribe(window).with_handle();
    pipeline.consume(sink.clone(), subscription);
    handle.ask(3).unwrap();
    let running = tokio::spawn(pipeline.run());
    sleep(Duration::from_millis(7_500)).await;
    // The window's four are asked for again as they are dealt with, the three by hand are not.
    assert_eq!(*made.demands.lock().unwrap(), [7, 2, 2, 2, 2, 2]);
    assert_eq!(*sink.portions.lock().unwrap(), [2, 2, 2, 1, 2, 2, 2]);
    // From here on there are never more on their way than the window has.
    for _ in 0..10 {
        sleep(Duration::from_secs(1)).await;
        let open = made.events.load(Ordering::SeqCst) - sink.seen().len();
        assert!(open <= 4, "{open} on their way");
    }
    // Also of a stage that runs.
    handle.ask(5).unwrap();
    sleep(HOUR).await;
    assert_eq!(made.demands.lock().unwrap().iter().max(), Some(&7));
    let seen = sink.seen();
    assert!(seen.iter().copied().eq(0..seen.len() as u64));
    assert!(seen.len() > 3000, "it goes on");
    handle.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn asking_for_nothing_is_an_error_and_changes_nothing() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(10));
    let (subscription, handle) = numbers.subscribe_manually();
    let sink = Slow::default();
    pipeline.consume(sink.clone(), subscription);
    assert_eq!(handle.ask(0), Err(AskError::Zero));
    // What was asked for before the pipeline runs is kept.
    handle.ask(3).unwrap();
    handle.ask(4).unwrap();
    let running = tokio::spawn(pipeline.run());
    settle().await;
    assert_eq!(handle.ask(0), Err(AskError::Zero));
    assert_eq!(sink.seen(), [0, 1, 2, 3, 4, 5, 6]);
    drop(handle);
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn demand_that_cannot_be_counted_is_without_bound() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(5000));
    let (subscription, handle) = numbers.subscribe_manually();
    pipeline.consume(sink.clone(), subscription);
    for asked in [usize::MAX / 2, usize::MAX / 2, 1, usize::MAX, usize::MAX] {
        handle.ask(asked).unwrap();
    }
    pipeline.run().await.unwrap();
    assert_eq!(sink.seen().len(), 5000);
    assert_eq!(handle.ask(1), Err(AskError::Closed));
}

#[tokio::test(start_paused = true)]
async fn after_cancelling_nothing_comes_and_what_was_on_its_way_is_nacked() {
    let (source, book) = Tracked::up_to(u64::MAX);
    let sink = Slow::by(Duration::from_secs(1));
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let (subscription, handle) = numbers.subscribe(Window::new(8)).with_handle();
    pipeline.consume(sink.clone(), subscription);
    let running = tokio::spawn(pipeline.run());
    sleep(Duration::from_millis(3500)).await;
    assert!(!handle.is_closed());
    handle.cancel();
    handle.cancel();
    assert!(handle.is_closed());
    running.await.unwrap().unwrap();
    sleep(HOUR).await;
    // The portion in hand is finished.
    assert_eq!(sink.seen().len(), 16);
    assert_eq!(book.acked().len(), 16);
    let handed_out = book.outcomes().len();
    assert!(handed_out > 16, "nothing was on its way");
    assert_eq!(book.nacked().len(), handed_out - 16);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_cancels_and_letting_go_does_not() {
    for let_go in [false, true] {
        let sink = Slow::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Counter::up_to(100));
        let (subscription, handle) = numbers.subscribe(Window::new(8)).with_handle();
        pipeline.stage("sink").consume(sink.clone(), subscription);
        if let_go {
            handle.let_go();
        } else {
            drop(handle);
        }
        pipeline.run().await.unwrap();
        assert_eq!(sink.seen().len(), if let_go { 100 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn asks_and_cancels_after_the_end_do_nothing() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(3));
    let (subscription, handle) = numbers.subscribe(Window::new(8)).with_handle();
    pipeline.consume(Slow::default(), subscription);
    pipeline.run().await.unwrap();
    for _ in 0..1000 {
        assert_eq!(handle.ask(7), Err(AskError::Closed));
        handle.cancel();
    }
}

#[test]
fn any_thread_may_ask_and_cancel() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    for round in 0..20 {
        let sink = Slow::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Counter::up_to(u64::MAX));
        let (subscription, handle) = numbers.subscribe_manually();
        pipeline.consume(sink.clone(), subscription);
        let running = runtime.spawn(pipeline.run());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..250 {
                        handle.ask(1).unwrap();
                    }
                });
            }
        });
        if round % 2 == 0 {
            let all = async {
                while sink.seen().len() < 1000 {
                    yield_now().await;
                }
            };
            runtime.block_on(async { timeout(Duration::from_secs(20), all).await.unwrap() });
        }
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| handle.cancel());
            }
        });
        runtime
            .block_on(async { timeout(Duration::from_secs(20), running).await })
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(sink.seen().len() <= 1000, "more than was asked for");
    }
}

/// Waits for ever, or until it is told how to end.
struct Ending(Option<Box<dyn FnOnce() -> io::Result<Flow> + Send>>);

impl Ending {
    fn by(end: impl FnOnce() -> io::Result<Flow> + Send + 'static) -> Self {
        Self(Some(Box::new(end)))
    }
}

impl Producer for Ending {
    type Event = u64;
    type Error = io::Error;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
        sleep(Duration::from_secs(1)).await;
        batch.push(7);
        self.0.take().unwrap()()
    }
}

/// How a subscription is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Completed,
    Shutdown,
    Cancelled,
    Failed,
    Panicked,
}

/// What became of the stage.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    EndedWell,
    Failed,
    Stayed,
}

/// The table of `Mode`, against running pipelines.
#[tokio::test(start_paused = true)]
async fn a_stage_does_what_its_mode_says_when_a_subscription_ends() {
    use Cause::{Cancelled, Completed, Failed, Panicked, Shutdown};
    let causes = [Completed, Shutdown, Cancelled, Failed, Panicked];
    for (mode, fates) in [
        (Mode::UntilAllEnd, ["GoOn"; 5]),
        (Mode::Permanent, ["Well", "Well", "Fail", "Fail", "Fail"]),
        (Mode::Transient, ["Stay", "Stay", "Fail", "Fail", "Fail"]),
        (Mode::Temporary, ["Stay"; 5]),
    ] {
        for (cause, expected) in causes.into_iter().zip(fates) {
            for has_other in [false, true] {
                let fate = fate_of(mode, cause, has_other).await;
                let expected = match expected {
                    "Well" => Fate::EndedWell,
                    "Fail" => Fate::Failed,
                    "GoOn" if !has_other => Fate::EndedWell,
                    _ => Fate::Stayed,
                };
                assert_eq!(fate, expected, "{mode:?}, {cause:?}, other: {has_other}");
            }
        }
    }
}

/// Looks at a stage one of whose subscriptions ends. The producer that ends so is in a pipeline of
/// its own if that would take the whole pipeline with it.
async fn fate_of(mode: Mode, cause: Cause, has_other: bool) -> Fate {
    let mut upstream = Pipeline::new();
    let mut pipeline = Pipeline::new();
    let end: Box<dyn FnOnce() -> io::Result<Flow> + Send> = match cause {
        Cause::Failed => Box::new(|| Err(io::Error::other("on purpose"))),
        Cause::Panicked => Box::new(|| panic!("on purpose")),
        Cause::Completed => Box::new(|| Ok(Flow::End)),
        Cause::Shutdown | Cause::Cancelled => Box::new(|| Ok(Flow::More)),
    };
    let ending = upstream.stage("ending").produce(Ending::by(end));
    let (subscription, handle) = ending.subscribe(Window::new(1)).mode(mode).with_handle();
    let endless = pipeline
        .stage("endless")
        .produce(Ending::by(|| Ok(Flow::More)));
    let mut subscriptions = vec![subscription];
    if has_other {
        subscriptions.push(endless.subscribe(Window::new(1)));
    }
    pipeline
        .stage("others")
        .consume(Slow::default(), endless.subscribe(Window::new(1)));
    let sink = Slow::default();
    pipeline.stage("sink").consume(sink.clone(), subscriptions);
    let status = pipeline.handle();
    let up = tokio::spawn(upstream.run());
    let down = tokio::spawn(pipeline.run());
    sleep(Duration::from_millis(500)).await;
    match cause {
        Cause::Shutdown => handle.cancel(),
        Cause::Cancelled => handle.cancel_because("on purpose"),
        _ => {}
    }
    sleep(Duration::from_millis(600)).await;
    let stayed = status.status().stage("sink").is_some();
    assert_eq!(
        sink.changes()
            .iter()
            .filter(|change| change.starts_with("ending is"))
            .count(),
        2
    );
    up.abort();
    if stayed {
        down.abort();
        return Fate::Stayed;
    }
    if !down.is_finished() {
        down.abort();
        assert!(sink.finished());
        return Fate::EndedWell;
    }
    match down.await.unwrap() {
        Err(PipelineError::UpstreamEnded {
            stage, upstream, ..
        }) => {
            assert_eq!((&*stage, &*upstream), ("sink", "ending"));
            Fate::Failed
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_side_is_told_once_and_in_order() {
    #[derive(Clone)]
    struct Told {
        next: u64,
        log: Arc<Mutex<Vec<String>>>,
    }
    impl Producer for Told {
        type Event = u64;
        type Error = Infallible;

        async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
            self.log.lock().unwrap().push("made".to_owned());
            batch.push(self.next);
            self.next += 1;
            Ok(if self.next < 2 { Flow::More } else { Flow::End })
        }

        fn subscribed(&mut self, info: &SubscriptionInfo) {
            self.log
                .lock()
                .unwrap()
                .push(format!("{} is there", info.to));
        }

        fn unsubscribed(&mut self, info: &SubscriptionInfo, end: &End) {
            self.log
                .lock()
                .unwrap()
                .push(format!("{} is {end}", info.to));
        }
    }
    let log = Arc::default();
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let told = Told {
        next: 0,
        log: Arc::clone(&log),
    };
    let numbers = pipeline.stage("numbers").produce(told);
    let doubled = pipeline
        .stage("double")
        .transform(Double, numbers.subscribe(Window::new(1)));
    pipeline
        .stage("sink")
        .consume(sink.clone(), doubled.subscribe(Window::new(1)));
    pipeline.run().await.unwrap();
    assert_eq!(sink.changes(), ["double is there", "double is completed"]);
    assert_eq!(
        *log.lock().unwrap(),
        ["double is there", "made", "made", "double is completed"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_all_the_way_down_for_the_same_reason() {
    let (first, second) = (Slow::default(), Slow::default());
    let mut pipeline = Pipeline::new();
    let failing = pipeline
        .stage("failing")
        .broadcast()
        .produce(Ending::by(|| Err(io::Error::other("out of order"))));
    let doubled = pipeline
        .stage("double")
        .transform(Double, failing.subscribe(Window::new(4)));
    pipeline
        .stage("first")
        .consume(first.clone(), doubled.subscribe(Window::new(4)));
    pipeline
        .stage("second")
        .consume(second.clone(), failing.subscribe(Window::new(4)));
    let error = pipeline.run().await.unwrap_err();
    assert_eq!(error.to_string(), "stage `failing` failed");
    // What was made before comes first.
    assert_eq!((first.seen(), second.seen()), (vec![14], vec![7]));
    assert_eq!(first.changes()[1], "double is down: failed: out of order");
    assert_eq!(second.changes()[1], "failing is down: failed: out of order");
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_without_demand() {
    for events in [0, 3] {
        let sink = Slow::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Counter::up_to(events));
        let doubled = pipeline
            .stage("double")
            .transform(Double, numbers.subscribe(Window::new(8)));
        let (subscription, handle) = doubled.subscribe_manually();
        pipeline.consume(sink.clone(), subscription);
        let running = tokio::spawn(pipeline.run());
        sleep(HOUR).await;
        // Events come first, and only if they are asked for.
        assert_eq!(running.is_finished(), events == 0);
        if events > 0 {
            assert_eq!(sink.changes(), ["double is there"]);
            handle.ask(events as usize).unwrap();
        }
        sleep(HOUR).await;
        assert!(running.is_finished(), "{events} events");
        assert_eq!(sink.seen().len() as u64, events);
    }
}

/// Gives the first subscriber twice what it asked for.
#[derive(Debug, Default)]
struct Generous(BTreeMap<SubscriptionId, usize>);

impl Dispatcher<u64> for Generous {
    fn subscribe(&mut self, id: SubscriptionId, _: Terms<u64>) -> Result<(), Refused> {
        self.0.insert(id, 0);
        Ok(())
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        *self.0.get_mut(&id).unwrap() += 2 * demand.get();
    }

    fn cancel(&mut self, id: SubscriptionId) {
        self.0.remove(&id);
    }

    fn demand(&self) -> usize {
        self.0.values().sum()
    }

    fn dispatch(&mut self, backlog: &mut Backlog<u64>, handout: &mut Handout<u64>) {
        for (id, demand) in &mut self.0 {
            let events = backlog.take(*demand);
            *demand -= events.len();
            handout.deliver(*id, events);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_that_gives_more_than_was_asked_for_fails_its_stage() {
    let (source, book) = Tracked::up_to(100);
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline
        .stage("numbers")
        .dispatch(Generous::default())
        .produce(source);
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(4)));
    let error = pipeline.run().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the dispatcher of stage `numbers` broke its promise: \
         8 events came where 4 had been asked for"
    );
    assert_eq!(sink.seen(), []);
    assert_eq!(book.acked(), []);
    assert_eq!(book.nacked().len(), book.outcomes().len());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_refused_is_told_so() {
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let mut lanes = pipeline
        .stage("numbers")
        .partition(2, |n: &u64| *n)
        .produce(Counter::up_to(9));
    let handle = pipeline.handle();
    let other = lanes.pop().unwrap();
    pipeline.stage("one").consume(
        Slow::default(),
        lanes.pop().unwrap().subscribe(Window::new(2)),
    );
    pipeline
        .stage("two")
        .consume(Slow::default(), other.subscribe(Window::new(2)));
    // One that asks for a lane that somebody has.
    let late = tokio::spawn({
        let (handle, sink) = (handle.clone(), sink.clone());
        async move {
            let lane = handle.lane::<u64>("numbers", 1).unwrap();
            handle
                .stage("late")
                .consume(sink, lane.subscribe(Window::new(2)))
        }
    });
    let running = tokio::spawn(pipeline.run());
    running.await.unwrap().unwrap();
    late.await.unwrap().unwrap();
    let refused = End::Cancelled(Reason::Refused(
        Refused::LaneTaken { lane: 1 }.to_string().into(),
    ));
    assert_eq!(
        sink.changes(),
        [
            "numbers is there".to_owned(),
            format!("numbers is {refused}")
        ]
    );
    assert_eq!(sink.seen(), []);
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_fails_says_so_upstream() {
    #[derive(Clone, Default)]
    struct Watch(Arc<Mutex<Vec<End>>>);
    impl Producer for Watch {
        type Event = u64;
        type Error = Infallible;

        async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
            batch.push(1);
            sleep(Duration::from_secs(1)).await;
            Ok(Flow::More)
        }

        fn unsubscribed(&mut self, _: &SubscriptionInfo, end: &End) {
            self.0.lock().unwrap().push(end.clone());
        }
    }
    let watch = Watch::default();
    let mut pipeline = Pipeline::new();
    let ones = pipeline.produce(watch.clone());
    pipeline
        .stage("fails")
        .consume(Fails, ones.subscribe(Window::new(1)));
    pipeline.run().await.unwrap_err();
    let ends = watch.0.lock().unwrap().clone();
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].to_string(), "down: failed: on purpose");
}

#[tokio::test(start_paused = true)]
async fn a_lane_is_free_as_soon_as_its_subscription_is_cancelled() {
    let (first, successor) = (Slow::by(HOUR), Slow::default());
    let mut pipeline = Pipeline::new();
    let lanes = pipeline.stage("numbers").partition(1, |_: &u64| ());
    let lane = lanes.produce(Counter::up_to(10)).remove(0);
    let (subscription, cancelled) = lane.subscribe(Window::new(2)).with_handle();
    pipeline.consume(first.clone(), subscription);
    let handle = pipeline.handle();
    let lane = handle.lane::<u64>("numbers", 0).unwrap();
    let running = tokio::spawn(pipeline.run());
    settle().await;
    // The stage with the lanes finds both at once.
    cancelled.cancel();
    let subscription = lane.subscribe(Window::new(2));
    let late = handle.stage("successor");
    late.consume(successor.clone(), subscription).unwrap();
    timeout(2 * HOUR, running).await.unwrap().unwrap().unwrap();
    assert_eq!(first.seen(), [0]);
    assert_eq!(successor.seen(), Vec::from_iter(2..10));
    let changes = ["numbers is there", "numbers is completed"];
    assert_eq!(successor.changes(), changes);
}

/// Makes what it is asked for once a second has passed, and remembers whom it was told of.
struct Unhurried(Arc<Mutex<Vec<String>>>);

impl Producer for Unhurried {
    type Event = u64;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<u64>,
    ) -> Result<Flow, Infallible> {
        sleep(Duration::from_secs(1)).await;
        batch.extend(0..demand.get() as u64);
        Ok(Flow::More)
    }

    fn subscribed(&mut self, info: &SubscriptionInfo) {
        self.0.lock().unwrap().push(format!("+{}", info.to));
    }

    fn unsubscribed(&mut self, info: &SubscriptionInfo, _: &End) {
        self.0.lock().unwrap().push(format!("-{}", info.to));
    }
}

#[tokio::test(start_paused = true)]
async fn who_came_or_went_during_a_call_is_told_after_it_though_nobody_asks() {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline
        .stage("numbers")
        .produce(Unhurried(Arc::clone(&told)));
    let (first, asker) = numbers.subscribe_manually();
    let (second, leaver) = numbers.subscribe_manually();
    pipeline.stage("first").consume(Slow::default(), first);
    pipeline.stage("second").consume(Slow::default(), second);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    settle().await;
    // While it makes what it was asked for, one goes and one comes. Nobody asks again.
    asker.ask(5).unwrap();
    settle().await;
    leaver.cancel();
    let (third, idler) = handle
        .outlet::<u64>("numbers")
        .unwrap()
        .subscribe_manually();
    handle
        .stage("third")
        .consume(Slow::default(), third)
        .unwrap();
    sleep(HOUR).await;
    let mut told = told.lock().unwrap().clone();
    assert_eq!(told[..2], ["+first", "+second"]);
    // Which of two that it hears of at once it is told first, nobody promises.
    told[2..].sort();
    assert_eq!(told[2..], ["+third", "-second"]);
    drop((asker, idler));
    running.await.unwrap().unwrap();
}
