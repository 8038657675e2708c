//! What an event costs, beside other ways to move it: alternating rounds within one process, so
//! that a noisy machine disturbs all alike.
//!
//!     cargo run --release -p benches --bin ratios              # a1000 to f
//!     cargo run --release -p benches --bin ratios -- a1000 ping
//!
//! The allocator is mimalloc, told to keep what it is given back. One that gives memory back to the system and asks
//! for it again measures that: how the system clears pages, a third of the time where answers of a hundred kilobytes
//! come and go.

#![allow(clippy::disallowed_methods)] // It measures real time.

mod contest;
mod extras;
mod idle;
mod kinesis;
mod kinesis_sdk;
mod standard;

use std::{
    env, error::Error, fs::File, io::Write, os::unix::process::CommandExt, path::PathBuf,
    process::Command, time::Duration,
};

use benches::{Event, WORKLOADS};
use clap::Parser;
use contest::{Figure, print_versions};
use mimalloc::MiMalloc;
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures what dispatch costs per event.
#[derive(Parser)]
#[command(after_help = names())]
struct Args {
    /// Which workloads to run; a1000 to f if none is named.
    workloads: Vec<String>,
    /// Write the figures to this file, too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only these candidates, besides ours, and in this order.
    #[arg(long, value_delimiter = ',')]
    candidates: Vec<String>,
}

/// Two runtimes to measure on.
struct Runtimes {
    current: Runtime,
    multi: Runtime,
}

impl Runtimes {
    fn each(&self) -> [(&'static str, &Runtime); 2] {
        [
            ("current-thread", &self.current),
            ("multi-thread", &self.multi),
        ]
    }
}

/// What all workloads need to know.
struct Setting {
    runtimes: Runtimes,
    /// How long to measure one workload.
    time: Duration,
    candidates: Vec<String>,
}

impl Setting {
    /// Whether this candidate is to be measured. We always are.
    fn is_chosen(&self, candidate: &str) -> bool {
        self.candidates.is_empty()
            || candidate.starts_with("stage-core")
            || self.candidates.iter().any(|it| it == candidate)
    }
}

/// All of a thousand milliseconds less than two minutes, whatever is slow to start.
const IN_ALL: Duration = Duration::from_secs(104);

/// The longest for one workload.
const FOR_ONE: Duration = Duration::from_secs(15);

/// How mimalloc is told after how many milliseconds to give memory back; -1 is never. It reads that once, as the program
/// begins.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    if env::var_os(PURGE_DELAY).is_none() {
        let mut again = Command::new(env::current_exe()?);
        again.args(env::args_os().skip(1)).env(PURGE_DELAY, "-1");
        // It returns only if it fails.
        return Err(again.exec().into());
    }
    let chosen = if args.workloads.is_empty() {
        WORKLOADS.iter().map(|it| it.name.to_owned()).collect()
    } else {
        args.workloads
    };
    if let Some(unknown) = chosen.iter().find(|name| !is_known(name)) {
        return Err(format!("no workload `{unknown}`\n{}", names()).into());
    }
    if let Some(unknown) = args.candidates.iter().find(|name| !is_candidate(name)) {
        return Err(format!("no candidate `{unknown}`").into());
    }
    // Before it is measured what is to be written there.
    let json = args.json.map(File::create).transpose()?;
    let setting = Setting {
        runtimes: Runtimes {
            current: Builder::new_current_thread().build()?,
            multi: Builder::new_multi_thread().worker_threads(2).build()?,
        },
        time: FOR_ONE.min(IN_ALL / chosen.len() as u32),
        candidates: args.candidates,
    };
    print_versions();
    let mut figures = Vec::new();
    let mut standard = Vec::new();
    for name in &chosen {
        if let Some(workload) = WORKLOADS.iter().find(|it| it.name == name) {
            standard.extend(standard::measure(workload, &setting));
        } else if name == "kinesis" {
            figures.extend(kinesis::measure(&setting)?);
            figures.extend(kinesis_sdk::measure(&setting)?);
        } else if name == kinesis_sdk::NAME {
            figures.extend(kinesis_sdk::measure(&setting)?);
        } else if name == idle::NAME {
            idle::measure()?;
        } else {
            figures.extend(extras::measure(name, &setting));
        }
    }
    standard::summarize(&standard);
    let figures: Vec<Figure> = standard.into_iter().chain(figures).collect();
    if let Some(mut json) = json {
        json.write_all(serde_json::to_string_pretty(&figures)?.as_bytes())?;
    }
    Ok(())
}

/// Of whatever workload.
fn is_candidate(name: &str) -> bool {
    let known = u64::candidates().into_iter().map(|it| it.name);
    known
        .chain(["hand-written", "bare-sdk"])
        .any(|it| it == name)
}

fn is_known(name: &str) -> bool {
    ["kinesis", kinesis_sdk::NAME, idle::NAME].contains(&name)
        || WORKLOADS.iter().any(|it| it.name == name)
        || extras::NAMES.iter().any(|(known, _)| *known == name)
}

fn names() -> String {
    let mut text = "Workloads:\n".to_owned();
    let more = [
        (
            "kinesis",
            "records of a fake stream, against a loop by hand",
        ),
        (
            kinesis_sdk::NAME,
            "of these, only what goes over the AWS SDK",
        ),
        (
            idle::NAME,
            "what 10,000 shards take that nothing comes from",
        ),
    ];
    let standard = WORKLOADS.iter().map(|it| (it.name, it.about));
    for (name, about) in standard.chain(extras::NAMES).chain(more) {
        text += &format!("  {name:<10} {about}\n");
    }
    text
}
