//! `kinesis-tail demo`: the main job, end to end, on this machine.

mod counted;
mod decode;
mod display;
mod proof;
mod publisher;
mod sink;

use std::{net::Ipv4Addr, pin::pin, sync::Arc, time::Duration};

use clap::Args;
use kinesis_fake::{Fake, Server};
use kinesis_source::{AwsKinesis, StartPosition, StreamHandle, StreamSource};
use stage_core::{BoxError, Pipeline, Window};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};

use self::{
    counted::{Counted, InFlight},
    decode::Decode,
    display::{Display, View},
    proof::{Proof, Verdict},
    sink::SlowSink,
};
use crate::{
    failure,
    publish::{Put, Tally},
    screen::Screen,
    signals, stdout,
};

/// See it work, with nothing set up: no account, no credentials, no network
///
/// Starts an embedded Kinesis with the service's real limits on a free port of this machine, and a
/// stream of 4 shards. Publishes JSON records to it, and consumes them at the same time through
/// the real AWS SDK: a transform decodes them, and a sink takes them in more slowly than they
/// come. On the way a shard is split. All the while it shows how each shard is doing.
///
/// After some 12 seconds it proves that every record arrived exactly once, each key in order, and
/// that no more of them were ever on their way than was asked for. Exit code 0 says that this
/// holds.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {}

const STREAM: &str = "demo";
const SHARDS: u32 = 4;
/// One shard is split in two. Its children are read once it is finished.
const MOST_SHARDS_AT_ONCE: u64 = SHARDS as u64 + 1;
/// From each shard to the transform.
const SHARD_WINDOW: Window = Window::new(100);
/// From the transform to the sink.
const SINK_WINDOW: Window = Window::new(50);
/// When it counts as failed. With what is left to drain by then, it ends within 30 s.
const DEADLINE: Duration = Duration::from_secs(27);
/// How often it is looked whether everything has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
#[error("the demo was stopped before it could prove anything")]
struct Stopped;

#[derive(Debug, thiserror::Error)]
#[error("the demo has not proved what it should: see its summary")]
struct NotProved;

/// What is watched while it runs.
#[derive(Debug)]
struct Watched {
    began: Instant,
    proof: Arc<Proof>,
    in_flight: Arc<InFlight>,
    published: watch::Receiver<Tally>,
    stream: StreamHandle,
}

pub(crate) async fn run(_: DemoArgs, screen: Screen) -> Result<(), BoxError> {
    let mut told_to_stop = pin!(signals::listen()?);
    let verdict = tokio::select! {
        biased;
        () = &mut told_to_stop => return Err(Stopped.into()),
        verdict = perform(screen) => verdict?,
    };
    stdout::print(&verdict.to_string())?;
    if verdict.holds() {
        Ok(())
    } else {
        Err(NotProved.into())
    }
}

async fn perform(screen: Screen) -> Result<Verdict, BoxError> {
    // The server ends when this is dropped.
    let mut servers = JoinSet::new();
    let api = Arc::new(embed(&mut servers).await?);
    let put = Put::new(api.clone());
    let mut pipeline = Pipeline::new();
    let watched = wire(&mut pipeline, api.clone(), put.tally());
    let mut published = Ok(());
    let mut display = Display::on(screen);
    let stop = async {
        let all_in = async {
            published = publisher::publish(&api, put).await;
            if published.is_ok() {
                watched.everything_came().await;
            }
        };
        tokio::select! {
            biased;
            // Not in time: the verdict will say what is missing.
            _ = timeout(DEADLINE, all_in) => {}
            () = watched.show(&mut display) => {}
        }
        display.show(&watched.view());
    };
    let done = pipeline.run_until(stop).await;
    drop(display);
    done.map_err(failure::without_stage)?;
    published?;
    Ok(watched.verdict())
}

/// Starts a Kinesis with the stream, and makes a client for it.
async fn embed(servers: &mut JoinSet<()>) -> Result<AwsKinesis, BoxError> {
    // It is over before a split has taken as long as on the service.
    let fake = Fake::builder().instant().wall_clock();
    let fake = fake.name(STREAM).shards(SHARDS);
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), fake.build()).await?;
    let endpoint = format!("http://{}", server.local_addr());
    servers.spawn(server.run());
    stdout::print(&format!(
        "An embedded Kinesis listens at {endpoint}, with stream {STREAM:?} of {SHARDS} shards.\n"
    ))?;
    Ok(AwsKinesis::local(&endpoint, STREAM)?)
}

/// The pipeline that it is all about.
fn wire(
    pipeline: &mut Pipeline,
    api: Arc<AwsKinesis>,
    published: watch::Receiver<Tally>,
) -> Watched {
    let in_flight = Arc::<InFlight>::default();
    let proof = Arc::<Proof>::default();
    let counted = Arc::new(Counted::new(api, Arc::clone(&in_flight)));
    let (records, stream) = StreamSource::new(STREAM, counted)
        .start(StartPosition::TrimHorizon)
        .add_to(pipeline);
    let orders = pipeline
        .stage("decode")
        .transform(Decode, records.subscribe(SHARD_WINDOW));
    let sink = SlowSink::new(Arc::clone(&proof), Arc::clone(&in_flight));
    pipeline
        .stage("slow sink")
        .consume(sink, orders.subscribe(SINK_WINDOW));
    Watched {
        began: Instant::now(),
        proof,
        in_flight,
        published,
        stream,
    }
}

impl Watched {
    async fn everything_came(&self) {
        while self.proof.received() < publisher::RECORDS {
            sleep(LOOK_EVERY).await;
        }
        self.stream.caught_up().await;
    }

    /// Shows how it is going, for as long as it is asked to.
    async fn show(&self, display: &mut Display) {
        let mut ticks = interval(display.pace());
        loop {
            ticks.tick().await;
            display.show(&self.view());
        }
    }

    fn view(&self) -> View {
        View {
            elapsed: self.began.elapsed(),
            published: self.published.borrow().records,
            received: self.proof.received(),
            in_flight: self.in_flight.now(),
            shards: self.stream.explain().shards,
        }
    }

    fn verdict(&self) -> Verdict {
        Verdict {
            elapsed: self.began.elapsed(),
            published: self.published.borrow().records,
            findings: self.proof.findings(publisher::RECORDS),
            most_in_flight: self.in_flight.most(),
            allowed_in_flight: allowed_in_flight(),
        }
    }
}

/// What the windows let be on its way: a window from each shard and one to the sink, and between
/// them what the transform has made of a delivery and nobody has asked for yet. One that is begun is finished: it is
/// bounded by the window that it came through.
fn allowed_in_flight() -> u64 {
    let delivery = SHARD_WINDOW.max();
    MOST_SHARDS_AT_ONCE * SHARD_WINDOW.max() as u64 + (delivery + SINK_WINDOW.max()) as u64
}
