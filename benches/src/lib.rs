//! The workloads of `ratios`, for each candidate.
//!
//! A workload moves `events` numbers from one task to another with at most `window` of them on
//! their way, and returns their sum, which `ratios` checks: what was not moved was not measured.

mod stage;
mod tokio_batches;
mod tokio_mpsc;

use std::pin::Pin;

/// How many events may be on their way from the producer to the consumer.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// The most events on their way.
    pub window: usize,
}

/// Moves so many events through a window, and returns the sum of their numbers.
pub type Run = fn(window: usize, events: u64) -> Pin<Box<dyn Future<Output = u64> + Send>>;

/// A way to move events.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its name in tables and JSON.
    pub name: &'static str,
    /// How it runs a workload.
    pub run: Run,
}

/// One producer, one consumer.
pub const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "a1000",
        window: 1_000,
    },
    Workload {
        name: "a10",
        window: 10,
    },
    Workload {
        name: "a1",
        window: 1,
    },
];

/// Everything that is measured. Ours is the first.
pub const CANDIDATES: [Candidate; 3] = [
    Candidate {
        name: "stage-core",
        run: |window, events| Box::pin(stage::run(window, events)),
    },
    Candidate {
        name: "tokio-mpsc",
        run: |window, events| Box::pin(tokio_mpsc::run(window, events)),
    },
    Candidate {
        name: "tokio-batches",
        run: |window, events| Box::pin(tokio_batches::run(window, events)),
    },
];
