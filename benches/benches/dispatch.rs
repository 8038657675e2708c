//! Curves: each workload of `ratios`, beside others, by criterion. It measures one after the other, minutes apart, and
//! so says how a cost changes from one commit to the next. For ratios there is `ratios`.
//!
//!     cargo bench -p benches --features curves
//!     cargo bench -p benches --features curves -- 'd/current-thread/u64'

#![allow(missing_docs)] // Of what criterion's macros make.
#![allow(clippy::disallowed_methods)] // It measures real time.

use std::time::{Duration, Instant};

use benches::{
    Bytes1k, Event, FEW, Job, PEERS, Ping, Shape, WORKLOADS, candidates, pings_by_demand,
    pings_through_a_stage,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mimalloc::MiMalloc;
use tokio::runtime::{Builder, Runtime};

/// As in `ratios`: with a kibibyte in each event it is what one measures.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

criterion_group! {
    name = curves;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .sample_size(20);
    targets = workloads, pings, windows, consumers, stages
}
criterion_main!(curves);

/// As in `ratios`, with both events, on both runtimes.
fn workloads(criterion: &mut Criterion) {
    for workload in &WORKLOADS {
        let mut group = criterion.benchmark_group(workload.name);
        for (name, runtime) in runtimes() {
            let (shape, window) = (workload.shape, workload.window);
            let name = |event| format!("{name}/{event}");
            add::<u64>(&mut group, &name("u64"), &runtime, shape, window, &PEERS);
            let payload = name("bytes-1k");
            add::<Bytes1k>(&mut group, &payload, &runtime, shape, window, &PEERS);
        }
    }
}

/// Round trips, for how long one takes. Quantiles are in `ratios ping`.
fn pings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ping");
    for (name, runtime) in runtimes() {
        let mut add = |how: &str, ping: Ping| {
            let id = BenchmarkId::from_parameter(format!("{name}/{how}/{}", ping.name));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|times| {
                    let laps = runtime.block_on((ping.run)(times as usize));
                    laps.into_iter()
                        .map(u64::from)
                        .map(Duration::from_nanos)
                        .sum()
                });
            });
        };
        for ping in pings_through_a_stage() {
            add("through-a-stage", ping);
        }
        for ping in pings_by_demand() {
            add("by-demand", ping);
        }
    }
}

fn windows(criterion: &mut Criterion) {
    let points = [1, 10, 100, 1_000].map(|window| (window, Shape::Direct, window));
    curve(criterion, "windows", points);
}

fn consumers(criterion: &mut Criterion) {
    let points = [1, 8, 64, 1_000].map(|consumers| (consumers, Shape::Share(consumers), 100));
    curve(criterion, "consumers", points);
}

fn stages(criterion: &mut Criterion) {
    let points = [1, 2, 4, 8, 16].map(|stages| (stages, Shape::Chain(stages), 1_000));
    curve(criterion, "stages", points);
}

fn curve<const N: usize>(
    criterion: &mut Criterion,
    name: &str,
    points: [(usize, Shape, usize); N],
) {
    let mut group = criterion.benchmark_group(name);
    for (runtime_name, runtime) in runtimes() {
        for (point, shape, window) in points {
            let name = format!("{runtime_name}/{point}");
            add::<u64>(&mut group, &name, &runtime, shape, window, &FEW);
        }
    }
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// So many events to a run at least: starting and stopping is part of it.
const EVENTS: u64 = 20_000;

/// So many for each stage: starting a thousand of them costs what many events do.
const EACH: u64 = 1_000;

fn add<E: Event>(
    group: &mut Group<'_>,
    name: &str,
    runtime: &Runtime,
    shape: Shape,
    window: usize,
    peers: &[&str],
) {
    let events = match shape {
        Shape::Share(consumers) => EVENTS.max(EACH * consumers as u64),
        _ => EVENTS,
    };
    let job = Job {
        shape,
        window,
        events,
    };
    let expected = job.expected::<E>();
    group.throughput(Throughput::Elements(events));
    for candidate in candidates::<E>(peers, shape) {
        let id = BenchmarkId::from_parameter(format!("{name}/{}", candidate.name));
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|times| {
                let start = Instant::now();
                for _ in 0..times {
                    assert_eq!(runtime.block_on((candidate.run)(job)), expected);
                }
                start.elapsed()
            });
        });
    }
}

fn runtimes() -> [(&'static str, Runtime); 2] {
    let current = Builder::new_current_thread().build();
    let multi = Builder::new_multi_thread().worker_threads(2).build();
    [
        ("current-thread", current.expect("builds")),
        ("multi-thread", multi.expect("builds")),
    ]
}
