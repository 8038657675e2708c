//! The limits: the same work in one task, without any hand-over.

use bench_workloads::{Event, Job, Shape, Sink, Sum, Tally};

/// A loop that fills a vector and empties it.
#[allow(clippy::unused_async)] // As the others are.
pub(crate) async fn bare<E: Event>(job: Job) -> Tally {
    let (size, between) = sizes(job);
    let mut batch = Vec::with_capacity(size);
    let mut sink = Sum::default();
    let mut next = 0;
    while next < job.events {
        let end = job.events.min(next + size as u64);
        batch.extend((next..end).map(E::new));
        next = end;
        for _ in 0..between {
            batch = batch.into_iter().map(E::mapped).collect();
        }
        sink.take_all(&batch);
        batch.clear();
    }
    sink.tally()
}

/// A loop over an asynchronous function that makes a batch and one that takes it in, in a task.
pub(crate) async fn fused<E: Event>(job: Job) -> Tally {
    let (size, between) = sizes(job);
    let looping = async move {
        let mut batch = Vec::with_capacity(size);
        let mut sink = Sum::default();
        let mut next = 0;
        while next < job.events {
            make::<E>(&mut next, job.events, size, &mut batch).await;
            for _ in 0..between {
                batch = batch.into_iter().map(E::mapped).collect();
            }
            take(&mut batch, &mut sink).await;
            tokio::task::consume_budget().await;
        }
        sink.tally()
    };
    tokio::spawn(looping).await.expect("nothing in it panics")
}

#[allow(clippy::unused_async)] // As a stage's.
async fn make<E: Event>(next: &mut u64, until: u64, size: usize, batch: &mut Vec<E>) {
    let end = until.min(*next + size as u64);
    batch.extend((*next..end).map(E::new));
    *next = end;
}

#[allow(clippy::unused_async)] // As a stage's.
async fn take<E: Event>(batch: &mut Vec<E>, sink: &mut Sum) {
    sink.take_all(batch);
    batch.clear();
}

/// How many events at a time, and how many steps between.
fn sizes(job: Job) -> (usize, usize) {
    let between = match job.shape {
        Shape::Chain(between) => between,
        _ => 0,
    };
    ((job.window / 2).max(1), between)
}
