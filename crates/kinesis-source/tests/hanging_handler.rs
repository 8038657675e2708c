//! A handler that never returns, in a pipeline that was given no time for its drain: however it ends, it does
//! so in bounded time, says what was cut off, and what was not acknowledged comes again.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::Fake;
use kinesis_source::{
    Checkpoint, CheckpointStore, EndPosition, KinesisApi, MemoryCheckpointStore, StreamHandle,
    StreamIdentity, StreamSource, WaitingFor,
};
use rig::{Sink, everything, run_until_caught_up};
use stage_core::{
    Batch, Demand, DrainReport, Flow, Pipeline, PipelineError, Producer, Window, for_each,
};
use tokio::{
    sync::{OwnedRwLockWriteGuard, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// What a drain may take with a source in it, unless the pipeline is told.
const BY_DEFAULT: Duration = Duration::from_secs(25);

const HOUR: Duration = Duration::from_secs(3_600);

/// A hundred records are done; of a hundred more, a handler has some and does not return.
struct Hanging {
    fake: Fake,
    store: Arc<MemoryCheckpointStore>,
    sink: Sink,
    handle: StreamHandle,
    stop: Option<oneshot::Sender<()>>,
    run: JoinHandle<DrainReport>,
    _gate: OwnedRwLockWriteGuard<()>,
}

/// A stage that fails when it is told to.
struct Fails(Option<oneshot::Receiver<()>>);

impl Producer for Fails {
    type Event = u64;
    type Error = std::io::Error;

    async fn produce(&mut self, _: Demand, _: &mut Batch<u64>) -> Result<Flow, std::io::Error> {
        if let Some(told) = self.0.take() {
            let _ = told.await;
        }
        Err(std::io::Error::other("on purpose"))
    }
}

impl Hanging {
    async fn new(pipeline: Pipeline) -> Self {
        Self::with(pipeline, None, |_| {}).await
    }

    async fn with(
        mut pipeline: Pipeline,
        until: Option<EndPosition>,
        add: impl FnOnce(&mut Pipeline),
    ) -> Self {
        let (fake, store) = (Fake::new(3), Arc::new(MemoryCheckpointStore::new()));
        fake.put_numbered(0..100).unwrap();
        let mut source = source(&fake, &store);
        if let Some(end) = until {
            source = source.until(end);
        }
        let sink = Sink::default();
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
        add(&mut pipeline);
        let (stop, stopped) = oneshot::channel::<()>();
        let run = tokio::spawn(pipeline.run_reporting(async {
            let _ = stopped.await;
        }));
        handle.caught_up().await;
        sleep(Duration::from_secs(2)).await;
        let gate = sink.close();
        fake.put_numbered(100..200).unwrap();
        sleep(HOUR).await;
        assert!(!run.is_finished());
        Self {
            fake,
            store,
            sink,
            handle,
            stop: Some(stop),
            run,
            _gate: gate,
        }
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// From now on it ends within that time, having cut off what was in hand.
    async fn assert_cut_off(self, within: Duration) -> Result<(), PipelineError> {
        let start = Instant::now();
        let ended = timeout(HOUR, self.run).await;
        let report = ended.expect("it ends").unwrap();
        let took = start.elapsed();
        assert!(took <= within + Duration::from_millis(10), "{took:?}");
        assert!(report.timed_out, "{report:?}");
        let sink = report.stages.iter().find(|it| &*it.stage == "Sink");
        assert!(sink.is_some_and(|it| it.abandoned > 0), "{report:?}");
        assert_safe(&self.fake, &self.store, &self.sink, &self.handle).await;
        report.result
    }
}

/// What is reported is stored, and the rest comes again.
async fn assert_safe(
    fake: &Fake,
    store: &Arc<MemoryCheckpointStore>,
    sink: &Sink,
    handle: &StreamHandle,
) {
    let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
    let stored = store.load(&stream).await.unwrap();
    let reports = handle.drain_report();
    assert_eq!(reports.len(), 3);
    for report in &reports {
        assert!(report.unacked > 0, "{report:?}");
        assert_eq!(report.checkpoint.as_ref(), stored.get(&report.shard));
        let (_, records) = fake
            .records()
            .into_iter()
            .find(|(shard, _)| *shard == report.shard)
            .unwrap();
        let last = &records[usize::try_from(report.acked).unwrap() - 1];
        let done = Checkpoint::after(last.sequence_number.clone());
        assert_eq!(report.checkpoint.as_ref(), Some(&done));
    }
    let rest = Sink::default();
    run_until_caught_up(source(fake, store), &rest, Window::new(100))
        .await
        .unwrap();
    let mut all = [sink.numbers(), rest.numbers()].concat();
    all.sort_unstable();
    assert_eq!(
        all,
        everything(200),
        "each once: those in hand were not acked"
    );
}

fn source(fake: &Fake, store: &Arc<MemoryCheckpointStore>) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone())).checkpoints(Arc::clone(store) as _)
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_it() {
    let mut hanging = Hanging::new(Pipeline::new()).await;
    hanging.stop();
    let ended = hanging.assert_cut_off(BY_DEFAULT).await;
    assert!(matches!(ended, Err(PipelineError::DrainTimedOut { .. })));
}

/// What the pipeline is told counts, be it less or more.
#[tokio::test(start_paused = true)]
async fn so_does_one_that_was_given_a_time() {
    for seconds in [0, 3, 600] {
        let within = Duration::from_secs(seconds);
        let mut hanging = Hanging::new(Pipeline::new().drain_within(within)).await;
        hanging.stop();
        let (stopped, sink) = (Instant::now(), hanging.sink.clone());
        let _ = hanging.assert_cut_off(within).await;
        assert!(stopped.elapsed() >= within && sink.taken().len() == 100);
    }
    // Nobody is kept from waiting.
    let mut hanging = Hanging::new(Pipeline::new().drain_within(Duration::MAX)).await;
    hanging.stop();
    sleep(24 * HOUR).await;
    assert!(!hanging.run.is_finished());
    hanging.run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_another_stage_ends_it() {
    let (fail, told) = oneshot::channel();
    let add = |pipeline: &mut Pipeline| {
        let numbers = pipeline.produce(Fails(Some(told)));
        pipeline.consume(for_each(|_: u64| {}), numbers.subscribe(Window::new(1)));
    };
    let hanging = Hanging::with(Pipeline::new(), None, add).await;
    fail.send(()).unwrap();
    let ended = hanging.assert_cut_off(BY_DEFAULT).await;
    assert!(
        matches!(ended, Err(PipelineError::Failed { .. })),
        "{ended:?}"
    );
}

/// Whoever drops it waits for nothing at all.
#[tokio::test(start_paused = true)]
async fn to_drop_it_ends_it_at_once() {
    let hanging = Hanging::new(Pipeline::new()).await;
    hanging.run.abort();
    let start = Instant::now();
    assert!(hanging.run.await.unwrap_err().is_cancelled());
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_safe(
        &hanging.fake,
        &hanging.store,
        &hanging.sink,
        &hanging.handle,
    )
    .await;
}

/// A source that ends is no stop: its last records are being worked on, for however long. That it takes too
/// long is told, and a stop ends it as ever.
#[tokio::test(start_paused = true)]
async fn the_end_of_its_source_does_not_end_it_and_a_stop_does() {
    let end = Fake::new(1).now().plus(HOUR / 2);
    let mut hanging = Hanging::with(
        Pipeline::new(),
        Some(EndPosition::BeforeTimestamp(end)),
        |_| {},
    )
    .await;
    let shards = hanging.handle.explain().shards;
    let is_told = |it: &WaitingFor| matches!(it, WaitingFor::Receipts { .. });
    assert!(
        shards
            .iter()
            .all(|it| it.waiting.is_stuck && is_told(&it.waiting.waiting_for)),
        "{shards:?}"
    );
    hanging.stop();
    let ended = hanging.assert_cut_off(BY_DEFAULT).await;
    assert!(matches!(ended, Err(PipelineError::DrainTimedOut { .. })));
}
