use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use shuttle::{future::yield_now, thread};
use stage_core::{
    Batch, Consumer, InHand, Outlet, Pipeline, Subscription, SubscriptionHandle, Window, map,
    protocol::Buffer, push_source,
};

use crate::{
    parts::{Asked, Book, Log, Numbers, Then, start, up_to},
    schedules::{often, random, random_and_pct},
};

/// Asks for so many, one after the other, on a thread of its own.
fn asking(
    handle: &SubscriptionHandle,
    asked: &Asked,
    asks: &'static [usize],
) -> thread::JoinHandle<()> {
    let (handle, asked) = (handle.clone(), asked.clone());
    thread::spawn(move || {
        for events in asks {
            asked.ask(&handle, *events);
        }
        handle.let_go();
    })
}

#[test]
fn d1_never_more_than_asked() {
    random_and_pct(async || {
        let (log, asked) = (Log::default(), Asked::default());
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(100, Then::Waits));
        let (subscription, handle) = numbers.subscribe_manually();
        pipeline.consume(log.sink().within(&asked), subscription);
        let run = start(pipeline);
        let askers = [
            asking(&handle, &asked, &[1, 2, 1]),
            asking(&handle, &asked, &[3, 1]),
        ];
        for asker in askers {
            asker.join().unwrap();
        }
        log.until(8).await;
        handle.cancel();
        run.await.unwrap().unwrap();
        log.check();
        assert_eq!(log.arrived(), Vec::from_iter(0..8));
    });
}

#[test]
fn d2_no_wake_up_is_lost() {
    random_and_pct(async || {
        let (log, asked) = (Log::default(), Asked::default());
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(9, Then::Ends));
        let (subscription, handle) = numbers.subscribe_manually();
        // Before there is anybody to be woken, from a thread, and from within a call.
        asked.ask(&handle, 1);
        let (from_within, more) = (handle.clone(), asked.clone());
        let mut asks = 4;
        let sink = log.sink().on_events(move |_| {
            if asks > 0 {
                asks -= 1;
                more.ask(&from_within, 1);
            }
        });
        // The source ends when it is asked for the tenth.
        let asker = asking(&handle, &asked, &[1, 1, 1, 1, 1]);
        pipeline.consume(sink, subscription);
        let run = start(pipeline);
        asker.join().unwrap();
        run.await.unwrap().unwrap();
        log.check();
        assert_eq!(log.arrived(), Vec::from_iter(0..9));
    });
}

#[test]
fn d2_no_wake_up_is_lost_along_a_chain_that_is_held_and_let_go() {
    random(async || {
        let log = Log::default();
        let mut pipeline = Pipeline::new();
        let numbers = Numbers::up_to(8, Then::Ends);
        let numbers = pipeline.stage("numbers").produce(numbers);
        let doubled = pipeline.transform(map(|n: u64| n * 2), numbers.subscribe(Window::new(2)));
        pipeline.consume(log.sink(), doubled.subscribe(Window::new(3)));
        let handle = pipeline.handle();
        let run = start(pipeline);
        let holding = thread::spawn(move || {
            for _ in 0..2 {
                // It may be over.
                let _ = handle.pause("numbers");
                thread::yield_now();
                let _ = handle.resume("numbers");
            }
        });
        run.await.unwrap().unwrap();
        holding.join().unwrap();
        log.check();
        assert_eq!(log.taken(), Vec::from_iter((0..8).map(|n| n * 2)));
    });
}

/// A small window that is asked for again when all of it has been dealt with.
fn whole_window(outlet: &Outlet<u64>, window: usize) -> Subscription<u64> {
    outlet.subscribe(Window::new(window).with_min(0))
}

/// Nothing comes after the last event: no end whose ring would wake a consumer that has overslept.
#[test]
fn d2_no_wake_up_is_lost_before_a_long_silence() {
    for window in [1, 2, 3] {
        often(async move || {
            let log = Log::default();
            let mut pipeline = Pipeline::new();
            let numbers = pipeline.produce(Numbers::up_to(12, Then::Waits));
            pipeline.consume(log.sink(), whole_window(&numbers, window));
            let handle = pipeline.handle();
            let run = start(pipeline);
            log.until(12).await;
            handle.stop();
            run.await.unwrap().unwrap();
            log.check();
            assert_eq!(log.taken(), Vec::from_iter(0..12));
        });
    }
}

#[test]
fn d2_no_wake_up_of_a_transform_is_lost_before_a_long_silence() {
    often(async || {
        let log = Log::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(6, Then::Waits));
        let subscription = whole_window(&numbers, 1 + up_to(2));
        let doubled = pipeline.transform(map(|n: u64| n * 2), subscription);
        pipeline.consume(log.sink(), whole_window(&doubled, 1 + up_to(2)));
        let handle = pipeline.handle();
        let run = start(pipeline);
        log.until(6).await;
        handle.stop();
        run.await.unwrap().unwrap();
        log.check();
        assert_eq!(log.taken(), Vec::from_iter((0..6).map(|n| n * 2)));
    });
}

#[test]
fn d2_what_is_weighed_comes_before_a_long_silence() {
    random_and_pct(async || {
        let log = Log::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(8, Then::Waits));
        let limit = 1 + up_to(2);
        let weighed = whole_window(&numbers, 1 + up_to(2)).bytes(limit, |n| (n % 3) as usize);
        pipeline.consume(log.sink(), weighed);
        let handle = pipeline.handle();
        let run = start(pipeline);
        log.until(8).await;
        handle.stop();
        run.await.unwrap().unwrap();
        log.check();
        assert_eq!(log.taken(), Vec::from_iter(0..8));
    });
}

#[test]
fn d2_what_is_pushed_arrives() {
    random_and_pct(async || {
        let log = Log::default();
        let (push, source) = push_source(Buffer::unbounded());
        let mut pipeline = Pipeline::new();
        let pushed = pipeline.produce(source);
        pipeline.consume(log.sink(), pushed.subscribe(Window::new(2)));
        let run = start(pipeline);
        // At times, the source waits for the first of them.
        while push.wanted() == 0 && up_to(50) > 0 {
            yield_now().await;
        }
        let pushing = [0_u64, 10].map(|first| {
            let push = push.clone();
            thread::spawn(move || {
                for event in first..first + 3 {
                    push.push([event]);
                }
            })
        });
        for pushing in pushing {
            pushing.join().unwrap();
        }
        // What comes before the end comes by the wake-ups of pushes, and the end by one of its own,
        // perhaps when the source has long been waiting.
        log.until(up_to(6)).await;
        for _ in 0..up_to(20) {
            yield_now().await;
        }
        push.close();
        run.await.unwrap().unwrap();
        log.check();
        let mut taken = log.taken();
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 10, 11, 12]);
    });
}

#[test]
fn d2_what_is_no_longer_in_hand_lets_more_in() {
    /// Has threads of its own deal with events.
    struct Keeps(Arc<AtomicUsize>);

    impl Consumer<u64> for Keeps {
        type Error = std::io::Error;

        async fn consume(&mut self, batch: &mut Batch<u64>) -> std::io::Result<()> {
            let mut kept = batch.keep_in_hand();
            while kept.events() > 0 {
                let one: InHand = kept.split(1);
                self.0.fetch_add(1, SeqCst);
                thread::spawn(move || drop(one));
            }
            yield_now().await;
            Ok(())
        }
    }

    random_and_pct(async || {
        let (book, kept) = (Book::default(), Arc::<AtomicUsize>::default());
        let mut pipeline = Pipeline::new();
        let then = [Then::Ends, Then::Waits][up_to(1)];
        let numbers = pipeline.produce(Numbers::up_to(6, then).in_book(&book));
        let window = Window::new(1 + up_to(1));
        pipeline.consume(Keeps(kept.clone()), numbers.subscribe(window));
        let handle = pipeline.handle();
        let run = start(pipeline);
        if then == Then::Waits {
            // All that is kept is given back without any news from above.
            while kept.load(SeqCst) < 6 {
                yield_now().await;
            }
            handle.stop();
        }
        run.await.unwrap().unwrap();
        assert_eq!(kept.load(SeqCst), 6);
        book.check();
        assert_eq!(book.acked().len(), 6);
    });
}

#[test]
fn d2_who_comes_late_is_served() {
    random_and_pct(async || {
        let (idle, late) = (Log::default(), Log::default());
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(4, Then::Ends));
        let (subscription, handle) = numbers.subscribe_manually();
        pipeline.consume(idle.sink(), subscription);
        let stages = pipeline.handle();
        let run = start(pipeline);
        let joining = thread::spawn({
            let log = late.clone();
            move || {
                let subscription = numbers.subscribe(Window::new(2));
                let stage = stages.stage("late");
                stage.consume(log.sink(), subscription).unwrap();
            }
        });
        run.await.unwrap().unwrap();
        joining.join().unwrap();
        drop(handle);
        for log in [&idle, &late] {
            log.check();
        }
        assert_eq!(late.taken(), Vec::from_iter(0..4));
    });
}

#[test]
fn d5_who_does_not_ask_holds_up_nobody() {
    random_and_pct(async || {
        let (idle, busy) = (Log::default(), Log::default());
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Numbers::up_to(6, Then::Ends));
        let (subscription, handle) = numbers.subscribe_manually();
        pipeline.consume(idle.sink(), subscription);
        pipeline.consume(busy.sink(), numbers.subscribe(Window::new(2)));
        let run = start(pipeline);
        busy.until(6).await;
        run.await.unwrap().unwrap();
        drop(handle);
        for log in [&idle, &busy] {
            log.check();
        }
        assert!(idle.arrived().is_empty());
        assert_eq!(busy.taken(), Vec::from_iter(0..6));
    });
}

#[test]
fn d5_a_broadcast_gives_what_all_have_asked_for() {
    random(async || {
        let (fast, slow, asked) = (Log::default(), Log::default(), Asked::default());
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.stage("numbers").broadcast();
        let numbers = numbers.produce(Numbers::up_to(6, Then::Ends));
        let (subscription, handle) = numbers.subscribe_manually();
        pipeline.consume(slow.sink().within(&asked), subscription);
        pipeline.consume(
            fast.sink().within(&asked),
            numbers.subscribe(Window::new(4)),
        );
        let run = start(pipeline);
        // The source ends when both have asked for the seventh.
        let asker = asking(&handle, &asked, &[1, 2, 1, 3]);
        run.await.unwrap().unwrap();
        asker.join().unwrap();
        for log in [&fast, &slow] {
            log.check();
            assert_eq!(log.taken(), Vec::from_iter(0..6));
        }
    });
}

#[test]
fn d9_demand_of_the_dead_is_forgotten() {
    random_and_pct(async || {
        let (dead, alive, book) = (Log::default(), Log::default(), Book::default());
        let (asked, asked_by_dead) = (Asked::default(), Asked::default());
        // How many had been made when the producer was told.
        let told_at = Arc::new(Mutex::new(None));
        let mut pipeline = Pipeline::new();
        let numbers = Numbers::up_to(100, Then::Waits)
            .in_book(&book)
            .on_end({
                let (told_at, book) = (told_at.clone(), book.clone());
                move |subscription| {
                    if &*subscription.to == "dead" {
                        *told_at.lock().unwrap() = Some(book.made());
                    }
                }
            })
            .on_demand({
                let (log, book) = (alive.clone(), book.clone());
                let (asked, asked_by_dead) = (asked.clone(), asked_by_dead.clone());
                move |demand| {
                    let limit = match *told_at.lock().unwrap() {
                        Some(made) => made + asked.events(),
                        None => asked_by_dead.events() + asked.events(),
                    };
                    let wanted = book.made() + demand;
                    if wanted > limit {
                        log.fault(format!("{wanted} of {limit} are wanted"));
                    }
                }
            });
        let numbers = pipeline.produce(numbers);
        let (subscription, to_dead) = numbers.subscribe_manually();
        let sink = dead.sink().within(&asked_by_dead);
        pipeline.stage("dead").consume(sink, subscription);
        let (subscription, handle) = numbers.subscribe_manually();
        let sink = alive.sink().within(&asked);
        pipeline.stage("alive").consume(sink, subscription);
        let run = start(pipeline);
        asked_by_dead.ask(&to_dead, 4);
        dead.until(up_to(3)).await;
        let dying = thread::spawn(move || to_dead.cancel());
        let asker = asking(&handle, &asked, &[2, 1, 2]);
        dying.join().unwrap();
        asker.join().unwrap();
        // All that the living asked for comes, and no more.
        alive.until(5).await;
        handle.cancel();
        run.await.unwrap().unwrap();
        for log in [&dead, &alive] {
            log.check();
        }
        assert_eq!(alive.taken().len(), 5);
        book.check();
        assert!(book.made() <= 9, "{} were made", book.made());
        let taken = dead.taken().len() + alive.taken().len();
        assert_eq!(book.acked().len(), taken);
    });
}
