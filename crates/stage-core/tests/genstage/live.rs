//! Real stages for traces to be played on. Each has a pipeline of its own, as each of GenStage's is
//! a process: what becomes of one does not stop the others.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use stage_core::{
    Batch, BoxError, Consumer, Demand, End, Flow, Intake, Mode, Outlet, Pipeline, PipelineError,
    PipelineHandle, Producer, Subscription, SubscriptionInfo, Transform, Window,
    protocol::{Down, Reason},
};
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle, time::sleep};

pub(crate) use crate::trace::{handled, is_graceful};

/// Plays a scenario on a clock that stands still while anybody can do anything.
pub(crate) fn play<T>(scenario: impl Future<Output = T>) -> T {
    runtime().block_on(scenario)
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// Lets every stage do what it can, however slow it is.
pub(crate) async fn settle() {
    sleep(Duration::from_secs(1)).await;
}

/// How long a consumer takes for a batch: long enough for its producers to answer what it asked.
pub(crate) const A_WHILE: Duration = Duration::from_millis(1);

pub(crate) fn mode(name: &Value) -> Mode {
    match name.as_str().unwrap() {
        "permanent" => Mode::Permanent,
        "transient" => Mode::Transient,
        "temporary" => Mode::Temporary,
        other => panic!("what is `{other}`?"),
    }
}

pub(crate) fn window(spec: &Value) -> Window {
    let get = |key: &str| spec[key].as_u64().unwrap() as usize;
    Window::try_new(get("max_demand"), get("min_demand")).unwrap()
}

/// Whether an end is the one recorded. A shutdown has no detail here, and whether a stage was told
/// to stop or its subscription to end is the same.
pub(crate) fn is_end(end: &End, kind: &str, reason: &str) -> bool {
    match end {
        End::Completed => (kind, reason) == ("down", "normal"),
        End::Cancelled(Reason::Shutdown) => is_graceful(reason),
        End::Cancelled(Reason::Other(why)) => kind == "cancel" && &**why == reason,
        End::Cancelled(Reason::NoProducer) => reason == "noproc",
        End::Down(Down::Failed(why)) => kind == "down" && &**why == reason,
        _ => false,
    }
}

/// A stage that runs.
pub(crate) struct Live {
    pub(crate) handle: PipelineHandle,
    name: String,
    running: JoinHandle<Result<(), PipelineError>>,
}

impl Live {
    pub(crate) fn run(name: &str, pipeline: Pipeline) -> Self {
        Self {
            handle: pipeline.handle(),
            name: name.to_owned(),
            running: tokio::spawn(pipeline.run()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.handle.status().stage(&self.name).is_some()
    }

    /// Tells it to end so.
    pub(crate) fn stop(&self, reason: &str, switch: &watch::Sender<Option<String>>) {
        if reason.starts_with("shutdown") {
            self.handle.remove(&self.name).unwrap();
        } else {
            switch.send_replace(Some(reason.to_owned()));
        }
    }

    /// Whether it has ended as recorded: `null` is not at all. `ends` are those of its subscriptions.
    pub(crate) async fn has_ended(self, recorded: &Value, ends: &[End]) -> bool {
        let Some(reason) = recorded.as_str() else {
            return self.is_alive();
        };
        if self.is_alive() {
            return false;
        }
        match self.running.await.unwrap() {
            Ok(()) => is_graceful(reason) && ends.iter().all(End::is_graceful),
            Err(PipelineError::Failed { source, .. }) => source.to_string() == reason,
            Err(PipelineError::UpstreamEnded { end, .. }) => {
                is_end(&end, "down", reason) || is_end(&end, "cancel", reason)
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Makes what is asked for, up to a number, and then waits to be told how to end.
pub(crate) struct Exact {
    next: u64,
    until: u64,
    ending: watch::Receiver<Option<String>>,
    pub(crate) log: Arc<Mutex<Log>>,
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) demands: Vec<u64>,
    pub(crate) ends: Vec<End>,
    pub(crate) subscribed: usize,
}

/// How to tell a producer to end.
pub(crate) type Switch = watch::Sender<Option<String>>;

impl Exact {
    pub(crate) fn new(first: u64, events: u64) -> (Self, Switch, Arc<Mutex<Log>>) {
        let (switch, ending) = watch::channel(None);
        let log = Arc::<Mutex<Log>>::default();
        let exact = Self {
            next: first,
            until: first + events,
            ending,
            log: Arc::clone(&log),
        };
        (exact, switch, log)
    }
}

impl Producer for Exact {
    type Event = u64;
    type Error = BoxError;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, BoxError> {
        if self.next < self.until {
            self.log.lock().unwrap().demands.push(demand.get() as u64);
            let first = self.next;
            self.next = self.until.min(first.saturating_add(demand.get() as u64));
            batch.extend(first..self.next);
            if self.next < self.until || self.ending.borrow().is_none() {
                return Ok(Flow::More);
            }
        }
        let reason = self.ending.wait_for(Option::is_some).await;
        let reason = reason.map(|reason| reason.clone().unwrap());
        match reason.as_deref() {
            Ok("normal") => Ok(Flow::End),
            Ok(reason) => Err(reason.into()),
            Err(_) => pending().await,
        }
    }

    fn subscribed(&mut self, _: &SubscriptionInfo) {
        self.log.lock().unwrap().subscribed += 1;
    }

    fn unsubscribed(&mut self, _: &SubscriptionInfo, end: &End) {
        self.log.lock().unwrap().ends.push(end.clone());
    }
}

/// A running producer, and the outlet that keeps it while nobody is subscribed.
pub(crate) fn produce<P: Producer<Event = u64>>(
    producer: P,
    subscribe: impl FnOnce(&Outlet<u64>) -> Vec<Subscription<u64>>,
) -> (Live, Vec<Subscription<u64>>, Outlet<u64>) {
    let mut pipeline = Pipeline::new();
    let outlet = pipeline.stage("producer").produce(producer);
    let subscriptions = subscribe(&outlet);
    // A stage has to have a subscriber before it runs; these come from other pipelines.
    let kept = pipeline.handle().outlet("producer").unwrap();
    (Live::run("producer", pipeline), subscriptions, kept)
}

/// Remembers what it is given.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    pub(crate) seen: Arc<Mutex<Seen>>,
    /// Fails on this event.
    pub(crate) crash_at: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) batches: Vec<Vec<u64>>,
    pub(crate) ends: Vec<End>,
}

impl Recorder {
    pub(crate) fn batches(&self) -> Vec<Vec<u64>> {
        self.seen.lock().unwrap().batches.clone()
    }

    pub(crate) fn events(&self) -> Vec<u64> {
        self.batches().concat()
    }

    pub(crate) fn ends(&self) -> Vec<End> {
        self.seen.lock().unwrap().ends.clone()
    }

    pub(crate) fn run(&self, subscriptions: Vec<Subscription<u64>>) -> (Live, Intake<u64>) {
        let mut pipeline = Pipeline::new();
        let intake = pipeline
            .stage("consumer")
            .consume(self.clone(), subscriptions);
        (Live::run("consumer", pipeline), intake)
    }

    /// Whether its subscriptions have ended as recorded.
    pub(crate) fn was_told(&self, recorded: &Value) -> bool {
        told(&self.ends(), recorded)
    }
}

pub(crate) fn told(ends: &[End], recorded: &Value) -> bool {
    let recorded = recorded.as_array().unwrap();
    ends.len() == recorded.len()
        && ends
            .iter()
            .zip(recorded)
            .all(|(end, told)| is_end(end, told[0].as_str().unwrap(), told[1].as_str().unwrap()))
}

impl Consumer<u64> for Recorder {
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), BoxError> {
        self.seen.lock().unwrap().batches.push(batch.to_vec());
        sleep(A_WHILE).await;
        match self.crash_at {
            Some(at) if batch.contains(&at) => Err("boom".into()),
            _ => Ok(()),
        }
    }

    fn unsubscribed(&mut self, _: &SubscriptionInfo, end: &End) {
        self.seen.lock().unwrap().ends.push(end.clone());
    }
}

/// Drops, repeats and multiplies events, as a handler of the traces does.
pub(crate) struct Hop {
    handler: Value,
    pub(crate) ends: Arc<Mutex<Vec<End>>>,
}

impl Hop {
    pub(crate) fn new(handler: &Value) -> Self {
        Self {
            handler: handler.clone(),
            ends: Arc::default(),
        }
    }
}

impl Transform<u64> for Hop {
    type Out = u64;
    type Error = BoxError;

    async fn transform(
        &mut self,
        batch: &mut Batch<u64>,
        out: &mut Batch<u64>,
    ) -> Result<(), BoxError> {
        for event in batch.drain() {
            out.extend(handled(&self.handler, event));
        }
        Ok(())
    }

    fn unsubscribed(&mut self, info: &SubscriptionInfo, end: &End) {
        if &*info.to == "hop" {
            self.ends.lock().unwrap().push(end.clone());
        }
    }
}
