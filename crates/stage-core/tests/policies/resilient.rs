//! What becomes of events that a stage fails on.

use std::{
    convert::Infallible,
    error::Error,
    io, mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use stage_core::{
    Batch, Consumer, DeadLetter, DeadLetterError, OnFailure, Pipeline, PipelineError, Receipt,
    Transform, Window, dead_letter, resilient, resilient_transform,
};
use tokio::time::{Instant, timeout};

use crate::support::{Fussy, Notes, Sink, Tracked, run, tracked};

const ALWAYS: u32 = u32::MAX;
const SECOND: Duration = Duration::from_secs(1);

/// Keeps letters.
#[derive(Clone, Default)]
struct Letters(Arc<Mutex<Vec<DeadLetter<u64>>>>);

impl Letters {
    fn events(&self) -> Vec<u64> {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(|letter| letter.event)
            .collect()
    }
}

impl Consumer<DeadLetter<u64>> for Letters {
    type Error = Infallible;

    async fn consume(&mut self, letters: &mut Batch<DeadLetter<u64>>) -> Result<(), Infallible> {
        self.0.lock().unwrap().extend(letters.drain());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_a_while_is_retried_with_longer_waits_and_acked_once() {
    for panics in [false, true] {
        let (source, book) = Tracked::up_to(20);
        let fussy = Fussy::about([(7, 3)]);
        let fussy = if panics { fussy.panicking() } else { fussy };
        let notes = fussy.notes.clone();
        let policy = OnFailure::retry(3).waiting(SECOND, 3 * SECOND).then_stop();
        let start = Instant::now();
        run(source, resilient(fussy, policy), 10).await.unwrap();
        assert_eq!(start.elapsed(), (1 + 2 + 3) * SECOND);
        assert_eq!(notes.taken(), (0..20).collect::<Vec<_>>());
        assert_eq!(notes.calls()[1..5], vec![(5..10).collect::<Vec<_>>(); 4]);
        assert_eq!(book.acked().len(), 20);
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_retries_the_error_stops_the_stage_and_nacks() {
    let (source, book) = Tracked::up_to(100);
    let fussy = Fussy::about([(7, ALWAYS)]);
    let notes = fussy.notes.clone();
    let error = run(
        source,
        resilient(fussy, OnFailure::retry(2).then_stop()),
        10,
    )
    .await
    .unwrap_err();
    let PipelineError::Failed { stage, source, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (&*stage, source.to_string()),
        ("consumer", "cannot stand 7".into())
    );
    assert_eq!(notes.calls().len(), 1 + 3);
    assert_eq!(book.acked(), [0, 1, 2, 3, 4]);
    assert_eq!(book.open(), []);
}

#[tokio::test(start_paused = true)]
async fn bisecting_stops_at_the_bad_event_with_everything_before_it_done() {
    let (source, book) = Tracked::up_to(100);
    let policy = OnFailure::no_retry().bisecting().then_stop();
    let fussy = Fussy::about([(17, ALWAYS)]);
    let notes = fussy.notes.clone();
    run(source, resilient(fussy, policy), 20).await.unwrap_err();
    assert_eq!(notes.taken(), (0..17).collect::<Vec<_>>());
    assert_eq!(book.acked(), (0..17).collect::<Vec<_>>());
    assert_eq!(book.nacked()[0], 17);
    assert_eq!(book.open(), []);
}

#[tokio::test(start_paused = true)]
async fn a_bad_event_goes_to_the_dead_letters_with_its_error_and_the_rest_on_in_order() {
    let (source, book) = Tracked::up_to(40);
    let fussy = Fussy::about([(3, ALWAYS), (4, ALWAYS), (30, ALWAYS)]).panicking();
    let (notes, letters) = (fussy.notes.clone(), Letters::default());
    let policy = OnFailure::retry(1)
        .bisecting()
        .then(dead_letter(letters.clone()));
    run(source, resilient(fussy, policy), 16).await.unwrap();
    assert_eq!(letters.events(), [3, 4, 30]);
    let good = |n: &u64| ![3, 4, 30].contains(n);
    assert_eq!(notes.taken(), (0..40).filter(good).collect::<Vec<_>>());
    assert_eq!(book.acked().len(), 40);
    let letter = letters.0.lock().unwrap()[0].clone();
    assert_eq!(letter.error, "panicked: cannot stand 3");
    // All eight twice, four, two, and the one alone twice.
    assert_eq!(letter.attempts, 6);
    assert!(!format!("{letter:?}").contains("event: 3"));
}

#[tokio::test(start_paused = true)]
async fn letters_are_sent_before_what_comes_after_them() {
    /// One log for both.
    struct Both(Notes);
    impl Consumer<DeadLetter<u64>> for Both {
        type Error = Infallible;
        async fn consume(
            &mut self,
            letters: &mut Batch<DeadLetter<u64>>,
        ) -> Result<(), Infallible> {
            let events = letters.iter().map(|letter| letter.event + 1_000);
            self.0.taken.lock().unwrap().extend(events);
            Ok(())
        }
    }
    let (source, _) = Tracked::up_to(8);
    let fussy = Fussy::about([(2, ALWAYS), (5, ALWAYS)]);
    let notes = fussy.notes.clone();
    let policy = OnFailure::no_retry()
        .bisecting()
        .then(dead_letter(Both(notes.clone())));
    run(source, resilient(fussy, policy), 16).await.unwrap();
    assert_eq!(notes.taken(), [0, 1, 1_002, 3, 4, 1_005, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_for_dead_letters_that_fails_stops_the_stage_and_nothing_is_lost() {
    struct Broken(bool);
    impl Consumer<DeadLetter<u64>> for Broken {
        type Error = io::Error;
        async fn consume(&mut self, letters: &mut Batch<DeadLetter<u64>>) -> io::Result<()> {
            letters.drain();
            assert!(!self.0, "disk on fire");
            Err(io::Error::other("disk full"))
        }
    }
    for panics in [false, true] {
        let (source, book) = Tracked::up_to(40);
        let policy = OnFailure::no_retry()
            .bisecting()
            .then(dead_letter(Broken(panics)));
        let consumer = resilient(Fussy::about([(7, ALWAYS)]), policy);
        let error = run(source, consumer, 10).await.unwrap_err();
        let cause = error.source().unwrap();
        assert!(cause.is::<DeadLetterError>(), "{cause}");
        let beneath = cause.source().unwrap().to_string();
        assert!(beneath.contains("disk"), "{beneath}");
        assert_eq!(book.acked(), (0..7).collect::<Vec<_>>());
        assert_eq!(book.nacked()[0], 7);
        assert_eq!(book.open(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_for_dead_letters_may_keep_receipts_and_is_finished() {
    #[derive(Default)]
    struct AtTheEnd(Vec<Receipt>, Arc<Mutex<u64>>);
    impl Consumer<DeadLetter<u64>> for AtTheEnd {
        type Error = Infallible;
        async fn consume(
            &mut self,
            letters: &mut Batch<DeadLetter<u64>>,
        ) -> Result<(), Infallible> {
            self.0
                .extend(letters.drain_with_receipts().map(|(_, receipt)| receipt));
            Ok(())
        }
        async fn finish(&mut self) -> Result<(), Infallible> {
            *self.1.lock().unwrap() += self.0.len() as u64;
            self.0.drain(..).for_each(Receipt::ack);
            Ok(())
        }
    }
    let (source, book) = Tracked::up_to(20);
    let kept = Arc::default();
    let sink = AtTheEnd(Vec::new(), Arc::clone(&kept));
    let policy = OnFailure::no_retry().bisecting().then(dead_letter(sink));
    let fussy = Fussy::about([(3, ALWAYS), (19, ALWAYS)]);
    run(source, resilient(fussy, policy), 10).await.unwrap();
    assert_eq!((*kept.lock().unwrap(), book.acked().len()), (2, 20));
}

#[tokio::test(start_paused = true)]
async fn skipping_is_counted() {
    let (source, book) = Tracked::up_to(40);
    let fussy = Fussy::about([(3, ALWAYS), (25, ALWAYS)]);
    let notes = fussy.notes.clone();
    let policy = OnFailure::retry(1).then_skip();
    let skipped = policy.skipped();
    run(source, resilient(fussy, policy), 20).await.unwrap();
    // Without bisecting, the whole portion goes.
    assert_eq!((skipped.get(), notes.taken().len()), (20, 20));
    assert_eq!(book.acked().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn what_was_acked_one_by_one_is_not_given_again() {
    /// Takes events in one by one.
    struct Singly(Fussy);
    impl Consumer<u64> for Singly {
        type Error = io::Error;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
            for (event, receipt) in batch.drain_with_receipts() {
                self.0.check(&[event])?;
                receipt.ack();
            }
            Ok(())
        }
    }
    let (source, book) = Tracked::up_to(40);
    let fussy = Fussy::about([(3, 2), (25, 1)]);
    let notes = fussy.notes.clone();
    let policy = OnFailure::retry(2).then_stop();
    run(source, resilient(Singly(fussy), policy), 20)
        .await
        .unwrap();
    assert_eq!(notes.taken(), (0..40).collect::<Vec<_>>(), "each once");
    assert_eq!(book.acked().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn receipts_that_are_kept_from_a_call_that_succeeded_still_count() {
    /// Nacks every third at once, and settles the others with the next batch or at the end.
    #[derive(Default)]
    struct Lags(Vec<Receipt>);
    impl Consumer<u64> for Lags {
        type Error = Infallible;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
            let earlier = mem::take(&mut self.0);
            for (event, receipt) in batch.drain_with_receipts() {
                match event % 3 {
                    0 => receipt.nack(),
                    _ => self.0.push(receipt),
                }
            }
            earlier.into_iter().for_each(Receipt::ack);
            Ok(())
        }
        async fn finish(&mut self) -> Result<(), Infallible> {
            self.0.drain(..).for_each(Receipt::ack);
            Ok(())
        }
    }
    let (source, book) = Tracked::up_to(30);
    let consumer = resilient(Lags::default(), OnFailure::retry(2).then_stop());
    run(source, consumer, 7).await.unwrap();
    let thirds: Vec<u64> = (0..10).map(|n| n * 3).collect();
    assert_eq!(book.nacked(), thirds);
    assert_eq!(book.acked().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn what_is_nacked_in_a_call_that_succeeds_is_nacked_when_it_returns() {
    /// Nacks the first and gives the other receipts away.
    struct Picky(Arc<Mutex<Vec<Receipt>>>);
    impl Consumer<u64> for Picky {
        type Error = Infallible;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
            let mut receipts = batch.drain_with_receipts().map(|(_, receipt)| receipt);
            receipts.next().unwrap().nack();
            self.0.lock().unwrap().extend(receipts);
            Ok(())
        }
    }
    let (mut batch, book) = tracked(3);
    let given = Arc::<Mutex<Vec<Receipt>>>::default();
    let mut consumer = resilient(Picky(Arc::clone(&given)), OnFailure::retry(2).then_stop());
    consumer.consume(&mut batch).await.unwrap();
    assert_eq!((book.nacked(), book.open()), (vec![0], vec![1, 2]));
    given.lock().unwrap().drain(..).for_each(Receipt::ack);
    assert_eq!(book.acked(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn receipts_kept_from_a_call_that_failed_do_not_count() {
    /// Keeps all receipts and fails the first time.
    #[derive(Default)]
    struct Keeps(Vec<Receipt>, bool);
    impl Consumer<u64> for Keeps {
        type Error = io::Error;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
            if mem::replace(&mut self.1, true) {
                // The old ones, acked now, are of copies that were taken back.
                self.0.drain(..).for_each(Receipt::ack);
                return Err(io::Error::other("on purpose"));
            }
            self.0
                .extend(batch.drain_with_receipts().map(|(_, receipt)| receipt));
            Err(io::Error::other("on purpose"))
        }
    }
    let (mut batch, book) = tracked(5);
    let mut consumer = resilient(Keeps::default(), OnFailure::retry(2).then_stop());
    assert!(consumer.consume(&mut batch).await.is_err());
    drop(batch);
    assert_eq!(book.nacked().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_at_any_moment_nacks_what_is_not_done() {
    /// Takes a second for each call.
    struct Slow(Fussy);
    impl Consumer<u64> for Slow {
        type Error = io::Error;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
            tokio::time::sleep(SECOND).await;
            self.0.consume(batch).await
        }
    }
    let mut ended = false;
    for tenths in 0.. {
        let (mut batch, book) = tracked(8);
        let fussy = Fussy::about([(5, ALWAYS)]);
        let (notes, letters) = (fussy.notes.clone(), Letters::default());
        let policy = OnFailure::retry(1)
            .bisecting()
            .then(dead_letter(letters.clone()));
        let mut consumer = resilient(Slow(fussy), policy);
        let call = timeout(SECOND * tenths / 10, consumer.consume(&mut batch)).await;
        drop(batch);
        let mut done = notes.taken();
        done.extend(letters.events());
        done.sort_unstable();
        assert_eq!(book.acked(), done, "after {tenths} tenths");
        assert_eq!(book.open(), []);
        ended = call.is_ok();
        if ended {
            break;
        }
    }
    assert!(ended);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_nacks_though_somebody_else_has_receipts() {
    /// Gives all receipts but one away, acks one, and never returns.
    struct Gives(Arc<Mutex<Vec<Receipt>>>);
    impl Consumer<u64> for Gives {
        type Error = Infallible;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
            let mut receipts = batch.drain_with_receipts().map(|(_, receipt)| receipt);
            receipts.next().unwrap().ack();
            self.0.lock().unwrap().extend(receipts);
            std::future::pending().await
        }
    }
    let (mut batch, book) = tracked(5);
    let given = Arc::<Mutex<Vec<Receipt>>>::default();
    let mut consumer = resilient(Gives(Arc::clone(&given)), OnFailure::retry(2).then_stop());
    assert!(timeout(SECOND, consumer.consume(&mut batch)).await.is_err());
    assert_eq!((book.acked(), book.nacked()), (vec![0], vec![1, 2, 3, 4]));
    given.lock().unwrap().drain(..).for_each(Receipt::ack);
    assert_eq!(book.acked(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_with_nothing_left_to_try_goes_on() {
    /// Acks all, and fails.
    struct AcksAndFails;
    impl Consumer<u64> for AcksAndFails {
        type Error = io::Error;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
            batch
                .drain_with_receipts()
                .for_each(|(_, receipt)| receipt.ack());
            Err(io::Error::other("on purpose"))
        }
    }
    let (source, book) = Tracked::up_to(10);
    let policy = OnFailure::retry(9).then_skip();
    run(source, resilient(AcksAndFails, policy), 10)
        .await
        .unwrap_err();
    assert_eq!(book.acked(), [0, 1, 2, 3, 4]);
    assert_eq!(book.open(), []);
}

/// Makes two of each, and fails as a consumer would.
struct Twice(Fussy);

impl Transform<u64> for Twice {
    type Out = u64;
    type Error = io::Error;

    async fn transform(&mut self, batch: &mut Batch<u64>, out: &mut Batch<u64>) -> io::Result<()> {
        // Half done before it fails.
        out.push(batch[0]);
        let events: Vec<u64> = batch.drain().collect();
        self.0.check(&events)?;
        out.push(events[0]);
        out.extend(events[1..].iter().flat_map(|&n| [n, n]));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_transform_is_retried_and_halved_and_nothing_comes_out_twice() {
    let (source, book) = Tracked::up_to(60);
    let (letters, sink) = (Letters::default(), Sink::default());
    let fussy = Fussy::about([(7, 2), (33, ALWAYS), (59, ALWAYS)]);
    let policy = OnFailure::retry(1)
        .bisecting()
        .then(dead_letter(letters.clone()));
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let twice = resilient_transform(Twice(fussy), policy);
    let twice = pipeline.transform(twice, numbers.subscribe(Window::new(10)));
    pipeline.consume(sink.clone(), twice.subscribe(Window::new(6)));
    pipeline.run().await.unwrap();
    let good = (0..60).filter(|n| ![33, 59].contains(n));
    assert_eq!(
        sink.0.taken(),
        good.flat_map(|n| [n, n]).collect::<Vec<_>>()
    );
    assert_eq!(letters.events(), [33, 59]);
    assert_eq!(book.acked().len(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_transform_that_stops_nacks_what_it_had_not_handed_on() {
    let (source, book) = Tracked::up_to(60);
    let sink = Sink::default();
    let policy = OnFailure::no_retry().bisecting().then_stop();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let twice = resilient_transform(Twice(Fussy::about([(18, ALWAYS)])), policy);
    let twice = pipeline.transform(twice, numbers.subscribe(Window::new(20)));
    pipeline.consume(sink.clone(), twice.subscribe(Window::new(6)));
    pipeline.run().await.unwrap_err();
    assert_eq!(book.acked(), (0..10).collect::<Vec<_>>());
    assert_eq!(book.open(), []);
    assert_eq!(sink.0.taken().len(), 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever fails how often, in whatever window: handed out is acked and nacked, each once; what
    /// is acked was taken in or is a dead letter; nothing is taken in twice; and the order is kept.
    #[test]
    fn nothing_is_lost_and_nothing_is_done_twice(
        fails in prop::collection::btree_map(0u64..60, prop_oneof![1u32..6, Just(ALWAYS)], 0..5),
        window in 1usize..30,
        retries in 0u32..3,
        bisects in any::<bool>(),
        panics in any::<bool>(),
        stops in any::<bool>(),
    ) {
        let fussy = Fussy::about(fails);
        let fussy = if panics { fussy.panicking() } else { fussy };
        let (notes, letters) = (fussy.notes.clone(), Letters::default());
        let on_failure = OnFailure::retry(retries).jittered(7);
        let on_failure = if bisects { on_failure.bisecting() } else { on_failure };
        let (source, book) = Tracked::up_to(60);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let result = runtime.block_on(async {
            if stops {
                run(source, resilient(fussy, on_failure.then_stop()), window).await
            } else {
                let policy = on_failure.then(dead_letter(letters.clone()));
                run(source, resilient(fussy, policy), window).await
            }
        });
        prop_assert!(stops || result.is_ok());
        prop_assert!(book.open().is_empty());
        prop_assert_eq!(result.is_ok(), book.nacked().is_empty());
        prop_assert!(notes.taken().is_sorted_by(|a, b| a < b), "in order, each once");
        prop_assert!(letters.events().is_sorted_by(|a, b| a < b));
        let mut done = notes.taken();
        done.extend(letters.events());
        done.sort_unstable();
        prop_assert_eq!(book.acked(), done);
    }
}
