//! Windows without bound, and sources without end: a stage makes no more at once than leaves others
//! their turn, and stop, abort and drain end it. All on one thread, which anybody could keep.

#![allow(clippy::unwrap_used)]

use std::{convert::Infallible, iter, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use stage_core::{
    Batch, BoxProducer, Demand, Flow, KeyedBatch, Pipeline, PipelineError, Producer, Quota, Window,
    batching, filter, flat_map, for_each, for_each_async, from_iter, from_stream, from_try_stream,
    map, protocol::Buffer, push_source, rate_limited,
};
use tokio::{sync::Notify, task::yield_now};

const ALL: Window = Window::new(usize::MAX);

type Source = (&'static str, fn() -> BoxProducer<u64>);

/// Sources that never end, and are never short of an event.
const SOURCES: [Source; 6] = [
    ("a range", || BoxProducer::new(from_iter(0..))),
    ("one that knows no length", || {
        BoxProducer::new(from_iter(iter::successors(Some(0), |n| Some(n + 1))))
    }),
    ("the same over and over", || {
        BoxProducer::new(from_iter(iter::repeat(7)))
    }),
    ("a stream", || {
        BoxProducer::new(from_stream(stream::iter(0..)))
    }),
    ("a stream that may fail", || {
        BoxProducer::new(from_try_stream(stream::iter(0..).map(Ok::<_, Infallible>)))
    }),
    ("a rate-limited range", || {
        let (limited, _) = rate_limited(from_iter(0..), Quota::per_second(1_000_000));
        BoxProducer::new(limited)
    }),
];

/// Through transforms, if that is wanted, to a consumer that calls when events have come.
fn pipeline(source: BoxProducer<u64>, through: bool) -> (Pipeline, Arc<Notify>) {
    let called = Arc::new(Notify::new());
    let caller = Arc::clone(&called);
    let mut pipeline = Pipeline::new();
    let mut out = pipeline.produce(source);
    if through {
        out = pipeline.transform(map(|n: u64| n), out.subscribe(ALL));
        out = pipeline.transform(filter(|n: &u64| !n.is_multiple_of(2)), out.subscribe(ALL));
        out = pipeline.transform(flat_map(|n: u64| [n, n]), out.subscribe(ALL));
        let batches = pipeline.transform(batching(|n: &u64| n % 10), out.subscribe(ALL));
        let take = for_each(move |_: KeyedBatch<u64, u64>| caller.notify_one());
        pipeline.consume(take, batches.subscribe(ALL));
    } else {
        let take = for_each(move |_: u64| caller.notify_one());
        pipeline.consume(take, out.subscribe(ALL));
    }
    (pipeline, called)
}

#[tokio::test]
async fn a_stop_ends_what_has_no_end() {
    for (what, source) in SOURCES {
        for through in [false, true] {
            let (pipeline, called) = pipeline(source(), through);
            let result = pipeline.run_until(async move { called.notified().await });
            assert!(result.await.is_ok(), "{what}");
        }
    }
}

#[tokio::test]
async fn a_drain_with_a_deadline_ends_what_has_no_end() {
    for (what, source) in SOURCES {
        for through in [false, true] {
            let (pipeline, called) = pipeline(source(), through);
            let pipeline = pipeline.drain_within(Duration::from_secs(3600));
            let report = pipeline.run_reporting(async move { called.notified().await });
            let report = report.await;
            assert!(report.result.is_ok() && !report.timed_out, "{what}");
        }
    }
}

#[tokio::test]
async fn an_abort_ends_what_has_no_end() {
    for (what, source) in SOURCES {
        for through in [false, true] {
            let (pipeline, called) = pipeline(source(), through);
            let running = tokio::spawn(pipeline.run());
            called.notified().await;
            running.abort();
            assert!(running.await.unwrap_err().is_cancelled(), "{what}");
        }
    }
}

#[tokio::test]
async fn a_stage_that_is_taken_out_ends_what_has_no_end() {
    for (what, source) in SOURCES {
        let called = Arc::new(Notify::new());
        let caller = Arc::clone(&called);
        let mut pipeline = Pipeline::new();
        let out = pipeline.produce(source());
        let (subscription, handle) = out.subscribe(ALL).with_handle();
        pipeline.consume(for_each(move |_: u64| caller.notify_one()), subscription);
        drop(out);
        let running = tokio::spawn(pipeline.run());
        called.notified().await;
        handle.cancel();
        assert!(running.await.unwrap().is_ok(), "{what}");
    }
}

#[tokio::test]
async fn a_stream_of_what_has_no_end_can_be_left_and_stopped() {
    for (what, source) in SOURCES {
        let mut pipeline = Pipeline::new();
        let out = pipeline.produce(source());
        let handle = pipeline.handle();
        let subscription = out.subscribe(ALL);
        drop(out);
        let mut stream = pipeline.into_stream(subscription);
        for _ in 0..1_000 {
            assert!(stream.next().await.unwrap().is_ok(), "{what}");
        }
        handle.stop();
        let rest = stream.collect::<Vec<Result<_, PipelineError>>>().await;
        assert!(rest.iter().all(Result::is_ok), "{what}");
    }
}

/// What is made in one call, of demand without bound.
async fn made_at_once(mut producer: impl Producer<Event = u64>) -> usize {
    let mut batch = Batch::new();
    let flow = producer.produce(Demand::new(usize::MAX).unwrap(), &mut batch);
    assert!(matches!(flow.await, Ok(Flow::More)));
    batch.len()
}

#[tokio::test]
async fn no_more_is_made_in_one_call_than_a_link_carries_well() {
    for (what, source) in SOURCES {
        let made = made_at_once(source()).await;
        assert!((1..=1024).contains(&made), "{what}: {made}");
    }
    let (handle, source) = push_source(Buffer::keep_first(100_000));
    handle.push(0..100_000);
    let made = made_at_once(source).await;
    assert!((1..=1024).contains(&made), "pushed: {made}");
}

#[tokio::test]
async fn what_ends_within_demand_without_bound_ends_with_its_last_event() {
    for events in [0, 1, 31, 32, 33, 1023, 1024, 1025, 10_000] {
        for producer in [
            BoxProducer::new(from_iter(0..events)),
            BoxProducer::new(from_stream(stream::iter(0..events))),
        ] {
            let mut producer = producer;
            let (mut all, mut flow) = (Vec::new(), Flow::More);
            while flow == Flow::More {
                let mut batch = Batch::new();
                let demand = Demand::new(usize::MAX).unwrap();
                flow = producer.produce(demand, &mut batch).await.unwrap();
                all.extend(batch.drain());
            }
            assert!(all.iter().copied().eq(0..events), "{events}: {}", all.len());
        }
    }
}

/// Others have their turn at least once in so many events.
const TURN: u64 = 40_000;

#[tokio::test]
async fn others_have_their_turn_between_events_of_what_has_no_end() {
    let made = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = Arc::clone(&made);
    let count = move || Some(counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let mut pipeline = Pipeline::new();
    let out = pipeline.produce(from_iter(iter::from_fn(count)));
    pipeline.consume(for_each(|_: u64| ()), out.subscribe(ALL));
    let running = tokio::spawn(pipeline.run());
    let (mut most, mut last) = (0, 0);
    while last < 1_000_000 {
        yield_now().await;
        let now = made.load(std::sync::atomic::Ordering::Relaxed);
        most = most.max(now - last);
        last = now;
    }
    running.abort();
    assert!(most <= TURN, "{most} events were made in one turn");
}

#[tokio::test]
async fn a_push_of_many_is_taken_in_turns() {
    let (handle, source) = push_source(Buffer::keep_first(1_000_000));
    handle.push(0..1_000_000);
    let mut pipeline = Pipeline::new();
    let out = pipeline.produce(source);
    let called = Arc::new(Notify::new());
    let caller = Arc::clone(&called);
    let take = for_each_async(move |_: u64| {
        caller.notify_one();
        async { Ok::<(), Infallible>(()) }
    });
    pipeline.consume(take, out.subscribe(ALL));
    let running = pipeline.run_until(async move { called.notified().await });
    assert!(running.await.is_ok());
    let dropped = handle.dropped();
    assert!(dropped > 0, "all was taken before the stop was seen");
}
