//! `kinesis-tail publish`: records into a stream, all of them, each key in order.

mod generate;
mod ndjson;
mod put;

use std::{
    io::{self, Write},
    num::NonZeroU32,
    sync::Arc,
};

use clap::Args;
use kinesis_source::{ApiError, AwsKinesis, KinesisWriteApi, PutEntry};
use stage_core::{BoxError, Pipeline, Window};
use tokio::time::Instant;

use self::{generate::Generate, ndjson::Ndjson};
pub(crate) use self::{
    generate::{KEYS, made_up},
    put::{Put, Tally},
};
use crate::{
    cli::{ConnectArgs, number},
    connect::{self, OpenError, await_active, connect, describe},
    failure, signals,
};

/// Put records into a stream
///
/// Reads them from standard input, a JSON object a line, with `partition_key`, `data` (a string,
/// put as UTF-8) and, if wanted, `explicit_hash_key` (a decimal number in a string). Or makes them
/// up, with --count.
///
/// What the service refuses for lack of throughput is put again until all is in. Records of one
/// key stay in order: two of them never travel in one request, and so many keys go faster than
/// one. A request whose answer got lost is made again, which may put its records twice.
///
/// Exit code 0 says that all are in. A line that makes no record ends it with 1, as does a signal;
/// what was read before is put all the same.
#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// The stream's name or ARN
    #[arg(value_parser = connect::stream)]
    stream: String,

    /// Make up N records instead of reading standard input: {"number":1,"key":"key-001"} and so
    /// on, over 500 keys
    #[arg(long, value_name = "N", value_parser = number(0..=u64::MAX))]
    count: Option<u64>,

    /// Make the stream first, with N shards, if it does not exist
    #[arg(long, value_name = "N", value_parser = number(NonZeroU32::MIN..=NonZeroU32::MAX))]
    create_shards: Option<NonZeroU32>,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// A record to put, and which one it is, counted from one.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) entry: PutEntry,
}

/// Two portions: while one is being put, the next is read.
const WINDOW: Window = Window::new(2 * put::MOST_RECORDS);

#[derive(Debug, thiserror::Error)]
#[error("stopped by a signal: what was read by then is put")]
struct Interrupted;

pub(crate) async fn run(args: PublishArgs) -> Result<(), BoxError> {
    let mut told_to_stop = std::pin::pin!(signals::listen()?);
    let api = tokio::select! {
        biased;
        () = &mut told_to_stop => return Err(Interrupted.into()),
        api = open(&args) => Arc::new(api?),
    };
    let put = Put::new(api);
    let tally = put.tally();
    let began = Instant::now();
    let mut interrupted = false;
    let done = wire(args.count, put).run_until(async {
        told_to_stop.await;
        interrupted = true;
    });
    let done = done.await;
    summarize(&tally.borrow(), began);
    done.map_err(failure::without_stage)?;
    if interrupted {
        return Err(Interrupted.into());
    }
    Ok(())
}

fn wire(count: Option<u64>, put: Put) -> Pipeline {
    let mut pipeline = Pipeline::new();
    let records = match count {
        Some(count) => pipeline.produce(Generate::new(count)),
        None => pipeline.produce(Ndjson::new(tokio::io::stdin())),
    };
    pipeline.consume(put, records.subscribe(WINDOW));
    pipeline
}

/// The stream, ready to be written to.
async fn open(args: &PublishArgs) -> Result<AwsKinesis, BoxError> {
    let stream = &args.stream;
    let api = connect(&args.connect, stream).await?;
    match (describe(&api, stream).await, args.create_shards) {
        (Err(OpenError::NoSuchStream { .. }), Some(shards)) => {
            let created = api.create_stream(shards.get()).await;
            created.map_err(|source| CannotCreate {
                stream: stream.clone(),
                source,
            })?;
        }
        (described, _) => drop(described?),
    }
    await_active(&api, stream).await?;
    Ok(api)
}

#[derive(Debug, thiserror::Error)]
#[error("stream {stream:?} cannot be made")]
struct CannotCreate {
    stream: String,
    source: ApiError,
}

fn summarize(tally: &Tally, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    // If standard error is closed, the exit code still tells.
    let _ = writeln!(io::stderr(), "{tally} in {seconds:.1} s");
}
