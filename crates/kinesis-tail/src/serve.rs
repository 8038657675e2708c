//! `kinesis-tail serve`: the embedded Kinesis alone.

mod fault;
mod setting;
mod value;

use std::{
    collections::BTreeSet,
    fmt::Display,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use clap::Args;
use kinesis_fake::{Choices, Durations, Fake, Fault, FaultPlan, Limits, Server, model::Owner};
use stage_core::BoxError;

use self::{
    fault::Faults,
    setting::{Setting, setting},
    value::Value,
};
use crate::{cli::number, connect, signals, stdout};

/// Run an embedded Kinesis on this machine, in memory
///
/// It has the service's real limits, and asks for no valid credentials: only this machine reaches it,
/// unless --host says otherwise. The first line on standard output is its address, to be passed as --endpoint-url or AWS_ENDPOINT_URL. It ends on SIGINT or
/// SIGTERM, and everything in it is gone.
///
/// What is to go wrong is printed on standard error before that line, and what did at the end:
///
///   kinesis-tail serve --stream orders --seed 7 \
///     --fault GetRecords:ProvisionedThroughputExceededException:0.3 \
///     --fault GetRecords+ListShards:delay=2s:every=5 \
///     --fault all:InternalFailure:between=60s..90s
///
/// For a benchmark, and for a test of how a consumer waits for streams:
///
///   kinesis-tail serve --stream orders --shards 50 --no-limits
///   kinesis-tail serve --realistic-durations --limit get_records_per_second=2
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, after_long_help = long_help())]
pub(crate) struct ServeArgs {
    /// The address to listen at. Whoever reaches it may use it: others than this machine do at 0.0.0.0
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_parser = host)]
    host: IpAddr,

    /// The port to listen at; 0 takes one that is free
    #[arg(long, default_value_t = 4567, value_parser = number(0..=u16::MAX))]
    port: u16,

    /// How many connections to attend to at a time: a subscription takes one over HTTP/1.1. More are
    /// answered by ServiceUnavailable. The bound on open files (ulimit -n) must allow for 64 more
    #[arg(long, value_name = "N", default_value = "1024", value_parser = number(1..=MOST_CONNECTIONS))]
    most_connections: usize,

    /// A stream to begin with. May be repeated; CreateStream makes others
    #[arg(long = "stream", value_name = "NAME", value_parser = stream_name)]
    streams: Vec<String>,

    /// How many shards each of these streams has
    #[arg(long, value_name = "N", default_value = "4", value_parser = number(NonZeroU32::MIN..=NonZeroU32::MAX))]
    shards: NonZeroU32,

    /// The account that the streams belong to
    #[arg(long, value_name = "ID", default_value = "000000000000", value_parser = account)]
    account: String,

    /// The region that the streams are in
    #[arg(long, value_name = "NAME", default_value = "us-east-1", value_parser = region)]
    region: String,

    /// How long new streams keep records
    #[arg(long, value_name = "HOURS", default_value = "24", value_parser = number(1..=MOST_HOURS))]
    retention: u32,

    /// Let its time pass so many times as fast: at 3600 an hour takes a second, and records are trimmed
    /// after 24 s. Everything goes by that clock: rates allow so much more, iterators live so much
    /// shorter, and subscriptions last for 83 ms unless --limit subscription_life=none. Only heartbeats and
    /// the time for which a subscriber may not read (subscriber_stall) are by the clients' clock
    #[arg(long, value_name = "N", default_value = "1", value_parser = number(1..=MOST_RATE))]
    clock_rate: u32,

    /// Lift all limits, as for a benchmark. Iterators do not expire then. An answer still has 32 MiB
    /// and 100,000 records at most
    #[arg(long)]
    no_limits: bool,

    /// Change a limit, as get_records_per_second=2; `none` lifts it. May be repeated, and changes
    /// what --no-limits leaves
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = setting::<Limits>)]
    limits: Vec<Setting<Limits>>,

    /// Choose what it does where AWS's documents are silent or disagree, as
    /// older_than_horizon=StartAtHorizon. May be repeated
    #[arg(long = "choice", value_name = "NAME=VALUE", value_parser = setting::<Choices>)]
    choices: Vec<Setting<Choices>>,

    /// Let changes take about as long as on AWS, so that streams are CREATING and UPDATING for a
    /// while, instead of no time
    #[arg(long)]
    realistic_durations: bool,

    /// Let a change take that long, as create=5s or all=30s. May be repeated, and changes what
    /// --realistic-durations says
    #[arg(long = "duration", value_name = "CHANGE=SPAN", value_parser = setting::<Durations>)]
    durations: Vec<Setting<Durations>>,

    /// Draw from this number what is left to chance: the same calls then meet the same faults
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number(0..=u64::MAX))]
    seed: u64,

    /// Let something go wrong, as GetRecords:InternalFailure:0.3. May be repeated
    #[arg(long = "fault", value_name = "FAULT", value_parser = fault::fault)]
    faults: Vec<Fault>,

    /// Let go wrong what a file says: a fault on each line, and `#` before a remark. May be repeated
    #[arg(long = "fault-plan", value_name = "FILE", value_parser = fault::file)]
    fault_plans: Vec<Faults>,

    /// Draw two to six faults from the seed, such as there are on a bad day, for the first SPAN; all
    /// is well after it
    #[arg(long, value_name = "SPAN", value_parser = span)]
    draw_faults: Option<Duration>,
}

/// More ports than a client has.
const MOST_CONNECTIONS: usize = 65_536;
/// A day in less than a second. Sequence numbers can tell times for five hundred years.
const MOST_RATE: u32 = 100_000;
/// A hundred years.
const MOST_HOURS: u32 = 876_000;

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen at {address}: choose another port, or 0 for any, and an address of this machine"
)]
struct CannotListen {
    address: SocketAddr,
    source: io::Error,
}

pub(crate) async fn run(args: ServeArgs) -> Result<(), BoxError> {
    let told_to_stop = signals::listen()?;
    let address = SocketAddr::new(args.host, args.port);
    let plan = args.plan();
    let has_faults = !plan.faults().is_empty();
    let fake = args.fake(plan.clone())?;
    let server = Server::bind(address, fake.clone())
        .await
        .map_err(|source| CannotListen { address, source })?
        .most_connections(args.most_connections);
    if has_faults {
        say(format_args!("{plan:?}\n"));
    }
    stdout::print(&format!("{}\n", server.endpoint()))?;
    server.run_until(told_to_stop).await;
    if has_faults {
        say(fake.fault_report());
    }
    Ok(())
}

impl ServeArgs {
    /// What clap cannot check by itself: what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        if let Some(twice) = self.streams.iter().find(|name| !names.insert(*name)) {
            return Err(format!(
                "--stream cannot be {twice:?} twice: each has a name of its own"
            ));
        }
        self.choices()?;
        let most = self.limits()?.open_shards;
        let shards = self.streams.len() as u64 * u64::from(self.shards.get());
        if shards > u64::from(most) {
            return Err(format!(
                "--shards cannot be {}: these streams would have {shards} shards, and an account \
                 has {most}; --limit open_shards={shards} allows them",
                self.shards
            ));
        }
        Ok(())
    }

    fn limits(&self) -> Result<Limits, String> {
        let mut limits = match self.no_limits {
            true => Limits::none(),
            false => Limits::default(),
        };
        changed(&mut limits, &self.limits)?;
        Ok(limits)
    }

    fn plan(&self) -> FaultPlan {
        let plan = match self.draw_faults {
            Some(span) => FaultPlan::drawn(self.seed, span),
            None => FaultPlan::new(self.seed),
        };
        let planned = self.fault_plans.iter().flat_map(|Faults(faults)| faults);
        self.faults
            .iter()
            .chain(planned)
            .cloned()
            .fold(plan, FaultPlan::with)
    }

    fn choices(&self) -> Result<Choices, String> {
        let mut choices = Choices::default();
        changed(&mut choices, &self.choices)?;
        Ok(choices)
    }

    fn fake(&self, plan: FaultPlan) -> Result<Fake, String> {
        let mut durations = match self.realistic_durations {
            true => Durations::realistic(),
            false => Durations::instant(),
        };
        changed(&mut durations, &self.durations)?;
        let builder = Fake::builder()
            .wall_clock()
            .clock_rate(self.clock_rate)
            .without_stream()
            .account(&self.account)
            .region(&self.region)
            .retention_hours(self.retention)
            .limits(self.limits()?)
            .choices(self.choices()?)
            .durations(durations)
            .seed(self.seed)
            .follow(plan);
        let streams = self.streams.iter();
        let builder = streams.fold(builder, |it, name| it.and_stream(name, self.shards.get()));
        Ok(builder.build())
    }
}

fn changed<T: setting::Named>(it: &mut T, settings: &[Setting<T>]) -> Result<(), String> {
    settings.iter().try_for_each(|setting| setting.apply(it))
}

/// Tells a person, on standard error.
fn say(what: impl Display) {
    // If nobody reads it, that is no reason to stop serving.
    let _ = write!(io::stderr(), "{what}");
}

fn stream_name(text: &str) -> Result<String, &'static str> {
    match connect::stream(text) {
        Ok(name) if !name.starts_with("arn:") => Ok(name),
        _ => Err("expected a name of 1 to 128 letters, digits, `_`, `.` and `-`"),
    }
}

fn host(text: &str) -> Result<IpAddr, &'static str> {
    text.parse()
        .map_err(|_| "expected an IP address, as 127.0.0.1 or 0.0.0.0")
}

fn account(text: &str) -> Result<String, &'static str> {
    let owner = Owner::new(text, Owner::default().region());
    owner
        .map(|_| text.to_owned())
        .ok_or("expected twelve digits")
}

fn region(text: &str) -> Result<String, &'static str> {
    let owner = Owner::new(Owner::default().account(), text);
    let named = owner.map(|_| text.to_owned());
    named.ok_or("expected small letters, digits and `-`, as eu-central-1")
}

fn span(text: &str) -> Result<Duration, String> {
    let span = Duration::read(text).filter(|span| !span.is_zero());
    span.ok_or_else(|| format!("expected {}", Duration::expected()))
}

fn long_help() -> String {
    format!(
        "{}\n\nLimits, and what they are unless told otherwise:\n{}\nChoices:\n{}\nChanges:\n{}",
        fault::HELP,
        setting::list(&Limits::default()),
        setting::list(&Choices::default()),
        setting::list(&Durations::instant())
    )
}
