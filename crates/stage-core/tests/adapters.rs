//! Stages made of closures, iterators and streams, and wrappers around stages.

#![allow(clippy::unwrap_used)] // clippy.toml's allowance does not reach helpers outside `#[test]`

use std::{
    convert::Infallible,
    io, iter,
    ops::Range,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use futures_util::stream;
use stage_core::{
    Acknowledge, Batch, Consumer, Demand, Flow, Outcome, Pipeline, Producer, Transform, Window,
    consumer_fn, filter, filter_map, flat_map, for_each, for_each_async, from_iter, from_stream,
    from_try_stream, map, map_async, producer_fn, transform_fn, try_map,
};
use tokio::time::{sleep, timeout};

/// What became of each event. One that is settled twice is caught.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<Vec<Option<Outcome>>>>);

impl Book {
    fn which(&self, outcome: Outcome) -> Vec<u64> {
        let outcomes = self.0.lock().unwrap().clone();
        let of_that = |(n, found)| (found == Some(outcome)).then_some(n);
        (0..).zip(outcomes).filter_map(of_that).collect()
    }

    fn acked(&self) -> Vec<u64> {
        self.which(Outcome::Acked)
    }

    fn nacked(&self) -> Vec<u64> {
        self.which(Outcome::Nacked)
    }

    /// Counts to `until`, and notes what becomes of the events.
    fn count(&self, until: u64) -> impl Producer<Event = u64, Error = Infallible> {
        struct Tracked(Book, u64);
        impl Producer for Tracked {
            type Event = u64;
            type Error = Infallible;
            async fn produce(
                &mut self,
                demand: Demand,
                batch: &mut Batch<u64>,
            ) -> Result<Flow, Infallible> {
                let mut book = self.0.0.lock().unwrap();
                let first = book.len() as u64;
                let next = self.1.min(first + demand.get() as u64);
                book.resize(next as usize, None);
                batch.extend(first..next);
                batch.track(Arc::new(self.0.clone()), first);
                Ok(if next < self.1 { Flow::More } else { Flow::End })
            }
        }
        Tracked(self.clone(), until)
    }
}

impl Acknowledge for Book {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        let mut book = self.0.lock().unwrap();
        for number in numbers {
            let place = &mut book[number as usize];
            assert_eq!(place.replace(outcome), None, "{number} is settled twice");
        }
    }
}

/// Takes numbers in, and nacks every tenth.
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

/// Collects what it takes in.
fn collect<E: Send + 'static>() -> (impl Consumer<E, Error = Infallible>, Arc<Mutex<Vec<E>>>) {
    let all = Arc::<Mutex<Vec<E>>>::default();
    let seen = Arc::clone(&all);
    (for_each(move |event| all.lock().unwrap().push(event)), seen)
}

fn demand(events: usize) -> Demand {
    Demand::new(events).unwrap()
}

/// What becomes of a hundred events that go through `transform` to somebody picky.
async fn picky_after(transform: impl Transform<u64, Out = u64>) -> Book {
    let book = Book::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(book.count(100));
    let made = pipeline.transform(transform, numbers.subscribe(Window::new(14)));
    pipeline.consume(Picky, made.subscribe(Window::new(9)));
    pipeline.run().await.unwrap();
    book
}

fn up_to_100(want: impl Fn(&u64) -> bool) -> Vec<u64> {
    (0..100).filter(want).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_made_one_for_one_shares_no_fate_with_others() {
    let books = [
        picky_after(map(|n: u64| n)).await,
        picky_after(try_map(Ok::<u64, Infallible>)).await,
        picky_after(map_async(async |n: u64| Ok::<_, Infallible>(n))).await,
    ];
    for book in books {
        assert_eq!(book.nacked(), up_to_100(|n| n % 10 == 0));
        assert_eq!(book.acked(), up_to_100(|n| n % 10 != 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_out_is_acked() {
    let books = [
        picky_after(filter(|n: &u64| n % 3 == 0)).await,
        picky_after(filter_map(|n: u64| (n % 3 == 0).then_some(n))).await,
    ];
    for book in books {
        assert_eq!(book.nacked(), up_to_100(|n| n % 30 == 0));
        assert_eq!(book.acked(), up_to_100(|n| n % 30 != 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_nacked_if_one_of_those_made_of_it_is() {
    let book = picky_after(flat_map(|n: u64| n..n + n % 3)).await;
    let spoilt = |n: &u64| (*n..n + n % 3).any(|made| made % 10 == 0);
    assert_eq!(book.nacked(), up_to_100(spoilt));
    assert_eq!(book.acked(), up_to_100(|n| !spoilt(n)));
}

#[tokio::test(start_paused = true)]
async fn a_closure_over_a_batch_answers_for_all_of_it() {
    let book = picky_after(transform_fn(|mut numbers: Batch<u64>| async move {
        sleep(Duration::from_secs(1)).await;
        Ok::<_, Infallible>(numbers.drain().filter(|n| n % 2 == 0).collect::<Vec<_>>())
    }))
    .await;
    // Sevens are taken in together.
    let spoilt = |n: &u64| (n - n % 7..(n - n % 7 + 7).min(100)).any(|other| other % 10 == 0);
    assert_eq!(book.nacked(), up_to_100(spoilt));
    assert_eq!(book.acked(), up_to_100(|n| !spoilt(n)));
}

#[tokio::test(start_paused = true)]
async fn a_failing_closure_nacks_what_it_was_given() {
    let book = Book::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(book.count(10));
    let parsed = pipeline.transform(
        try_map(|n: u64| {
            if n == 7 {
                Err(io::Error::other("seven"))
            } else {
                Ok(n)
            }
        }),
        numbers.subscribe(Window::new(10)),
    );
    pipeline.consume(for_each(|_: u64| ()), parsed.subscribe(Window::new(10)));
    pipeline.run().await.unwrap_err();
    assert_eq!(book.acked(), [0, 1, 2, 3, 4]);
    assert_eq!(book.nacked(), [5, 6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn events_that_are_taken_in_one_by_one_are_settled_one_by_one() {
    let book = Book::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(book.count(10));
    let sink = for_each_async(|n: u64| async move {
        sleep(Duration::from_secs(1)).await;
        if n == 7 {
            Err(io::Error::other("seven"))
        } else {
            Ok(())
        }
    });
    pipeline.consume(sink, numbers.subscribe(Window::new(10)));
    pipeline.run().await.unwrap_err();
    assert_eq!(book.acked(), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(book.nacked(), [7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn batches_go_whole_through_closures() {
    let seen = Arc::<Mutex<Vec<Vec<u64>>>>::default();
    let noted = Arc::clone(&seen);
    let mut pipeline = Pipeline::new();
    let counter = producer_fn(0, |next: u64, demand: Demand| async move {
        let end = 10.min(next + demand.get() as u64);
        Ok::<_, Infallible>((next < 10).then_some((next..end, end)))
    });
    let numbers = pipeline.produce(counter);
    let sink = consumer_fn(move |batch: Batch<u64>| {
        noted.lock().unwrap().push(batch.into_vec());
        async { Ok::<_, Infallible>(()) }
    });
    pipeline.consume(sink, numbers.subscribe(Window::new(8)));
    pipeline.run().await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]
    );
}

#[tokio::test(start_paused = true)]
async fn a_producing_closure_is_not_called_again_before_it_was_done() {
    let mut counter = producer_fn(0, |next: u64, _| async move {
        sleep(Duration::from_secs(10)).await;
        Ok::<_, Infallible>(Some(([next], next + 1)))
    });
    let mut batch = Batch::new();
    for _ in 0..9 {
        let hurried = timeout(
            Duration::from_secs(1),
            counter.produce(demand(1), &mut batch),
        );
        assert!(hurried.await.is_err());
    }
    let patient = timeout(
        Duration::from_millis(1001),
        counter.produce(demand(1), &mut batch),
    );
    assert_eq!(patient.await.unwrap().unwrap(), Flow::More);
    assert_eq!(batch[..], [0]);
}

#[tokio::test(start_paused = true)]
async fn an_iterator_is_not_asked_for_more_than_is_wanted() {
    let asked = Arc::<Mutex<u64>>::default();
    let count = Arc::clone(&asked);
    let mut source = from_iter(iter::from_fn(move || {
        *count.lock().unwrap() += 1;
        Some(7)
    }));
    let mut batch = Batch::new();
    assert_eq!(source.produce(demand(5), &mut batch).await, Ok(Flow::More));
    assert_eq!((batch.len(), *asked.lock().unwrap()), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_waited_for_once_and_then_taken_from_while_it_is_ready() {
    // Three, then nothing for a while, then four and the end.
    let mut polls = 0;
    let mut source = from_stream(stream::poll_fn(move |cx| {
        polls += 1;
        match polls {
            1 | 5 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            10.. => Poll::Ready(None),
            n => Poll::Ready(Some(n)),
        }
    }));
    let mut batch = Batch::new();
    assert_eq!(
        source.produce(demand(100), &mut batch).await,
        Ok(Flow::More)
    );
    assert_eq!(batch.drain().collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(source.produce(demand(1), &mut batch).await, Ok(Flow::More));
    assert_eq!(batch.drain().collect::<Vec<_>>(), [6]);
    assert_eq!(source.produce(demand(100), &mut batch).await, Ok(Flow::End));
    assert_eq!(batch.drain().collect::<Vec<_>>(), [7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_loses_nothing_when_it_is_no_longer_waited_for() {
    let mut polls = 0;
    let mut source = from_stream(stream::poll_fn(move |_| {
        polls += 1;
        match polls {
            // Twice: a time-out looks once more when its time has come.
            1 | 2 | 5 => Poll::Pending,
            n => Poll::Ready(Some(n)),
        }
    }));
    let mut batch = Batch::new();
    let hurried = timeout(
        Duration::from_secs(1),
        source.produce(demand(9), &mut batch),
    );
    assert!(hurried.await.is_err());
    assert_eq!(source.produce(demand(9), &mut batch).await, Ok(Flow::More));
    assert_eq!(batch[..], [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_stream_gives_what_it_had_before() {
    let (sink, seen) = collect();
    let mut pipeline = Pipeline::new();
    let lines = stream::iter([Ok(1), Ok(2), Err(io::Error::other("torn off")), Ok(3)]);
    let numbers = pipeline.produce(from_try_stream(lines));
    pipeline.consume(sink, numbers.subscribe(Window::new(10)));
    pipeline.run().await.unwrap_err();
    assert_eq!(*seen.lock().unwrap(), [1, 2]);
}
