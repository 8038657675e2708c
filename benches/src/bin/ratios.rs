//! What an event costs, beside other ways to move it: alternating rounds within one process, so
//! that a noisy machine disturbs all alike.
//!
//!     cargo run --release -p benches --bin ratios -- a1000

#![allow(clippy::disallowed_methods)] // It measures real time.

use std::{error::Error, fs, path::PathBuf, time::Instant};

use benches::{CANDIDATES, Candidate, WORKLOADS, Workload};
use clap::Parser;
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

/// Measure what dispatch costs per event.
#[derive(Parser)]
struct Args {
    /// Which workloads to run; all of them if none is named.
    workloads: Vec<String>,
    /// Write the figures to this file, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One line of the JSON.
#[derive(Serialize)]
struct Figure {
    workload: &'static str,
    event: &'static str,
    runtime: &'static str,
    candidate: &'static str,
    least_ns: f64,
    median_ns: f64,
}

const ROUNDS: usize = 40;

/// About how long one sample takes.
const SAMPLE_NS: f64 = 6e6;

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let known = |name: &String| WORKLOADS.iter().any(|workload| workload.name == name);
    if let Some(unknown) = args.workloads.iter().find(|name| !known(name)) {
        let names: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
        return Err(format!("no workload `{unknown}`: choose of {}", names.join(", ")).into());
    }
    let runtimes = [
        ("current-thread", Builder::new_current_thread().build()?),
        (
            "multi-thread",
            Builder::new_multi_thread().worker_threads(2).build()?,
        ),
    ];
    let mut figures = Vec::new();
    for workload in &WORKLOADS {
        if args.workloads.is_empty() || args.workloads.iter().any(|name| name == workload.name) {
            for (name, runtime) in &runtimes {
                figures.extend(measure(workload, name, runtime));
            }
        }
    }
    if let Some(path) = args.json {
        fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    }
    Ok(())
}

/// Measures all candidates in turn, with the order rotated each round, and prints a table.
fn measure(workload: &Workload, runtime_name: &'static str, runtime: &Runtime) -> Vec<Figure> {
    let counts = CANDIDATES.map(|candidate| calibrate(&candidate, workload, runtime));
    let mut samples = CANDIDATES.map(|_| Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS {
        for turn in 0..CANDIDATES.len() {
            let i = (turn + round) % CANDIDATES.len();
            samples[i].push(sample(&CANDIDATES[i], workload, runtime, counts[i]));
        }
    }
    println!(
        "\n{} (window {}), {runtime_name}, u64",
        workload.name, workload.window
    );
    println!(
        "{:>16} {:>10} {:>10} {:>10}",
        "", "least ns", "median ns", "× ours"
    );
    let ours = samples[0].clone();
    let tables = CANDIDATES.iter().zip(samples).map(|(candidate, samples)| {
        let ratios = samples
            .iter()
            .zip(&ours)
            .map(|(theirs, ours)| theirs / ours)
            .collect();
        let figure = Figure {
            workload: workload.name,
            event: "u64",
            runtime: runtime_name,
            candidate: candidate.name,
            least_ns: samples.iter().copied().fold(f64::INFINITY, f64::min),
            median_ns: median(samples),
        };
        let Figure {
            candidate,
            least_ns,
            median_ns,
            ..
        } = figure;
        println!(
            "{candidate:>16} {least_ns:>10.2} {median_ns:>10.2} {:>10.2}",
            median(ratios)
        );
        figure
    });
    tables.collect()
}

/// How many events make a sample.
fn calibrate(candidate: &Candidate, workload: &Workload, runtime: &Runtime) -> u64 {
    let mut events = 1_000;
    loop {
        let ns = sample(candidate, workload, runtime, events);
        if ns * events as f64 > SAMPLE_NS / 4.0 {
            return (SAMPLE_NS / ns) as u64;
        }
        events *= 2;
    }
}

/// Nanoseconds per event, of one run.
fn sample(candidate: &Candidate, workload: &Workload, runtime: &Runtime, events: u64) -> f64 {
    let start = Instant::now();
    let sum = runtime.block_on((candidate.run)(workload.window, events));
    let took = start.elapsed();
    assert_eq!(
        sum,
        events * (events - 1) / 2,
        "{} lost events",
        candidate.name
    );
    took.as_secs_f64() * 1e9 / events as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}
