//! Streams that are resharded, on a runtime with several threads and in real time: two readers end at the same moment,
//! and both while something else is attended to. On a paused clock there is one thread, and nothing of that happens.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use kinesis_fake::Fake;
use kinesis_source::{
    Checkpoint, CheckpointStore, EndPosition, FanOut, KinesisApi, KinesisWriteApi,
    MemoryCheckpointStore, Shard, ShardId, SourceEvent, StreamEnd, StreamIdentity, StreamSource,
};
use rig::Sink;
use stage_core::{Pipeline, Window};
use tokio::{task::JoinSet, time::timeout};

/// Streams that are read at once, so that there is always something to do.
const STREAMS: u64 = 48;

/// How often shards were merged, and how often split.
const GENERATIONS: u64 = 8;

/// For what takes some seconds, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);

/// Two shards, merged and split again and again, with records in each.
async fn resharded() -> Fake {
    let fake = two_shards();
    let numbers = |at: u64| -> Range<u64> { 20 * at..20 * (at + 1) };
    for generation in 0..GENERATIONS {
        fake.put_numbered(numbers(2 * generation)).unwrap();
        merge(&fake).await;
        fake.put_numbered(numbers(2 * generation + 1)).unwrap();
        split(&fake).await;
    }
    fake.put_numbered(numbers(2 * GENERATIONS)).unwrap();
    fake
}

fn two_shards() -> Fake {
    Fake::builder()
        .shards(2)
        .instant()
        .wall_clock()
        .without_limits()
        .build()
}

async fn merge(fake: &Fake) {
    let [left, right] = &open_shards(fake)[..] else {
        panic!("there are two");
    };
    fake.merge_shards(&left.id, &right.id).await.unwrap();
}

async fn split(fake: &Fake) {
    let [both] = &open_shards(fake)[..] else {
        panic!("there is one");
    };
    fake.split_shard(&both.id, 1 << 127).await.unwrap();
}

fn open_shards(fake: &Fake) -> Vec<Shard> {
    let mut shards = fake.shards();
    shards.retain(|shard| !shard.is_closed());
    shards
}

async fn read(fake: Fake, source: StreamSource) {
    let sink = Sink::default();
    let reading = rig::run_until_caught_up(source, &sink, Window::new(50));
    let ended = timeout(PATIENCE, reading).await;
    let ended = ended.unwrap_or_else(|_| panic!("{} records have come", sink.taken().len()));
    ended.unwrap();
    sink.assert_complete(&fake);
    sink.assert_parents_before_children(&fake);
}

async fn read_all(source: impl Fn(&Fake) -> StreamSource) {
    let mut reading = JoinSet::new();
    for _ in 0..STREAMS {
        let fake = resharded().await;
        let source = source(&fake).checkpoint_every(Duration::from_millis(100));
        reading.spawn(read(fake, source));
    }
    reading.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_are_polled_and_end_together_are_followed_by_their_child() {
    read_all(|fake| StreamSource::new("orders", Arc::new(fake.clone()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_are_sent_and_end_together_are_followed_by_their_child() {
    read_all(|fake| {
        let api = Arc::new(fake.clone());
        let fan_out = FanOut::new(api.clone(), "audit");
        StreamSource::new("orders", api).fan_out(fan_out)
    })
    .await;
}

/// All shards reach an end of their own at about the same moment.
async fn read_to_an_end(stream: u64) {
    let fake = two_shards();
    fake.put_numbered(0..40).unwrap();
    merge(&fake).await;
    fake.put_numbered(40..60).unwrap();
    split(&fake).await;
    fake.put_numbered(60..200).unwrap();
    let open: Vec<ShardId> = open_shards(&fake).into_iter().map(|it| it.id).collect();
    let mut wanted = fake.records();
    let mut ends = BTreeMap::new();
    for (shard, records) in &mut wanted {
        if open.contains(shard) {
            let last = records.len() * 2 / 3;
            records.truncate(last + 1);
            ends.insert(shard.clone(), records[last].sequence_number.clone());
        }
    }
    let store = Arc::new(MemoryCheckpointStore::new());
    let api = Arc::new(fake.clone());
    let source = StreamSource::new("orders", api.clone())
        .checkpoints(store.clone())
        .checkpoint_every(Duration::from_millis(20))
        .until(EndPosition::WithSequenceNumbers(ends.clone()));
    let source = match stream % 2 {
        0 => source,
        _ => source.fan_out(FanOut::new(api, "audit")),
    };
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(30)));
    let mut events = handle.events();
    let ended = timeout(PATIENCE, pipeline.run()).await;
    ended
        .unwrap_or_else(|_| panic!("stream {stream}: {:#?}", handle.explain()))
        .unwrap();
    let mut taken = BTreeMap::<ShardId, Vec<_>>::new();
    for record in sink.taken() {
        taken.entry(record.shard.clone()).or_default().push(record);
    }
    for (shard, records) in wanted {
        let taken = taken.remove(&shard).unwrap_or_default();
        assert_eq!(taken, records, "stream {stream}, {shard}");
    }
    sink.assert_parents_before_children(&fake);
    let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
    let stored = store.load(&stream).await.unwrap();
    for (shard, end) in ends {
        assert_eq!(stored[&shard], Checkpoint::after(end));
    }
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    let Some(SourceEvent::StreamEnded { end }) = last else {
        panic!("{last:?}");
    };
    assert_eq!(end, StreamEnd::Complete);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_that_is_read_to_an_end_ends_with_all_of_it() {
    let mut reading = JoinSet::new();
    for stream in 0..STREAMS {
        reading.spawn(read_to_an_end(stream));
    }
    reading.join_all().await;
}
