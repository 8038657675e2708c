//! Stages that are made anew.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use stage_core::{
    Batch, Consumer, Demand, Flow, Generation, OnFailure, Pipeline, PipelineError, Producer,
    Receipt, Restart, Transform, Window, resilient, restarting, restarting_consumer,
    restarting_transform,
};
use tokio::time::{Instant, sleep};

use crate::support::{Book, Fussy, Sink, Tracked, run, tracked};

const ALWAYS: u32 = u32::MAX;
const SECOND: Duration = Duration::from_secs(1);

fn often() -> Restart {
    Restart::new(100, 3_600 * SECOND)
}

/// A consumer that breaks for good when it fails.
struct Fragile {
    inner: Fussy,
    broken: bool,
}

impl Fragile {
    fn new(inner: &Fussy) -> Self {
        Self {
            inner: inner.clone(),
            broken: false,
        }
    }

    fn check(&mut self, events: &[u64]) -> io::Result<()> {
        assert!(!self.broken, "called after it failed");
        self.broken = true;
        self.inner.check(events)?;
        self.broken = false;
        Ok(())
    }
}

impl Consumer<u64> for Fragile {
    type Error = io::Error;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
        self.check(&batch.drain().collect::<Vec<_>>())
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_consumer_gets_the_same_batch_again() {
    for panics in [false, true] {
        let (source, book) = Tracked::up_to(40);
        let fussy = Fussy::about([(7, 2), (33, 1)]);
        let fussy = if panics { fussy.panicking() } else { fussy };
        let notes = fussy.notes.clone();
        let generations = Arc::new(Mutex::new(Vec::new()));
        let made = Arc::clone(&generations);
        let consumer = restarting_consumer(often(), move |generation: Generation| {
            made.lock()
                .unwrap()
                .push((generation.get(), Instant::now()));
            Fragile::new(&fussy)
        });
        let start = Instant::now();
        run(source, consumer, 10).await.unwrap();
        assert_eq!(notes.taken(), (0..40).collect::<Vec<_>>());
        assert_eq!(book.acked().len(), 40);
        let made = generations.lock().unwrap();
        let made: Vec<_> = made
            .iter()
            .map(|(n, at)| (*n, (*at - start).as_millis()))
            .collect();
        assert_eq!(made, [(0, 0), (1, 100), (2, 300), (3, 700)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_batch_does_not_restart_for_ever() {
    let (source, book) = Tracked::up_to(40);
    let fussy = Fussy::about([(7, ALWAYS)]);
    let notes = fussy.notes.clone();
    let policy = Restart::new(3, 60 * SECOND);
    let consumer = restarting_consumer(policy, move |_| Fragile::new(&fussy));
    let error = run(source, consumer, 10).await.unwrap_err();
    let PipelineError::Failed { source, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(source.to_string(), "cannot stand 7");
    assert_eq!(notes.calls().len(), 1 + 4);
    assert_eq!(book.acked(), [0, 1, 2, 3, 4]);
    assert_eq!(book.open(), []);
}

#[tokio::test(start_paused = true)]
async fn when_restarts_do_not_help_the_policy_for_events_has_its_say() {
    let (source, book) = Tracked::up_to(40);
    let fussy = Fussy::about([(7, ALWAYS), (8, 3)]).panicking();
    let notes = fussy.notes.clone();
    let consumer = restarting_consumer(Restart::new(3, 60 * SECOND), move |_| Fragile::new(&fussy));
    let policy = OnFailure::retry(2)
        .waiting(SECOND, SECOND)
        .bisecting()
        .then_skip();
    let skipped = policy.skipped();
    run(source, resilient(consumer, policy), 10).await.unwrap();
    assert_eq!(skipped.get(), 1);
    assert_eq!(
        notes.taken(),
        (0..40).filter(|&n| n != 7).collect::<Vec<_>>()
    );
    assert_eq!(book.acked().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_policy_for_events_may_also_be_made_anew() {
    let (source, book) = Tracked::up_to(40);
    let fussy = Fussy::about([(7, 3)]);
    let notes = fussy.notes.clone();
    let consumer = restarting_consumer(often(), move |_| {
        let policy = OnFailure::no_retry().bisecting().then_stop();
        resilient(fussy.clone(), policy)
    });
    run(source, consumer, 10).await.unwrap();
    // What the halves had taken in before it stopped is not given again.
    assert_eq!(notes.taken(), (0..40).collect::<Vec<_>>());
    assert_eq!(book.acked().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_consumer_had_kept_is_nacked_and_the_batch_in_hand_is_not() {
    /// Keeps everything until the end.
    struct Hoard(Fussy, Vec<Receipt>);
    impl Consumer<u64> for Hoard {
        type Error = io::Error;
        async fn consume(&mut self, batch: &mut Batch<u64>) -> io::Result<()> {
            let kept: Vec<_> = batch.drain_with_receipts().collect();
            let (events, receipts): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
            self.1.extend(receipts);
            self.0.check(&events)
        }
        async fn finish(&mut self) -> io::Result<()> {
            self.1.drain(..).for_each(Receipt::ack);
            Ok(())
        }
    }
    let (source, book) = Tracked::up_to(20);
    let fussy = Fussy::about([(12, 1)]);
    let consumer = restarting_consumer(often(), move |_| Hoard(fussy.clone(), Vec::new()));
    run(source, consumer, 10).await.unwrap();
    assert_eq!(book.nacked(), (0..10).collect::<Vec<_>>());
    assert_eq!(book.acked(), (10..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_in_the_wait_nacks() {
    let (mut batch, book) = tracked(5);
    let fussy = Fussy::about([(3, ALWAYS)]);
    let policy = often().waiting(3_600 * SECOND, 3_600 * SECOND);
    let mut consumer = restarting_consumer(policy, move |_| Fragile::new(&fussy));
    let call = tokio::time::timeout(SECOND, consumer.consume(&mut batch)).await;
    assert!(call.is_err());
    drop(batch);
    assert_eq!(book.nacked().len(), 5);
}

/// Gives each event ten times, all but the last before it may fail.
struct Tens(Fragile);

impl Transform<u64> for Tens {
    type Out = u64;
    type Error = io::Error;

    async fn transform(&mut self, batch: &mut Batch<u64>, out: &mut Batch<u64>) -> io::Result<()> {
        let events: Vec<u64> = batch.drain().collect();
        out.extend(events.iter().flat_map(|&event| [event; 9]));
        self.0.check(&events)?;
        out.extend(events);
        Ok(())
    }
}

async fn through_tens(
    fussy: Fussy,
    policy: Restart,
) -> (Arc<Book>, Sink, Result<(), PipelineError>) {
    let (source, book) = Tracked::up_to(40);
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let tens = restarting_transform(policy, move |_| Tens(Fragile::new(&fussy)));
    let tens = pipeline.transform(tens, numbers.subscribe(Window::new(10)));
    pipeline.consume(sink.clone(), tens.subscribe(Window::new(20)));
    let result = pipeline.run().await;
    (book, sink, result)
}

#[tokio::test(start_paused = true)]
async fn a_fresh_transform_makes_everything_once() {
    for panics in [false, true] {
        let fussy = Fussy::about([(7, 2), (33, 1)]);
        let fussy = if panics { fussy.panicking() } else { fussy };
        let (book, sink, result) = through_tens(fussy, often()).await;
        result.unwrap();
        let mut made = sink.0.taken();
        made.sort_unstable();
        assert_eq!(made, (0..40).flat_map(|n| [n; 10]).collect::<Vec<_>>());
        assert_eq!(book.acked().len(), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transform_that_fails_too_often_nacks_what_it_had() {
    let fussy = Fussy::about([(7, ALWAYS)]);
    let (book, sink, result) = through_tens(fussy, Restart::new(2, 60 * SECOND)).await;
    result.unwrap_err();
    assert_eq!(sink.0.taken().len(), 50);
    assert_eq!(book.acked(), [0, 1, 2, 3, 4]);
    assert_eq!(book.open(), []);
}

#[tokio::test(start_paused = true)]
async fn a_steady_run_makes_the_next_wait_short_again() {
    /// Makes an event and fails, after so many seconds.
    struct FailsAfter(u64);
    impl Producer for FailsAfter {
        type Event = u64;
        type Error = io::Error;
        async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> io::Result<Flow> {
            sleep(SECOND * self.0 as u32).await;
            batch.push(self.0);
            if self.0 == 0 {
                return Ok(Flow::End);
            }
            Err(io::Error::other("on purpose"))
        }
    }
    let mut lives = vec![0, 1, 20, 1, 1, 1];
    let policy = Restart::new(10, 3_600 * SECOND)
        .waiting(SECOND, 60 * SECOND)
        .steady_after(10 * SECOND);
    let source = restarting(policy, move || FailsAfter(lives.pop().unwrap()));
    let start = Instant::now();
    run(source, Sink::default(), 10).await.unwrap();
    // Waits of 1, 2, 4, then, after twenty steady seconds, 1 and 2 again.
    let (runs, waits) = (1 + 1 + 1 + 20 + 1, 1 + 2 + 4 + 1 + 2);
    assert_eq!(start.elapsed().as_secs(), runs + waits);
}
