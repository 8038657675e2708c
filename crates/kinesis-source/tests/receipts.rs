//! Receipts that somebody keeps: what is acknowledged after them is bounded, and they are told.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{
    convert::Infallible,
    mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use kinesis_fake::Fake;
use kinesis_source::{
    MemoryCheckpointStore, Record, SourceEvent, SourceEvents, StreamSource, WaitingFor,
};
use rig::{Sink, everything, run_until_caught_up};
use stage_core::{Batch, Consumer, Pipeline, Receipt, Window};
use tokio::time::sleep;

/// Takes all in, and keeps the very first receipt.
#[derive(Clone, Default)]
struct Holder {
    taken: Sink,
    holds: bool,
    held: Arc<Mutex<Option<Receipt>>>,
}

impl Consumer<Record> for Holder {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Infallible> {
        let is_first = !mem::replace(&mut self.holds, true);
        for (index, (event, receipt)) in batch.drain_with_receipts().enumerate() {
            self.taken
                .consume(&mut Batch::from_iter([event]))
                .await
                .unwrap();
            if is_first && index == 0 {
                *self.held.lock().unwrap() = Some(receipt);
            } else {
                receipt.ack();
            }
        }
        Ok(())
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn source(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

/// Of the events that are there, those that tell of receipts: whether it is stuck, how many are beyond, and
/// for how long.
fn receipts(events: &mut SourceEvents) -> Vec<(bool, u64, Duration)> {
    let taken = std::iter::from_fn(|| events.try_next());
    taken
        .filter_map(|event| match event {
            SourceEvent::Stuck {
                waiting_for: WaitingFor::Receipts { beyond, .. },
                since,
                ..
            } => Some((true, beyond, since)),
            SourceEvent::Unstuck {
                waiting_for: WaitingFor::Receipts { beyond, .. },
                after,
                ..
            } => Some((false, beyond, after)),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_beyond_a_receipt_that_is_kept_is_bounded_and_told() {
    let (fake, store) = (Fake::new(1), Arc::new(MemoryCheckpointStore::new()));
    let sink = Holder::default();
    let source = || {
        source(&fake)
            .checkpoints(Arc::clone(&store) as _)
            .unsaved_at_most(2_000)
    };
    let mut pipeline = Pipeline::new();
    let (records, handle) = source().add_to(&mut pipeline);
    let mut events = handle.events();
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let run = tokio::spawn(pipeline.run_until(sleep(seconds(100_000))));
    for number in 0..3_600 {
        fake.put_numbered(number * 10..(number + 1) * 10).unwrap();
        sleep(seconds(1)).await;
    }
    let taken = sink.taken.taken().len();
    assert!((2_000..=2_101).contains(&taken), "{taken} in an hour");
    let [(true, beyond, since)] = receipts(&mut events)[..] else {
        panic!("not told, or more than once");
    };
    assert!((1_000..1_400).contains(&beyond), "{beyond} in two minutes");
    assert!(since > seconds(120) && since <= seconds(130), "{since:?}");
    let explanation = handle.explain();
    let waiting = explanation.shards[0].waiting;
    let WaitingFor::Receipts { beyond, .. } = waiting.waiting_for else {
        panic!("{explanation}");
    };
    assert_eq!(beyond, taken as u64 - 1);
    assert!(waiting.is_stuck && waiting.since > seconds(3_500));
    sink.held.lock().unwrap().take().unwrap().ack();
    sleep(seconds(600)).await;
    assert_eq!(sink.taken.numbers(), everything(36_000), "and on, once");
    let [(false, _, after)] = receipts(&mut events)[..] else {
        panic!("its end is not told, or more than that");
    };
    assert!(after > seconds(3_500));
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    let again = Sink::default();
    run_until_caught_up(source(), &again, Window::new(100))
        .await
        .unwrap();
    assert_eq!(again.numbers(), Vec::<u64>::new());
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_a_receipt_is_kept_repeats_no_more_than_that() {
    let (fake, store) = (Fake::new(1), Arc::new(MemoryCheckpointStore::new()));
    fake.put_numbered(0..20_000).unwrap();
    let source = || source(&fake).checkpoints(Arc::clone(&store) as _);
    let sink = Holder::default();
    let mut pipeline = Pipeline::new();
    let (records, _) = source().add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let run = tokio::spawn(pipeline.run_until(sleep(seconds(100_000))));
    sleep(seconds(3_600)).await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    let taken = sink.taken.numbers();
    assert!((10_000..=10_101).contains(&taken.len()), "{}", taken.len());
    let again = Sink::default();
    run_until_caught_up(source(), &again, Window::new(1_000))
        .await
        .unwrap();
    assert_eq!(again.numbers(), everything(20_000));
}

/// One that is kept until too much is acknowledged beyond it, and is then refused, holds up nothing any more.
#[tokio::test(start_paused = true)]
async fn a_receipt_that_was_kept_and_is_refused_has_all_after_it_read_again() {
    let fake = Fake::new(1);
    fake.put_numbered(0..500).unwrap();
    let sink = Holder::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).unsaved_at_most(100).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
    let run = tokio::spawn(pipeline.run_until(sleep(seconds(400))));
    sleep(seconds(100)).await;
    let taken = sink.taken.numbers_in_order();
    assert!((101..=121).contains(&taken.len()), "{}", taken.len());
    let waiting = handle.explain().shards[0].waiting;
    let WaitingFor::Receipts { beyond, .. } = waiting.waiting_for else {
        panic!("{waiting:?}");
    };
    assert_eq!(beyond, taken.len() as u64 - 1);
    sink.held.lock().unwrap().take().unwrap().nack();
    run.await.unwrap().unwrap();
    let expected = [taken, everything(500)].concat();
    assert_eq!(sink.taken.numbers_in_order(), expected);
}

/// A shard is told by itself, also while it is waited for by a stop.
#[tokio::test(start_paused = true)]
async fn a_handler_that_never_returns_is_told_before_and_after_a_stop() {
    for stops_after in [3_600, 10] {
        let fake = Fake::new(2);
        fake.put_numbered(0..1_000).unwrap();
        let sink = Sink::default();
        let gate = sink.close();
        let mut pipeline = Pipeline::new().drain_within(Duration::MAX);
        let (records, handle) = source(&fake)
            .settle_within(seconds(300))
            .add_to(&mut pipeline);
        let mut events = handle.events();
        pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
        let run = tokio::spawn(pipeline.run_until(sleep(seconds(stops_after))));
        sleep(seconds(295)).await;
        assert_eq!(receipts(&mut events), []);
        sleep(seconds(1_000)).await;
        let told = receipts(&mut events);
        assert_eq!(told.len(), 2, "one for each shard: {told:?}");
        assert!(told.iter().all(|&(is_stuck, beyond, since)| {
            is_stuck && beyond == 0 && since > seconds(300) && since < seconds(311)
        }));
        assert!(!run.is_finished());
        drop(gate);
        sleep(seconds(60)).await;
        let told = receipts(&mut events);
        match stops_after {
            10 => run.await.unwrap().unwrap(),
            _ => assert!(told.len() == 2 && !told[0].0 && !told[1].0, "{told:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_slow_is_not_told() {
    let fake = Fake::new(1);
    fake.put_numbered(0..60).unwrap();
    let sink = Sink::by(seconds(100));
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    let mut events = handle.events();
    pipeline.consume(sink.clone(), records.subscribe(Window::new(1)));
    pipeline.run_until(sleep(seconds(7_000))).await.unwrap();
    assert_eq!(sink.numbers(), everything(60));
    assert_eq!(receipts(&mut events), []);
}
