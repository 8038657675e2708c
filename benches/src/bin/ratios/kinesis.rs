//! Records of a stream in memory, whose limits are lifted, through a source, a transform and a sink
//! that acknowledges; against a loop over the same calls.
//!
//! The clock is paused and goes on when there is nothing to do, so that the source's own limit of
//! five reads a second costs no time. What is measured is the processor's time, on one thread.

use std::{
    convert::Infallible,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kinesis_fake::{Fake, Limits};
use kinesis_source::{ApiError, KinesisApi, Position, Record, ShardId, StreamSource};
use stage_core::{Batch, Consumer, Pipeline, Window, map};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

use crate::{
    Setting,
    contest::{Contest, Entrant, Figure, cpu_time},
};

/// How many records are asked for at once: of one shard, and so in one call.
pub(crate) const AT_ONCE: usize = 10_000;

/// A workload's name, how many shards there are, and how many records all have together.
type Case = (&'static str, u32, u64);

/// A thousand shards with so few records that their opening is what is measured, whatever the size of these.
const OPENING: &str = "kinesis-opening";

/// Events, their size, and what they are read of: so many that the opening of a shard, which a loop by hand does not
/// have, does not count for much.
const CASES: [(&str, usize, &[Case]); 2] = [
    (
        "bytes-100",
        100,
        &[
            ("kinesis-1", 1, 200_000),
            ("kinesis-100", 100, 200_000),
            ("kinesis-1000", 1_000, 2_000_000),
            (OPENING, 1_000, 50_000),
        ],
    ),
    (
        "bytes-1k",
        1_024,
        &[
            ("kinesis-1", 1, 200_000),
            ("kinesis-100", 100, 200_000),
            ("kinesis-1000", 1_000, 1_000_000),
        ],
    ),
];

pub(crate) fn measure(setting: &Setting) -> Result<Vec<Figure>, Box<dyn Error>> {
    let mut figures = Vec::new();
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    for (event, size, cases) in CASES {
        for &(workload, shards, records) in cases {
            let fake = runtime.block_on(async { fill(shards, records, size) })?;
            let contest = Contest {
                workload: workload.to_owned(),
                about: format!("{records} records of {shards} shards"),
                event,
                runtime: "current-thread",
                entrants: vec![
                    entrant("stage-core", &runtime, &fake, records, |fake| {
                        Box::pin(by_source(Arc::new(fake)))
                    }),
                    entrant("hand-written", &runtime, &fake, records, |fake| {
                        Box::pin(by_hand(fake))
                    }),
                ],
                bars: match workload {
                    OPENING => Vec::new(),
                    _ => vec![("hand-written", 0.9)],
                },
            };
            let of_contest = contest.hold(setting.time / 40);
            for figure in &of_contest {
                let per_second = 1e9 / figure.least_ns;
                println!(
                    "{:>22} {:>10.0} records a second and core",
                    figure.candidate, per_second
                );
            }
            figures.extend(of_contest);
        }
    }
    Ok(figures)
}

pub(crate) fn fill(shards: u32, records: u64, size: usize) -> Result<Fake, ApiError> {
    let fake = Fake::builder()
        .shards(shards)
        .limits(Limits::none())
        .build();
    for number in 0..records {
        fake.put(&format!("key-{number}"), vec![number as u8; size])?;
    }
    Ok(fake)
}

type Reading = std::pin::Pin<Box<dyn Future<Output = Read>>>;

/// What has been read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

fn entrant<'a>(
    name: &'static str,
    runtime: &'a Runtime,
    fake: &Fake,
    records: u64,
    read: fn(Fake) -> Reading,
) -> Entrant<'a> {
    let fake = fake.clone();
    Entrant {
        name,
        count: Some(records),
        // Always the whole stream.
        sample: Box::new(move |_| {
            let start = cpu_time();
            let read = runtime.block_on(read(fake.clone()));
            let took = cpu_time() - start;
            assert_eq!(read.records, records, "{name} lost records");
            took.as_secs_f64() * 1e9 / records as f64
        }),
    }
}

pub(crate) async fn by_source(api: Arc<dyn KinesisApi>) -> Read {
    let read = Arc::<[AtomicU64; 2]>::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = StreamSource::new("stream", api).add_to(&mut pipeline);
    // One answer is taken in while the next is read.
    let window = Window::new(2 * AT_ONCE);
    let sizes = pipeline.transform(map(|it: Record| worth(&it)), records.subscribe(window));
    let sink = Sink(Arc::clone(&read));
    pipeline.consume(sink, sizes.subscribe(window));
    let done = async move { handle.caught_up().await };
    pipeline.run_until(done).await.expect("no stage fails");
    let [records, bytes] = &*read;
    Read {
        records: records.load(Ordering::Acquire),
        bytes: bytes.load(Ordering::Acquire),
    }
}

/// Takes sizes in. When `consume` returns, they are acknowledged.
struct Sink(Arc<[AtomicU64; 2]>);

impl Consumer<u64> for Sink {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
        let [records, bytes] = &*self.0;
        records.fetch_add(batch.len() as u64, Ordering::AcqRel);
        bytes.fetch_add(batch.iter().sum(), Ordering::AcqRel);
        Ok(())
    }
}

/// A task for each shard, without limits, checkpoints or care for errors.
async fn by_hand(fake: Fake) -> Read {
    let mut tasks = JoinSet::new();
    let mut token = None;
    loop {
        let page = fake.list_shards(token).await.expect("limits are lifted");
        for shard in page.shards {
            tasks.spawn(read_shard(fake.clone(), shard.id));
        }
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    let all = tasks.join_all().await.into_iter();
    all.fold(Read::default(), |sum, read| Read {
        records: sum.records + read.records,
        bytes: sum.bytes + read.bytes,
    })
}

async fn read_shard(fake: Fake, shard: ShardId) -> Read {
    let from = Position::TrimHorizon;
    let first = fake.get_shard_iterator(&shard, &from).await;
    let mut iterator = first.expect("limits are lifted");
    let mut read = Read::default();
    loop {
        let page = fake.get_records(&iterator, AT_ONCE).await;
        let page = page.expect("limits are lifted");
        for record in page.records {
            read.records += 1;
            read.bytes += worth(&record);
        }
        match page.next {
            Some(next) if page.millis_behind_latest != Some(0) => iterator = next,
            _ => return read,
        }
    }
}

/// What is made of a record.
fn worth(record: &Record) -> u64 {
    record.data.len() as u64
}
