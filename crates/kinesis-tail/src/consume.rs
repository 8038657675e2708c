//! `kinesis-tail consume`: a stream's records, a line each.

use std::{
    convert::Infallible, future, net::SocketAddr, num::NonZeroU64, path::PathBuf, pin::pin,
    sync::Arc,
};

use clap::Args;
use kinesis_source::{
    ApiError, ConsumerArn, Deaggregation, FanOut, FileCheckpointStore, InvalidSequenceNumber,
    OnShardFailure, PinnedPosition, ShardError, ShardId, StartPosition, StreamHandle, StreamSource,
};
use stage_core::{BoxError, Pipeline, Window};

use crate::{
    cli::{ConnectArgs, number},
    connect::{self, connect, describe},
    failure,
    live::Live,
    metrics::{self, Endpoint},
    moment,
    output::Decode,
    printer::Printer,
    screen::Screen,
    signals,
    stdout::{self, LineSink},
};

/// Print a stream's records, one JSON object a line, until told to stop
///
/// Each line has these keys, in this order; what a record lacks is null:
///
///   {"shard_id":"shardId-000000000000","sequence_number":"4957…","sub_sequence_number":null,
///    "partition_key":"customer-42","approximate_arrival":"2026-01-01T00:00:00.123Z","data":"…"}
///
/// Records of one partition key come in order, over splits and merges as well. Shards that appear
/// while it runs are read, too. It reads no faster than its output is taken.
///
/// A record is done with when its line has been written and flushed. SIGINT and SIGTERM let it
/// print what is on its way, store the checkpoint and exit with 0. When nobody reads standard
/// output any more, as after `| head -1`, it ends quietly with 0; what was not written will be
/// printed by the next run. To have exactly so many records done with, use --max-records. With
/// --checkpoint, if standard output is closed from the start, as by `>&-`, it fails before it reads
/// anything.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct ConsumeArgs {
    /// The stream's name or ARN
    #[arg(env = "KINESIS_STREAM_NAME", value_parser = connect::stream)]
    stream: String,

    /// Where to start: trim-horizon, latest, at-timestamp=RFC3339 or after=SHARD:SEQUENCE
    ///
    /// trim-horizon is the oldest record kept. latest is now, less the five seconds that clocks may
    /// differ by: nothing that comes from now on is left out. after=SHARD:SEQUENCE goes on after that record: the
    /// shards that this one came from are left out, and all others are read from their oldest
    /// record. With a checkpoint file that has been used before, the run goes on where that says
    /// instead.
    #[arg(long, value_name = "POSITION", default_value = "trim-horizon", value_parser = start_position)]
    from: StartPosition,

    /// Remember in FILE what is done with, and go on from there
    ///
    /// The file is made if there is none. It is written each second and at the end, so that after
    /// a crash or a `kill -9` nothing is lost, and at most what was printed since the last write
    /// is printed again. It belongs to one stream, and one process can use it at a time.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// How many records of each shard may be on their way to standard output
    ///
    /// A read takes no more than that, and the service allows five reads a second of a shard: 1
    /// means at most five records a second of each shard.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_DEMAND)]
    #[arg(value_parser = number(1..=1_000_000_u32))]
    max_demand: u32,

    /// Ask for more when no more than N records are on their way; below --max-demand
    /// [default: half of it]
    #[arg(long, value_name = "N", value_parser = number(0..=u32::MAX))]
    min_demand: Option<u32>,

    /// Print exactly N records, then stop. With --checkpoint, the next run begins with the one
    /// after them
    #[arg(long, value_name = "N", value_parser = number(NonZeroU64::MIN..=NonZeroU64::MAX))]
    max_records: Option<NonZeroU64>,

    /// Stop when every shard has been read to its tip and no shard is left to open
    ///
    /// At `latest` there is nothing to catch up with.
    #[arg(long)]
    until_caught_up: bool,

    /// What `data` is
    ///
    /// A record that is not what it is said to be stops the run with exit code 1, after everything
    /// before it has been printed. No record is skipped or changed.
    #[arg(long, value_enum, value_name = "HOW", default_value = "base64")]
    decode: Decode,

    /// Have the shards send their records to this consumer of enhanced fan-out, instead of asking
    ///
    /// NAME is found, or registered and then stays: AWS charges for each consumer, shard and hour. It
    /// may be a consumer's ARN, which is never registered here. Run one process for each consumer:
    /// two take the shards from each other. Checkpoints are good for either way to read.
    #[arg(long, value_name = "NAME", value_parser = consumer)]
    fan_out: Option<String>,

    /// Take apart the records that the Kinesis Producer Library aggregated
    ///
    /// Each user record is a line of its own, with its key, and a sub_sequence_number if it came out
    /// of an aggregated record. Others stay as they are.
    #[arg(long)]
    deaggregate: bool,

    /// Serve numbers for Prometheus at http://ADDR/metrics, and at /explain what each shard waits for
    ///
    /// ADDR is a port of 127.0.0.1, or an address and a port, as 0.0.0.0:9464. With port 0, `--log
    /// info` says which was taken.
    #[arg(long, value_name = "ADDR", value_parser = metrics::address)]
    metrics: Option<SocketAddr>,

    /// Show on standard error how each shard is doing, while it runs
    ///
    /// On a terminal, the view stands below what is printed and moves in place: what is done with (written
    /// and flushed) in all and each second, what is in flight, and a line for each shard, as far as there is
    /// room: those that are stuck, fail, have had no answer but throttles for ten seconds, or are furthest behind
    /// come first, and the last line says what all others are doing. Elsewhere, and where TERM is dumb or unset, it is a line at once when
    /// a shard begins or ceases to need looking at, or shards come or go, and else one each ten seconds, if
    /// anything moves; never more than one a second. What it says of all shards together is what --metrics
    /// serves; where nobody knows how far behind a shard is, it says of how many that is so.
    #[arg(long)]
    live: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Why a run ended, where the library cannot know what to do.
#[derive(Debug, thiserror::Error)]
enum ConsumeError {
    #[error(
        "the checkpoints in {} lead to where shard `{shard}` cannot be read, {position}: move the \
         file away to start anew, or pass another",
        file.display()
    )]
    Checkpoint {
        file: PathBuf,
        shard: ShardId,
        position: PinnedPosition,
        source: ApiError,
    },
}

/// Two to three reads of a shard that is written to as fast as the service allows, 1,000 records a
/// second, and read five times a second.
const DEFAULT_MAX_DEMAND: u32 = 2_000;

/// The stage that prints. No stream can have this name, because of the space.
const PRINTER: &str = "standard output";

impl ConsumeArgs {
    /// What clap cannot check by itself: what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (max, min) = (self.max_demand, self.min_demand);
        match min {
            Some(min) if min >= max => Err(format!(
                "--min-demand has to be below --max-demand, and {min} is not below {max}"
            )),
            _ => Ok(()),
        }
    }

    fn window(&self) -> Window {
        let window = Window::new(self.max_demand as usize);
        match self.min_demand {
            Some(min) => window.with_min(min as usize),
            None => window,
        }
    }
}

pub(crate) async fn run(args: ConsumeArgs, screen: Screen) -> Result<(), BoxError> {
    // First of all: what is printed counts as done with.
    stdout::check_writable(args.checkpoint.is_some())?;
    let mut told_to_stop = pin!(signals::listen()?);
    let endpoint = match args.metrics {
        Some(address) => Some(Endpoint::open(address).await?),
        None => None,
    };
    let source = tokio::select! {
        biased;
        () = &mut told_to_stop => return Ok(()),
        source = open(&args) => source?,
    };
    let most = args.max_records.map_or(u64::MAX, NonZeroU64::get);
    let printer = Printer::new(LineSink::stdout(&screen), args.decode, most);
    let enough = printer.enough();
    let mut pipeline = Pipeline::new();
    let (records, stream) = source.add_to(&mut pipeline);
    let records = records.subscribe(args.window());
    pipeline.stage(PRINTER).consume(printer, records);
    let has_store = args.checkpoint.is_some();
    let live = args
        .live
        .then(|| Live::start(stream.clone(), screen, has_store));
    let stop = async {
        let why = tokio::select! {
            biased;
            () = told_to_stop => "told to",
            () = enough.notified() => "enough is printed",
            () = stdout::closed() => "nobody reads standard output",
            done = stream.try_caught_up(), if args.until_caught_up => match done {
                Ok(()) => "caught up",
                // The pipeline's end names them.
                Err(_) => "caught up, but for shards that have stopped",
            },
        };
        tracing::info!(why, "stopping");
    };
    let done = tokio::select! {
        biased;
        done = pipeline.run_until(stop) => done.map_err(failure::without_stage),
        never = serve(endpoint, stream.clone()) => match never {},
    };
    if let Some(live) = live {
        live.end().await;
    }
    done.map_err(|error| ConsumeError::or_else(error, args.checkpoint))
}

/// Answers at the endpoint, if there is one.
async fn serve(endpoint: Option<Endpoint>, stream: StreamHandle) -> Infallible {
    match endpoint {
        Some(endpoint) => endpoint.serve(stream).await,
        None => future::pending().await,
    }
}

impl ConsumeError {
    /// What `error` means with that checkpoint file, if it means more than it says.
    fn or_else(error: BoxError, checkpoint: Option<PathBuf>) -> BoxError {
        let Some(file) = checkpoint else {
            return error;
        };
        match error.downcast::<ShardError>().map(|error| *error) {
            Ok(ShardError::InvalidPosition {
                shard,
                position,
                source,
                ..
            }) => Box::new(Self::Checkpoint {
                file,
                shard,
                position,
                source,
            }),
            Ok(other) => Box::new(other),
            Err(other) => other,
        }
    }
}

async fn open(args: &ConsumeArgs) -> Result<StreamSource, BoxError> {
    let api = connect(&args.connect, &args.stream).await?;
    describe(&api, &args.stream).await?;
    let api = Arc::new(api);
    // Whoever has started it sees at once what is wrong, and that the output lacks something.
    let mut source = StreamSource::new(&args.stream, api.clone())
        .start(args.from.clone())
        .on_shard_failure(OnShardFailure::FailPipeline);
    if let Some(consumer) = &args.fan_out {
        source = source.fan_out(if consumer.starts_with(ARN) {
            FanOut::registered(api, ConsumerArn::from(consumer.as_str()))
        } else {
            FanOut::new(api, consumer)
        });
    }
    if args.deaggregate {
        source = source.deaggregate(Deaggregation::new());
    }
    let Some(file) = &args.checkpoint else {
        return Ok(source);
    };
    let store = FileCheckpointStore::open(file).await?;
    Ok(source.checkpoints(Arc::new(store)))
}

fn start_position(text: &str) -> Result<StartPosition, String> {
    match text.split_once('=') {
        None if text == "trim-horizon" => Ok(StartPosition::TrimHorizon),
        None if text == "latest" => Ok(StartPosition::Latest),
        Some(("at-timestamp", moment)) => moment::parse(moment).map(StartPosition::AtTimestamp),
        Some(("after", place)) => after(place),
        _ => Err("expected trim-horizon, latest, at-timestamp=… or after=…".to_owned()),
    }
}

/// How every ARN begins.
const ARN: &str = "arn:";

/// Takes a consumer's name or ARN.
fn consumer(text: &str) -> Result<String, &'static str> {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_name = (1..=128).contains(&text.len()) && text.chars().all(is_of_a_name);
    let is_arn = text.starts_with(ARN) && text.contains("/consumer/");
    if is_name || is_arn {
        return Ok(text.to_owned());
    }
    Err("expected a consumer's name, of 1 to 128 letters, digits, `_`, `.` and `-`, or its ARN")
}

fn after(place: &str) -> Result<StartPosition, String> {
    let Some((shard, sequence_number)) = place.split_once(':').filter(|(id, _)| !id.is_empty())
    else {
        return Err("expected after=SHARD:SEQUENCE, as after=shardId-000000000000:4957".to_owned());
    };
    let why = |error: InvalidSequenceNumber| error.to_string();
    Ok(StartPosition::After {
        shard: shard.into(),
        sequence_number: sequence_number.parse().map_err(why)?,
    })
}

#[cfg(test)]
mod tests {
    use kinesis_source::Timestamp;

    use super::*;

    #[test]
    fn a_start_position_is_read_as_documented() {
        let read = |text| start_position(text).unwrap();
        assert_eq!(read("trim-horizon"), StartPosition::TrimHorizon);
        assert_eq!(read("latest"), StartPosition::Latest);
        assert_eq!(
            read("at-timestamp=1970-01-01T00:00:01Z"),
            StartPosition::AtTimestamp(Timestamp::from_millis(1_000))
        );
        assert_eq!(
            read("after=shardId-000000000000:4957"),
            StartPosition::After {
                shard: "shardId-000000000000".into(),
                sequence_number: 4957.into(),
            }
        );
    }

    #[test]
    fn other_start_positions_are_refused() {
        for text in [
            "",
            "TRIM_HORIZON",
            "latest=",
            "at-timestamp",
            "at-timestamp=",
            "at-timestamp=today",
            "after",
            "after=",
            "after=:1",
            "after=shard",
            "after=shard:",
            "after=shard:x",
        ] {
            assert!(start_position(text).is_err(), "{text}");
        }
    }
}
