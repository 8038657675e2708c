//! stage-core.

use std::{convert::Infallible, future::poll_fn, ops::Range, pin::Pin, sync::Arc};

use futures_core::Stream;
use stage_core::{
    Acknowledge, Batch, Consumer, Demand, Flow, Outcome, Pipeline, Producer, Tracker, Window, map,
    protocol::Buffer, push_source,
};

use crate::{Event, InOrder, Job, LANES, Shape, SharedTally, Sink, Sum, Tally, lane_of, parts};

/// Does a job of any shape.
pub async fn run<E: Event>(job: Job) -> Tally {
    let Job {
        shape,
        window,
        events,
    } = job;
    let total = SharedTally::default();
    let window = Window::new(window);
    let mut pipeline = Pipeline::new();
    match shape {
        Shape::Direct => {
            let numbers = pipeline.produce(Numbers::<E>::new(0..events, Untracked));
            pipeline.consume(Into::<Sum>::new(&total), numbers.subscribe(window));
        }
        Shape::Chain(between) => {
            let mut numbers = pipeline.produce(Numbers::<E>::new(0..events, Untracked));
            for _ in 0..between {
                numbers = pipeline.transform(map(E::mapped), numbers.subscribe(window));
            }
            pipeline.consume(Into::<Sum>::new(&total), numbers.subscribe(window));
        }
        Shape::Share(consumers) => {
            let numbers = pipeline.produce(Numbers::<E>::new(0..events, Untracked));
            for i in 0..consumers {
                let stage = pipeline.stage(format!("sum/{i}"));
                stage.consume(Into::<Sum>::new(&total), numbers.subscribe(window));
            }
        }
        Shape::Broadcast(consumers) => {
            let stage = pipeline.stage("numbers").broadcast();
            let numbers = stage.produce(Numbers::<E>::new(0..events, Untracked));
            for _ in 0..consumers {
                pipeline.consume(Into::<Sum>::new(&total), numbers.subscribe(window));
            }
        }
        Shape::Partition => {
            let lane = |event: &E| Some(lane_of(event.number()));
            let stage = pipeline.stage("numbers").partition_by(LANES, lane);
            for lane in stage.produce(Numbers::<E>::new(0..events, Untracked)) {
                pipeline.consume(Into::<InOrder>::new(&total), lane.subscribe(window));
            }
        }
        Shape::Gather(producers) => {
            let numbers = parts(events, producers)
                .map(|part| pipeline.produce(Numbers::<E>::new(part, Untracked)));
            let subscriptions: Vec<_> = numbers.map(|part| part.subscribe(window)).collect();
            pipeline.consume(Into::<Sum>::new(&total), subscriptions);
        }
        Shape::SetUp => {
            let numbers = pipeline.produce(Numbers::<E>::new(0..0, Untracked));
            for i in 0..events {
                let stage = pipeline.stage(format!("sum/{i}"));
                stage.consume(Into::<Sum>::new(&total), numbers.subscribe(window));
            }
        }
    }
    pipeline.run().await.expect("no stage fails");
    total.get()
}

/// A chain with one or four steps between, which have no tasks of their own: all go with the producer, but the last of
/// four, which goes with the consumer.
///
/// # Panics
///
/// If it is another number, or another shape.
pub async fn in_steps<E: Event>(job: Job) -> Tally {
    let numbers = Numbers::<E>::new(0..job.events, Untracked);
    let mapped = numbers.then(map(E::mapped));
    match job.shape {
        Shape::Chain(1) => direct(job, mapped, |sink| sink).await,
        Shape::Chain(4) => {
            let more = mapped.then((map(E::mapped), map(E::mapped)));
            direct(job, more, |sink| sink.after(map(E::mapped))).await
        }
        shape => panic!("{shape:?} is not one of those"),
    }
}

/// One to one.
async fn direct<E: Event, C: Consumer<E>>(
    job: Job,
    producer: impl Producer<Event = E>,
    sink: impl FnOnce(Into<Sum>) -> C,
) -> Tally {
    let total = SharedTally::default();
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(producer);
    let window = Window::new(job.window);
    pipeline.consume(sink(Into::new(&total)), numbers.subscribe(window));
    pipeline.run().await.expect("no stage fails");
    total.get()
}

/// One to one, and the pipeline is a stream of its events.
pub async fn streamed<E: Event>(job: Job) -> Tally {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(Numbers::<E>::new(0..job.events, Untracked));
    let mut events = pipeline.into_stream(numbers.subscribe(Window::new(job.window)));
    let taking = tokio::spawn(async move {
        let mut sink = Sum::default();
        while let Some(event) = poll_fn(|cx| Pin::new(&mut events).poll_next(cx)).await {
            sink.take(&event.expect("no stage fails"));
        }
        Sink::tally(&sink)
    });
    taking.await.expect("nothing in it panics")
}

/// One to one, each event sent from a task that is no stage.
pub async fn sent<E: Event>(job: Job) -> Tally {
    let (handle, source) = push_source(Buffer::keep_first(job.window));
    let sending = tokio::spawn(async move {
        for number in 0..job.events {
            let sent = handle.send(E::new(number)).await;
            sent.expect("the pipeline takes all");
        }
    });
    let tally = direct(job, source, |sink| sink).await;
    sending.await.expect("nothing in it panics");
    tally
}

/// One to one, with a receipt for each event.
pub async fn with_receipts<E: Event>(job: Job) -> Tally {
    let acked = SharedTally::default();
    let tally = tracked::<E>(job, Receipts(Arc::new(Acked(acked.clone())))).await;
    assert_eq!(acked.get().events, tally.events, "each is acked");
    tally
}

/// One to one, with a tracker that knows up to where everything is done.
pub async fn with_tracker<E: Event>(job: Job) -> Tally {
    let tracker = Tracker::new();
    let tally = tracked::<E>(job, tracker.clone()).await;
    assert_eq!(tracker.done(), job.events.checked_sub(1), "each is acked");
    tally
}

async fn tracked<E: Event>(job: Job, track: impl Track) -> Tally {
    direct(job, Numbers::<E, _>::new(0..job.events, track), |sink| sink).await
}

struct Numbers<E, T = Untracked> {
    numbers: Range<u64>,
    track: T,
    event: std::marker::PhantomData<fn() -> E>,
}

impl<E, T> Numbers<E, T> {
    fn new(numbers: Range<u64>, track: T) -> Self {
        Self {
            numbers,
            track,
            event: std::marker::PhantomData,
        }
    }
}

impl<E: Event, T: Track> Producer for Numbers<E, T> {
    type Event = E;
    type Error = Infallible;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<E>) -> Result<Flow, Infallible> {
        let Range { start, end } = self.numbers;
        let next = end.min(start.saturating_add(demand.get() as u64));
        batch.extend((start..next).map(E::new));
        self.track.track(batch, start..next);
        self.numbers.start = next;
        Ok(if next < end { Flow::More } else { Flow::End })
    }
}

/// What a producer does about receipts.
trait Track: Send + 'static {
    fn track<E>(&self, batch: &mut Batch<E>, numbers: Range<u64>);
}

struct Untracked;

struct Receipts(Arc<Acked>);

struct Acked(SharedTally);

impl Track for Untracked {
    fn track<E>(&self, _: &mut Batch<E>, _: Range<u64>) {}
}

impl Track for Receipts {
    fn track<E>(&self, batch: &mut Batch<E>, numbers: Range<u64>) {
        batch.track(Arc::clone(&self.0) as Arc<dyn Acknowledge>, numbers.start);
    }
}

impl Track for Tracker<u64> {
    fn track<E>(&self, batch: &mut Batch<E>, numbers: Range<u64>) {
        Self::track(self, batch, numbers);
    }
}

impl Acknowledge for Acked {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        assert_eq!(outcome, Outcome::Acked);
        self.0.add(Tally {
            events: numbers.end - numbers.start,
            ..Tally::default()
        });
    }
}

struct Into<S> {
    sink: S,
    total: SharedTally,
}

impl<S: Sink> Into<S> {
    fn new(total: &SharedTally) -> Self {
        Self {
            sink: S::default(),
            total: total.clone(),
        }
    }
}

impl<E: Event, S: Sink> Consumer<E> for Into<S> {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<E>) -> Result<(), Infallible> {
        self.sink.take_all(batch);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Infallible> {
        self.total.add(self.sink.tally());
        Ok(())
    }
}
