//! Streams that are read from one place to another, and then no more.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kinesis_fake::{Choices, Fake, Fault, Limits, Operation, Rewrite};
use kinesis_source::{
    Checkpoint, CheckpointStore, EndPosition, FanOut, KinesisApi, KinesisWriteApi,
    MemoryCheckpointStore, Record, SequenceNumber, ShardId, ShardState, StartPosition, StreamError,
    StreamHandle, StreamIdentity, StreamSource, Timestamp, WaitingFor,
};
use rig::{Sink, everything, run_until_caught_up, stream_error};
use stage_core::{Pipeline, PipelineError, Window};
use tokio::time::{Instant, sleep, timeout};

fn source(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

/// Runs a source until it ends by itself.
async fn run(source: StreamSource, sink: &Sink) -> Result<StreamHandle, PipelineError> {
    let mut pipeline = Pipeline::new();
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
    let ended = timeout(Duration::from_secs(3_600), pipeline.run()).await;
    ended.expect("it ends by itself").map(|()| handle)
}

fn resharding(disorder: Duration) -> Fake {
    let mut limits = Limits::default();
    limits.control_per_second = Limits::none().control_per_second;
    let mut choices = Choices::default();
    choices.arrival_disorder = disorder;
    let fake = Fake::builder().instant().shards(2).limits(limits);
    fake.choices(choices).build()
}

async fn split_last(fake: &Fake) {
    let open = fake
        .shards()
        .into_iter()
        .rfind(|shard| !shard.is_closed())
        .unwrap();
    let range = open.hash_range;
    let middle = range.start + (range.end - range.start) / 2;
    fake.split_shard(&open.id, middle).await.unwrap();
}

async fn merge_first(fake: &Fake) {
    let open: Vec<_> = fake
        .shards()
        .into_iter()
        .filter(|shard| !shard.is_closed())
        .collect();
    let first = &open[0];
    let next = |it: &&kinesis_source::Shard| it.hash_range.start == first.hash_range.end + 1;
    let neighbour = open.iter().find(next).unwrap();
    fake.merge_shards(&first.id, &neighbour.id).await.unwrap();
}

/// A thousand records in ten minutes, over two splits and a merge, and when each hundred began.
async fn history() -> (Fake, Vec<Timestamp>) {
    history_with(Duration::ZERO).await
}

/// The same, and times of arrival go back by so much.
async fn history_with(disorder: Duration) -> (Fake, Vec<Timestamp>) {
    let fake = resharding(disorder);
    let mut moments = Vec::new();
    for hundred in 0..10 {
        moments.push(fake.now());
        for number in 100 * hundred..100 * (hundred + 1) {
            fake.put_numbered(number..number + 1).unwrap();
            sleep(Duration::from_millis(600)).await;
        }
        match hundred {
            2 | 5 => split_last(&fake).await,
            7 => merge_first(&fake).await,
            _ => {}
        }
    }
    moments.push(fake.now());
    (fake, moments)
}

#[tokio::test(start_paused = true)]
async fn from_one_moment_to_another_each_record_comes_once() {
    let (fake, moments) = history().await;
    for by_fan_out in [false, true] {
        let mut all = Vec::new();
        for (hundred, pair) in moments.windows(2).enumerate() {
            let part = source(&fake)
                .start(StartPosition::AtTimestamp(pair[0]))
                .until(EndPosition::BeforeTimestamp(pair[1]));
            let part = match by_fan_out {
                true => part.fan_out(FanOut::new(Arc::new(fake.clone()), "audit")),
                false => part,
            };
            let (sink, start) = (Sink::default(), Instant::now());
            let handle = run(part, &sink).await.unwrap();
            let first = 100 * hundred as u64;
            assert_eq!(sink.numbers(), (first..first + 100).collect::<Vec<_>>());
            sink.assert_parents_before_children(&fake);
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{:?}",
                start.elapsed()
            );
            let ended = [ShardState::Complete, ShardState::Finished];
            assert!(handle.status().iter().all(|it| ended.contains(&it.state)));
            all.extend(sink.numbers());
        }
        assert_eq!(all, everything(1_000));
    }
}

#[tokio::test(start_paused = true)]
async fn from_the_horizon_to_a_moment_over_all_shards() {
    let (fake, moments) = history().await;
    let sink = Sink::default();
    let to = EndPosition::BeforeTimestamp(moments[9]);
    run(source(&fake).until(to), &sink).await.unwrap();
    assert_eq!(sink.numbers(), everything(900));
    sink.assert_parents_before_children(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_is_yet_to_come_is_waited_for() {
    let fake = Fake::instant(3);
    let to = fake.now().plus(Duration::from_secs(100));
    let writing = tokio::spawn({
        let fake = fake.clone();
        async move {
            for number in 0..200 {
                fake.put_numbered(number..number + 1).unwrap();
                sleep(Duration::from_secs(1)).await;
            }
        }
    });
    let (sink, start) = (Sink::default(), Instant::now());
    run(source(&fake).until(EndPosition::BeforeTimestamp(to)), &sink)
        .await
        .unwrap();
    assert_eq!(sink.numbers(), everything(100));
    assert!(
        (100..130).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
    writing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_nothing_in_it_ends_at_once() {
    let fake = Fake::instant(5);
    sleep(Duration::from_secs(60)).await;
    let (sink, start) = (Sink::default(), Instant::now());
    let to = fake.now().minus(Duration::from_secs(30));
    run(source(&fake).until(EndPosition::BeforeTimestamp(to)), &sink)
        .await
        .unwrap();
    assert!(sink.numbers().is_empty());
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Times of arrival are about right, and may go back. Where the service begins at a moment, a replay to
/// that moment has ended, or a little later.
#[tokio::test(start_paused = true)]
async fn times_that_go_back_make_no_gap() {
    let (fake, moments) = history_with(Duration::from_secs(3)).await;
    let records = fake.records();
    let goes_back =
        |records: &[Record]| !records.is_sorted_by_key(|record| record.approximate_arrival);
    assert!(records.iter().any(|(_, records)| goes_back(records)));
    let (mut from, last) = (
        moments[0].minus(Duration::from_secs(60)),
        *moments.last().unwrap(),
    );
    let mut all = Vec::new();
    while from < last.plus(Duration::from_secs(60)) {
        let to = from.plus(Duration::from_millis(17_300));
        let part = source(&fake)
            .start(StartPosition::AtTimestamp(from))
            .until(EndPosition::BeforeTimestamp(to));
        let sink = Sink::default();
        run(part, &sink).await.unwrap();
        all.extend(sink.numbers());
        from = to;
        sleep(Duration::from_secs(20)).await;
    }
    all.sort_unstable();
    let repeated = all.len() - 1_000;
    all.dedup();
    assert_eq!(all, everything(1_000));
    assert!(repeated < 100, "{repeated} at 35 borders");
}

#[tokio::test(start_paused = true)]
async fn the_end_is_kept_and_later_runs_go_on_there() {
    let (fake, moments) = history().await;
    let store = Arc::new(MemoryCheckpointStore::new());
    let kept = || source(&fake).checkpoints(Arc::clone(&store) as _);
    let mut all = Vec::new();
    for to in [3, 3, 6, 10] {
        let sink = Sink::default();
        let to = EndPosition::BeforeTimestamp(moments[to]);
        run(kept().until(to), &sink).await.unwrap();
        all.push(sink.numbers().len());
        let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
        let stored = store.load(&stream).await.unwrap();
        let ended = stored.iter().filter(|(_, it)| it.is_end());
        for (shard, _) in ended {
            let shards = fake.shards();
            let listed = shards.iter().find(|it| it.id == *shard).unwrap();
            assert!(
                listed.is_closed(),
                "an end of ours is no end of the shard's"
            );
        }
    }
    assert_eq!(all, [300, 0, 300, 400]);
    // And one without an end.
    fake.put_numbered(1_000..1_050).unwrap();
    let sink = Sink::default();
    run_until_caught_up(kept(), &sink, Window::new(10))
        .await
        .unwrap();
    assert_eq!(sink.numbers(), (1_000..1_050).collect::<Vec<_>>());
}

fn number(fake: &Fake, shard: &ShardId, index: usize) -> SequenceNumber {
    let records = fake
        .records()
        .into_iter()
        .find(|(id, _)| id == shard)
        .unwrap()
        .1;
    records[index].sequence_number.clone()
}

#[tokio::test(start_paused = true)]
async fn with_a_record_of_one_shard_and_what_led_to_it() {
    let (fake, _) = history().await;
    let store = Arc::new(MemoryCheckpointStore::new());
    // One with two generations before it.
    let shards = fake.shards();
    let has_grandparents = |it: &&kinesis_source::Shard| {
        let parent = it.parents().next();
        let parent = parent.and_then(|id| shards.iter().find(|it| it.id == *id));
        parent.is_some_and(|parent| parent.parents().next().is_some())
    };
    let shard = shards.iter().find(has_grandparents).unwrap();
    let last = number(&fake, &shard.id, 7);
    let ends = BTreeMap::from([(shard.id.clone(), last.clone())]);
    for inclusive in [8, 8] {
        let sink = Sink::default();
        let to = EndPosition::WithSequenceNumbers(ends.clone());
        let part = source(&fake).until(to).checkpoints(Arc::clone(&store) as _);
        let handle = run(part, &sink).await.unwrap();
        let taken = sink.taken();
        if taken.is_empty() {
            // The second time, all of it is done already.
            continue;
        }
        let of_it = taken.iter().filter(|event| event.shard == shard.id);
        assert_eq!(of_it.count(), inclusive, "the last is one of them");
        let read: Vec<ShardId> = handle.status().into_iter().map(|it| it.shard).collect();
        assert!(read.len() > 2 && read.len() < shards.len(), "{read:?}");
        let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
        let stored = store.load(&stream).await.unwrap();
        assert_eq!(stored[&shard.id], Checkpoint::after(last.clone()));
        assert_eq!(
            stored.into_keys().collect::<Vec<_>>(),
            read,
            "nothing of others"
        );
        for other in read.iter().filter(|id| **id != shard.id) {
            let all = fake
                .records()
                .into_iter()
                .find(|(id, _)| id == other)
                .unwrap()
                .1;
            let of_it = taken.iter().filter(|event| event.shard == *other);
            assert_eq!(of_it.count(), all.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn from_a_record_to_another() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..100).unwrap();
    let shard = fake.shards().remove(0).id;
    let sink = Sink::default();
    let ends = BTreeMap::from([(shard.clone(), number(&fake, &shard, 59))]);
    let part = source(&fake)
        .start(StartPosition::After {
            shard: shard.clone(),
            sequence_number: number(&fake, &shard, 19),
        })
        .until(EndPosition::WithSequenceNumbers(ends));
    run(part, &sink).await.unwrap();
    assert_eq!(sink.numbers(), (20..60).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_none_is_told_before_anything_is_read() {
    let fake = Fake::instant(2);
    fake.put_numbered(0..100).unwrap();
    let shards = fake.shards();
    let foreign = number(&fake, &shards[1].id, 3);
    let ends = BTreeMap::from([(shards[0].id.clone(), foreign)]);
    let sink = Sink::default();
    let part = source(&fake).until(EndPosition::WithSequenceNumbers(ends));
    let error = run(part, &sink).await.unwrap_err();
    let error = stream_error(&error);
    assert!(matches!(error, StreamError::InvalidEnd { .. }), "{error:?}");
    let ends = BTreeMap::from([("shardId-000000000009".into(), 7.into())]);
    let part = source(&fake).until(EndPosition::WithSequenceNumbers(ends));
    let error = run(part, &sink).await.unwrap_err();
    let error = stream_error(&error);
    assert!(
        matches!(error, StreamError::NoSuchShard { .. }),
        "{error:?}"
    );
    assert!(sink.taken().is_empty());
}

/// A record that is not taken in holds the end up: it is read again, and so is nothing beyond the end.
#[tokio::test(start_paused = true)]
async fn a_nack_at_the_end_is_no_end() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..50).unwrap();
    sleep(Duration::from_secs(60)).await;
    let to = fake.now();
    sleep(Duration::from_secs(60)).await;
    fake.put_numbered(50..100).unwrap();
    let sink = Sink::default().refusing_once(49);
    run(source(&fake).until(EndPosition::BeforeTimestamp(to)), &sink)
        .await
        .unwrap();
    let mut numbers = sink.numbers();
    numbers.dedup();
    assert_eq!(numbers, everything(50));
}

/// One shard is done with its part long before the other is.
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_complete_waits_for_nothing_and_is_not_stuck() {
    let fake = Fake::builder().instant().shards(2).without_limits().build();
    fake.put_numbered(0..200).unwrap();
    let last = |(shard, records): (ShardId, Vec<Record>), at: usize| {
        (
            shard,
            records[at.min(records.len() - 1)].sequence_number.clone(),
        )
    };
    let mut shards = fake.records().into_iter();
    let (first, second) = (shards.next().unwrap(), shards.next().unwrap());
    let ends = BTreeMap::from([last(first, 3), last(second, usize::MAX)]);
    let sink = Sink::by(Duration::from_secs(30));
    let mut pipeline = Pipeline::new();
    let source = source(&fake).until(EndPosition::WithSequenceNumbers(ends));
    let (records, handle) = source.add_to(&mut pipeline);
    let mut events = handle.events();
    pipeline.consume(sink, records.subscribe(Window::new(4)));
    let running = pipeline.run();
    let looking = async {
        sleep(Duration::from_secs(400)).await;
        let explained = handle.explain();
        let complete = explained
            .shards
            .iter()
            .find(|it| it.status.state == ShardState::Complete);
        let waiting_for = complete.map(|it| it.waiting.waiting_for);
        assert_eq!(waiting_for, Some(WaitingFor::Nothing), "{explained}");
    };
    tokio::join!(running, looking).0.unwrap();
    while let Some(event) = events.next().await {
        assert!(!event.name().contains("stuck"), "{event:?}");
    }
}

/// One answer is empty, says to be at the tip, and is neither the last nor right. That is legal.
#[tokio::test(start_paused = true)]
async fn one_empty_answer_ends_nothing() {
    for strike in 0..12 {
        for by_number in [None, Some(799), Some(999)] {
            let fake = Fake::builder().instant().without_limits().build();
            fake.put_numbered(0..1_000).unwrap();
            sleep(Duration::from_secs(60)).await;
            let (shard, records) = fake.records().remove(0);
            let end = match by_number {
                Some(last) => {
                    let last = records[last].sequence_number.clone();
                    EndPosition::WithSequenceNumbers(BTreeMap::from([(shard, last)]))
                }
                None => EndPosition::BeforeTimestamp(fake.now().minus(Duration::from_secs(20))),
            };
            let empty = Rewrite::EMPTY_PAGE;
            fake.inject(Fault::rewritten(Operation::GetRecords, empty).after(strike));
            let sink = Sink::default();
            let mut pipeline = Pipeline::new();
            let (events, _) = source(&fake).until(end).add_to(&mut pipeline);
            pipeline.consume(sink.clone(), events.subscribe(Window::new(100)));
            let ended = timeout(Duration::from_secs(3_600), pipeline.run()).await;
            ended.expect("it ends by itself").unwrap();
            let count = by_number.map_or(1_000, |last| last as u64 + 1);
            assert_eq!(sink.numbers(), everything(count), "{strike} {by_number:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_empty_answer_is_not_caught_up() {
    for strike in 0..12 {
        let fake = Fake::builder().instant().without_limits().build();
        fake.put_numbered(0..1_000).unwrap();
        let empty = Rewrite::EMPTY_PAGE;
        fake.inject(Fault::rewritten(Operation::GetRecords, empty).after(strike));
        let sink = Sink::default();
        run_until_caught_up(source(&fake), &sink, Window::new(100))
            .await
            .unwrap();
        assert_eq!(sink.numbers(), everything(1_000), "{strike}");
    }
}
