//! A source's future is dropped at every place where it may wait: nothing that is not acknowledged is
//! lost, and nothing comes twice that need not.

#![allow(clippy::unwrap_used)]

#[path = "kpl/reference.rs"]
mod reference;
mod rig;

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use kinesis_fake::{Fake, Fault, Operation};
use kinesis_source::{
    ByteBudget, Checkpoint, CheckpointStore, Deaggregation, FanOut, KinesisApi, KinesisWriteApi,
    MemoryCheckpointStore, PinnedPosition, ShardSource, StreamIdentity, StreamSource,
};
use reference::{Aggregated, UserRecord};
use rig::{Sink, everything, run_until_caught_up};
use stage_core::{Batch, Demand, Flow, Pipeline, Producer, Window};
use tokio::{
    task::yield_now,
    time::{advance, sleep},
};

/// Polls a future so many times, and then no more.
struct Times<F> {
    inner: F,
    left: usize,
}

impl<F: Future + Unpin> Future for Times<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        match Pin::new(&mut self.inner).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A closed shard that is hard to read: each kind of answer is late, and some are none.
async fn troubled() -> Fake {
    let fake = Fake::instant(1);
    fake.put_numbered(0..60).unwrap();
    fake.split_shard(&"shardId-000000000000".into(), 1 << 127)
        .await
        .unwrap();
    for operation in [
        Operation::GetRecords,
        Operation::GetShardIterator,
        Operation::ListShards,
    ] {
        fake.inject(Fault::delayed(operation, Duration::from_millis(30)).always());
    }
    fake
}

fn numbers(batch: &mut Batch<kinesis_source::Record>) -> Vec<u64> {
    let number = |data: &Bytes| std::str::from_utf8(data).unwrap().parse().unwrap();
    let mut numbers = Vec::new();
    for (event, receipt) in batch.drain_with_receipts() {
        numbers.push(number(&event.data));
        receipt.ack();
    }
    numbers
}

/// One reader, whose calls are given up after so many polls, all but every fourth.
#[tokio::test(start_paused = true)]
async fn one_reader_goes_on_after_each_of_its_futures_is_dropped() {
    for polls in 1..12 {
        let fake = troubled().await;
        let every_third = Fault::refusal(Operation::GetRecords, "ExpiredIteratorException");
        fake.inject(every_third.every(3).always());
        let budget = ByteBudget::new(1_000);
        let api = Arc::new(fake.clone());
        let shard = "shardId-000000000000".into();
        let mut source =
            ShardSource::new(api, shard, PinnedPosition::TrimHorizon).byte_budget(&budget);
        let (mut all, mut ended, mut call) = (Vec::new(), false, 0);
        while !ended {
            call += 1;
            let left = if call % 4 == 0 { usize::MAX } else { polls };
            let mut batch = Batch::new();
            let flow = Times {
                inner: Box::pin(source.produce(Demand::new(7).unwrap(), &mut batch)),
                left,
            }
            .await;
            ended = matches!(flow, Some(Ok(Flow::End)));
            assert!(!matches!(flow, Some(Err(_))), "{flow:?}");
            // What is in the batch is handed out, as the stage does.
            all.extend(numbers(&mut batch));
            drop(batch);
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(all, everything(60), "{polls} polls");
        assert_eq!(budget.in_use(), 0, "{polls} polls");
        drop(source);
    }
}

fn aggregated(numbers: std::ops::Range<u64>) -> Bytes {
    let record = |number: u64| UserRecord {
        partition_key_index: 0,
        explicit_hash_key_index: None,
        data: number.to_string().into_bytes(),
        tags: Vec::new(),
    };
    let aggregated = Aggregated {
        partition_key_table: vec![b"key".to_vec()],
        explicit_hash_key_table: Vec::new(),
        records: numbers.map(record).collect(),
    };
    aggregated.seal()
}

/// A whole source, whose tasks are all dropped where they stand after so many steps of the scheduler,
/// over and over, until all has been read.
#[tokio::test(start_paused = true)]
async fn a_source_goes_on_from_its_checkpoints_after_all_of_it_is_dropped() {
    for by_fan_out in [false, true] {
        let fake = Fake::instant(2);
        for first in (0..400).step_by(20) {
            fake.put(&format!("key-{first}"), aggregated(first..first + 20))
                .unwrap();
        }
        fake.split_shard(&"shardId-000000000001".into(), u128::MAX - 7)
            .await
            .unwrap();
        fake.put_numbered(400..500).unwrap();
        let store = Arc::new(MemoryCheckpointStore::new());
        let budget = ByteBudget::new(2_000);
        let source = || {
            let api = Arc::new(fake.clone());
            let source = StreamSource::new("orders", api.clone())
                .checkpoints(Arc::clone(&store) as _)
                .checkpoint_every(Duration::from_millis(20))
                .byte_budget(&budget)
                .deaggregate(Deaggregation::new());
            match by_fan_out {
                true => source.fan_out(FanOut::new(api, "audit")),
                false => source,
            }
        };
        let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
        let (mut seen, mut lives, mut places) = (BTreeSet::new(), 0, BTreeSet::new());
        for steps in (1..400).chain((1..400).rev()) {
            let before = store.load(&stream).await.unwrap();
            let sink = Sink::by(Duration::from_millis(3));
            let mut pipeline = Pipeline::new();
            let (records, _) = source().add_to(&mut pipeline);
            pipeline.consume(sink.clone(), records.subscribe(Window::new(5)));
            let run = tokio::spawn(pipeline.run());
            for step in 0..steps {
                yield_now().await;
                if step % 9 == 8 {
                    advance(Duration::from_millis(5)).await;
                }
            }
            run.abort();
            assert!(run.await.unwrap_err().is_cancelled());
            sleep(Duration::from_secs(6)).await;
            assert_eq!(budget.in_use(), 0, "after {steps} steps");
            let taken = sink.taken();
            places.insert(taken.len());
            for event in &taken {
                let place = Checkpoint::After {
                    sequence_number: event.sequence_number.clone(),
                    sub_sequence_number: event.sub_sequence_number(),
                };
                let known = before.get(&event.shard);
                assert!(
                    known.is_none_or(|known| known.is_behind(&place)),
                    "{event:?}"
                );
            }
            seen.extend(sink.numbers());
            // No checkpoint has passed what nobody took in: what is stored as done was seen.
            lives += 1;
        }
        let last = Sink::default();
        run_until_caught_up(source(), &last, Window::new(50))
            .await
            .unwrap();
        seen.extend(last.numbers());
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), everything(500));
        assert!(
            places.len() > 5,
            "{lives} lives ended at {} places",
            places.len()
        );
    }
}

/// A stream of all that there is to wait for: a shard that is split while it is read, aggregated records and
/// plain ones, and answers that are late.
async fn split_while_it_is_read() -> Fake {
    let fake = Fake::instant(1);
    for first in [0, 4, 8] {
        fake.put("key", aggregated(first..first + 4)).unwrap();
    }
    fake.put_numbered(12..16).unwrap();
    let (root, half) = ("shardId-000000000000".into(), 1 << 127);
    fake.split_shard(&root, half).await.unwrap();
    fake.put("other", aggregated(16..20)).unwrap();
    fake.put_numbered(20..24).unwrap();
    let late = Duration::from_millis(3);
    fake.inject(Fault::late_answer(Operation::GetRecords, late).every(2));
    fake.inject(Fault::delayed(Operation::GetShardIterator, late).always());
    fake
}

/// One life of a source, which ends after so many polls of its tasks if it has not ended by itself. How that
/// was, and what came.
async fn live(source: StreamSource, polls: usize) -> (bool, Sink) {
    let sink = Sink::by(Duration::from_millis(1));
    let mut pipeline = Pipeline::new();
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(3)));
    let run = pipeline.run_until(async move { handle.caught_up().await });
    let run = tokio::spawn(run);
    for poll in 0..polls {
        if run.is_finished() {
            break;
        }
        yield_now().await;
        if poll % 4 == 3 {
            advance(Duration::from_millis(20)).await;
        }
    }
    run.abort();
    match run.await {
        Ok(ended) => {
            ended.unwrap();
            (true, sink)
        }
        Err(error) => {
            assert!(error.is_cancelled(), "{error}");
            (false, sink)
        }
    }
}

/// A whole source from its first poll to its end, dropped after each of them in a life of its own: between two
/// polls is where a task can be dropped, and nowhere else.
#[test]
fn a_source_is_dropped_after_each_poll_of_its_life() {
    // The scheduler polls one task each time that this one yields.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .event_interval(1)
        .build()
        .unwrap();
    for by_fan_out in [false, true] {
        let (mut has_ended, mut polls, mut places) = (false, 0, BTreeSet::new());
        while !has_ended {
            polls += 1;
            runtime.block_on(async {
                let (fake, budget) = (split_while_it_is_read().await, ByteBudget::new(2_000));
                let store = Arc::new(MemoryCheckpointStore::new());
                let source = || {
                    let api = Arc::new(fake.clone());
                    let source = StreamSource::new("orders", api.clone())
                        .checkpoints(Arc::clone(&store) as _)
                        .checkpoint_after(1)
                        .byte_budget(&budget)
                        .deaggregate(Deaggregation::new());
                    match by_fan_out {
                        true => source.fan_out(FanOut::new(api, "audit")),
                        false => source,
                    }
                };
                let (ended, first) = live(source(), polls).await;
                has_ended = ended;
                // The stages are dropped in turns of their own.
                sleep(Duration::from_secs(6)).await;
                assert_eq!(budget.in_use(), 0, "after {polls} polls");
                let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
                let stored = store.load(&stream).await.unwrap();
                let rest = Sink::default();
                run_until_caught_up(source(), &rest, Window::new(50))
                    .await
                    .unwrap();
                for event in rest.taken() {
                    let place = Checkpoint::After {
                        sequence_number: event.sequence_number.clone(),
                        sub_sequence_number: event.sub_sequence_number(),
                    };
                    let known = stored.get(&event.shard);
                    assert!(
                        known.is_none_or(|known| known.is_behind(&place)),
                        "{event:?}"
                    );
                }
                let all: BTreeSet<_> = [first.numbers(), rest.numbers()]
                    .concat()
                    .into_iter()
                    .collect();
                assert_eq!(Vec::from_iter(all), everything(24), "after {polls} polls");
                places.insert(format!("{stored:?}"));
            });
        }
        println!("{polls} polls, {} places", places.len());
        // Before anything is stored, in the middle of aggregated records, at the ends of all three shards.
        assert!(
            places.len() > 15,
            "{} places in {polls} polls",
            places.len()
        );
    }
}
