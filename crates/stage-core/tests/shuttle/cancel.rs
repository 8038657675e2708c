use shuttle::{future::yield_now, thread};
use stage_core::{AskError, End, Pipeline, SubscriptionHandle, Window, protocol::Reason};

use crate::{
    parts::{Asked, Book, Log, Numbers, Then, start, up_to},
    schedules::{random, random_and_pct},
};

#[test]
fn c1_anybody_may_ask_and_cancel_at_any_time() {
    random(async || {
        let (source, log, asked) = (Log::default(), Log::default(), Asked::default());
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(100, Then::Waits).in_log(&source));
        let (subscription, handle) = numbers.subscribe_manually();
        pipeline.consume(log.sink().within(&asked), subscription);
        let run = start(pipeline);
        let threads = Vec::from_iter((0..4).map(|number| {
            let (handle, asked) = (handle.clone(), asked.clone());
            thread::spawn(move || {
                for _ in 0..3 {
                    let closed = asked.try_ask(&handle, 1) == Err(AskError::Closed);
                    assert!(!closed || handle.is_closed());
                }
                if number % 2 == 0 {
                    handle.cancel();
                    handle.cancel();
                    assert!(handle.is_closed());
                    assert_eq!(handle.ask(1), Err(AskError::Closed));
                }
            })
        }));
        for thread in threads {
            thread.join().unwrap();
        }
        run.await.unwrap().unwrap();
        for log in [&source, &log] {
            log.check();
            assert_eq!(log.ends(), [End::Cancelled(Reason::Shutdown)]);
        }
    });
}

#[test]
fn c2_after_a_cancel_comes_what_is_in_hand_at_most() {
    random_and_pct(async || {
        let log = Log::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(100, Then::Waits));
        let (subscription, handle) = numbers.subscribe_manually();
        pipeline.consume(log.sink(), subscription);
        let run = start(pipeline);
        handle.ask(5).unwrap();
        log.until(up_to(5)).await;
        let calls = calls_until_cancelled(&log, handle);
        run.await.unwrap().unwrap();
        log.check();
        assert!(log.arrived().len() <= 5);
        assert!(log.calls() <= calls, "{:?}", log.signals());
    });
}

#[test]
fn c2_after_a_cancel_the_rest_of_a_batch_does_not_come() {
    random_and_pct(async || {
        let log = Log::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(100, Then::Waits));
        // Batches of two are taken in one by one.
        let (subscription, handle) = numbers.subscribe(Window::new(2)).with_handle();
        pipeline.consume(log.sink(), subscription);
        let run = start(pipeline);
        log.until(up_to(3)).await;
        let calls = calls_until_cancelled(&log, handle);
        run.await.unwrap().unwrap();
        log.check();
        assert!(log.calls() <= calls, "{:?}", log.signals());
    });
}

/// Cancels on a thread of its own, and says how many calls there may be then: unless one goes on, the
/// next may have been on its way.
fn calls_until_cancelled(log: &Log, handle: SubscriptionHandle) -> usize {
    let log = log.clone();
    let cancelling = thread::spawn(move || {
        handle.cancel();
        log.calls() + usize::from(!log.is_busy())
    });
    cancelling.join().unwrap()
}

#[test]
fn c3_what_is_in_flight_at_a_cancel_comes_back() {
    random_and_pct(async || {
        let (log, book) = (Log::default(), Book::default());
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(100, Then::Waits).in_book(&book));
        let (subscription, handle) = numbers.subscribe(Window::new(4)).with_handle();
        pipeline.consume(log.sink(), subscription);
        let run = start(pipeline);
        log.until(up_to(5)).await;
        let cancelling = thread::spawn(move || handle.cancel());
        run.await.unwrap().unwrap();
        cancelling.join().unwrap();
        log.check();
        book.check();
        assert_eq!(book.acked(), log.taken());
    });
}

#[test]
fn c3_what_is_in_flight_at_a_cancel_is_counted_once() {
    random_and_pct(async || {
        let (source, log) = (Log::default(), Log::default());
        let mut pipeline = Pipeline::new();
        let numbers = Numbers::up_to(100, Then::Waits).in_log(&source);
        let numbers = pipeline.stage("numbers").produce(numbers);
        let (subscription, handle) = numbers.subscribe(Window::new(4)).with_handle();
        // So that both stages stay.
        let (idle, kept) = numbers.subscribe_manually();
        pipeline
            .stage("sink")
            .consume(log.sink(), [subscription, idle]);
        let stages = pipeline.handle();
        let run = start(pipeline);
        log.until(up_to(5)).await;
        let cancelling = thread::spawn(move || handle.cancel());
        while log.ends().is_empty() || source.ends().is_empty() {
            yield_now().await;
        }
        cancelling.join().unwrap();
        let status = stages.status();
        let [numbers, sink] = ["numbers", "sink"].map(|name| status.stage(name).unwrap());
        let counted = sink.handled + sink.nacked + numbers.nacked + numbers.buffered;
        assert_eq!(numbers.handled, counted, "{status:?}");
        assert_eq!(sink.handled, log.taken().len() as u64);
        kept.cancel();
        run.await.unwrap().unwrap();
    });
}

#[test]
fn c3_what_is_in_flight_at_an_abort_comes_back() {
    random_and_pct(async || {
        let (logs, book) = ([(); 2].map(|()| Log::default()), Book::default());
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(100, Then::Waits).in_book(&book));
        for log in &logs {
            pipeline.consume(log.sink(), numbers.subscribe(Window::new(3)));
        }
        let run = start(pipeline);
        logs[0].until(up_to(3)).await;
        run.abort();
        assert!(run.await.is_err());
        // The stages are dropped one by one, whenever that is.
        book.until_settled().await;
        book.check();
        let mut taken = logs.each_ref().map(Log::taken).concat();
        taken.sort_unstable();
        assert_eq!(book.acked(), taken);
    });
}

#[test]
fn c7_a_cancel_meets_a_subscribing() {
    random_and_pct(async || {
        let (source, early, late) = (Log::default(), Log::default(), Log::default());
        let book = Book::default();
        let mut pipeline = Pipeline::new();
        let numbers = Numbers::up_to(100, Then::Waits);
        let numbers = numbers.in_book(&book).in_log(&source);
        let numbers = pipeline.stage("numbers").produce(numbers);
        let (subscription, until_then) = numbers.subscribe(Window::new(2)).with_handle();
        pipeline.consume(early.sink(), subscription);
        let (subscription, handle) = numbers.subscribe(Window::new(2)).with_handle();
        let stages = pipeline.handle();
        let run = start(pipeline);
        early.until(up_to(3)).await;
        let joining = thread::spawn({
            let log = late.clone();
            move || {
                let stage = stages.stage("late");
                stage.consume(log.sink(), subscription).unwrap();
            }
        });
        let cancelling = thread::spawn({
            let handle = handle.clone();
            move || {
                handle.cancel();
                assert_eq!(handle.ask(1), Err(AskError::Closed));
            }
        });
        for other in [joining, cancelling] {
            other.join().unwrap();
        }
        assert!(handle.is_closed());
        // A cancel that was forgotten would keep the late one there for good.
        until_then.cancel();
        run.await.unwrap().unwrap();
        for log in [&early, &late] {
            log.check();
        }
        for end in late.ends() {
            // However it ended, nobody went down.
            assert!(!matches!(end, End::Down(_)), "{end}");
        }
        book.check();
        let mut taken = [early.taken(), late.taken()].concat();
        taken.sort_unstable();
        assert_eq!(book.acked(), taken);
        let begun = source.signals().len() - source.ends().len();
        assert_eq!(begun, source.ends().len(), "{:?}", source.signals());
    });
}

#[test]
fn c7_a_cancel_meets_an_end() {
    random_and_pct(async || cancel_at_the_end(Then::Ends).await);
}

#[test]
fn c7_a_cancel_meets_a_failure() {
    random_and_pct(async || cancel_at_the_end(Then::Fails).await);
}

async fn cancel_at_the_end(then: Then) {
    let (source, log, book) = (Log::default(), Log::default(), Book::default());
    let mut pipeline = Pipeline::new();
    let numbers = Numbers::up_to(2, then).in_book(&book).in_log(&source);
    let numbers = pipeline.produce(numbers);
    let (subscription, handle) = numbers.subscribe(Window::new(4)).with_handle();
    pipeline.consume(log.sink(), subscription);
    let run = start(pipeline);
    log.until(up_to(2)).await;
    let cancelling = [(); 2].map(|()| {
        let handle = handle.clone();
        thread::spawn(move || handle.cancel())
    });
    for cancelling in cancelling {
        cancelling.join().unwrap();
    }
    assert!(handle.is_closed());
    let result = run.await.unwrap();
    log.check();
    assert_eq!(log.ends().len(), 1);
    // A producer that has failed is told no more.
    assert_eq!(source.ends().len(), usize::from(result.is_ok()));
    book.check();
    assert_eq!(book.acked(), log.taken());
    // Who is told that all went well has had all.
    let completed = log.ends() == [End::Completed];
    assert!(!completed || (log.taken() == [0, 1] && result.is_ok()));
}

#[test]
fn c7_a_cancel_meets_an_ask() {
    random_and_pct(async || {
        let (source, log, asked) = (Log::default(), Log::default(), Asked::default());
        let book = Book::default();
        let mut pipeline = Pipeline::new();
        let numbers = Numbers::up_to(100, Then::Waits);
        let numbers = pipeline.produce(numbers.in_book(&book).in_log(&source));
        let (subscription, handle) = numbers.subscribe_manually();
        pipeline.consume(log.sink().within(&asked), subscription);
        let run = start(pipeline);
        let asking = thread::spawn({
            let (handle, asked) = (handle.clone(), asked.clone());
            move || {
                let asks = [(); 4].map(|()| asked.try_ask(&handle, 1).is_ok());
                // Once it is closed, it stays so.
                assert!(asks.is_sorted_by(|one, next| one >= next), "{asks:?}");
            }
        });
        for _ in 0..up_to(20) {
            yield_now().await;
        }
        let cancelling = thread::spawn({
            let handle = handle.clone();
            move || handle.cancel_because("enough")
        });
        for other in [asking, cancelling] {
            other.join().unwrap();
        }
        run.await.unwrap().unwrap();
        for log in [&source, &log] {
            log.check();
            assert_eq!(log.ends(), [End::Cancelled(Reason::Other("enough".into()))]);
        }
        book.check();
        assert_eq!(book.acked(), log.taken());
    });
}
