//! What becomes of events, and who is told.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    convert::Infallible,
    io, iter,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use stage_core::{Acknowledge, Batch, Consumer, Outcome, Pipeline, Receipt, Transform, Window};
use tokio::time::{sleep, timeout};

use stages::{Book, Tracked};

struct Sink;

impl Consumer<u64> for Sink {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        if batch[0].is_multiple_of(2) {
            batch.drain();
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_consumer_takes_in_is_acked_whether_it_drained_the_batch_or_not() {
    let (source, book) = Tracked::up_to(100);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    pipeline.consume(Sink, numbers.subscribe(Window::new(7)));
    pipeline.run().await.unwrap();
    assert_eq!(book.acked().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn what_a_failing_consumer_had_in_hand_or_on_its_way_is_nacked() {
    struct FailsAt(u64, bool);
    impl Consumer<u64> for FailsAt {
        type Error = io::Error;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
            if batch.drain().any(|event| event == self.0) {
                assert!(!self.1, "on purpose");
                return Err(io::Error::other("on purpose"));
            }
            Ok(())
        }
    }
    for panics in [false, true] {
        let (source, book) = Tracked::up_to(1_000);
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(source);
        pipeline.consume(FailsAt(42, panics), numbers.subscribe(Window::new(10)));
        pipeline.run().await.unwrap_err();
        assert_eq!(book.acked(), (0..40).collect::<Vec<_>>());
        assert_eq!(
            book.nacked(),
            (40..book.outcomes().len() as u64).collect::<Vec<_>>()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_pipeline_nacks_what_is_in_it() {
    struct Never;
    impl Consumer<u64> for Never {
        type Error = Infallible;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
            if batch[0] >= 10 {
                sleep(Duration::MAX).await;
            }
            Ok(())
        }
    }
    let (source, book) = Tracked::up_to(1_000);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    pipeline.consume(Never, numbers.subscribe(Window::new(10)));
    assert!(
        timeout(Duration::from_secs(1), pipeline.run())
            .await
            .is_err()
    );
    tokio::task::yield_now().await;
    assert_eq!(book.acked(), (0..10).collect::<Vec<_>>());
    assert_eq!(book.nacked(), (10..20).collect::<Vec<_>>());
}

/// Makes `n % 3` events of event `n`.
struct Some03;

impl Transform<u64> for Some03 {
    type Out = u64;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), Infallible> {
        out.extend(
            batch
                .drain()
                .flat_map(|n| iter::repeat_n(n, n as usize % 3)),
        );
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_acked_once_all_that_was_made_of_it_is() {
    let (source, book) = Tracked::up_to(300);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let twice = pipeline.transform(Some03, numbers.subscribe(Window::new(5)));
    let again = pipeline.transform(Some03, twice.subscribe(Window::new(4)));
    pipeline.consume(Sink, again.subscribe(Window::new(3)));
    pipeline.run().await.unwrap();
    assert_eq!(book.acked().len(), 300);
}

#[tokio::test(start_paused = true)]
async fn inputs_are_nacked_when_one_of_their_outputs_is() {
    /// Acks all but every tenth.
    struct Picky;
    impl Consumer<u64> for Picky {
        type Error = Infallible;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
            for (event, receipt) in batch.drain_with_receipts() {
                if event % 10 == 0 {
                    receipt.nack();
                } else {
                    receipt.ack();
                }
            }
            Ok(())
        }
    }
    struct Same;
    impl Transform<u64> for Same {
        type Out = u64;
        type Error = Infallible;
        async fn transform(
            &mut self,
            batch: &mut Batch<u64>,
            out: &mut Batch<u64>,
        ) -> Result<(), Infallible> {
            out.extend(batch.drain());
            Ok(())
        }
    }
    let (source, book) = Tracked::up_to(100);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    // Portions of two: each pair shares its fate.
    let same = pipeline.transform(Same, numbers.subscribe(Window::new(4)));
    pipeline.consume(Picky, same.subscribe(Window::new(4)));
    pipeline.run().await.unwrap();
    let expected: Vec<u64> = (0..10).flat_map(|n| [n * 10, n * 10 + 1]).collect();
    assert_eq!(book.nacked(), expected);
    assert_eq!(book.acked().len(), 80);
}

#[tokio::test(start_paused = true)]
async fn a_failing_transform_nacks_its_inputs() {
    struct Breaks;
    impl Transform<u64> for Breaks {
        type Out = u64;
        type Error = io::Error;
        async fn transform(
            &mut self,
            batch: &mut Batch<u64>,
            out: &mut Batch<u64>,
        ) -> io::Result<()> {
            for event in batch.drain() {
                if event == 21 {
                    return Err(io::Error::other("on purpose"));
                }
                out.push(event);
            }
            Ok(())
        }
    }
    let (source, book) = Tracked::up_to(100);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let same = pipeline.transform(Breaks, numbers.subscribe(Window::new(10)));
    pipeline.consume(Sink, same.subscribe(Window::new(10)));
    pipeline.run().await.unwrap_err();
    // What had been put out before is drained and acked.
    assert_eq!(book.acked(), (0..20).collect::<Vec<_>>());
    assert_eq!(
        book.nacked(),
        (20..book.outcomes().len() as u64).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn a_transform_that_keeps_events_back_keeps_their_receipts() {
    /// Gives pairs, of events that may come in different batches.
    #[derive(Default)]
    struct Pairs(Option<(u64, Receipt)>);
    impl Transform<u64> for Pairs {
        type Out = u64;
        type Error = Infallible;
        async fn transform(
            &mut self,
            batch: &mut Batch<u64>,
            out: &mut Batch<u64>,
        ) -> Result<(), Infallible> {
            for (event, receipt) in batch.drain_with_receipts() {
                match self.0.take() {
                    Some((first, first_receipt)) => {
                        out.push_with_receipt(first, first_receipt);
                        out.push_with_receipt(event, receipt);
                    }
                    None => self.0 = Some((event, receipt)),
                }
            }
            Ok(())
        }
    }
    let (source, book) = Tracked::up_to(101);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let pairs = pipeline.transform(Pairs::default(), numbers.subscribe(Window::new(3)));
    pipeline.consume(Sink, pairs.subscribe(Window::new(6)));
    pipeline.run().await.unwrap();
    assert_eq!(book.acked(), (0..100).collect::<Vec<_>>());
    assert_eq!(book.nacked(), [100], "the odd one was dropped");
}

#[test]
fn what_a_drain_leaves_is_nacked() {
    let book = Arc::new(Book(Mutex::new(vec![None; 5])));
    let mut batch: Batch<u64> = (0..5).collect();
    batch.track(Arc::clone(&book) as _, 0);
    let mut drain = batch.drain_with_receipts();
    assert_eq!(drain.size_hint(), (5, Some(5)));
    let (event, receipt) = drain.next().unwrap();
    assert_eq!(event, 0);
    receipt.ack();
    drop(drain);
    assert_eq!(book.acked(), [0]);
    assert_eq!(book.nacked(), [1, 2, 3, 4]);
}

#[test]
fn events_without_receipts_may_stand_beside_others() {
    let book = Arc::new(Book(Mutex::new(vec![None; 3])));
    let mut batch: Batch<char> = vec!['a', 'b'].into();
    batch.track(Arc::clone(&book) as _, 0);
    batch.push('c');
    batch.push('d');
    let mut others: Batch<char> = vec!['e'].into();
    others.track(Arc::clone(&book) as _, 2);
    let (_, receipt) = others.drain_with_receipts().next().unwrap();
    batch.push_with_receipt('e', receipt);
    let events: Vec<_> = batch.drain_with_receipts().collect();
    assert_eq!(
        events.iter().map(|(event, _)| *event).collect::<String>(),
        "abcde"
    );
    assert!(book.outcomes().iter().all(Option::is_none));
    for (event, receipt) in events {
        if event != 'b' {
            receipt.ack();
        }
    }
    assert_eq!(book.acked(), [0, 2]);
    assert_eq!(book.nacked(), [1]);
}

#[test]
fn sources_that_number_alike_are_kept_apart() {
    let books = [(); 2].map(|()| Arc::new(Book(Mutex::new(vec![None; 2]))));
    let mut batch = Batch::new();
    for (number, book) in [(0, &books[0]), (1, &books[1])] {
        let mut one: Batch<u64> = vec![number].into();
        one.track(Arc::clone(book) as _, number);
        let (event, receipt) = one.drain_with_receipts().next().unwrap();
        batch.push_with_receipt(event, receipt);
    }
    drop(batch);
    assert_eq!((books[0].nacked(), books[1].nacked()), (vec![0], vec![1]));
}

proptest! {
    /// Whatever the windows, and wherever a consumer fails: each event that was handed out is
    /// settled exactly once, and nothing is acked that was not taken in.
    #[test]
    fn handed_out_is_acked_plus_nacked(
        windows in prop::collection::vec((1usize..20, 0usize..20), 3),
        fails_after in 0usize..200,
    ) {
        struct Takes(Arc<Mutex<Vec<u64>>>, usize);
        impl Consumer<u64> for Takes {
            type Error = io::Error;
            async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
                let mut taken = self.0.lock().unwrap();
                if taken.len() + batch.len() > self.1 {
                    return Err(io::Error::other("enough"));
                }
                taken.extend(batch.iter());
                Ok(())
            }
        }
        let windows: Vec<Window> = windows
            .into_iter()
            .map(|(max, min)| Window::new(max).with_min(min % max))
            .collect();
        let (source, book) = Tracked::up_to(150);
        let taken = Arc::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(source);
        let some = pipeline.transform(Some03, numbers.subscribe(windows[0]));
        let more = pipeline.transform(Some03, some.subscribe(windows[1]));
        let takes = Takes(Arc::clone(&taken), fails_after);
        pipeline.consume(takes, more.subscribe(windows[2]));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(pipeline.run());
        prop_assert_eq!(result.is_ok(), book.nacked().is_empty());
        prop_assert!(book.outcomes().iter().all(Option::is_some));
        let taken = taken.lock().unwrap();
        for n in book.acked() {
            let made = (n % 3) * (n % 3);
            prop_assert_eq!(taken.iter().filter(|&&t| t == n).count() as u64, made);
        }
    }
}

/// Receipts go by place: whoever changes places has the events stand for each other.
#[test]
fn a_receipt_never_goes_with_another_event() {
    let tracked = |events: std::ops::Range<u64>| {
        let book = Arc::new(Book(Mutex::new(vec![None; events.end as usize])));
        let mut batch: Batch<u64> = events.clone().collect();
        batch.track(Arc::clone(&book) as _, events.start);
        (batch, book)
    };
    let ack_even = |batch: &mut Batch<u64>| {
        for (event, receipt) in batch.drain_with_receipts() {
            match event % 2 {
                0 => receipt.ack(),
                _ => receipt.nack(),
            }
        }
    };

    // Changed one by one, each keeps its own.
    let (mut batch, book) = tracked(0..4);
    batch.iter_mut().for_each(|event| *event += 2);
    for event in &mut batch {
        *event -= 2;
    }
    ack_even(&mut batch);
    assert_eq!((book.acked(), book.nacked()), (vec![0, 2], vec![1, 3]));

    // In another order, or possibly so, all are nacked with the one that was.
    let (mut batch, book) = tracked(0..4);
    batch.sort_by_key(|event| std::cmp::Reverse(*event));
    batch.swap(0, 1);
    ack_even(&mut batch);
    assert_eq!((book.acked(), book.nacked()), (vec![], vec![0, 1, 2, 3]));
    let (mut batch, book) = tracked(0..4);
    batch.reverse();
    let mut doubled = Batch::new();
    batch.map_into(&mut doubled, |event| 2 * event);
    ack_even(&mut doubled);
    assert_eq!((book.acked(), book.nacked()), (vec![0, 1, 2, 3], vec![]));

    // The first that comes after events that were taken out stands for them, too.
    let (mut batch, old) = tracked(0..2);
    assert_eq!(batch.drain().count(), 2);
    let (mut others, new) = tracked(0..2);
    for (event, receipt) in others.drain_with_receipts() {
        batch.push_with_receipt(event, receipt);
    }
    ack_even(&mut batch);
    assert_eq!((old.acked(), new.acked()), (vec![0, 1], vec![0]));
    assert_eq!(new.nacked(), [1]);
    let (mut batch, book) = tracked(0..3);
    assert_eq!(batch.drain().count(), 3);
    batch.push(2);
    ack_even(&mut batch);
    assert_eq!((book.acked(), book.nacked()), (vec![0, 1, 2], vec![]));
}

/// One source that panics takes nothing from another.
#[test]
fn each_source_is_told_whatever_another_does() {
    struct Panics;

    impl Acknowledge for Panics {
        fn settle(&self, _: std::ops::Range<u64>, _: Outcome) {
            panic!("on purpose");
        }
    }

    let book = Arc::new(Book(Mutex::new(vec![None; 4])));
    let mut batch = Batch::from_iter([0_u64, 1]);
    batch.track(Arc::clone(&book) as _, 0);
    batch.push(2);
    batch.track(Arc::new(Panics), 0);
    batch.extend([3, 4]);
    batch.track(Arc::clone(&book) as _, 2);
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(batch)));
    assert!(dropped.is_err());
    assert_eq!(book.nacked(), [0, 1, 2, 3]);
}
