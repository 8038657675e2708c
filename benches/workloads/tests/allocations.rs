//! What a batch costs the allocator, once a pipeline flows: the difference between runs of N and 2N
//! batches. And what a stage with its link costs it, before anything flows.

use std::alloc::System;

use bench_workloads::{Job, Shape, Tally, WORKLOADS, stage};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Whether it flows long enough to be steady, and short enough for a debug build.
const BATCHES: u64 = 400;

/// What makes batches of half a window, and how often each may allocate. What is broadcast is shared, which takes two
/// for each whole window.
const STEADY: [(&str, f64); 5] = [
    ("a1000", 0.0),
    ("b", 0.0),
    ("c", 1.0),
    ("d", 0.0),
    ("e", 0.0),
];

/// How many allocations and bytes a stage with its link and its task may take.
const SET_UP: (f64, f64) = (12.0, 4_096.0);

/// A queue that grows for the last time late in a run is no allocation per batch.
const ONCE_IN_A_WHILE: f64 = 0.02;

// One test: others would allocate meanwhile.
#[test]
fn a_steady_flow_allocates_nothing_but_for_what_is_shared() {
    let mut exceeded = Vec::new();
    for (name, allowed) in STEADY {
        let workload = WORKLOADS.iter().find(|it| it.name == name).expect("there");
        let batch = (workload.window / 2) as u64;
        let run = |batches| {
            let job = Job {
                shape: workload.shape,
                window: workload.window,
                events: batch * batches,
            };
            allocations(job, stage::run::<u64>(job))
        };
        check_batches(name, run, allowed, &mut exceeded);
    }
    for between in [1, 4] {
        let run = |batches| {
            let job = Job {
                shape: Shape::Chain(between),
                window: 1_000,
                events: 500 * batches,
            };
            allocations(job, stage::in_steps::<u64>(job))
        };
        check_batches(&format!("{between} in steps"), run, 0.0, &mut exceeded);
    }
    check_set_up(&mut exceeded);
    assert!(exceeded.is_empty(), "too many allocations: {exceeded:?}");
}

/// Of runs with so many batches.
fn check_batches(name: &str, run: impl Fn(u64) -> Stats, allowed: f64, exceeded: &mut Vec<String>) {
    // The first run of all sets things up that stay.
    run(BATCHES);
    let (once, twice) = (run(BATCHES), run(2 * BATCHES));
    let per_batch = (calls(&twice) as f64 - calls(&once) as f64) / BATCHES as f64;
    println!("{name}: {per_batch:.3} allocations per batch");
    if per_batch > allowed + ONCE_IN_A_WHILE {
        exceeded.push(format!("{name}: {per_batch:.3}"));
    }
}

/// Not per batch, but per stage.
fn check_set_up(exceeded: &mut Vec<String>) {
    for window in [1, 1_000] {
        let run = |consumers| {
            let job = Job {
                shape: Shape::SetUp,
                window,
                events: consumers,
            };
            allocations(job, stage::run::<u64>(job))
        };
        run(100);
        let (once, twice) = (run(100), run(200));
        let calls = (calls(&twice) - calls(&once)) as f64 / 100.0;
        let bytes = (twice.bytes_allocated - once.bytes_allocated) as f64 / 100.0;
        let text =
            format!("stage and link, window {window}: {calls:.1} allocations, {bytes:.0} bytes");
        println!("{text}");
        if calls > SET_UP.0 || bytes > SET_UP.1 {
            exceeded.push(text);
        }
    }
}

fn allocations(job: Job, run: impl Future<Output = Tally>) -> Stats {
    let runtime = Builder::new_current_thread().build().expect("builds");
    let region = Region::new(ALLOCATOR);
    let tally = runtime.block_on(run);
    let stats = region.change();
    assert_eq!(tally, job.expected::<u64>());
    stats
}

/// Growing counts, too.
fn calls(stats: &Stats) -> usize {
    stats.allocations + stats.reallocations
}
