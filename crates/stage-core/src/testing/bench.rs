//! What all rules are checked with: pipelines of the parts, and a clock.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    Book, Broken, Controls, Dividing, Parts, Probe,
    probe::Trouble,
    spoiled::{Spoiled, SpoiledRelay},
};
use crate::{
    BoxProducer, BoxTransform, Consumer, DrainReport, Outlet, Pipeline, PipelineHandle,
    SubscriptionHandle, Window, protocol::Dispatcher,
};

pub(crate) type Checked<T = ()> = Result<T, Broken>;

/// Fails the rule, unless `$holds`.
macro_rules! ensure {
    ($holds:expr, $($how:tt)+) => {
        if !$holds {
            return Err($crate::testing::Broken::Failed(format!($($how)+)));
        }
    };
}
pub(crate) use ensure;

/// The parts to be checked, and chance.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) parts: Arc<dyn Parts>,
    chance: Arc<AtomicU64>,
}

/// A pipeline that runs.
pub(crate) struct Run {
    task: JoinHandle<DrainReport>,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) handle: PipelineHandle,
    patience: Duration,
}

/// A source, perhaps a transform, and a consumer, at work.
pub(crate) struct Line {
    pub(crate) book: Arc<Book>,
    pub(crate) probe: Probe,
    pub(crate) controls: Arc<dyn Controls>,
    pub(crate) run: Run,
    /// How many events are to come out.
    pub(crate) outputs: u64,
    pub(crate) patience: Duration,
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) async fn hour() {
    sleep(HOUR).await;
}

/// Waits until nothing moves that does not wait for the clock.
pub(crate) async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

impl Bench {
    pub(crate) fn new(parts: &Arc<dyn Parts>, seed: u64) -> Self {
        Self {
            parts: Arc::clone(parts),
            chance: Arc::new(AtomicU64::new(seed)),
        }
    }

    /// A number below `below`: splitmix64.
    pub(crate) fn below(&self, below: u64) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.chance.fetch_add(STEP, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    /// How many events to work with.
    pub(crate) fn events(&self) -> u64 {
        self.parts.most().min(40)
    }

    /// So many events, if the source has them.
    pub(crate) fn at_least(&self, events: u64) -> Checked<u64> {
        let most = self.parts.most();
        if most < events {
            let why = format!("it takes {events} events, and there are {most}");
            return Err(Broken::Skipped(why));
        }
        Ok(events)
    }

    pub(crate) fn source(&self, book: &Arc<Book>, events: u64) -> BoxProducer<u64> {
        self.parts.around(self.parts.source(book, events))
    }

    /// The source, to be made difficult.
    pub(crate) fn spoiled(&self, book: &Arc<Book>, events: u64) -> Spoiled {
        Spoiled::new(self.parts.source(book, events))
    }

    /// A producer that goes wrong after so many events.
    pub(crate) fn failing(&self, book: &Arc<Book>, at: u64, trouble: Trouble) -> BoxProducer<u64> {
        let mut spoiled = self.spoiled(book, self.events());
        spoiled.trouble = Some((at, trouble));
        self.parts.around(BoxProducer::new(spoiled))
    }

    pub(crate) fn failing_relay(&self, at: u64, trouble: Trouble) -> BoxTransform<u64, u64> {
        BoxTransform::new(SpoiledRelay {
            transform: self.parts.relay(),
            at,
            trouble,
        })
    }

    pub(crate) fn sink(&self, probe: &Probe) -> impl Consumer<u64> + use<> {
        self.parts.sink(probe)
    }

    pub(crate) fn dispatcher(&self, dividing: Dividing) -> Divides {
        Divides(self.parts.dispatcher(dividing))
    }

    pub(crate) fn controls(&self, handle: SubscriptionHandle) -> Arc<dyn Controls> {
        Arc::from(self.parts.controls(handle))
    }

    pub(crate) fn start(&self, pipeline: Pipeline) -> Run {
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = pipeline.handle();
        let stopped = Box::pin(async {
            // Nobody stops it any more, if it is dropped.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        Run {
            task: tokio::spawn(self.parts.run(pipeline, stopped)),
            stop: Some(stop),
            handle,
            patience: self.parts.patience(),
        }
    }

    /// A producer, the transform, and a consumer that asks by hand.
    pub(crate) fn by_hand(&self, events: u64) -> Line {
        let book = Book::new();
        let source = self.source(&book, events);
        self.line(book, source, events, None, &Probe::new(), true)
    }

    /// The same, asking by a window.
    pub(crate) fn by_window(&self, events: u64, window: Window, probe: &Probe) -> Line {
        let book = Book::new();
        let source = self.source(&book, events);
        self.line(book, source, events, Some(window), probe, true)
    }

    pub(crate) fn line(
        &self,
        book: Arc<Book>,
        source: BoxProducer<u64>,
        events: u64,
        window: Option<Window>,
        probe: &Probe,
        relayed: bool,
    ) -> Line {
        let mut pipeline = Pipeline::new();
        let mut out = pipeline
            .stage("source")
            .dispatch(self.dispatcher(Dividing::ByDemand))
            .produce(source);
        if relayed {
            out = self.relayed(&mut pipeline, "relay", &out);
        }
        let (subscription, handle) = match window {
            Some(window) => out.subscribe(window).with_handle(),
            None => out.subscribe_manually(),
        };
        if window.is_none() {
            probe.allow(0);
        }
        let outputs = match relayed {
            true => self.parts.outputs(events),
            false => events,
        };
        let patience = self.patience_with(probe, outputs);
        pipeline
            .stage("sink")
            .consume(self.sink(probe), subscription);
        drop(out);
        Line {
            book,
            probe: probe.clone(),
            controls: self.controls(handle),
            run: Run {
                patience,
                ..self.start(pipeline)
            },
            outputs,
            patience,
        }
    }

    /// How long it may take until `probe`'s consumer has so many events. How long that one takes itself
    /// is not what is being checked.
    pub(crate) fn patience_with(&self, probe: &Probe, events: u64) -> Duration {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        self.parts.patience() + probe.delay().saturating_mul(events)
    }

    pub(crate) fn relayed(
        &self,
        pipeline: &mut Pipeline,
        name: &str,
        out: &Outlet<u64>,
    ) -> Outlet<u64> {
        pipeline
            .stage(name)
            .transform(self.parts.relay(), out.subscribe(Window::new(4)))
    }

    /// Waits until `holds`, and no longer than is allowed.
    pub(crate) async fn must(&self, what: &str, holds: impl FnMut() -> bool) -> Checked {
        must(self.parts.patience(), what, holds).await
    }
}

/// Waits until `holds`, and no longer than `patience`.
pub(crate) async fn must(
    patience: Duration,
    what: &str,
    mut holds: impl FnMut() -> bool,
) -> Checked {
    let deadline = Instant::now() + patience;
    loop {
        if holds() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "missing after {patience:?}: {what}"
        );
        sleep(Duration::from_millis(5)).await;
    }
}

impl Run {
    /// Waits for the end, which must come now.
    pub(crate) async fn ended(&mut self) -> Checked<DrainReport> {
        match timeout(self.patience, &mut self.task).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => Err(Broken::Failed(format!(
                "the pipeline's task failed: {error}"
            ))),
            Err(_) => Err(Broken::Failed(format!(
                "missing after {:?}: the pipeline's end",
                self.patience
            ))),
        }
    }

    /// The same, however it ends.
    pub(crate) async fn over(&mut self) -> Checked {
        self.ended().await.map(drop)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
    }

    /// Drops the pipeline where it stands.
    pub(crate) async fn abort(&mut self) {
        if self.task.is_finished() {
            return;
        }
        self.task.abort();
        // It was cancelled, or has ended before.
        let _ = (&mut self.task).await;
    }
}

impl Line {
    /// Waits for the end, and checks that everything has come in order.
    pub(crate) async fn complete(&mut self) -> Checked {
        let report = self.run.ended().await?;
        let result = report.result;
        ensure!(result.is_ok(), "the pipeline failed: {result:?}");
        self.all_there()
    }

    pub(crate) fn all_there(&self) -> Checked {
        let taken = self.probe.taken();
        let expected: Vec<u64> = (0..self.outputs).collect();
        ensure!(
            taken.len() >= expected.len(),
            "missing: {} of {} events came",
            taken.len(),
            expected.len()
        );
        ensure!(taken == expected, "out of order: {taken:?} came");
        no_fault(&self.probe)?;
        settled(&self.book)
    }

    pub(crate) async fn must_arrive(&self, events: u64) -> Checked {
        let what = format!("event {events} of {}", self.outputs);
        must(self.patience, &what, || {
            self.probe.arrived() as u64 >= events
        })
        .await
    }
}

pub(crate) fn no_fault(probe: &Probe) -> Checked {
    probe
        .fault()
        .map_or(Ok(()), |fault| Err(Broken::Failed(fault)))
}

/// Everything that was handed out is acked or nacked, once.
pub(crate) fn settled(book: &Book) -> Checked {
    let (handed, open) = (book.handed(), book.open());
    ensure!(
        open == 0,
        "lost: {open} of {handed} events were neither acked nor nacked"
    );
    ensure!(
        book.twice() == 0,
        "{} events were settled twice",
        book.twice()
    );
    Ok(())
}

/// Whatever was acked was taken in.
pub(crate) fn acked_is_taken(book: &Book, probes: &[&Probe]) -> Checked {
    let taken: Vec<u64> = probes.iter().flat_map(|probe| probe.taken()).collect();
    let acked = book.acked();
    let missing = acked.iter().find(|event| !taken.contains(event));
    ensure!(
        missing.is_none(),
        "lost: {missing:?} was acked and never taken in"
    );
    Ok(())
}

/// Of whatever was acked, all that a transform made was taken in.
pub(crate) fn acked_is_made(bench: &Bench, book: &Book, probe: &Probe) -> Checked {
    let taken: BTreeSet<u64> = probe.taken().into_iter().collect();
    for input in book.acked() {
        let mut outputs = bench.parts.outputs_of(input);
        let missing = outputs.find(|output| !taken.contains(output));
        ensure!(
            missing.is_none(),
            "lost: {input} was acked, and {missing:?}, which is made of it, never taken in"
        );
    }
    Ok(())
}

/// A dispatcher that was chosen at run time.
#[derive(Debug)]
pub(crate) struct Divides(Box<dyn Dispatcher<u64>>);

use crate::protocol::{Backlog, Demand, Handout, Mark, Refused, SubscriptionId, Terms};

impl Dispatcher<u64> for Divides {
    fn subscribe(&mut self, id: SubscriptionId, terms: Terms<u64>) -> Result<(), Refused> {
        self.0.subscribe(id, terms)
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        self.0.ask(id, demand);
    }

    fn cancel(&mut self, id: SubscriptionId) {
        self.0.cancel(id);
    }

    fn demand(&self) -> usize {
        self.0.demand()
    }

    fn dispatch(&mut self, backlog: &mut Backlog<u64>, handout: &mut Handout<u64>) {
        self.0.dispatch(backlog, handout);
    }

    fn held(&self) -> usize {
        self.0.held()
    }

    fn mark(&mut self, mark: Mark, handout: &mut Handout<u64>) {
        self.0.mark(mark, handout);
    }
}

/// Runs `work` on a thread of its own, and waits for it.
pub(crate) fn elsewhere<T: Send + 'static>(
    runtime: impl FnOnce() -> std::io::Result<tokio::runtime::Runtime> + Send + 'static,
    work: impl Future<Output = Checked<T>> + Send + 'static,
) -> Checked<T> {
    let thread = std::thread::spawn(move || match runtime() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(Broken::Skipped(format!("no runtime: {error}"))),
    });
    thread.join().unwrap_or_else(|_| {
        Err(Broken::Failed(
            "something panicked on another thread".into(),
        ))
    })
}
