//! Local curves: how our own cost changes from one commit to the next. No ratios: criterion measures
//! one after the other, minutes apart.
//!
//!     cargo bench -p benches --features curves

#![allow(missing_docs)] // Of what criterion's macros make.
#![allow(clippy::disallowed_methods)] // It measures real time.

use std::time::{Duration, Instant};

use benches::{Bytes1k, Event, Job, Shape, WORKLOADS};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::{Builder, Runtime};

criterion_group! {
    name = curves;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = workloads, windows, consumers, stages
}
criterion_main!(curves);

/// As in `ratios`, with both events, on both runtimes.
fn workloads(criterion: &mut Criterion) {
    for workload in &WORKLOADS {
        let mut group = criterion.benchmark_group(workload.name);
        for (name, runtime) in runtimes() {
            let (shape, window) = (workload.shape, workload.window);
            add::<u64>(&mut group, &format!("{name}/u64"), &runtime, shape, window);
            add::<Bytes1k>(
                &mut group,
                &format!("{name}/bytes-1k"),
                &runtime,
                shape,
                window,
            );
        }
    }
}

fn windows(criterion: &mut Criterion) {
    let points = [1, 10, 100, 1_000].map(|window| (window, Shape::Direct, window));
    curve(criterion, "windows", points);
}

fn consumers(criterion: &mut Criterion) {
    let points = [1, 8, 64].map(|consumers| (consumers, Shape::Share(consumers), 100));
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
            add::<u64>(
                &mut group,
                &format!("{runtime_name}/{point}"),
                &runtime,
                shape,
                window,
            );
        }
    }
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// So many events to a run: starting and stopping is part of it.
const EVENTS: u64 = 20_000;

fn add<E: Event>(
    group: &mut Group<'_>,
    name: &str,
    runtime: &Runtime,
    shape: Shape,
    window: usize,
) {
    let job = Job {
        shape,
        window,
        events: EVENTS,
    };
    let ours = E::candidates().swap_remove(0);
    let expected = job.expected::<E>();
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_custom(|times| {
            let start = Instant::now();
            for _ in 0..times {
                assert_eq!(runtime.block_on((ours.run)(job)), expected);
            }
            start.elapsed()
        });
    });
}

fn runtimes() -> [(&'static str, Runtime); 2] {
    let current = Builder::new_current_thread().build();
    let multi = Builder::new_multi_thread().worker_threads(2).build();
    [
        ("current-thread", current.expect("builds")),
        ("multi-thread", multi.expect("builds")),
    ]
}
