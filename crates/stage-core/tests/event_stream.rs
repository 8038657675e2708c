//! Pipelines read as streams.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, TryStreamExt, future::poll_immediate};
use stage_core::{
    AddError, Batch, Demand, Flow, Mode, Pipeline, PipelineError, PipelineHandle, Producer, Window,
    protocol::Buffer, push_source,
};
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use stages::{Book, Counter, Double, Fails, Made, Slow, Tracked};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Makes three events and fails.
struct Torn(u64);

impl Producer for Torn {
    type Event = u64;
    type Error = io::Error;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
        if self.0 == 3 {
            return Err(io::Error::other("torn off"));
        }
        batch.push(self.0);
        self.0 += 1;
        Ok(Flow::More)
    }
}

async fn settled(book: &Arc<Book>) {
    for _ in 0..100 {
        yield_now().await;
    }
    assert!(!book.outcomes().contains(&None), "{:?}", book.outcomes());
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_and_the_end_once() {
    for window in [Window::new(1), Window::new(7), Window::new(1000)] {
        let (source, book) = Tracked::up_to(100);
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(source);
        let doubled = pipeline.transform(Double, numbers.subscribe(Window::new(9)));
        let mut events = pipeline.into_stream(doubled.subscribe(window));
        for n in 0..100 {
            assert_eq!(events.next().await.unwrap().unwrap(), 2 * n);
        }
        assert!(events.next().await.is_none());
        for _ in 0..3 {
            assert!(events.next().await.is_none());
        }
        assert_eq!(book.acked().len(), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_is_the_last_item() {
    let mut pipeline = Pipeline::new();
    let torn = pipeline.stage("torn").produce(Torn(0));
    let mut events = pipeline.into_stream(torn.subscribe(Window::new(2)));
    for n in 0..3 {
        assert_eq!(events.next().await.unwrap().unwrap(), n);
    }
    let error = events.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "stage `torn` failed");
    assert!(events.next().await.is_none());
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_cannot_run_says_so() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(3));
    let _nobody = pipeline.stage("nobody").produce(Counter::up_to(3));
    let events = pipeline.into_stream(numbers.subscribe(Window::new(2)));
    let events: Vec<_> = events.collect().await;
    assert!(matches!(
        &events[..],
        [Err(PipelineError::NoSubscriber { .. })]
    ));
}

#[tokio::test(start_paused = true)]
async fn an_event_is_acked_when_the_next_is_asked_for() {
    let (source, book) = Tracked::up_to(100);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let mut events = pipeline.into_stream(numbers.subscribe(Window::new(8)));
    for n in 0..10 {
        assert_eq!(events.next().await.unwrap().unwrap(), n);
        assert_eq!(book.acked().len() as u64, n);
    }
    drop(events);
    settled(&book).await;
    assert_eq!(book.acked(), Vec::from_iter(0..9));
    assert_eq!(
        book.acked().len() + book.nacked().len(),
        book.outcomes().len()
    );
}

#[tokio::test(start_paused = true)]
async fn with_receipts_events_are_settled_one_by_one() {
    let (source, book) = Tracked::up_to(20);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let events = pipeline.into_stream(numbers.subscribe(Window::new(4)));
    let events: Vec<_> = events.with_receipts().try_collect().await.unwrap();
    assert_eq!(book.outcomes(), [None; 20]);
    for (event, receipt) in events {
        match event % 3 {
            0 => receipt.nack(),
            _ => receipt.ack(),
        }
    }
    assert_eq!(book.nacked(), [0, 3, 6, 9, 12, 15, 18]);
    assert_eq!(book.acked().len(), 13);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_holds_its_pipeline_back() {
    let made = Made::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::noting(u64::MAX, &made));
    let status = pipeline.handle();
    let mut events = pipeline.into_stream(numbers.subscribe(Window::new(10)));
    let count = |made: &Made| made.events.load(std::sync::atomic::Ordering::SeqCst);
    // Nothing runs before it is polled.
    sleep(HOUR).await;
    assert_eq!(count(&made), 0);
    for n in 0..20 {
        assert_eq!(events.next().await.unwrap().unwrap(), n);
        sleep(HOUR).await;
        let in_hand = count(&made) as u64 - n;
        assert!(in_hand <= 15, "{in_hand} at {n}");
        let stream = status.status();
        let [subscription] = &stream.stage("stream").unwrap().subscriptions[..] else {
            panic!("{stream:?}")
        };
        assert!(subscription.in_flight() + subscription.demand <= 10);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_in_vain_loses_nothing() {
    struct Ticks(u64);
    impl Producer for Ticks {
        type Event = u64;
        type Error = io::Error;
        async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
            sleep(SECOND).await;
            batch.push(self.0);
            self.0 += 1;
            Ok(if self.0 < 5 { Flow::More } else { Flow::End })
        }
    }
    let mut pipeline = Pipeline::new();
    let ticks = pipeline.produce(Ticks(0));
    let mut events = pipeline.into_stream(ticks.subscribe(Window::new(1)));
    let (mut seen, start) = (Vec::new(), Instant::now());
    loop {
        match timeout(Duration::from_millis(300), events.next()).await {
            Ok(Some(event)) => seen.push(event.unwrap()),
            Ok(None) => break,
            Err(_) => {}
        }
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_is_stopped_gives_what_was_on_its_way() {
    let (source, book) = Tracked::up_to(u64::MAX);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let handle = pipeline.handle();
    let mut events = pipeline.into_stream(numbers.subscribe(Window::new(10)));
    assert_eq!(events.next().await.unwrap().unwrap(), 0);
    handle.stop();
    let rest: Vec<u64> = events.try_collect().await.unwrap();
    assert!(!rest.is_empty());
    assert_eq!(book.acked().len(), rest.len() + 1);
    assert_eq!(book.nacked(), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_out_when_the_time_for_draining_is_up_is_nacked() {
    let (source, book) = Tracked::up_to(u64::MAX);
    let mut pipeline = Pipeline::new().drain_within(SECOND);
    let numbers = pipeline.produce(source);
    let handle = pipeline.handle();
    let mut events = pipeline.into_stream(numbers.subscribe(Window::new(20).with_min(15)));
    assert_eq!(events.next().await.unwrap().unwrap(), 0);
    handle.stop();
    for n in 1..5 {
        assert_eq!(events.next().await.unwrap().unwrap(), n);
    }
    // The next has to be waited for: only then is it seen that the pipeline stops.
    assert_eq!(events.next().await.unwrap().unwrap(), 5);
    let error = loop {
        sleep(2 * SECOND).await;
        match events.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, PipelineError::DrainTimedOut { .. }));
    settled(&book).await;
    assert!(!book.nacked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_together_is_given_though_the_pipeline_has_gone() {
    let (source, book) = Tracked::up_to(100);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").broadcast().produce(source);
    pipeline.consume(Slow::default(), numbers.subscribe(Window::new(10)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    let outlet = handle.outlet::<u64>("numbers").unwrap();
    let tap = handle.stage("tap");
    let mut tap = tap.stream(outlet.subscribe(Window::new(10))).unwrap();
    drop((numbers, outlet));
    let first = tap.next().await.unwrap().unwrap();
    running.abort();
    let mut rest: Vec<_> = tap.collect().await;
    let end = rest.pop().unwrap();
    assert!(
        matches!(end, Err(PipelineError::UpstreamEnded { .. })),
        "{end:?}"
    );
    let rest: Vec<u64> = rest.into_iter().map(Result::unwrap).collect();
    assert_eq!(rest, Vec::from_iter(first + 1..first + 5));
    assert_eq!(book.open(), []);
    assert!(book.acked().contains(&(first + 4)));
}

/// Makes one batch, some of which is tracked.
struct PartlyTracked(Option<Batch<u64>>);

impl Producer for PartlyTracked {
    type Event = u64;
    type Error = io::Error;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
        batch.push(7);
        for (event, receipt) in self.0.take().unwrap().drain_with_receipts() {
            batch.push_with_receipt(event, receipt);
        }
        batch.push(8);
        Ok(Flow::End)
    }
}

#[tokio::test(start_paused = true)]
async fn of_events_that_come_together_those_are_acked_that_are_tracked() {
    let (batch, book) = stages::tracked(3);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(PartlyTracked(Some(batch)));
    let mut events = pipeline.into_stream(numbers.subscribe(Window::new(10)));
    for (event, acked) in [(7, 0), (0, 0), (1, 1), (2, 2), (8, 3)] {
        assert_eq!(events.next().await.unwrap().unwrap(), event);
        assert_eq!(book.acked().len(), acked, "{event}");
    }
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_woken_where_it_was_polled_last() {
    let (handle, source) = push_source(Buffer::unbounded());
    let mut pipeline = Pipeline::new();
    let pushed = pipeline.produce(source);
    let mut events = pipeline.into_stream(pushed.subscribe(Window::new(1)));
    for n in 0..3 {
        for _ in 0..3 {
            assert!(poll_immediate(events.next()).await.is_none());
            yield_now().await;
        }
        let next = tokio::spawn(async move { (events.next().await, events) });
        sleep(SECOND).await;
        handle.push([n]);
        let (event, same) = timeout(SECOND, next).await.unwrap().unwrap();
        assert_eq!(event.unwrap().unwrap(), n);
        events = same;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_passed_over_where_stages_and_reader_work_at_once() {
    for window in [1, 2, 7] {
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Counter::up_to(10_000));
        let events = pipeline.into_stream(numbers.subscribe(Window::new(window)));
        let seen: Vec<u64> = events.try_collect().await.unwrap();
        assert_eq!(seen, Vec::from_iter(0..10_000));
    }
}

#[tokio::test(start_paused = true)]
async fn the_event_that_has_come_is_acked_when_receipts_are_asked_for() {
    let (source, book) = Tracked::up_to(4);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let mut events = pipeline.into_stream(numbers.subscribe(Window::new(4)));
    assert_eq!(events.next().await.unwrap().unwrap(), 0);
    let mut events = events.with_receipts();
    assert_eq!(book.acked(), [0]);
    let (event, receipt) = events.next().await.unwrap().unwrap();
    receipt.nack();
    drop(events);
    settled(&book).await;
    assert_eq!((event, book.acked()), (1, vec![0]));
}

#[test]
fn after_a_poll_that_panicked_nobody_waits_in_vain() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(3));
    let mut events = pipeline.into_stream(numbers.subscribe(Window::new(4)));
    let outside = AssertUnwindSafe(|| events.next().now_or_never());
    catch_unwind(outside).unwrap_err();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let next = async { timeout(SECOND, events.next()).await };
    let again = catch_unwind(AssertUnwindSafe(|| runtime.block_on(next)));
    // It does not wait for ever for what has panicked.
    again.unwrap_err();
}

/// A waker that stops a pipeline when it is dropped.
struct Stops(PipelineHandle);

impl Wake for Stops {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_is_dropped_may_wake_the_stream() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(u64::MAX));
    let handle = pipeline.handle();
    let mut events = pipeline.into_stream(numbers.subscribe(Window::new(4)));
    let stops = Waker::from(Arc::new(Stops(handle)));
    let polled = events.poll_next_unpin(&mut Context::from_waker(&stops));
    assert!(polled.is_pending());
    drop(stops);
    let rest: Vec<u64> = events.try_collect().await.unwrap();
    assert_eq!(rest, Vec::from_iter(0..rest.len() as u64));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_left_nacks_what_it_has_taken() {
    let (source, book) = Tracked::up_to(100);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let mut events = pipeline.into_stream(numbers.subscribe(Window::new(10)));
    for n in 0..3 {
        assert_eq!(events.next().await.unwrap().unwrap(), n);
    }
    drop(events);
    settled(&book).await;
    assert_eq!(book.acked(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_running_pipeline_can_be_tapped() {
    let sink = Slow::by(SECOND);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline
        .stage("numbers")
        .broadcast()
        .produce(Counter::up_to(40));
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(4)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(2500 * SECOND / 1000).await;
    let numbers = handle.outlet::<u64>("numbers").unwrap();
    // One that is left early.
    let subscription = numbers.subscribe(Window::new(4)).mode(Mode::Temporary);
    let mut early = handle.stage("early").stream(subscription).unwrap();
    let subscription = numbers.subscribe(Window::new(4));
    let mut late = handle.stage("late").stream(subscription).unwrap();
    let taken = handle
        .stage("late")
        .stream(numbers.subscribe(Window::new(4)));
    assert!(matches!(taken.unwrap_err(), AddError::NameTaken { .. }));
    drop(numbers);
    let first = early.next().await.unwrap().unwrap();
    assert!(first > 0);
    assert_eq!(late.next().await.unwrap().unwrap(), first);
    drop(early);
    sleep(SECOND).await;
    assert!(handle.status().stage("early").is_none());
    let rest: Vec<u64> = late.try_collect().await.unwrap();
    assert_eq!(rest, Vec::from_iter(first + 1..40));
    running.await.unwrap().unwrap();
    assert_eq!(sink.seen().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_tap_is_told_when_something_goes_wrong() {
    // A stage before it fails.
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("torn").broadcast().produce(Torn(0));
    let (subscription, asker) = numbers.subscribe_manually();
    pipeline.consume(Slow::default(), subscription);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    let numbers = handle.outlet::<u64>("torn").unwrap();
    let tap = handle
        .stage("tap")
        .stream(numbers.subscribe(Window::new(4)));
    drop(numbers);
    asker.ask(100).unwrap();
    let events: Vec<_> = tap.unwrap().collect().await;
    let [
        Ok(0),
        Ok(1),
        Ok(2),
        Err(PipelineError::UpstreamEnded { upstream, .. }),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(upstream, "torn");
    running.await.unwrap().unwrap_err();

    // The pipeline is dropped.
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(1));
    pipeline.consume(Fails, numbers.subscribe(Window::new(1)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    let endless = handle
        .stage("endless")
        .produce(Counter::up_to(u64::MAX))
        .unwrap();
    let tap = handle
        .stage("tap")
        .stream(endless.subscribe(Window::new(4)));
    drop(endless);
    let mut tap = tap.unwrap();
    // Another stage fails: this one drains.
    running.now_or_never();
    while let Some(event) = timeout(SECOND, tap.next()).await.unwrap() {
        event.unwrap();
    }

    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").produce(Counter::up_to(u64::MAX));
    let (subscription, handle_of) = numbers.subscribe_manually();
    pipeline.consume(Slow::default(), subscription);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    let numbers = handle.outlet::<u64>("numbers").unwrap();
    let tap = handle
        .stage("tap")
        .stream(numbers.subscribe(Window::new(4)));
    let mut tap = tap.unwrap();
    assert_eq!(tap.next().await.unwrap().unwrap(), 0);
    assert_eq!(tap.next().await.unwrap().unwrap(), 1);
    assert!(poll_immediate(tap.next()).await.is_none());
    running.abort();
    let error = tap.next().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("tap"), "{error}");
    assert!(tap.next().await.is_none());
    drop(handle_of);
}
