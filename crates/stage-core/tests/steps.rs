//! Steps in the task of another stage, and what becomes of events on their way through them.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    convert::Infallible,
    future::pending,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use stage_core::{
    Acknowledge, Batch, BoxConsumer, BoxProducer, Consumer, Demand, Flow, InHand, Outcome,
    Pipeline, PipelineError, Producer, Receipt, Restart, Step, Transform, Window, batching, filter,
    flat_map, for_each, from_iter, map, restarting, transform_fn, try_map,
};
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use stages::{Book, Counter, Slow, Tracked, tracked};

const SECOND: Duration = Duration::from_secs(1);

/// A step, for chains that are made up.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Add(u64),
    LeaveOut(u64),
    Repeat(u64),
}

impl Step<u64> for Kind {
    type Out = u64;
    type Error = Infallible;

    fn step(&mut self, event: u64, mut put: impl FnMut(u64)) -> Result<(), Infallible> {
        match *self {
            Self::Add(more) => put(event + more),
            Self::LeaveOut(of) if event.is_multiple_of(of) => {}
            Self::LeaveOut(_) => put(event),
            Self::Repeat(times) => (0..event % (times + 1)).for_each(|n| put(event + n)),
        }
        Ok(())
    }
}

/// Adds, and says that it makes one of each.
struct Adds(u64);

impl Step<u64> for Adds {
    type Out = u64;
    type Error = Infallible;

    fn step(&mut self, _: u64, _: impl FnMut(u64)) -> Result<(), Infallible> {
        unreachable!("it is asked for the other way")
    }

    fn one_for_one(&mut self) -> Option<impl FnMut(u64) -> u64> {
        Some(|event| event + self.0)
    }
}

/// Notes what it is given, and nacks every seventh.
#[derive(Clone, Default)]
struct Picky(Arc<Mutex<Vec<u64>>>);

impl Consumer<u64> for Picky {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        assert!(!batch.is_empty());
        for (event, receipt) in batch.drain_with_receipts() {
            self.0.lock().unwrap().push(event);
            if event % 7 == 0 {
                receipt.nack();
            } else {
                receipt.ack();
            }
        }
        Ok(())
    }
}

/// Where the steps run.
#[derive(Clone, Copy, Debug)]
enum Place {
    Tasks,
    OneTask,
    Producer,
    ProducerInARow,
    Transform,
    Consumer,
    ConsumerBoxed,
    Both,
}

const PLACES: [Place; 8] = [
    Place::Tasks,
    Place::OneTask,
    Place::Producer,
    Place::ProducerInARow,
    Place::Transform,
    Place::Consumer,
    Place::ConsumerBoxed,
    Place::Both,
];

/// What comes of numbers up to `until`, and what was acked of these.
async fn through(
    place: Place,
    steps: [Kind; 3],
    until: u64,
    window: Window,
) -> (Vec<u64>, Vec<u64>) {
    let [a, b, c] = steps;
    let ((source, book), sink) = (Tracked::up_to(until), Picky::default());
    let seen = sink.clone();
    let mut pipeline = Pipeline::new();
    match place {
        Place::Tasks => {
            let mut numbers = pipeline.produce(source);
            for step in steps {
                numbers = pipeline.transform((step,), numbers.subscribe(window));
            }
            pipeline.consume(sink, numbers.subscribe(window));
        }
        Place::OneTask => {
            let numbers = pipeline.produce(source);
            let numbers = pipeline.transform((a, b, c), numbers.subscribe(window));
            pipeline.consume(sink, numbers.subscribe(window));
        }
        Place::Producer => {
            let numbers = pipeline.produce(source.then((a, b, c, Kind::Add(0))));
            pipeline.consume(sink, numbers.subscribe(window));
        }
        Place::ProducerInARow => {
            let numbers = pipeline.produce(source.then(a).then(b).then(c));
            pipeline.consume(sink, numbers.subscribe(window));
        }
        Place::Transform => {
            let numbers = pipeline.produce(source);
            let steps = map(|n: u64| n).then(a).then(b).then(c);
            let numbers = pipeline.transform(steps, numbers.subscribe(window));
            pipeline.consume(sink, numbers.subscribe(window));
        }
        Place::Consumer => {
            let numbers = pipeline.produce(source);
            let sink = sink.after(c).after(b).after(a);
            pipeline.consume(sink, numbers.subscribe(window));
        }
        Place::ConsumerBoxed => {
            let numbers = pipeline.produce(source);
            let sink = BoxConsumer::new(BoxConsumer::new(sink.after(c)).after(b)).after(a);
            pipeline.consume(sink, numbers.subscribe(window));
        }
        Place::Both => {
            let numbers = pipeline.produce(source.then(a));
            let numbers = pipeline.transform((b,), numbers.subscribe(window));
            pipeline.consume(sink.after(c), numbers.subscribe(window));
        }
    }
    pipeline.run().await.unwrap();
    assert_eq!(book.open(), [], "{place:?}");
    let seen = seen.0.lock().unwrap().clone();
    (seen, book.acked())
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (0..9_u64).prop_map(Kind::Add),
        (1..5_u64).prop_map(Kind::LeaveOut),
        (0..4_u64).prop_map(Kind::Repeat),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What comes of events, and what becomes of them, is the same wherever their steps run.
    #[test]
    fn it_is_the_same_in_whatever_task(
        steps in [kind(), kind(), kind()],
        until in 0..60_u64,
        window in 1..20_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        let expected = (0..until).flat_map(|n| {
            let mut events = vec![n];
            for mut step in steps {
                let each = events.into_iter().map(|event| {
                    let mut made = Vec::new();
                    let Ok(()) = step.step(event, |event| made.push(event));
                    made
                });
                events = each.flatten().collect();
            }
            [(n, events)]
        });
        let expected: Vec<(u64, Vec<u64>)> = expected.collect();
        let acked: Vec<u64> = expected
            .iter()
            .filter(|(_, made)| made.iter().all(|n| n % 7 != 0))
            .map(|(n, _)| *n)
            .collect();
        let seen: Vec<u64> = expected.into_iter().flat_map(|(_, made)| made).collect();
        for place in PLACES {
            let found = runtime.block_on(through(place, steps, until, Window::new(window)));
            prop_assert_eq!(&found, &(seen.clone(), acked.clone()), "{:?}", place);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_of_those_that_make_one_of_each_is_one_that_does() {
    let mut row = (Adds(1), map(|n: u64| 2 * n), Adds(3));
    let mut make = row.one_for_one().unwrap();
    assert_eq!(make(4), 13);
    drop(make);
    assert!((Adds(1), filter(|_: &u64| true)).one_for_one().is_none());
    let (mut batch, book) = tracked(5);
    let mut out = Batch::new();
    row.transform(&mut batch, &mut out).await.unwrap();
    assert_eq!(out[..], [5, 7, 9, 11, 13]);
    let (_, second) = out.drain_with_receipts().nth(1).unwrap();
    assert_eq!(book.nacked(), [0, 2, 3, 4]);
    second.ack();
    assert_eq!(book.acked(), [1]);
}

/// Puts out what it has in its first call, and then does this.
struct Gives(Option<Batch<u64>>, Next);

#[derive(Clone, Copy)]
enum Next {
    Ends,
    /// In that call.
    Waits,
    /// In the next call.
    WaitsLater,
    Panics,
}

impl Producer for Gives {
    type Event = u64;
    type Error = Infallible;

    async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
        let events = self.0.take();
        let is_first = events.is_some();
        if let Some(events) = events {
            *batch = events;
        }
        match self.1 {
            Next::Ends => Ok(Flow::End),
            Next::WaitsLater if is_first => Ok(Flow::More),
            Next::Waits | Next::WaitsLater => pending().await,
            Next::Panics => panic!("the source"),
        }
    }
}

/// Leaves out every other call's events, and does not say so to their receipts.
struct Forgetful(Tracked, bool);

impl Producer for Forgetful {
    type Event = u64;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<u64>,
    ) -> Result<Flow, Infallible> {
        let flow = self.0.produce(demand, batch).await?;
        if std::mem::replace(&mut self.1, false) {
            drop(batch.drain());
        } else {
            self.1 = true;
        }
        Ok(flow)
    }
}

#[tokio::test(start_paused = true)]
async fn receipts_whose_events_have_gone_are_nobody_elses() {
    for one_for_one in [true, false] {
        let (source, book) = Tracked::up_to(60);
        let forgetful = Forgetful(source, false);
        let mut pipeline = Pipeline::new();
        let numbers = match one_for_one {
            true => pipeline.produce(forgetful.then(map(|n: u64| n))),
            false => pipeline.produce(forgetful.then(filter(|_: &u64| true))),
        };
        let sink = Slow::default();
        pipeline.consume(sink.clone(), numbers.subscribe(Window::new(20)));
        pipeline.run().await.unwrap();
        assert!(sink.seen().len() < 60);
        assert_eq!(book.acked(), sink.seen());
        assert_eq!(book.open(), []);
    }
}

fn fails_on(bad: u64) -> impl Step<u64, Out = u64> {
    try_map(move |n: u64| match n == bad {
        true => Err(io::Error::other("on purpose")),
        false => Ok(n),
    })
}

#[tokio::test(start_paused = true)]
async fn what_a_call_has_made_that_is_given_up_goes_through() {
    let (batch, book) = tracked(10);
    let mut pipeline = Pipeline::new();
    let source = Gives(Some(batch), Next::Waits).then(filter(|n: &u64| n % 2 == 1));
    let numbers = pipeline.produce(source.then(map(|n: u64| n * 10)));
    let sink = Slow::default();
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
    let stop = async { sleep(SECOND).await };
    pipeline.run_until(stop).await.unwrap();
    assert_eq!(sink.seen(), [10, 30, 50, 70, 90]);
    assert_eq!(book.acked(), Vec::from_iter(0..10));
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_a_call_that_is_given_up_is_told() {
    let (batch, book) = tracked(10);
    let mut pipeline = Pipeline::new();
    let stage = pipeline.stage("source");
    let numbers = stage.produce(Gives(Some(batch), Next::Waits).then(fails_on(7)));
    let sink = Slow::default();
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
    let ended = pipeline.run_until(async { sleep(SECOND).await }).await;
    let Err(PipelineError::Failed { stage, source, .. }) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(
        (&stage[..], source.to_string()),
        ("source", "on purpose".into())
    );
    assert_eq!(sink.seen(), Vec::from_iter(0..7));
    assert_eq!(book.acked(), Vec::from_iter(0..7));
    assert_eq!(book.nacked(), [7, 8, 9]);
}

/// Gives each call up after a while.
struct Impatient<P>(P);

impl<P: Producer> Producer for Impatient<P> {
    type Event = P::Event;
    type Error = P::Error;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<P::Event>,
    ) -> Result<Flow, P::Error> {
        match timeout(SECOND, self.0.produce(demand, batch)).await {
            Ok(flow) => flow,
            Err(_) => Ok(Flow::More),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_a_call_that_is_given_up_is_told_by_the_next() {
    let (batch, book) = tracked(10);
    let mut pipeline = Pipeline::new();
    let source = Gives(Some(batch), Next::Waits).then(fails_on(3));
    let numbers = pipeline.produce(Impatient(source));
    let sink = Slow::default();
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(20)));
    pipeline.run().await.unwrap_err();
    assert_eq!(sink.seen(), [0, 1, 2]);
    assert_eq!(book.nacked(), Vec::from_iter(3..10));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_out_before_a_step_fails_is_acked() {
    let (source, book) = Tracked::up_to(10);
    let mut pipeline = Pipeline::new();
    let steps = (filter(|n: &u64| n % 2 == 1), fails_on(7));
    let numbers = pipeline.produce(source.then(steps));
    pipeline.consume(Slow::default(), numbers.subscribe(Window::new(10)));
    pipeline.run().await.unwrap_err();
    assert_eq!(book.acked(), Vec::from_iter(0..7));
    assert_eq!(book.nacked(), [7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn what_was_made_before_a_step_failed_is_handed_out() {
    let (source, book) = Tracked::up_to(10);
    let mut pipeline = Pipeline::new();
    // Of the one that it fails on, nothing is, neither before nor after it.
    let steps = (flat_map(|n: u64| [n, n * 10, n]), fails_on(60));
    let numbers = pipeline.produce(source.then(steps));
    let sink = Slow::default();
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
    let ended = pipeline.run().await.unwrap_err();
    assert!(
        matches!(&ended, PipelineError::Failed { source, .. } if source.to_string() == "on purpose"),
        "{ended:?}"
    );
    let seen = (0..6_u64).flat_map(|n| [n, n * 10, n]);
    assert_eq!(sink.seen(), Vec::from_iter(seen));
    assert_eq!(book.acked(), Vec::from_iter(0..6));
    assert_eq!(book.nacked(), Vec::from_iter(6..10));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_tracked_is_handed_out_as_well() {
    let mut pipeline = Pipeline::new();
    let steps = (flat_map(|n: u64| [n, n * 10, n]), fails_on(60));
    let numbers = pipeline.produce(Counter::up_to(30).then(steps));
    let sink = Slow::default();
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
    pipeline.run().await.unwrap_err();
    let seen = (0..6_u64).flat_map(|n| [n, n * 10, n]);
    assert_eq!(sink.seen(), Vec::from_iter(seen));
}

#[tokio::test(start_paused = true)]
async fn the_consumer_gets_nothing_of_a_portion_that_a_step_has_failed_on() {
    let (source, book) = Tracked::up_to(10);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let sink = Slow::default();
    let failing = sink.clone().after(fails_on(7));
    pipeline.consume(failing, numbers.subscribe(Window::new(10)));
    pipeline.run().await.unwrap_err();
    assert_eq!(sink.seen(), [0, 1, 2, 3, 4]);
    assert_eq!(book.acked(), [0, 1, 2, 3, 4]);
    assert_eq!(book.nacked(), [5, 6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_transform_whose_steps_fail_puts_out_nothing_of_that_call() {
    let (source, book) = Tracked::up_to(10);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    // All that it makes stands for all that it was given.
    let all = transform_fn(async |batch: Batch<u64>| Ok::<_, Infallible>(batch.into_vec()));
    let numbers = pipeline.transform(all.then(fails_on(7)), numbers.subscribe(Window::new(10)));
    let sink = Slow::default();
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
    pipeline.run().await.unwrap_err();
    assert_eq!(sink.seen(), [0, 1, 2, 3, 4]);
    assert_eq!(book.acked(), [0, 1, 2, 3, 4]);
    assert_eq!(book.nacked(), [5, 6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_panics_fails_the_stage_and_nothing_is_left_open() {
    for at_end in [false, true] {
        let (source, book) = Tracked::up_to(10);
        let mut pipeline = Pipeline::new();
        let panics = map(|n: u64| match n {
            7 => panic!("on purpose"),
            _ => n,
        });
        let sink = Slow::default();
        let window = Window::new(10);
        if at_end {
            let numbers = pipeline.produce(source);
            pipeline.consume(sink.after(panics), numbers.subscribe(window));
        } else {
            let numbers = pipeline.produce(source.then(panics));
            pipeline.consume(sink, numbers.subscribe(window));
        }
        let ended = pipeline.run().await.unwrap_err();
        assert!(ended.to_string().contains("on purpose"), "{ended}");
        assert_eq!(book.open(), []);
        assert!(book.nacked().contains(&7));
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_panics_in_a_call_that_is_given_up_fails_the_stage() {
    let (batch, book) = tracked(3);
    let mut pipeline = Pipeline::new();
    let panics = map(|_: u64| -> u64 { panic!("on purpose") });
    let numbers = pipeline.produce(Gives(Some(batch), Next::Waits).then(panics));
    pipeline.consume(Slow::default(), numbers.subscribe(Window::new(10)));
    let ended = pipeline.run_until(async { sleep(SECOND).await }).await;
    assert!(ended.unwrap_err().to_string().contains("on purpose"));
    assert_eq!(book.nacked(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_is_not_told_apart_from_its_steps_that_panic_along() {
    let (batch, book) = tracked(3);
    let mut pipeline = Pipeline::new();
    let also = map(|_: u64| -> u64 { panic!("the step") });
    let numbers = pipeline.produce(Gives(Some(batch), Next::Panics).then(also));
    pipeline.consume(Slow::default(), numbers.subscribe(Window::new(10)));
    let ended = pipeline.run().await.unwrap_err();
    assert!(ended.to_string().contains("the source"), "{ended}");
    assert_eq!(book.nacked(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_a_source_had_put_out_when_it_panicked_goes_through_for_whoever_makes_it_anew() {
    let (batch, book) = tracked(3);
    let batch = Mutex::new(Some(batch));
    let mut pipeline = Pipeline::new();
    let policy = Restart::new(1, SECOND);
    let numbers = pipeline.produce(restarting(policy, move || {
        let batch = batch.lock().unwrap().take();
        Gives(batch, Next::Panics).then(map(|n: u64| n + 1))
    }));
    let sink = Slow::default();
    pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
    pipeline.run().await.unwrap_err();
    assert_eq!(sink.seen(), [1, 2, 3]);
    assert_eq!(book.acked(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_handed_out_that_was_nacked_by_a_step_that_panicked() {
    for one_for_one in [true, false] {
        let (batch, book) = tracked(10);
        let batch = Mutex::new(Some(batch));
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(restarting(Restart::new(1, SECOND), move || {
            let source = Gives(batch.lock().unwrap().take(), Next::Ends);
            let panics = |n: u64| match n {
                5 => panic!("on purpose"),
                _ => n,
            };
            match one_for_one {
                true => BoxProducer::new(source.then(map(panics))),
                false => BoxProducer::new(source.then((map(panics), filter(|_: &u64| true)))),
            }
        }));
        let sink = Slow::default();
        pipeline.consume(sink.clone(), numbers.subscribe(Window::new(10)));
        pipeline.run().await.unwrap();
        assert_eq!(sink.seen(), []);
        assert_eq!(book.nacked(), Vec::from_iter(0..10));
    }
}

/// Never ends, and never waits.
struct Endless;

impl Producer for Endless {
    type Event = u64;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<u64>,
    ) -> Result<Flow, Infallible> {
        batch.extend(0..demand.get() as u64);
        Ok(Flow::More)
    }
}

#[tokio::test]
async fn others_have_their_turn_while_all_is_left_out() {
    let mut pipeline = Pipeline::new();
    let nothing = pipeline.produce(Endless.then(filter(|_: &u64| false)));
    let sink = Slow::default();
    pipeline.consume(sink.clone(), nothing.subscribe(Window::new(100)));
    let others = async {
        for _ in 0..100 {
            yield_now().await;
        }
    };
    pipeline.run_until(others).await.unwrap();
    assert_eq!(sink.seen(), []);
}

#[tokio::test(start_paused = true)]
async fn all_that_is_left_out_is_acked_at_once() {
    let (source, book) = Tracked::up_to(1_000);
    let mut pipeline = Pipeline::new();
    let last = pipeline.produce(source.then(filter(|n: &u64| *n == 999)));
    let sink = Slow::default();
    pipeline.consume(sink.clone(), last.subscribe(Window::new(10)));
    pipeline.run().await.unwrap();
    assert_eq!(sink.seen(), [999]);
    assert_eq!(book.acked().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn what_a_transform_keeps_back_goes_through_its_steps_when_it_is_due_and_at_the_end() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(25));
    let groups =
        batching(|_: &u64| ())
            .max_size(10)
            .then(map(|group: stage_core::KeyedBatch<(), u64>| {
                group.events.len() as u64
            }));
    let groups = pipeline.transform(groups, numbers.subscribe(Window::new(30)));
    let sink = Slow::default();
    pipeline.consume(sink.clone(), groups.subscribe(Window::new(10)));
    pipeline.run().await.unwrap();
    assert_eq!(sink.seen(), [10, 10, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_transform_is_called_when_it_is_due_with_steps_behind_it_as_well() {
    let (batch, _) = tracked(3);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Gives(Some(batch), Next::WaitsLater));
    let groups =
        batching(|_: &u64| ())
            .max_size(10)
            .then(map(|group: stage_core::KeyedBatch<(), u64>| {
                group.events.len() as u64
            }));
    let groups = pipeline.transform(groups, numbers.subscribe(Window::new(30)));
    let sink = Slow::default();
    pipeline.consume(sink.clone(), groups.subscribe(Window::new(10)));
    let seen = sink.clone();
    let start = Instant::now();
    let until = async move {
        while seen.seen().is_empty() {
            sleep(SECOND / 10).await;
        }
        assert!(start.elapsed() < 2 * SECOND);
    };
    pipeline.run_until(until).await.unwrap();
    assert_eq!(sink.seen(), [3]);
}

/// Keeps all in hand, and notes how many events came at a time.
#[derive(Clone, Default)]
struct Keeper {
    kept: Arc<Mutex<Vec<(u64, InHand, Receipt)>>>,
    portions: Arc<Mutex<Vec<usize>>>,
    has_parts: bool,
    /// These stand for nothing, and keep nothing in hand.
    of_none: Arc<Mutex<Vec<InHand>>>,
}

impl Keeper {
    fn of_parts() -> Self {
        Self {
            has_parts: true,
            ..Self::default()
        }
    }

    fn kept(&self) -> Vec<u64> {
        self.kept.lock().unwrap().iter().map(|(n, ..)| *n).collect()
    }

    /// Is done with the first, or has failed with it.
    fn let_go(&self, well: bool) {
        let (_, in_hand, receipt) = self.kept.lock().unwrap().remove(0);
        if well {
            receipt.ack();
        } else {
            in_hand.fail();
        }
    }
}

impl Consumer<u64> for Keeper {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        self.portions.lock().unwrap().push(batch.len());
        let mut in_hand = batch.keep_in_hand();
        assert_eq!(in_hand.events(), batch.len());
        if self.has_parts {
            assert_eq!(batch.keep_in_hand().events(), 0, "all is kept already");
        }
        let mut kept = self.kept.lock().unwrap();
        self.of_none.lock().unwrap().push(in_hand.split(0));
        for (event, receipt) in batch.drain_with_receipts() {
            kept.push((event, in_hand.split(1), receipt));
        }
        assert_eq!(in_hand.events(), 0);
        self.of_none.lock().unwrap().push(in_hand);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_of_a_portion_counts_to_the_window() {
    let (source, book) = Tracked::up_to(100);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let keeper = Keeper::default();
    let odd = keeper.clone().after(filter(|n: &u64| n % 2 == 1));
    let stage = pipeline.stage("sink");
    stage.consume(odd, numbers.subscribe(Window::new(10)));
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    // Those that are left out are done with, and asked for again, five at a time.
    assert_eq!(keeper.kept(), [1, 3, 5, 7, 9, 11, 13]);
    assert_eq!(book.acked(), [0, 2, 4, 6, 8, 10, 12, 14]);
    while !keeper.kept().is_empty() {
        assert!(keeper.kept().len() <= 10);
        keeper.let_go(true);
        sleep(SECOND).await;
    }
    running.await.unwrap().unwrap();
    assert_eq!(book.acked().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn what_was_made_one_of_each_is_let_go_of_one_by_one() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(20));
    let keeper = Keeper::of_parts();
    let stage = pipeline.stage("sink");
    let same = keeper.clone().after(map(|n: u64| n));
    stage.consume(same, numbers.subscribe(Window::new(10)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    for in_hand in [10, 9, 8, 7, 6, 10] {
        sleep(SECOND).await;
        let status = handle.status();
        let subscription = &status.stage("sink").unwrap().subscriptions[0];
        assert_eq!(subscription.in_hand, in_hand);
        keeper.let_go(true);
    }
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_weighs_what_it_was_made_of() {
    // Those that are kept are the heavy ones.
    let weight = |n: &u64| if n % 4 == 1 { 200 } else { 1 };
    let most = 1_000;
    for (kind, expected) in [("same", 100), ("heavy", 25), ("as many", 100)] {
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Counter::up_to(100));
        let keeper = Keeper::default();
        let stage = pipeline.stage("sink");
        let subscription = numbers.subscribe(Window::new(20)).bytes(most, weight);
        let keeping = keeper.clone();
        match kind {
            "same" => stage.consume(keeping.after(map(|n: u64| n)), subscription),
            "heavy" => stage.consume(keeping.after(filter(|n: &u64| n % 4 == 1)), subscription),
            _ => {
                let as_many = flat_map(|n: u64| vec![n; [2, 1, 0, 1][n as usize % 4]]);
                stage.consume(keeping.after(as_many), subscription)
            }
        };
        let running = tokio::spawn(pipeline.run());
        let mut all = 0;
        while !running.is_finished() {
            sleep(SECOND).await;
            let weight: usize = keeper.kept().iter().map(weight).sum();
            assert!(weight <= most, "{weight} of {most}");
            if !keeper.kept().is_empty() {
                keeper.let_go(true);
                all += 1;
            }
        }
        all += keeper.kept().len();
        assert_eq!(all, expected, "{kind}");
    }
}

/// Takes the batch away, and asks for what of it is in hand when the call is over.
#[derive(Clone, Default)]
struct Late(Arc<Mutex<Vec<Batch<u64>>>>);

impl Consumer<u64> for Late {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        for late in &*self.0.lock().unwrap() {
            assert_eq!(late.keep_in_hand().events(), 0);
        }
        self.0.lock().unwrap().push(std::mem::take(batch));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_away_cannot_be_kept_when_the_call_is_over() {
    for times in [1, 2] {
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(Counter::up_to(20));
        let late = Late::default();
        let repeats = flat_map(move |n: u64| vec![n; times]);
        pipeline.consume(
            late.clone().after(repeats),
            numbers.subscribe(Window::new(4)),
        );
        pipeline.run().await.unwrap();
        assert_eq!(late.0.lock().unwrap().len(), 10 * times);
    }
}

/// Puts something out in each call. The first three wait for ever after that.
struct Stuck(u64);

impl Stuck {
    async fn put(&mut self, out: &mut Batch<u64>) -> Result<(), Infallible> {
        self.0 += 1;
        out.push(self.0);
        if self.0 < 4 { pending().await } else { Ok(()) }
    }
}

impl Transform<u64> for Stuck {
    type Out = u64;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), Infallible> {
        batch.map_into(out, |n| n);
        self.put(out).await
    }

    async fn elapsed(&mut self, out: &mut Batch<u64>) -> Result<(), Infallible> {
        self.put(out).await
    }

    async fn finish(&mut self, out: &mut Batch<u64>) -> Result<(), Infallible> {
        self.put(out).await
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_call_that_is_given_up() {
    let mut stuck = Transform::then(Stuck(0), filter(|_: &u64| true));
    let mut out = Batch::new();
    let (mut batch, book) = tracked(3);
    let call = timeout(SECOND, stuck.transform(&mut batch, &mut out));
    call.await.unwrap_err();
    // At once: somebody may wait for that.
    assert_eq!(book.nacked(), [0, 1, 2]);
    timeout(SECOND, stuck.elapsed(&mut out)).await.unwrap_err();
    timeout(SECOND, stuck.finish(&mut out)).await.unwrap_err();
    assert!(out.is_empty());
    let (mut batch, book) = tracked(2);
    stuck.transform(&mut batch, &mut out).await.unwrap();
    stuck.elapsed(&mut out).await.unwrap();
    stuck.finish(&mut out).await.unwrap();
    assert_eq!(out[..], [0, 1, 4, 5, 6]);
    let settled = out.drain_with_receipts().map(|(_, receipt)| receipt.ack());
    assert_eq!(settled.count(), 5);
    assert_eq!(book.acked(), [0, 1]);

    let (mut batch, book) = tracked(3);
    let mut hangs = Hangs(false).after(map(|n: u64| n));
    let call = timeout(SECOND, hangs.consume(&mut batch));
    call.await.unwrap_err();
    assert_eq!(book.nacked(), [0, 1, 2]);
}

#[tokio::test]
async fn others_have_their_turn_while_one_portion_is_given_in_parts() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(2));
    let many = flat_map(|n: u64| vec![n; 100_000]);
    let parts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&parts);
    let sink = stage_core::consumer_fn(move |_: Batch<u64>| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(()) }
    });
    pipeline.consume(sink.after(many), numbers.subscribe(Window::new(1)));
    let longest = tokio::spawn(async move {
        let (mut longest, mut last) = (0, 0);
        while last < 200_000 {
            yield_now().await;
            let now = parts.load(Ordering::Relaxed);
            longest = longest.max(now - last);
            last = now;
        }
        longest
    });
    pipeline.run().await.unwrap();
    let longest = longest.await.unwrap();
    assert!(longest < 10_000, "{longest} parts in a row");
}

#[tokio::test(start_paused = true)]
async fn a_portion_that_has_become_more_is_in_hand_until_the_last_of_that_is_done_with() {
    let (source, book) = Tracked::up_to(12);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let keeper = Keeper::of_parts();
    let thrice = keeper.clone().after(flat_map(|n: u64| [n; 3]));
    let stage = pipeline.stage("sink");
    stage.consume(thrice, numbers.subscribe(Window::new(4)));
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    // Two portions of two; six were made of each, and given two at a time.
    assert_eq!(*keeper.portions.lock().unwrap(), [2; 6]);
    assert_eq!(keeper.kept(), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
    let in_hand = || handle.status().stage("sink").unwrap().subscriptions[0].in_hand;
    assert_eq!(in_hand(), 4);
    for _ in 0..5 {
        keeper.let_go(true);
        sleep(SECOND).await;
        assert_eq!(in_hand(), 4);
    }
    assert_eq!(book.acked(), [0], "of the other, one is in hand");
    keeper.let_go(true);
    sleep(SECOND).await;
    assert_eq!(book.acked(), [0, 1]);
    assert_eq!(keeper.kept(), [2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]);
    // What failed in part has failed.
    keeper.let_go(false);
    for _ in 0..5 {
        keeper.let_go(true);
    }
    sleep(SECOND).await;
    assert_eq!(handle.status().stage("sink").unwrap().nacked, 2);
    while !keeper.kept().is_empty() {
        keeper.let_go(true);
        sleep(SECOND).await;
    }
    assert_eq!(book.nacked(), [2]);
    running.await.unwrap().unwrap();
    assert_eq!(book.acked(), [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_of_more_that_was_made_of_more_counts_as_well() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Counter::up_to(8));
    let keeper = Keeper::of_parts();
    let twice = || flat_map(|n: u64| [n; 2]);
    let inner = BoxConsumer::new(keeper.clone().after(twice()));
    let stage = pipeline.stage("sink");
    stage.consume(inner.after(twice()), numbers.subscribe(Window::new(2)));
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    let mut seen = 0;
    while !running.is_finished() {
        assert!(keeper.kept().len() <= 8, "{:?}", keeper.kept());
        if !keeper.kept().is_empty() {
            keeper.let_go(true);
            seen += 1;
        }
        sleep(SECOND).await;
    }
    assert_eq!(seen + keeper.kept().len(), 32);
    running.await.unwrap().unwrap();
}

/// Whoever has been told what becomes of an event is not told again.
#[derive(Default)]
struct Told(Mutex<Vec<u64>>);

impl Acknowledge for Told {
    fn settle(&self, numbers: std::ops::Range<u64>, outcome: Outcome) {
        assert_eq!(outcome, Outcome::Nacked);
        self.0.lock().unwrap().extend(numbers);
    }
}

/// Waits for ever with what it was given first.
struct Hangs(bool);

impl Consumer<u64> for Hangs {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        if !std::mem::replace(&mut self.0, true) {
            pending::<()>().await;
        }
        assert_eq!(batch[..], [11, 12]);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_made_for_a_call_that_is_given_up_is_nacked() {
    let told = Arc::new(Told::default());
    let mut batch: Batch<u64> = (0..3).collect();
    batch.track(Arc::clone(&told) as _, 0);
    let mut hangs = Hangs(false).after(map(|n: u64| n + 1));
    let call = timeout(SECOND, hangs.consume(&mut batch));
    call.await.unwrap_err();
    drop(batch);
    hangs
        .consume(&mut Batch::from_iter([10, 11]))
        .await
        .unwrap();
    assert_eq!(*told.0.lock().unwrap(), [0, 1, 2]);
}

/// Adds events up, and leaves them where they are.
struct Looks(Arc<Mutex<u64>>);

impl Consumer<u64> for Looks {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        *self.0.lock().unwrap() += batch.iter().sum::<u64>();
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_only_looks_at_events_is_not_given_them_again() {
    for times in [1, 2] {
        let book = Arc::new(Book(Mutex::new(vec![None; 6])));
        let sum = Arc::default();
        let mut looks = Looks(Arc::clone(&sum)).after(flat_map(move |n: u64| vec![n; times]));
        for first in [0, 3] {
            let mut batch: Batch<u64> = (first..first + 3).collect();
            batch.track(Arc::clone(&book) as _, first);
            looks.consume(&mut batch).await.unwrap();
            assert!(batch.is_empty());
        }
        assert_eq!(*sum.lock().unwrap(), 15 * times as u64);
        assert_eq!(book.acked(), Vec::from_iter(0..6));
    }
}

#[tokio::test]
async fn a_stage_has_the_name_of_what_the_steps_are_put_to() {
    let mut pipeline = Pipeline::new();
    let steps = || (map(|n: u64| n), filter(|n: &u64| *n > 1));
    let from = pipeline.produce(Counter::up_to(3).then(steps()).then(map(|n: u64| n)));
    let doubled = stages::Double.then(steps());
    let doubled = pipeline.transform(doubled, from.subscribe(Window::new(2)));
    let sink = Slow::default().after(steps());
    pipeline.consume(sink, doubled.subscribe(Window::new(2)));
    let status = pipeline.handle().status();
    let names: Vec<_> = status.stages.iter().map(|it| &it.name[..]).collect();
    assert_eq!(names, ["Counter", "Double", "Slow"]);
}

#[tokio::test]
async fn steps_go_with_whatever_makes_and_takes_events() {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let into = Arc::clone(&seen);
    let mut pipeline = Pipeline::new();
    let words = from_iter(["a 1", "b", "", "c 2"])
        .then(flat_map(|line: &'static str| line.split(' ')))
        .then(filter(|word: &&str| !word.is_empty()));
    let words = pipeline.produce(words);
    let print = for_each(move |word: String| into.lock().unwrap().push(word));
    let print = print.after(map(|word: &str| word.to_uppercase()));
    pipeline.consume(print, words.subscribe(Window::new(2)));
    pipeline.run().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["A", "1", "B", "C", "2"]);
}
