//! Stages made of closures, iterators and streams, and wrappers around stages.

#![allow(clippy::unwrap_used)] // clippy.toml's allowance does not reach helpers outside `#[test]`

mod stages;

use std::{
    convert::Infallible,
    io, iter,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use futures_util::stream;
use proptest::prelude::*;
use stage_core::{
    Acknowledge, Batch, BoxConsumer, BoxProducer, BoxTransform, Consumer, Demand, Flow, KeyedBatch,
    Outcome, Pipeline, Producer, Quota, Receipt, Transform, Window, batching, consumer_fn, filter,
    filter_map, flat_map, for_each, for_each_async, from_iter, from_stream, from_try_stream, map,
    map_async, producer_fn, rate_limited, transform_fn, try_map,
};
use tokio::time::{Instant, sleep, timeout};

use stages::{Book, Tracked};

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
async fn picky_after(transform: impl Transform<u64, Out = u64>) -> Arc<Book> {
    let (source, book) = Tracked::up_to(100);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
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
        picky_after(filter(|n: &u64| n.is_multiple_of(3))).await,
        picky_after(filter_map(|n: u64| n.is_multiple_of(3).then_some(n))).await,
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
    let (source, book) = Tracked::up_to(10);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
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
    let (source, book) = Tracked::up_to(10);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
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
async fn a_producing_closure_that_failed_has_ended() {
    let mut fails = producer_fn((), |(), _| async {
        Err::<Option<([u64; 0], ())>, _>(io::Error::other("on purpose"))
    });
    let mut batch = Batch::new();
    assert!(fails.produce(demand(1), &mut batch).await.is_err());
    let again = fails.produce(demand(1), &mut batch).await;
    assert_eq!(again.unwrap(), Flow::End);
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
    let mut polls = 0;
    let mut source = from_stream(stream::poll_fn(move |cx| {
        polls += 1;
        match polls {
            1 | 3 | 7 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            10.. => Poll::Ready(None),
            n => Poll::Ready(Some(n)),
        }
    }));
    let mut batch = Batch::new();
    for (wanted, flow, expected) in [
        (100, Flow::More, vec![2]),
        (1, Flow::More, vec![4]),
        (100, Flow::More, vec![5, 6]),
        (100, Flow::End, vec![8, 9]),
    ] {
        assert_eq!(source.produce(demand(wanted), &mut batch).await, Ok(flow));
        assert_eq!(batch.drain().collect::<Vec<_>>(), expected);
    }
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

#[tokio::test(start_paused = true)]
async fn stages_of_different_types_do_what_they_did() {
    let [(source, first), (boxed, second)] = [(); 2].map(|()| Tracked::up_to(100));
    let sources = [
        BoxProducer::new(source),
        BoxProducer::new(BoxProducer::new(boxed)),
    ];
    let steps: [BoxTransform<u64, u64>; 2] = [
        BoxTransform::new(map(|n: u64| n + 1)),
        BoxTransform::new(filter(|n: &u64| n.is_multiple_of(2))),
    ];
    let mut pipeline = Pipeline::new();
    let sources = sources.map(|source| pipeline.produce(source));
    let subscriptions = sources
        .iter()
        .map(|source| source.subscribe(Window::new(6)));
    let mut outlet = pipeline.transform(map(|n: u64| n), subscriptions);
    for step in steps {
        outlet = pipeline.transform(step, outlet.subscribe(Window::new(6)));
    }
    let gather = BoxTransform::new(batching(|_: &u64| ()).max_size(1000));
    let batches = pipeline.transform(gather, outlet.subscribe(Window::new(6)));
    let (sink, seen) = collect();
    pipeline.consume(BoxConsumer::new(sink), batches.subscribe(Window::new(6)));
    pipeline.run().await.unwrap();
    for book in [first, second] {
        assert_eq!(book.acked().len(), 100);
    }
    let seen: Vec<KeyedBatch<(), u64>> = seen.lock().unwrap().drain(..).collect();
    let sizes: Vec<_> = seen.iter().map(|batch| batch.events.len()).collect();
    assert_eq!(sizes, [100], "put out at the end");
}

/// Makes one number each so often.
fn ticks(every: Duration, until: u64) -> impl Producer<Event = u64> {
    producer_fn(0, move |n, _| async move {
        if n == until {
            return Ok::<_, Infallible>(None);
        }
        sleep(every).await;
        Ok(Some(([n], n + 1)))
    })
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_passed_on_when_its_first_event_has_waited_long_enough() {
    let start = Instant::now();
    let seen = Arc::<Mutex<Vec<_>>>::default();
    let noted = Arc::clone(&seen);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(ticks(Duration::from_millis(300), 10));
    let gather = batching(|n: &u64| n / 3 % 2).max_delay(Duration::from_secs(1));
    let batches = pipeline.transform(gather, numbers.subscribe(Window::new(10)));
    let sink = for_each(move |KeyedBatch { key, events }| {
        // A sleep ends within the next millisecond.
        let tenths = start.elapsed().as_millis() / 100;
        noted.lock().unwrap().push((tenths, key, events));
    });
    pipeline.consume(sink, batches.subscribe(Window::new(10)));
    pipeline.run().await.unwrap();
    let expected = [
        (13, 0, vec![0, 1, 2]),
        (22, 1, vec![3, 4, 5]),
        // At the end.
        (30, 0, vec![6, 7, 8]),
        (30, 1, vec![9]),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_settled_whole_and_alone() {
    /// Nacks the batches of one key.
    struct NotZero;
    impl Consumer<KeyedBatch<u64, u64>> for NotZero {
        type Error = Infallible;
        async fn consume(
            &mut self,
            batch: &mut Batch<KeyedBatch<u64, u64>>,
        ) -> Result<(), Infallible> {
            for (batch, receipt) in batch.drain_with_receipts() {
                if batch.key == 0 {
                    receipt.nack();
                } else {
                    receipt.ack();
                }
            }
            Ok(())
        }
    }
    let (source, book) = Tracked::up_to(100);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let gather = batching(|n: &u64| n % 3).max_size(7).max_waiting(10);
    let batches = pipeline.transform(gather, numbers.subscribe(Window::new(10)));
    pipeline.consume(NotZero, batches.subscribe(Window::new(4)));
    pipeline.run().await.unwrap();
    assert_eq!(book.nacked(), up_to_100(|n| n % 3 == 0));
    assert_eq!(book.acked(), up_to_100(|n| n % 3 != 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_batch_is_nacked_when_the_pipeline_is_dropped() {
    let (source, book) = Tracked::up_to(5);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let never = pipeline.produce(from_stream(stream::pending()));
    let subscriptions = [&numbers, &never].map(|outlet| outlet.subscribe(Window::new(10)));
    let gather = batching(|_: &u64| ()).max_delay(Duration::MAX);
    let batches = pipeline.transform(gather, subscriptions);
    let sink = for_each(|_: KeyedBatch<(), u64>| ());
    pipeline.consume(sink, batches.subscribe(Window::new(4)));
    let run = timeout(Duration::from_secs(3600), pipeline.run());
    assert!(run.await.is_err());
    tokio::task::yield_now().await;
    assert_eq!(book.nacked(), [0, 1, 2, 3, 4]);
}

/// Notes what it is given, and when it is told that time has elapsed: it wants to hear that from
/// the start, and then every second.
struct Clock {
    next: Instant,
    told: Arc<Mutex<Vec<String>>>,
}

impl Transform<u64> for Clock {
    type Out = u64;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), Infallible> {
        self.told.lock().unwrap().push(format!("{batch:?}"));
        batch.map_into(out, |n| n);
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        Some(self.next)
    }

    async fn elapsed(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> {
        self.told.lock().unwrap().push("elapsed".to_owned());
        self.next = Instant::now() + Duration::from_secs(1);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_transform_is_told_the_time_first_and_only_while_something_is_wanted() {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let clock = Clock {
        next: Instant::now(),
        told: Arc::clone(&told),
    };
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(from_iter(0..4));
    let clock = pipeline.transform(clock, numbers.subscribe(Window::new(1)));
    let slow = for_each_async(|_: u64| async {
        sleep(Duration::from_secs(10)).await;
        Ok::<_, Infallible>(())
    });
    pipeline.consume(slow, clock.subscribe(Window::new(1)));
    pipeline.run().await.unwrap();
    // Between two events lie ten seconds, in which nothing is wanted.
    let expected = [
        "elapsed", "[0]", "elapsed", "[1]", "elapsed", "[2]", "elapsed", "[3]",
    ];
    assert_eq!(told.lock().unwrap()[..8], expected);
}

/// The tenth of a second in which each event is taken in.
fn tenths() -> (
    impl Consumer<u64, Error = Infallible>,
    Arc<Mutex<Vec<u128>>>,
) {
    let start = Instant::now();
    let all = Arc::<Mutex<Vec<u128>>>::default();
    let seen = Arc::clone(&all);
    let note = for_each(move |_: u64| {
        all.lock().unwrap().push(start.elapsed().as_millis() / 100);
    });
    (note, seen)
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_holds_events_back_and_loses_no_demand() {
    let (numbers, _rate) = rate_limited(from_iter(0..40), Quota::per_second(10).with_burst(5));
    let (sink, seen) = tenths();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(numbers);
    pipeline.consume(sink, numbers.subscribe(Window::new(100)));
    pipeline.run().await.unwrap();
    let expected: Vec<u128> = iter::repeat_n(0, 5).chain(1..=35).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_new_quota_takes_effect_while_the_old_one_is_waited_for() {
    let hourly = Quota::new(1, Duration::from_secs(3600));
    let (numbers, rate) = rate_limited(from_iter(0..7), hourly);
    let (sink, seen) = tenths();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(numbers);
    pipeline.consume(sink, numbers.subscribe(Window::new(100)));
    let changes = async {
        for (quota, seconds) in [
            (hourly, 10),
            (Quota::new(1, Duration::from_secs(1)), 3),
            (Quota::PAUSED, 3600),
            (Quota::per_second(10).with_burst(1), 60),
        ] {
            rate.set(quota);
            assert_eq!(rate.clone().quota(), quota);
            sleep(Duration::from_millis(seconds * 1000 + 50)).await;
        }
    };
    let (ran, ()) = tokio::join!(pipeline.run(), changes);
    ran.unwrap();
    let expected = [0, 110, 120, 130, 36132, 36133, 36134];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_gives_more_than_it_is_asked_for_waits_the_longer() {
    let start = Instant::now();
    let pages = Arc::<Mutex<Vec<(u64, usize)>>>::default();
    let noted = Arc::clone(&pages);
    let paged = producer_fn(0, move |n: u64, demand: Demand| {
        let now = start.elapsed().as_secs();
        noted.lock().unwrap().push((now, demand.get()));
        async move { Ok::<_, Infallible>((n < 4).then_some((0..20, n + 1))) }
    });
    let (paged, _rate) = rate_limited(paged, Quota::per_second(10));
    let (sink, seen) = collect();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(paged);
    pipeline.consume(sink, numbers.subscribe(Window::new(1000)));
    pipeline.run().await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 80);
    let expected = [(0, 10), (1, 1), (3, 1), (5, 1), (7, 1)];
    assert_eq!(*pages.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_made_before_a_call_was_dropped_counts() {
    struct Half;
    impl Producer for Half {
        type Event = u64;
        type Error = Infallible;
        async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
            batch.push(7);
            std::future::pending().await
        }
    }
    let (mut half, _rate) = rate_limited(Half, Quota::new(2, Duration::from_secs(3600)));
    let mut batch = Batch::new();
    for made in [1, 2, 2, 2] {
        let call = timeout(Duration::from_secs(1), half.produce(demand(9), &mut batch));
        assert!(call.await.is_err());
        assert_eq!(batch.len(), made);
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_producer_goes_on_where_it_was() {
    let (sink, seen) = tenths();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline
        .stage("ticks")
        .produce(ticks(Duration::from_secs(1), 6));
    pipeline.consume(sink, numbers.subscribe(Window::new(100)));
    let handle = pipeline.handle();
    let pauses = async {
        sleep(Duration::from_millis(2500)).await;
        handle.pause("ticks").unwrap();
        handle.pause("ticks").unwrap();
        sleep(Duration::from_secs(60)).await;
        handle.resume("ticks").unwrap();
        handle.resume("ticks").unwrap();
    };
    let (ran, ()) = tokio::join!(pipeline.run(), pauses);
    ran.unwrap();
    // The third was under way.
    assert_eq!(*seen.lock().unwrap(), [10, 20, 30, 635, 645, 655]);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_stops_while_its_producer_is_held_back() {
    let (limited, _rate) = rate_limited(from_iter(0..), Quota::PAUSED);
    let (sink, seen) = collect();
    let mut pipeline = Pipeline::new();
    let paused = pipeline.stage("paused").produce(from_iter(0..));
    let subscriptions =
        [paused, pipeline.produce(limited)].map(|numbers| numbers.subscribe(Window::new(10)));
    pipeline.consume(sink, subscriptions);
    pipeline.handle().pause("paused").unwrap();
    pipeline
        .run_until(sleep(Duration::from_secs(60)))
        .await
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), [0_u64; 0]);
}

proptest! {
    /// Whatever is made of events in one batch, and whichever of them are tracked, each is acked
    /// exactly if all that was made of it is.
    #[test]
    fn events_share_no_fate(
        inputs in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<bool>(), 0..4)), 0..20),
        one_for_one in any::<bool>(),
        joined in any::<bool>(),
    ) {
        let (book, mut batch) = (Arc::<Book>::default(), Batch::new());
        let source: Arc<dyn Acknowledge> = Arc::clone(&book) as _;
        for (n, (tracked, outputs)) in inputs.iter().enumerate() {
            let mut single = Batch::from_iter([outputs.clone()]);
            if *tracked {
                single.track(Arc::clone(&source), n as u64);
            }
            book.0.lock().unwrap().push(None);
            for (event, receipt) in single.drain_with_receipts() {
                batch.push_with_receipt(event, receipt);
            }
        }
        // An event says what is to become of it.
        let mut out = Batch::from_iter([false]);
        if one_for_one {
            batch.map_into(&mut out, |outputs| outputs.into_iter().all(|ack| ack));
        } else {
            batch.flat_map_into(&mut out, |outputs| outputs);
        }
        out.push(false);
        let (settled, mut acks, mut nacks) = (out.len(), Vec::new(), Vec::new());
        for (ack, receipt) in out.drain_with_receipts() {
            if ack { acks.push(receipt) } else { nacks.push(receipt) }
        }
        prop_assert_eq!(acks.len() + nacks.len(), settled);
        if joined {
            Receipt::join(acks).ack();
            Receipt::join(nacks).nack();
        } else {
            drop(nacks);
            acks.into_iter().for_each(Receipt::ack);
        }
        let expected: Vec<_> = inputs.iter().map(|(tracked, outputs)| {
            let all = outputs.iter().all(|ack| *ack);
            tracked.then_some(if all { Outcome::Acked } else { Outcome::Nacked })
        }).collect();
        prop_assert_eq!(&*book.0.lock().unwrap(), &expected);
    }
}
