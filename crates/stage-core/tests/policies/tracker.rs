//! Trackers, by the threads and the lives of their sources.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use stage_core::{
    Batch, Demand, Flow, Outcome, Pipeline, Producer, Restart, Resume, Tracker, Window,
    restarting_producer,
};
use tokio::time::{sleep, timeout};

use crate::support::{Fussy, Sink};

#[test]
fn reports_from_many_threads_add_up() {
    let reports = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reports);
    let tracker = Tracker::reporting(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let (book, numbers) = tracker.hand_out(0..4_000);
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let book = Arc::clone(&book);
            let mine = numbers.clone().filter(move |number| number % 4 == n);
            thread::spawn(move || mine.for_each(|n| book.settle(n..n + 1, Outcome::Acked)))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(tracker.done(), Some(3_999));
    assert_eq!(tracker.in_flight(), 0);
    assert_eq!(tracker.refused().total(), 0);
    assert_eq!(reports.load(Ordering::Relaxed), 4_000);
}

#[test]
fn an_old_life_counts_no_more() {
    let tracker = Tracker::new();
    let (old, numbers) = tracker.hand_out(["a", "b", "c"]);
    old.settle(numbers.start..numbers.start + 1, Outcome::Acked);
    assert_eq!(tracker.resume(), Resume::Onward);
    old.settle(1..2, Outcome::Nacked);
    old.settle(1..2, Outcome::Acked);
    assert_eq!(tracker.refused().repeated, 1, "an ack after a nack");
    assert_eq!(tracker.resume(), Resume::Back(Some("a")));
    let (new, _) = tracker.hand_out(["b", "c"]);
    old.settle(0..3, Outcome::Acked);
    assert_eq!((tracker.done(), tracker.refused().stale), (Some("a"), 3));
    new.settle(0..5, Outcome::Acked);
    assert_eq!((tracker.done(), tracker.refused().foreign), (Some("a"), 5));
    new.settle(0..2, Outcome::Acked);
    assert_eq!((tracker.done(), tracker.in_flight()), (Some("c"), 0));
}

#[tokio::test(start_paused = true)]
async fn settled_waits_for_the_last_report_or_a_new_life() {
    let tracker = Tracker::new();
    tracker.settled().await;
    let mut batch: Batch<u64> = (0..3).collect();
    tracker.track(&mut batch, 0..3);
    let second = Duration::from_secs(1);
    assert!(timeout(second, tracker.settled()).await.is_err());
    let events: Vec<_> = batch.drain_with_receipts().collect();
    let late = tokio::spawn(async move {
        for (_, receipt) in events {
            sleep(second).await;
            receipt.ack();
        }
    });
    timeout(10 * second, tracker.settled()).await.unwrap();
    assert_eq!(tracker.done(), Some(2));
    late.await.unwrap();

    let (_book, _) = tracker.hand_out(3..6);
    let waiter = tokio::spawn({
        let tracker = tracker.clone();
        async move { tracker.settled().await }
    });
    sleep(second).await;
    assert_eq!(tracker.restart(), Some(2));
    timeout(second, waiter).await.unwrap().unwrap();
}

#[test]
#[should_panic = "needs a position"]
fn a_position_too_few_is_a_mistake() {
    let mut batch: Batch<u64> = (0..3).collect();
    Tracker::new().track(&mut batch, 0..2);
}

/// Counts to `until`. Each life goes back to what was nacked in the last.
struct Numbers {
    next: Arc<Mutex<u64>>,
    until: u64,
    tracker: Tracker<u64>,
}

impl Numbers {
    fn resume(next: &Arc<Mutex<u64>>, until: u64, tracker: &Tracker<u64>) -> Self {
        if let Resume::Back(done) = tracker.resume() {
            *next.lock().unwrap() = done.map_or(0, |done| done + 1);
        }
        Self {
            next: Arc::clone(next),
            until,
            tracker: tracker.clone(),
        }
    }
}

impl Producer for Numbers {
    type Event = u64;
    type Error = io::Error;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
        let first = *self.next.lock().unwrap();
        if first == self.until {
            self.tracker.settled().await;
        }
        if self.tracker.nacked() > 0 {
            return Err(io::Error::other("something was nacked"));
        }
        if first == self.until {
            return Ok(Flow::End);
        }
        let end = self.until.min(first + demand.get() as u64);
        *self.next.lock().unwrap() = end;
        batch.extend(first..end);
        self.tracker.track(batch, first..end);
        Ok(Flow::More)
    }
}

/// A consumer that nacks one by one, and goes on.
struct Nacks(Fussy);

impl stage_core::Consumer<u64> for Nacks {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        for (event, receipt) in batch.drain_with_receipts() {
            match self.0.check(&[event]) {
                Ok(()) => receipt.ack(),
                Err(_) => receipt.nack(),
            }
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_nacked_comes_again_in_the_next_generation() {
    let (tracker, next) = (Tracker::new(), Arc::new(Mutex::new(0)));
    let generations = Arc::new(Mutex::new(Vec::new()));
    let source = restarting_producer(Restart::new(10, Duration::from_secs(600)), {
        let (tracker, generations) = (tracker.clone(), Arc::clone(&generations));
        move |generation| {
            generations.lock().unwrap().push(generation.get());
            Numbers::resume(&next, 100, &tracker)
        }
    });
    let consumer = Nacks(Fussy::about([(7, 1), (42, 2)]));
    let notes = consumer.0.notes.clone();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    pipeline.consume(consumer, numbers.subscribe(Window::new(10)));
    pipeline.run().await.unwrap();
    assert_eq!(tracker.done(), Some(99));
    let mut taken = notes.taken();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken, (0..100).collect::<Vec<_>>());
    assert_eq!(*generations.lock().unwrap(), [0, 1, 2, 3]);
    assert_eq!(tracker.refused().repeated + tracker.refused().foreign, 0);
}

#[tokio::test(start_paused = true)]
async fn without_failures_a_tracked_source_ends_with_everything_done() {
    let (tracker, next) = (Tracker::new(), Arc::new(Mutex::new(0)));
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Numbers::resume(&next, 50, &tracker));
    pipeline.consume(Sink::default(), numbers.subscribe(Window::new(7)));
    pipeline.run().await.unwrap();
    assert_eq!(tracker.done(), Some(49));
}
