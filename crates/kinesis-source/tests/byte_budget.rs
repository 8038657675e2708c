//! What is read and not dealt with comes out of one budget, whatever becomes of it.
//!
//! That a thousand stalled shards keep to it is in `stalled_shards.rs`.

#![allow(clippy::unwrap_used)]

mod alive;
#[path = "kpl/reference.rs"]
mod reference;
mod rig;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use alive::Copying;
use bytes::Bytes;
use kinesis_fake::Fake;
use kinesis_source::{
    ByteBudget, Deaggregation, FanOut, Record, SourceEvent, StartPosition, StreamHandle,
    StreamSource, WaitingFor,
};
use reference::{Aggregated, UserRecord};
use rig::{Sink, everything, run_until_caught_up};
use stage_core::{
    Batch, Consumer, Outlet, Pipeline, Receipt, Transform, Window, batching, for_each,
};
use tokio::time::{sleep, timeout};

const MIB: u64 = 1_024 * 1_024;

fn source(fake: &Fake, budget: &ByteBudget) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone())).byte_budget(budget)
}

async fn until_caught_up(pipeline: Pipeline, handle: StreamHandle) {
    pipeline
        .run_until(async move { handle.caught_up().await })
        .await
        .unwrap();
}

/// Makes three of each even one, and none of odd ones.
struct EvenThrice;

impl Transform<Record> for EvenThrice {
    type Out = usize;
    type Error = Infallible;

    async fn transform(
        &mut self,
        batch: &mut Batch<Record>,
        out: &mut Batch<usize>,
    ) -> Result<(), Infallible> {
        batch.flat_map_into(out, |event| {
            let size = event.data.len();
            std::iter::repeat_n(size, if size % 2 == 0 { 3 } else { 0 })
        });
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_records_their_bytes_are_given_back() {
    type Ending = fn(&mut Pipeline, &Outlet<Record>);
    let endings: [Ending; 4] = [
        |pipeline, records| {
            pipeline.consume(for_each(drop), records.subscribe(Window::new(50)));
        },
        |pipeline, records| {
            let sizes = pipeline.transform(EvenThrice, records.subscribe(Window::new(50)));
            pipeline.consume(for_each(drop), sizes.subscribe(Window::new(7)));
        },
        |pipeline, records| {
            for window in [3, 70] {
                pipeline.consume(Sink::default(), records.subscribe(Window::new(window)));
            }
        },
        |pipeline, records| {
            let by_shard = |event: &Record| event.shard.clone();
            let batches = batching(by_shard)
                .max_size(33)
                .max_delay(Duration::from_secs(1));
            let batches = pipeline.transform(batches, records.subscribe(Window::new(50)));
            pipeline.consume(for_each(drop), batches.subscribe(Window::new(2)));
        },
    ];
    for (number, ending) in endings.into_iter().enumerate() {
        let (fake, budget) = (Fake::instant(3), ByteBudget::new(2_000));
        fake.put_numbered(0..2_000).unwrap();
        let mut pipeline = Pipeline::new();
        let (records, handle) = source(&fake, &budget).add_to(&mut pipeline);
        ending(&mut pipeline, &records);
        until_caught_up(pipeline, handle).await;
        assert_eq!(budget.in_use(), 0, "case {number}");
        assert!(budget.most_in_use() > 0);
    }
}

/// While all that is read is settled at once, no more than an answer or two is in memory: besides, what a read
/// reserves.
#[tokio::test(start_paused = true)]
async fn a_hundred_shards_that_are_behind_are_not_all_read_before_anything_is_taken_in() {
    let (fake, budget) = (Fake::instant(100), ByteBudget::new(1_024 * MIB));
    let data = Bytes::from(vec![b'x'; 1_024]);
    for shard in fake.shards() {
        for _ in 0..1_200 {
            fake.put_on(&shard.id, "k", data.clone()).unwrap();
        }
    }
    let sink = Sink::default();
    run_until_caught_up(source(&fake, &budget), &sink, Window::new(10_000))
        .await
        .unwrap();
    assert_eq!(sink.taken().len(), 120_000);
    let most = budget.most_in_use();
    assert!(most < 13 * MIB + 4 * MIB, "{most}");
}

#[tokio::test(start_paused = true)]
async fn what_is_nacked_and_read_again_is_given_back() {
    let (fake, budget) = (Fake::instant(1), ByteBudget::new(1_000));
    fake.put_numbered(0..500).unwrap();
    let sink = Sink::default().refusing_once(42);
    run_until_caught_up(source(&fake, &budget), &sink, Window::new(40))
        .await
        .unwrap();
    let mut numbers = sink.numbers();
    numbers.dedup();
    assert_eq!(numbers, everything(500));
    assert_eq!(budget.in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_with_its_pipeline_is_given_back() {
    let (fake, budget) = (Fake::instant(4), ByteBudget::new(3_000));
    fake.put_numbered(0..2_000).unwrap();
    let sink = Sink::default();
    let gate = sink.close();
    let mut pipeline = Pipeline::new();
    let (records, _) = source(&fake, &budget).add_to(&mut pipeline);
    pipeline.consume(sink, records.subscribe(Window::new(1_000)));
    assert!(
        timeout(Duration::from_secs(60), pipeline.run())
            .await
            .is_err()
    );
    drop(gate);
    // Tasks that are told to end do so when it is their turn.
    sleep(Duration::from_millis(1)).await;
    assert!(budget.most_in_use() > 2_000);
    assert_eq!((budget.in_use(), budget.waiting()), (0, 0));
}

/// Keeps what it is told to keep, of all that it was given.
#[derive(Default)]
struct Keeping {
    receipts: Vec<Receipt>,
    data: Vec<Bytes>,
}

/// It is the receipt that counts: it is what will be read again if it is lost.
#[tokio::test(start_paused = true)]
async fn a_receipt_holds_its_bytes_and_data_that_was_acked_does_not() {
    struct Consuming(Keeping, bool, ByteBudget);
    impl Consumer<Record> for Consuming {
        type Error = Infallible;

        async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Infallible> {
            for (event, receipt) in batch.drain_with_receipts() {
                if self.1 {
                    self.0.receipts.push(receipt);
                } else {
                    self.0.data.push(event.data);
                    receipt.ack();
                }
            }
            let kept = self.0.receipts.len().min(1);
            assert_eq!(self.2.in_use() > 0, kept > 0);
            Ok(())
        }

        async fn finish(&mut self) -> Result<(), Infallible> {
            self.0.receipts.drain(..).for_each(Receipt::ack);
            assert_eq!(self.2.in_use(), 0);
            Ok(())
        }
    }
    for keeps_receipts in [true, false] {
        let (fake, budget) = (Fake::instant(1), ByteBudget::default());
        fake.put_numbered(0..300).unwrap();
        let mut pipeline = Pipeline::new();
        let (records, _) = source(&fake, &budget).add_to(&mut pipeline);
        let consuming = Consuming(Keeping::default(), keeps_receipts, budget.clone());
        pipeline.consume(consuming, records.subscribe(Window::new(1_000)));
        let some_time = sleep(Duration::from_millis(100));
        pipeline.run_until(some_time).await.unwrap();
        assert_eq!(budget.in_use(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_larger_than_the_whole_budget_passes_alone() {
    for by_fan_out in [false, true] {
        let fake = Fake::instant(4);
        for (number, size) in [(0, 900_000), (1, 10), (2, 1_000_000), (3, 400_000)] {
            let data = Bytes::from(vec![b'x'; size]);
            for shard in fake.shards() {
                for key in 0..6 - number {
                    fake.put_on(&shard.id, &key.to_string(), data.clone())
                        .unwrap();
                }
            }
        }
        let budget = ByteBudget::with_fetches(100_000, 1);
        let api = Arc::new(Copying::new(&fake));
        let source = StreamSource::new("orders", api.clone()).byte_budget(&budget);
        let source = match by_fan_out {
            true => source.fan_out(FanOut::new(api.clone(), "audit")),
            false => source,
        };
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        let (sum, read) = (Arc::new(AtomicUsize::new(0)), fake.records());
        let adding = Arc::clone(&sum);
        let add = stage_core::for_each_async(move |event: Record| {
            let adding = Arc::clone(&adding);
            async move {
                sleep(Duration::from_millis(50)).await;
                adding.fetch_add(event.data.len(), SeqCst);
                Ok::<(), Infallible>(())
            }
        });
        pipeline.consume(add, records.subscribe(Window::new(100)));
        until_caught_up(pipeline, handle).await;
        let all = read.iter().flat_map(|(_, records)| records);
        assert_eq!(sum.load(SeqCst), all.map(|it| it.data.len()).sum::<usize>());
        let most = api.alive.most();
        // Alone: one that is there lets no other be read. An event has 1 MiB or so.
        let alone = if by_fan_out { 2 * MIB } else { 10 * MIB };
        assert!(most <= alone + 100_000, "{most}");
        assert_eq!(budget.in_use(), 0);
    }
}

/// An answer is handed out in several batches: each counts until it is settled, whatever became of those
/// before it.
#[tokio::test(start_paused = true)]
async fn each_batch_of_an_answer_counts_until_it_is_settled() {
    const SIZE: u64 = 1_000;
    for by_fan_out in [false, true] {
        let (fake, budget) = (Fake::instant(1), ByteBudget::default());
        let data = Bytes::from(vec![b'x'; SIZE as usize]);
        for _ in 0..3_000 {
            fake.put("k", data.clone()).unwrap();
        }
        let source = match by_fan_out {
            true => source(&fake, &budget).fan_out(FanOut::new(Arc::new(fake.clone()), "audit")),
            false => source(&fake, &budget),
        };
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        let slow = stage_core::for_each_async(|_: Record| async {
            sleep(Duration::from_millis(10)).await;
            Ok::<(), Infallible>(())
        });
        pipeline.consume(slow, records.subscribe(Window::new(3_000)));
        let looking = async {
            let mut least = u64::MAX;
            loop {
                sleep(Duration::from_millis(500)).await;
                let status = handle.status().remove(0);
                let acked = handle.drain_report()[0].acked;
                if acked == 3_000 {
                    break;
                }
                let unsettled = status.records_read - acked;
                assert!(
                    budget.in_use() >= unsettled * SIZE,
                    "{} bytes in use, and {unsettled} records in hand",
                    budget.in_use()
                );
                least = least.min(unsettled);
            }
            assert!(least < 500, "{least} in hand at the last look");
        };
        pipeline.run_until(looking).await.unwrap();
        assert_eq!(budget.in_use(), 0);
    }
}

/// Records of 10 MiB, from as many shards as want.
#[tokio::test(start_paused = true)]
async fn the_largest_records_there_are_keep_to_the_bound() {
    let fake = Fake::instant(60);
    let data = Bytes::from(vec![b'x'; 10 * MIB as usize - 1]);
    for shard in fake.shards() {
        for _ in 0..3 {
            fake.put_on(&shard.id, "k", data.clone()).unwrap();
        }
    }
    let budget = ByteBudget::with_fetches(25 * MIB, 3);
    let api = Arc::new(Copying::new(&fake));
    let source = StreamSource::new("orders", api.clone()).byte_budget(&budget);
    let mut pipeline = Pipeline::new();
    let (records, handle) = source.add_to(&mut pipeline);
    let slowly = stage_core::for_each_async(async |_: Record| {
        sleep(Duration::from_millis(300)).await;
        Ok::<(), Infallible>(())
    });
    pipeline.consume(slowly, records.subscribe(Window::new(10)));
    until_caught_up(pipeline, handle.clone()).await;
    let read: u64 = handle.status().iter().map(|it| it.records_read).sum();
    assert_eq!(read, 180);
    assert!(api.alive.most() <= budget.bytes() + 30 * MIB);
    assert!(api.alive.most() >= 19 * MIB, "and it is used");
    assert_eq!((api.alive.now(), budget.in_use()), (0, 0));
}

/// One source that stalls takes all there is. It is told so, by those of its shards that wait; and
/// another one goes on by its share.
#[tokio::test(start_paused = true)]
async fn a_source_that_stalls_is_told_and_starves_no_other_that_shares_its_budget() {
    for by_fan_out in [false, true] {
        let (first, second) = (Fake::instant(8), Fake::new(2));
        first.put_numbered(0..5_000).unwrap();
        let budget = ByteBudget::with_fetches(4_000, 8);
        let (stalled, sink) = (Sink::default(), Sink::default());
        let gate = stalled.close();
        let mut pipeline = Pipeline::new();
        // That what the sink has is not settled would be told, too.
        let stalling = source(&first, &budget).settle_within(Duration::from_secs(86_400));
        let (records, stalling) = stalling.add_to(&mut pipeline);
        let mut told = stalling.events();
        pipeline.consume(stalled.clone(), records.subscribe(Window::new(5_000)));
        let api = Arc::new(second.clone());
        let late = StreamSource::new("clicks", api.clone())
            .start(StartPosition::Latest)
            .byte_budget(&budget);
        let late = match by_fan_out {
            true => late.fan_out(FanOut::new(api, "audit")),
            false => late,
        };
        let (records, handle) = late.add_to(&mut pipeline);
        let mut told_late = handle.events();
        pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
        let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(600))));
        sleep(Duration::from_secs(60)).await;
        second.put_numbered(0..1_000).unwrap();
        sleep(Duration::from_secs(240)).await;
        assert!(budget.waiting() > 0, "there is no room");
        assert_eq!(sink.numbers(), everything(1_000));
        let mut stuck = 0;
        while let Some(event) = told.try_next() {
            if let SourceEvent::Stuck { waiting_for, .. } = &event {
                let WaitingFor::Budget {
                    bytes,
                    in_use,
                    own,
                    waiting,
                    ..
                } = waiting_for
                else {
                    panic!("{event:?}");
                };
                assert_eq!((*bytes, *waiting > 0), (4_000, true), "{event:?}");
                assert!(*own > 0 && own <= in_use, "{event:?}");
                stuck += 1;
            }
        }
        assert_eq!(stuck, budget.waiting(), "each of them, once");
        drop(gate);
        sleep(Duration::from_secs(60)).await;
        while let Some(event) = told.try_next() {
            assert_ne!(event.name(), "stuck");
            stuck -= usize::from(event.name() == "unstuck");
        }
        assert_eq!(stuck, 0, "it is over for each of them");
        run.await.unwrap().unwrap();
        stalled.assert_complete(&first);
        while let Some(event) = told_late.try_next() {
            assert_ne!(event.name(), "stuck", "{event:?}");
        }
    }
}

/// What is taken apart keeps all of what it is a part of.
#[tokio::test(start_paused = true)]
async fn an_aggregated_record_counts_until_the_last_of_it_is_settled() {
    let (fake, budget) = (Fake::instant(1), ByteBudget::default());
    let records = (0..50).map(|number: u64| UserRecord {
        partition_key_index: 0,
        explicit_hash_key_index: None,
        data: number.to_string().into_bytes(),
        tags: Vec::new(),
    });
    let aggregated = Aggregated {
        partition_key_table: vec![b"key".to_vec()],
        explicit_hash_key_table: Vec::new(),
        records: records.collect(),
    };
    let sealed = aggregated.seal();
    let size = sealed.len() as u64 + 1;
    fake.put("k", sealed).unwrap();
    let sink = Sink::by(Duration::from_secs(1));
    let mut pipeline = Pipeline::new();
    let apart = source(&fake, &budget).deaggregate(Deaggregation::new());
    let (records, handle) = apart.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(2)));
    let run = tokio::spawn(until_caught_up(pipeline, handle));
    while sink.taken().len() < 49 {
        sleep(Duration::from_millis(10)).await;
        let is_read = !sink.taken().is_empty();
        assert!(
            !is_read || budget.in_use() >= size,
            "{}",
            sink.taken().len()
        );
    }
    run.await.unwrap();
    assert_eq!(sink.numbers(), everything(50));
    assert_eq!(budget.in_use(), 0);
}
