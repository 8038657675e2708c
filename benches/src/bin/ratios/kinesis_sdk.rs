//! The same over a socket: the AWS SDK against the fake's server, which is what `kinesis-tail serve`
//! runs. Through a source, a transform and a sink that acknowledges; against a loop over the SDK's
//! client.
//!
//! What is measured is the time of the thread that the client runs on. The server has another.

use std::{error::Error, net::SocketAddr, sync::Arc, thread};

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Builder as ConfigBuilder, Credentials, Region},
    types::ShardIteratorType,
};
use kinesis_fake::Server;
use kinesis_source::AwsKinesis;
use rustix::time::{ClockId, clock_gettime};
use tokio::{runtime::Builder, sync::oneshot, task::JoinSet};

use crate::{
    Setting,
    contest::{Contest, Entrant, Figure},
    kinesis::{AT_ONCE, Read, by_source, fill},
};

pub(crate) const NAME: &str = "kinesis-sdk";

const SHARDS: u32 = 20;
const RECORDS: u64 = 100_000;

/// What the fake's stream is called.
const STREAM: &str = "stream";

pub(crate) fn measure(setting: &Setting) -> Result<Vec<Figure>, Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut figures = Vec::new();
    for (event, size) in [("bytes-100", 100), ("bytes-1k", 1_024)] {
        let served = Served::start(size)?;
        let url = format!("http://{}", served.address);
        let (api, client) = (Arc::new(AwsKinesis::local(&url, STREAM)?), bare(&url));
        let contest = Contest {
            workload: NAME.to_owned(),
            about: format!("{RECORDS} records of {SHARDS} shards, by the AWS SDK"),
            event,
            runtime: "current-thread",
            entrants: vec![
                entrant("stage-core", || runtime.block_on(by_source(api.clone()))),
                entrant("bare-sdk", || runtime.block_on(by_client(client.clone()))),
            ],
            bars: vec![("bare-sdk", 0.95)],
        };
        figures.extend(contest.hold(setting.time / 16));
        served.stop();
    }
    Ok(figures)
}

/// A server with a thread of its own.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Served {
    fn start(size: usize) -> Result<Self, Box<dyn Error>> {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let server = runtime.block_on(bind(size))?;
        let address = server.local_addr();
        let thread = thread::spawn(move || {
            let signal = async {
                // Whoever started it says so, or has gone.
                let _ = stopped.await;
            };
            runtime.block_on(server.run_until(signal));
        });
        Ok(Self {
            address,
            stop,
            thread,
        })
    }

    fn stop(self) {
        // It may have stopped already.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

async fn bind(size: usize) -> Result<Server, Box<dyn Error>> {
    let fake = fill(SHARDS, RECORDS, size)?;
    Ok(Server::bind((std::net::Ipv4Addr::LOCALHOST, 0).into(), fake).await?)
}

fn entrant<'a>(name: &'static str, read: impl Fn() -> Read + 'a) -> Entrant<'a> {
    Entrant {
        name,
        count: Some(RECORDS),
        sample: Box::new(move |_| {
            let start = clock_gettime(ClockId::ThreadCPUTime);
            let read = read();
            let end = clock_gettime(ClockId::ThreadCPUTime);
            assert_eq!(read.records, RECORDS, "{name} lost records");
            let nanoseconds =
                (end.tv_sec - start.tv_sec) as f64 * 1e9 + (end.tv_nsec - start.tv_nsec) as f64;
            nanoseconds / RECORDS as f64
        }),
    }
}

fn bare(url: &str) -> Client {
    let nobody = Credentials::new("nobody", "nothing", None, None, "local");
    let config = ConfigBuilder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(nobody)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(url);
    Client::from_conf(config.build())
}

/// A task for each shard, without limits, checkpoints or care for errors.
async fn by_client(client: Client) -> Read {
    let listing = client.list_shards().stream_name(STREAM).send().await;
    let listing = listing.expect("limits are lifted");
    let mut tasks = JoinSet::new();
    for shard in listing.shards() {
        tasks.spawn(read_shard(client.clone(), shard.shard_id().to_owned()));
    }
    let all = tasks.join_all().await.into_iter();
    all.fold(Read::default(), |sum, read| Read {
        records: sum.records + read.records,
        bytes: sum.bytes + read.bytes,
    })
}

async fn read_shard(client: Client, shard: String) -> Read {
    let first = client
        .get_shard_iterator()
        .stream_name(STREAM)
        .shard_id(shard)
        .shard_iterator_type(ShardIteratorType::TrimHorizon);
    let first = first.send().await.expect("limits are lifted");
    let mut iterator = first.shard_iterator().map(str::to_owned);
    let mut read = Read::default();
    while let Some(at) = iterator {
        let call = client.get_records().shard_iterator(at);
        let page = call.limit(AT_ONCE as i32).send().await;
        let page = page.expect("limits are lifted");
        for record in page.records() {
            read.records += 1;
            read.bytes += record.data().as_ref().len() as u64;
        }
        if page.millis_behind_latest() == Some(0) {
            break;
        }
        iterator = page.next_shard_iterator().map(str::to_owned);
    }
    read
}
