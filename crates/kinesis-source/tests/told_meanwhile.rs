//! Whoever logs is called by threads that are at something else: what a log does then is its own business.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a log may block")]

mod log;
mod rig;

use std::{
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread,
    time::Duration,
};

use kinesis_fake::Fake;
use kinesis_source::{
    KinesisWriteApi, PinnedPosition, Record, SeekError, ShardId, SourceEvent, StreamHandle,
    StreamSource,
};
use log::Log;
use rig::Sink;
use stage_core::{Batch, Consumer, Pipeline, Window};
use tracing::Dispatch;

/// Runs something on threads that log to that, unless it hangs.
fn run<T: Send + 'static>(log: Log, task: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let log = Dispatch::new(log);
        let of_main = log.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(move || {
                std::mem::forget(tracing::dispatcher::set_default(&log));
            })
            .build()
            .unwrap();
        // As in a main function that runs the pipeline itself.
        let _of_main = tracing::dispatcher::set_default(&of_main);
        done.send(runtime.block_on(task))
    });
    ended.recv_timeout(Duration::from_secs(20)).ok()
}

fn fake() -> Fake {
    let fake = Fake::builder().shards(1).instant().wall_clock().build();
    fake.put_numbered(0..10).unwrap();
    fake
}

/// With two children of a shard.
async fn split() -> (Fake, ShardId) {
    let fake = fake();
    let shard = fake.shards()[0].id.clone();
    fake.split_shard(&shard, 1 << 127).await.unwrap();
    (fake, shard)
}

/// Whoever logs that something is amiss may look how all is.
#[test]
fn a_log_may_ask_how_shards_are() {
    let asked = Arc::new(OnceLock::<StreamHandle>::new());
    let last = Arc::new(Mutex::new(String::new()));
    let log = {
        let (asked, last) = (Arc::clone(&asked), Arc::clone(&last));
        Log::and(move |line| {
            line.message.clone_into(&mut last.lock().unwrap());
            if let Some(handle) = asked.get() {
                assert!(handle.status().len() <= 1);
                assert!(handle.explain().shards.len() <= 1);
            }
        })
    };
    let ended = run(log, async move {
        let source = StreamSource::new("orders", Arc::new(fake()));
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        assert!(asked.set(handle.clone()).is_ok());
        // It is read once more from there.
        let sink = Sink::default().refusing_once(5);
        pipeline.consume(sink, records.subscribe(Window::new(10)));
        pipeline
            .run_until(async move { handle.caught_up().await })
            .await
    });
    let ended = ended.unwrap_or_else(|| panic!("it hangs in {}", last.lock().unwrap()));
    ended.unwrap();
}

/// Seeks the shard of the first record that it takes in.
struct Seeks {
    handle: StreamHandle,
    sought: Arc<Mutex<Option<Result<(), SeekError>>>>,
}

impl Consumer<Record> for Seeks {
    type Error = std::convert::Infallible;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Self::Error> {
        for (record, receipt) in batch.drain_with_receipts() {
            receipt.ack();
            if self.sought.lock().unwrap().is_none() {
                let (handle, sought) = (self.handle.clone(), Arc::clone(&self.sought));
                *sought.lock().unwrap() = Some(Ok(()));
                tokio::spawn(async move {
                    let position = PinnedPosition::AtSequenceNumber(record.sequence_number);
                    let how = handle.seek(&record.shard, position).await;
                    *sought.lock().unwrap() = Some(how);
                });
            }
        }
        Ok(())
    }
}

/// As one that waits for its terminal, or a thread that does not come to run for a moment.
fn slow_log() -> Log {
    Log::and(|line| {
        if line.field("event") == Some("shard_started") {
            thread::sleep(Duration::from_secs(1));
        }
    })
}

#[test]
fn a_shard_whose_records_come_is_known() {
    let how = run(slow_log(), async {
        let source = StreamSource::new("orders", Arc::new(fake()));
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        let sought = Arc::new(Mutex::new(None));
        let sink = Seeks {
            handle: handle.clone(),
            sought: Arc::clone(&sought),
        };
        pipeline.consume(sink, records.subscribe(Window::new(10)));
        pipeline
            .run_until(async move { handle.caught_up().await })
            .await
            .unwrap();
        sought.lock().unwrap().take()
    });
    let how = how.expect("it hangs");
    assert!(matches!(how, Some(Ok(()))), "{how:?}");
}

#[test]
fn that_a_shard_is_read_is_told_before_all_else_of_it() {
    let names = run(slow_log(), async {
        let (fake, shard) = split().await;
        let source = StreamSource::new("orders", Arc::new(fake));
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        let mut events = handle.events();
        pipeline.consume(Sink::default(), records.subscribe(Window::new(10)));
        pipeline
            .run_until(async move { handle.caught_up().await })
            .await
            .unwrap();
        let mut names = Vec::new();
        while let Some(event) = events.next().await {
            if event.shard() == Some(&shard)
                && !matches!(event, SourceEvent::ShardDiscovered { .. })
            {
                names.push(event.name());
            }
        }
        names
    });
    let names = names.expect("it hangs");
    assert_eq!(names[0], "shard_started", "{names:?}");
}

/// What is seen here, any other thread may see that asks at that moment.
#[test]
fn each_shard_is_in_one_state() {
    let asked = Arc::new(OnceLock::<StreamHandle>::new());
    let twice = Arc::new(Mutex::new(Vec::new()));
    let log = {
        let (asked, twice) = (Arc::clone(&asked), Arc::clone(&twice));
        Log::and(move |line| {
            let is_started = line.field("event") == Some("shard_started");
            let Some(handle) = asked.get().filter(|_| is_started) else {
                return;
            };
            let all = handle.status();
            for (at, it) in all.iter().enumerate() {
                let mut others = all[at + 1..].iter();
                if let Some(other) = others.find(|other| other.shard == it.shard) {
                    let states = (it.shard.clone(), it.state, other.state);
                    twice.lock().unwrap().push(states);
                }
            }
        })
    };
    let ended = run(log, async move {
        let (fake, _) = split().await;
        let source = StreamSource::new("orders", Arc::new(fake));
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        assert!(asked.set(handle.clone()).is_ok());
        pipeline.consume(Sink::default(), records.subscribe(Window::new(10)));
        pipeline
            .run_until(async move { handle.caught_up().await })
            .await
    });
    ended.expect("it hangs").unwrap();
    assert_eq!(*twice.lock().unwrap(), []);
}
