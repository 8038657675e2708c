use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use shuttle::{future::yield_now, thread};
use stage_core::{Batch, Pipeline, Receipt, Tracker, Window};

use crate::{
    parts::{Book, Log, Numbers, Then, start},
    schedules::random_and_pct,
};

#[test]
fn a1_a_death_loses_nothing() {
    random_and_pct(async || {
        let (dies, lives, book) = (Log::default(), Log::default(), Book::default());
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(8, Then::Ends).in_book(&book));
        let sink = dies.sink().failing_on_call(1);
        pipeline.consume(sink, numbers.subscribe(Window::new(3)));
        pipeline.consume(lives.sink(), numbers.subscribe(Window::new(2)));
        let result = start(pipeline).await.unwrap();
        assert!(result.is_err() || dies.calls() < 2, "a death went unseen");
        for log in [&dies, &lives] {
            log.check_calls();
        }
        book.check();
        let mut taken = [dies.taken(), lives.taken()].concat();
        taken.sort_unstable();
        assert_eq!(book.acked(), taken);
    });
}

#[test]
fn a1_what_one_of_two_did_not_take_is_not_acked() {
    random_and_pct(async || {
        let (dies, lives, book) = (Log::default(), Log::default(), Book::default());
        let mut pipeline = Pipeline::new();
        let numbers = Numbers::up_to(6, Then::Ends).in_book(&book);
        let numbers = pipeline.stage("numbers").broadcast().produce(numbers);
        let sink = dies.sink().failing_on_call(1);
        pipeline.consume(sink, numbers.subscribe(Window::new(3)));
        pipeline.consume(lives.sink(), numbers.subscribe(Window::new(2)));
        let result = start(pipeline).await.unwrap();
        assert!(result.is_err(), "a death went unseen");
        book.check();
        let dead = dies.arrived();
        for event in book.acked() {
            assert!(lives.taken().contains(&event));
            assert!(dies.taken().contains(&event) || !dead.contains(&event));
        }
        assert!(book.nacked().contains(&dead[dies.taken().len()]));
    });
}

/// So many events, each with its receipt.
fn tracked(tracker: &Tracker<u64>, positions: std::ops::Range<u64>) -> Vec<(u64, Receipt)> {
    let mut batch = Batch::from_iter(positions.clone());
    tracker.track(&mut batch, positions);
    Vec::from_iter(batch.drain_with_receipts())
}

#[test]
fn a2_the_mark_is_the_end_of_what_is_acked_without_a_gap() {
    const NACKED: u64 = 4;

    random_and_pct(async || {
        let tracker = Tracker::new();
        let acks = Arc::new([const { AtomicBool::new(false) }; 6]);
        let mut parts = [(); 3].map(|()| Vec::new());
        for (position, receipt) in tracked(&tracker, 0..6) {
            parts[position as usize % 3].push((position, receipt));
        }
        let acking = parts.map(|part| {
            let acks = Arc::clone(&acks);
            thread::spawn(move || {
                for (position, receipt) in part.into_iter().rev() {
                    if position == NACKED {
                        receipt.nack();
                    } else {
                        acks[position as usize].store(true, SeqCst);
                        receipt.ack();
                    }
                }
            })
        });
        let looking = thread::spawn({
            let (tracker, acks) = (tracker.clone(), Arc::clone(&acks));
            move || {
                let mut last = None;
                for _ in 0..5 {
                    let done = tracker.done();
                    let acked = acks.iter().take_while(|ack| ack.load(SeqCst)).count() as u64;
                    assert!(done >= last, "from {last:?} back to {done:?}");
                    assert!(done < Some(acked), "{done:?} of {acked} in a row");
                    last = done;
                }
            }
        });
        tracker.settled().await;
        assert_eq!(tracker.done(), Some(NACKED - 1));
        assert_eq!((tracker.nacked(), tracker.refused().total()), (1, 0));
        for acking in acking {
            acking.join().unwrap();
        }
        looking.join().unwrap();
    });
}

#[test]
fn a7_what_an_earlier_life_handed_out_counts_no_more() {
    random_and_pct(async || {
        let tracker = Tracker::new();
        let mut old = tracked(&tracker, 0..4);
        let rest = old.split_off(2);
        let acking = [old, rest].map(|part| {
            thread::spawn(move || part.into_iter().for_each(|(_, receipt)| receipt.ack()))
        });
        let waiting = shuttle::future::spawn({
            let tracker = tracker.clone();
            async move { tracker.settled().await }
        });
        let done = tracker.restart();
        let next = done.map_or(0, |done| done + 1);
        let fresh = tracked(&tracker, next..5);
        for _ in 0..3 {
            assert_eq!(tracker.done(), done);
            assert_eq!(tracker.in_flight(), 5 - next);
            yield_now().await;
        }
        for acking in acking {
            acking.join().unwrap();
        }
        // What came in time is done, or has a gap before it.
        let refused = tracker.refused();
        assert_eq!(refused.total(), refused.stale);
        assert!(refused.stale <= 4 - next, "{refused:?}");
        assert_eq!((tracker.done(), tracker.in_flight()), (done, 5 - next));
        for (_, receipt) in fresh {
            receipt.ack();
        }
        waiting.await.unwrap();
        assert_eq!((tracker.done(), tracker.in_flight()), (Some(4), 0));
    });
}
