//! What links and bells do when there is more than they have places for, between threads.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use stage_core::{Acknowledge, Batch, Consumer, Demand, Flow, Outcome, Pipeline, Producer, Window};

/// Makes one to three events at a time, however much is asked for.
struct Driblets {
    next: u64,
    until: u64,
    fates: Arc<Fates>,
}

/// What became of events.
#[derive(Default)]
struct Fates {
    made: AtomicU64,
    acked: AtomicU64,
    nacked: AtomicU64,
}

impl Acknowledge for Fates {
    fn settle(&self, numbers: std::ops::Range<u64>, outcome: Outcome) {
        let count = match outcome {
            Outcome::Acked => &self.acked,
            Outcome::Nacked => &self.nacked,
        };
        count.fetch_add(numbers.end - numbers.start, SeqCst);
    }
}

impl Producer for Driblets {
    type Event = u64;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<u64>,
    ) -> Result<Flow, Infallible> {
        let events = (self.next % 3 + 1).min(demand.get() as u64);
        let next = self.until.min(self.next + events);
        batch.extend(self.next..next);
        batch.track(Arc::clone(&self.fates) as Arc<dyn Acknowledge>, self.next);
        self.fates.made.fetch_add(next - self.next, SeqCst);
        self.next = next;
        if next == self.until {
            return Ok(Flow::End);
        }
        Ok(Flow::More)
    }
}

/// Takes its time over some batches, so that others pile up.
#[derive(Clone, Default)]
struct Dawdler {
    seen: Arc<Mutex<Vec<u64>>>,
}

impl Consumer<u64> for Dawdler {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        if batch[0].is_multiple_of(97) {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        }
        self.seen.lock().unwrap().extend(batch.drain());
        Ok(())
    }
}

fn driblets(until: u64) -> (Driblets, Arc<Fates>) {
    let fates = Arc::<Fates>::default();
    let source = Driblets {
        next: 0,
        until,
        fates: Arc::clone(&fates),
    };
    (source, fates)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_batches_than_a_ring_has_places_for_arrive_in_order() {
    for window in [9, 100, 5_000] {
        let (source, fates) = driblets(20_000);
        let sink = Dawdler::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(source);
        pipeline.consume(sink.clone(), numbers.subscribe(Window::new(window)));
        pipeline.run().await.unwrap();
        let seen = sink.seen.lock().unwrap();
        assert!(seen.iter().copied().eq(0..20_000), "window {window}");
        assert_eq!(fates.acked.load(SeqCst), 20_000);
        assert_eq!(fates.nacked.load(SeqCst), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_in_the_middle_of_a_crowd_acks_or_nacks_each_event_once() {
    for round in 0..50 {
        let (source, fates) = driblets(1_000_000);
        let sink = Dawdler::default();
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(source);
        let (subscription, asker) = numbers.subscribe(Window::new(5_000)).with_handle();
        pipeline.consume(sink.clone(), subscription);
        let running = tokio::spawn(pipeline.run());
        while sink.seen.lock().unwrap().len() < 100 * round {
            tokio::task::yield_now().await;
        }
        asker.cancel_because("enough");
        running.await.unwrap().unwrap();
        let made = fates.made.load(SeqCst);
        let (acked, nacked) = (fates.acked.load(SeqCst), fates.nacked.load(SeqCst));
        assert_eq!(acked + nacked, made, "{acked} acked, {nacked} nacked");
        let seen = sink.seen.lock().unwrap();
        assert!(seen.iter().copied().eq(0..seen.len() as u64));
        assert_eq!(acked, seen.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_links_than_a_bell_has_bits_for_are_all_served() {
    let (source, fates) = driblets(50_000);
    let sinks = [(); 150].map(|()| Dawdler::default());
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    for (number, sink) in sinks.iter().enumerate() {
        let stage = pipeline.stage(format!("sink/{number}"));
        stage.consume(sink.clone(), numbers.subscribe(Window::new(7)));
    }
    pipeline.run().await.unwrap();
    let mut all: Vec<u64> = sinks
        .iter()
        .flat_map(|it| it.seen.lock().unwrap().clone())
        .collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..50_000));
    assert_eq!(fates.acked.load(SeqCst), 50_000);

    let sink = Dawdler::default();
    let mut pipeline = Pipeline::new();
    let sources: Vec<_> = (0..150)
        .map(|number| {
            pipeline
                .stage(format!("source/{number}"))
                .produce(driblets(300).0)
        })
        .collect();
    let subscriptions: Vec<_> = sources
        .iter()
        .map(|it| it.subscribe(Window::new(7)))
        .collect();
    pipeline.consume(sink.clone(), subscriptions);
    drop(sources);
    pipeline.run().await.unwrap();
    let mut seen = sink.seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert!(seen.into_iter().eq((0..45_000).map(|n| n / 150)));
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_that_panics_ends_the_pipeline_though_events_wait() {
    let (source, fates) = driblets(1_000);
    let mut pipeline = Pipeline::new();
    let stage = pipeline.stage("numbers").partition_by(2, |n: &u64| {
        assert_ne!(*n, 7, "it panics");
        Some((*n % 2) as usize)
    });
    for lane in stage.produce(source) {
        pipeline.consume(Dawdler::default(), lane.subscribe(Window::new(10)));
    }
    let ended = tokio::time::timeout(Duration::from_secs(3600), pipeline.run());
    let error = ended.await.expect("it ends").unwrap_err();
    assert!(error.to_string().contains("numbers"), "{error}");
    let (acked, nacked) = (fates.acked.load(SeqCst), fates.nacked.load(SeqCst));
    assert_eq!(acked + nacked, fates.made.load(SeqCst));
    assert!(nacked > 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_to_a_stuck_consumer_is_nacked_when_it_is_cancelled() {
    struct Stuck;

    impl Consumer<u64> for Stuck {
        type Error = Infallible;

        async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> {
            std::future::pending().await
        }
    }

    let (source, fates) = driblets(1_000);
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(source);
    let (subscription, asker) = numbers.subscribe(Window::new(30)).with_handle();
    pipeline.stage("sink").consume(Stuck, subscription);
    let handle = pipeline.handle();
    let running = tokio::spawn(pipeline.run());
    // On its way, in hand, and in flight by all that is said.
    let counts = || {
        let status = handle.status();
        let of_it = &status.stage("sink").unwrap().subscriptions[0];
        (of_it.on_the_way, of_it.in_hand, of_it.in_flight())
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fates.nacked.load(SeqCst), 0);
    assert_eq!(counts(), (29, 1, 30));
    asker.cancel();
    // All but the one event that the consumer has in hand.
    assert_eq!(fates.nacked.load(SeqCst), 29);
    assert_eq!(counts(), (0, 1, 1));
    running.abort();
}
