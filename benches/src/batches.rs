//! Vectors of half a window over tokio's channel: what one writes by hand when it has to be fast.
//!
//! Two are on their way in a channel at most; with the one in hand on each side, that is more than
//! the window: an advantage.

use std::{ops::Range, sync::Arc};

use bench_workloads::{Event, InOrder, Job, LANES, Shape, Sink, Sum, Tally, lane_of, parts};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::channels::Tasks;

pub(crate) async fn run<E: Event>(job: Job) -> Tally {
    let Job {
        shape,
        window,
        events,
    } = job;
    let mut tasks = Tasks::new();
    let size = (window / 2).max(1);
    match shape {
        Shape::Direct => {
            let (tx, rx) = open(window);
            tasks.work(produce::<E>(tx, 0..events, size));
            tasks.consume(consume::<E, Sum>(rx));
        }
        Shape::Chain(between) => {
            let (tx, mut rx) = open(window);
            tasks.work(produce::<E>(tx, 0..events, size));
            for _ in 0..between {
                let (tx, next) = open(window);
                tasks.work(map::<E>(rx, tx));
                rx = next;
            }
            tasks.consume(consume::<E, Sum>(rx));
        }
        Shape::Share(consumers) => {
            let txs = open_to::<E, Sum>(consumers, window, &mut tasks);
            tasks.work(async move {
                let mut turns = txs.iter().cycle();
                for part in pieces(0..events, size) {
                    let Some(tx) = turns.next() else { return };
                    if tx.send(part.map(E::new).collect()).await.is_err() {
                        return;
                    }
                }
            });
        }
        Shape::Broadcast(consumers) => {
            let mut txs = open_to::<E, Sum>(consumers, window, &mut tasks);
            tasks.work(async move {
                let Some(last) = txs.pop() else { return };
                for part in pieces(0..events, size) {
                    let batch: Vec<E> = part.map(E::new).collect();
                    for tx in &txs {
                        if tx.send(batch.clone()).await.is_err() {
                            return;
                        }
                    }
                    if last.send(batch).await.is_err() {
                        return;
                    }
                }
            });
        }
        Shape::Partition => {
            let txs = open_to::<E, InOrder>(LANES, window, &mut tasks);
            tasks.work(async move {
                let mut lanes = txs.iter().map(|_| Vec::with_capacity(size));
                let mut lanes: [Vec<E>; LANES] =
                    std::array::from_fn(|_| lanes.next().unwrap_or_default());
                for number in 0..events {
                    let event = E::new(number);
                    let lane = lane_of(event.number());
                    lanes[lane].push(event);
                    if lanes[lane].len() == size {
                        let full = std::mem::replace(&mut lanes[lane], Vec::with_capacity(size));
                        if txs[lane].send(full).await.is_err() {
                            return;
                        }
                    }
                }
                for (tx, rest) in txs.iter().zip(lanes) {
                    if tx.send(rest).await.is_err() {
                        return;
                    }
                }
            });
        }
        Shape::Gather(producers) => {
            // Each producer holds an open vector besides: eight times half the window.
            let window = job.shared_window();
            let (tx, rx) = open(window);
            for numbers in parts(events, producers) {
                tasks.work(produce::<E>(tx.clone(), numbers, (window / 2).max(1)));
            }
            drop(tx);
            tasks.consume(consume::<E, Sum>(rx));
        }
        Shape::SetUp => drop(open_to::<E, Sum>(events as usize, window, &mut tasks)),
    }
    tasks.tally().await
}

/// Each vector to all, without copying: what one writes by hand for a broadcast of payloads.
pub(crate) async fn broadcast_shared<E: Event>(job: Job, consumers: usize) -> Tally {
    let mut tasks = Tasks::new();
    let size = (job.window / 2).max(1);
    let mut txs = Vec::new();
    for _ in 0..consumers {
        let (tx, mut rx) = mpsc::channel::<Arc<Vec<E>>>(2.min(job.window));
        txs.push(tx);
        tasks.consume(async move {
            let mut sink = Sum::default();
            while let Some(batch) = rx.recv().await {
                sink.take_all(&batch);
            }
            sink.tally()
        });
    }
    tasks.work(async move {
        for part in pieces(0..job.events, size) {
            let batch = Arc::new(part.map(E::new).collect::<Vec<E>>());
            for tx in &txs {
                if tx.send(Arc::clone(&batch)).await.is_err() {
                    return;
                }
            }
        }
    });
    tasks.tally().await
}

fn open<E: Event>(window: usize) -> (Sender<Vec<E>>, Receiver<Vec<E>>) {
    mpsc::channel(2.min(window))
}

fn open_to<E: Event, S: Sink>(
    consumers: usize,
    window: usize,
    tasks: &mut Tasks,
) -> Vec<Sender<Vec<E>>> {
    let open = |_| {
        let (tx, rx) = open(window);
        tasks.consume(consume::<E, S>(rx));
        tx
    };
    (0..consumers).map(open).collect()
}

fn pieces(numbers: Range<u64>, size: usize) -> impl Iterator<Item = Range<u64>> {
    let starts = numbers.clone().step_by(size);
    starts.map(move |start| start..numbers.end.min(start + size as u64))
}

async fn produce<E: Event>(tx: Sender<Vec<E>>, numbers: Range<u64>, size: usize) {
    for part in pieces(numbers, size) {
        if tx.send(part.map(E::new).collect()).await.is_err() {
            break;
        }
    }
}

async fn map<E: Event>(mut rx: Receiver<Vec<E>>, tx: Sender<Vec<E>>) {
    while let Some(batch) = rx.recv().await {
        // In place: the standard library reuses the vector's storage.
        let mapped = batch.into_iter().map(E::mapped).collect();
        if tx.send(mapped).await.is_err() {
            break;
        }
    }
}

async fn consume<E: Event, S: Sink>(mut rx: Receiver<Vec<E>>) -> Tally {
    let mut sink = S::default();
    while let Some(batch) = rx.recv().await {
        sink.take_all(&batch);
    }
    sink.tally()
}
