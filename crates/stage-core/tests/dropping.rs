//! A pipeline that is dropped, at any moment.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use stage_core::{Pipeline, Window, map_async};
use tokio::{task::yield_now, time::sleep};

use stages::{Slow, Tracked};

/// Says when it is gone.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A chain that waits in each of its stages: on the clock and for each other.
fn pipeline(alive: &Arc<AtomicUsize>, events: u64) -> (Pipeline, Arc<stages::Book>, Slow) {
    let (source, book) = Tracked::up_to(events);
    let sink = Slow::by(Duration::from_millis(3));
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.stage("numbers").broadcast().produce(source);
    let kept = Alive::new(alive);
    let slow = map_async(move |n: u64| {
        let _ = &kept;
        async move {
            sleep(Duration::from_millis(1)).await;
            Ok::<u64, std::io::Error>(n)
        }
    });
    let mapped = pipeline
        .stage("map")
        .transform(slow, numbers.subscribe(Window::new(4)));
    pipeline
        .stage("sink")
        .consume(sink.clone(), mapped.subscribe(Window::new(3)));
    pipeline
        .stage("other")
        .consume(Slow::default(), numbers.subscribe(Window::new(5)));
    (pipeline, book, sink)
}

/// Polls the whole pipeline `polls` times, with everything else done in between, and drops it.
async fn drop_after(polls: usize) -> bool {
    let alive = Arc::<AtomicUsize>::default();
    let (pipeline, book, sink) = pipeline(&alive, 12);
    let mut finished = false;
    {
        let mut running = pin!(pipeline.run());
        for _ in 0..polls {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(result) = running.as_mut().poll(&mut cx) {
                result.unwrap();
                finished = true;
                break;
            }
            // The stages are tasks of their own: they get as far as they can in a while.
            sleep(Duration::from_micros(500)).await;
        }
    }
    // What is aborted is gone when it is next its turn.
    for _ in 0..10 {
        yield_now().await;
    }
    let outcomes = book.outcomes();
    let settled = book.acked().len() + book.nacked().len();
    assert_eq!(
        settled,
        outcomes.len(),
        "after {polls} polls, some are neither"
    );
    // What was not seen at the end was not acked.
    let seen = sink.seen();
    for acked in book.acked() {
        assert!(
            seen.contains(&acked),
            "{acked} was lost after {polls} polls"
        );
    }
    assert_eq!(alive.load(Ordering::SeqCst), 0, "a stage is left");
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(tasks, 0, "a task is left");
    finished
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_moment_it_loses_nothing_and_leaves_nothing() {
    let mut polls = 0;
    while !drop_after(polls).await {
        polls += 1;
        assert!(polls < 10_000, "it never ends");
    }
    assert!(polls > 20, "it was hardly running: {polls}");
}

#[tokio::test(start_paused = true)]
async fn stopping_and_then_dropping_loses_nothing() {
    for millis in 0..40 {
        let alive = Arc::<AtomicUsize>::default();
        let (pipeline, book, sink) = pipeline(&alive, u64::MAX);
        let handle = pipeline.handle();
        let running = tokio::spawn(pipeline.run());
        sleep(Duration::from_millis(20)).await;
        handle.stop();
        sleep(Duration::from_millis(millis)).await;
        running.abort();
        let _ = running.await;
        for _ in 0..10 {
            yield_now().await;
        }
        let settled = book.acked().len() + book.nacked().len();
        assert_eq!(settled, book.outcomes().len(), "{millis}");
        let seen = sink.seen();
        assert!(book.acked().iter().all(|acked| seen.contains(acked)));
        assert_eq!(alive.load(Ordering::SeqCst), 0, "a stage is left");
    }
}
