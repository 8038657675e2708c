use shuttle::thread;
use stage_core::{
    End, Pipeline, Window,
    protocol::{Down, Reason},
};

use crate::{
    parts::{Book, Log, Numbers, Then, start, up_to},
    schedules::{random, random_and_pct},
};

#[test]
fn t1_subscribed_once_and_first() {
    random_and_pct(async || {
        let (source, early, late) = (Log::default(), Log::default(), Log::default());
        let mut pipeline = Pipeline::new();
        let numbers = Numbers::up_to(6, Then::Ends).in_log(&source);
        let numbers = pipeline.stage("numbers").produce(numbers);
        pipeline.consume(early.sink(), numbers.subscribe(Window::new(2)));
        let handle = pipeline.handle();
        let run = start(pipeline);
        early.until(up_to(4)).await;
        let joining = thread::spawn({
            let log = late.clone();
            move || {
                let subscription = numbers.subscribe(Window::new(2));
                // The pipeline may be over.
                let _ = handle.stage("late").consume(log.sink(), subscription);
            }
        });
        run.await.unwrap().unwrap();
        joining.join().unwrap();
        for log in [&early, &late] {
            log.check();
        }
        for end in late.ends() {
            let too_late = End::Cancelled(Reason::NoProducer);
            assert!(end == End::Completed || end == too_late, "{end}");
        }
        let mut taken = [early.taken(), late.taken()].concat();
        taken.sort_unstable();
        assert_eq!(taken, Vec::from_iter(0..6));
        let ends = source.ends().len();
        assert_eq!(source.signals().len(), 2 * ends, "{:?}", source.signals());
    });
}

#[test]
fn t1_who_subscribes_again_is_refused_and_the_first_goes_on() {
    random(async || {
        let (source, log) = (Log::default(), Log::default());
        let mut pipeline = Pipeline::new();
        let numbers = Numbers::up_to(6, Then::Waits).in_log(&source);
        let numbers = pipeline.stage("numbers").broadcast().produce(numbers);
        let intake = pipeline.consume(log.sink(), []);
        let handle = pipeline.handle();
        let subscribing = [(); 3].map(|()| {
            let (intake, numbers) = (intake.clone(), numbers.clone());
            thread::spawn(move || intake.add(numbers.subscribe(Window::new(2))).unwrap())
        });
        for subscribing in subscribing {
            subscribing.join().unwrap();
        }
        let run = start(pipeline);
        log.until(6).await;
        handle.stop();
        run.await.unwrap().unwrap();
        log.check_calls();
        assert_eq!(log.arrived(), Vec::from_iter(0..6));
        let refused = End::Cancelled(Reason::AlreadySubscribed);
        let (again, ended): (Vec<_>, Vec<_>) = log.ends().into_iter().partition(|e| *e == refused);
        assert_eq!((again.len(), ended.len()), (2, 1));
        source.check();
    });
}

#[test]
fn t2_one_end_and_nothing_after_it() {
    for then in [Then::Ends, Then::Fails] {
        random_and_pct(async move || {
            let (source, log, book) = (Log::default(), Log::default(), Book::default());
            let mut pipeline = Pipeline::new();
            let numbers = Numbers::up_to(3, then).in_book(&book).in_log(&source);
            let numbers = pipeline.produce(numbers);
            let (subscription, handle) = numbers.subscribe_manually();
            pipeline.consume(log.sink(), subscription);
            let run = start(pipeline);
            let asking = thread::spawn({
                let handle = handle.clone();
                move || {
                    for _ in 0..5 {
                        // What becomes of the last ones depends on who is first.
                        let _ = handle.ask(1);
                    }
                }
            });
            log.until(up_to(3)).await;
            let cancelling = thread::spawn({
                let handle = handle.clone();
                move || handle.cancel()
            });
            let result = run.await.unwrap();
            for other in [asking, cancelling] {
                other.join().unwrap();
            }
            log.check();
            assert_eq!(log.ends().len(), 1);
            // A producer that has failed is told no more.
            assert_eq!(source.ends().len(), usize::from(result.is_ok()));
            book.check();
            assert_eq!(book.acked(), log.taken());
            let failed = Down::Failed("on purpose".into());
            match &log.ends()[0] {
                End::Cancelled(Reason::Shutdown) => {}
                End::Completed => assert!(result.is_ok() && log.taken().len() == 3),
                End::Down(down) => assert!(result.is_err() && *down == failed),
                end => panic!("{end}"),
            }
        });
    }
}
