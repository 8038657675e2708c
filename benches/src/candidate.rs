use std::pin::Pin;

use bench_workloads::{self as workloads, Bytes1k, Job, Shape, Tally, Toil, ToilAtEnd, stage};

use crate::{
    batches,
    channels::{self, ManyReceivers, ManySenders},
    fused,
    peers::{
        CrossfireMpmc, CrossfireMpsc, CrossfireSpsc, Flume, Futures, Kanal, RecvMany, TokioMpsc,
    },
};

/// Who is measured beside us in every workload.
pub const PEERS: [&str; 9] = [
    "tokio-mpsc",
    "tokio-batches",
    "tokio-batches-shared",
    "tokio-recv-many",
    "flume",
    "kanal",
    "crossfire",
    "futures",
    "fused",
];

/// Who is measured beside us where curves are drawn.
pub const FEW: [&str; 2] = ["tokio-mpsc", "tokio-batches"];

/// Us, where steps between need no task of their own.
pub const STEPS: &str = "stage-core-steps";

/// Us, where a task that is no stage sends events one by one, and where one takes them as a stream.
pub const OUTSIDE: [&str; 2] = ["stage-core-sent", "stage-core-stream"];

/// Us, and those of `peers` that do such jobs.
pub fn candidates<E: Event>(peers: &[&str], shape: Shape) -> impl Iterator<Item = Candidate> {
    let is_wanted = |it: &Candidate| it.name == "stage-core" || peers.contains(&it.name);
    let known = E::candidates().into_iter();
    known.filter(move |it| (it.does)(shape) && is_wanted(it))
}

/// A way to move events.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its name in tables and JSON.
    pub name: &'static str,
    /// How it does a job.
    pub run: fn(Job) -> Running,
    /// Whether it does jobs of that shape.
    pub does: fn(Shape) -> bool,
}

/// A job being done.
type Running = Pin<Box<dyn Future<Output = Tally> + Send>>;

/// An event, and who is measured with it. (Not generic, so that this crate compiles them, once, and
/// not each program.)
pub trait Event: workloads::Event {
    /// Ours is the first.
    fn candidates() -> Vec<Candidate>;
}

impl Event for u64 {
    fn candidates() -> Vec<Candidate> {
        all::<Self>()
    }
}

impl Event for Bytes1k {
    fn candidates() -> Vec<Candidate> {
        all::<Self>()
    }
}

impl Event for Toil {
    fn candidates() -> Vec<Candidate> {
        few::<Self>()
    }
}

impl Event for ToilAtEnd {
    fn candidates() -> Vec<Candidate> {
        few::<Self>()
    }
}

/// Those that are measured with every event. Ours is the first.
fn few<E: workloads::Event>() -> Vec<Candidate> {
    vec![
        Candidate {
            name: "stage-core",
            run: |job| Box::pin(stage::run::<E>(job)),
            does: |_| true,
        },
        Candidate {
            name: "tokio-mpsc",
            run: one_receiver::<TokioMpsc, E>,
            does: |_| true,
        },
        Candidate {
            name: "tokio-batches",
            run: |job| Box::pin(batches::run::<E>(job)),
            does: |_| true,
        },
        Candidate {
            name: "fused",
            run: |job| Box::pin(fused::fused::<E>(job)),
            does: |shape| matches!(shape, Shape::Direct | Shape::Chain(_)),
        },
    ]
}

/// All of them. Ours is the first.
fn all<E: workloads::Event>() -> Vec<Candidate> {
    let mut all = few::<E>();
    all.extend([
        Candidate {
            name: "tokio-recv-many",
            run: one_receiver::<RecvMany, E>,
            does: |_| true,
        },
        Candidate {
            name: "flume",
            run: many_receivers::<Flume, E>,
            does: |_| true,
        },
        Candidate {
            name: "kanal",
            run: many_receivers::<Kanal, E>,
            does: |_| true,
        },
        Candidate {
            name: "crossfire",
            run: |job| match job.shape {
                Shape::Share(consumers) => {
                    Box::pin(channels::share::<CrossfireMpmc, E>(job, consumers))
                }
                Shape::Gather(producers) => {
                    Box::pin(channels::gather::<CrossfireMpsc, E>(job, producers))
                }
                _ => Box::pin(channels::run::<CrossfireSpsc, E>(job)),
            },
            does: |_| true,
        },
        Candidate {
            name: "futures",
            run: one_receiver::<Futures, E>,
            does: |_| true,
        },
        Candidate {
            name: "tokio-batches-shared",
            run: |job| {
                let Shape::Broadcast(consumers) = job.shape else {
                    unreachable!("only broadcasts can share")
                };
                Box::pin(batches::broadcast_shared::<E>(job, consumers))
            },
            does: |shape| matches!(shape, Shape::Broadcast(_)),
        },
        Candidate {
            name: "bare-loop",
            run: |job| Box::pin(fused::bare::<E>(job)),
            does: |shape| matches!(shape, Shape::Direct | Shape::Chain(_)),
        },
        Candidate {
            name: STEPS,
            run: |job| Box::pin(stage::in_steps::<E>(job)),
            does: |shape| matches!(shape, Shape::Chain(1 | 4)),
        },
        Candidate {
            name: OUTSIDE[0],
            run: |job| Box::pin(stage::sent::<E>(job)),
            does: |shape| shape == Shape::Direct,
        },
        Candidate {
            name: OUTSIDE[1],
            run: |job| Box::pin(stage::streamed::<E>(job)),
            does: |shape| shape == Shape::Direct,
        },
        Candidate {
            name: "stage-core-receipts",
            run: |job| Box::pin(stage::with_receipts::<E>(job)),
            does: |shape| shape == Shape::Direct,
        },
        Candidate {
            name: "stage-core-tracker",
            run: |job| Box::pin(stage::with_tracker::<E>(job)),
            does: |shape| shape == Shape::Direct,
        },
    ]);
    all
}

/// Consumers that share events have a channel each, and get them in turn.
fn one_receiver<C: ManySenders, E: workloads::Event>(job: Job) -> Running {
    match job.shape {
        Shape::Gather(producers) => Box::pin(channels::gather::<C, E>(job, producers)),
        _ => Box::pin(channels::run::<C, E>(job)),
    }
}

/// Consumers that share events have one channel between them.
fn many_receivers<C: ManySenders + ManyReceivers, E: workloads::Event>(job: Job) -> Running {
    match job.shape {
        Shape::Share(consumers) => Box::pin(channels::share::<C, E>(job, consumers)),
        _ => one_receiver::<C, E>(job),
    }
}
