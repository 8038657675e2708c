use std::collections::BTreeMap;

use shuttle::thread;
use stage_core::{Batch, Demand, End, Flow, Pipeline, Producer, Window, map, protocol::Reason};

use crate::{
    parts::{Book, Log, Numbers, Then, start, up_to},
    schedules::{random, random_and_pct},
};

#[test]
fn o1_in_order_and_one_call_at_a_time() {
    random_and_pct(async || {
        let log = Log::default();
        let mut pipeline = Pipeline::new();
        let low = pipeline.produce(Numbers::up_to(5, Then::Ends));
        let numbers = pipeline.produce(Numbers::up_to(5, Then::Ends));
        let high = pipeline.transform(map(|n: u64| 100 + n), numbers.subscribe(Window::new(3)));
        let subscriptions = [
            low.subscribe(Window::new(3)),
            high.subscribe(Window::new(2)),
        ];
        pipeline.consume(log.sink(), subscriptions);
        start(pipeline).await.unwrap().unwrap();
        log.check_calls();
        let (high, low): (Vec<_>, Vec<_>) = log.arrived().into_iter().partition(|n| *n >= 100);
        assert_eq!(low, Vec::from_iter(0..5));
        assert_eq!(high, Vec::from_iter(100..105));
    });
}

/// One event at a time through a wide window: more batches than the ring has places for.
#[test]
fn o1_in_order_when_the_ring_overflows() {
    random_and_pct(async || {
        let log = Log::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(OneByOne(0..24));
        pipeline.consume(log.sink(), numbers.subscribe(Window::new(24)));
        start(pipeline).await.unwrap().unwrap();
        log.check_calls();
        assert_eq!(log.arrived(), Vec::from_iter(0..24));
    });
}

/// Makes one event at a time, however much is asked for.
struct OneByOne(std::ops::Range<u64>);

impl Producer for OneByOne {
    type Event = u64;
    type Error = std::convert::Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Self::Error> {
        batch.extend(self.0.next());
        Ok(match self.0.is_empty() {
            true => Flow::End,
            false => Flow::More,
        })
    }
}

/// Two in a row have the same, so that a lane has more than one event waiting when it changes hands.
fn key(event: u64) -> u64 {
    event / 2 % 2
}

#[test]
fn o2_keys_keep_their_order_when_a_lane_changes_hands() {
    random(async || {
        let (book, logs) = (Book::default(), [(); 3].map(|()| Log::default()));
        let [first, second, successor] = &logs;
        let mut pipeline = Pipeline::new();
        let by_parity = pipeline
            .stage("numbers")
            .partition_by(2, |n: &u64| Some(key(*n) as usize));
        let lanes = by_parity.produce(Numbers::up_to(10, Then::Ends).in_book(&book));
        let lanes = lanes.into_iter().zip([first, second]);
        let mut handles = Vec::new();
        for (lane, log) in lanes {
            let (subscription, handle) = lane.subscribe(Window::new(2)).with_handle();
            pipeline.consume(log.sink(), subscription);
            handles.push(handle);
        }
        let late = pipeline.handle();
        // Keeps the source until the successor is there.
        let lane = late.lane::<u64>("numbers", 0).unwrap();
        let run = start(pipeline);
        first.until(up_to(4)).await;
        let changing = thread::spawn({
            let (log, cancelled) = (successor.clone(), handles.remove(0));
            move || {
                cancelled.cancel();
                let subscription = lane.subscribe(Window::new(2));
                // The source may be done.
                let _ = late.stage("successor").consume(log.sink(), subscription);
            }
        });
        changing.join().unwrap();
        run.await.unwrap().unwrap();
        for log in &logs {
            log.check();
        }
        book.check();
        let mut keys = BTreeMap::<u64, Vec<u64>>::new();
        for event in logs.iter().flat_map(Log::taken) {
            keys.entry(key(event)).or_default().push(event);
        }
        for (key, taken) in keys {
            assert!(taken.is_sorted(), "{key}: {taken:?}");
        }
        let acked: usize = logs.iter().map(|log| log.taken().len()).sum();
        assert_eq!(book.acked().len(), acked);
        // No more than a window goes down with the first.
        assert!(book.nacked().len() <= 2, "{:?} went down", book.nacked());
        // Neither is the lane taken still, nor is it anything but the end if it comes too late.
        let late = End::Cancelled(Reason::NoProducer);
        for end in successor.ends() {
            assert!(
                end == End::Completed || end == late,
                "the successor's ended: {end}"
            );
        }
    });
}

#[test]
fn o4_each_event_goes_to_one() {
    random_and_pct(async || {
        let (book, logs) = (Book::default(), [(); 3].map(|()| Log::default()));
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(9, Then::Ends).in_book(&book));
        for (log, window) in logs.iter().zip(1..) {
            pipeline.consume(log.sink(), numbers.subscribe(Window::new(window)));
        }
        start(pipeline).await.unwrap().unwrap();
        let mut taken = Vec::new();
        for log in &logs {
            log.check();
            assert!(log.taken().is_sorted());
            taken.extend(log.taken());
        }
        taken.sort_unstable();
        assert_eq!(taken, Vec::from_iter(0..9));
        book.check();
        assert_eq!(book.acked(), taken);
    });
}
