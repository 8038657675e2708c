//! Streams that are read to an end, on several threads and in real time: all shards reach theirs at about the same moment.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kinesis_fake::Fake;
use kinesis_source::{
    Checkpoint, CheckpointStore, EndPosition, FanOut, KinesisApi, KinesisWriteApi,
    MemoryCheckpointStore, Shard, ShardId, SourceEvent, StreamEnd, StreamIdentity, StreamSource,
};
use rig::Sink;
use stage_core::{Pipeline, Window};
use tokio::{task::JoinSet, time::timeout};

const STREAMS: u64 = 48;
const PATIENCE: Duration = Duration::from_secs(120);

fn open_shards(fake: &Fake) -> Vec<Shard> {
    let mut shards = fake.shards();
    shards.retain(|shard| !shard.is_closed());
    shards
}

async fn read_to_an_end(stream: u64) {
    let fake = Fake::builder()
        .shards(2)
        .instant()
        .wall_clock()
        .without_limits()
        .build();
    fake.put_numbered(0..40).unwrap();
    let [left, right] = &open_shards(&fake)[..] else {
        panic!("there are two");
    };
    fake.merge_shards(&left.id, &right.id).await.unwrap();
    fake.put_numbered(40..60).unwrap();
    let [both] = &open_shards(&fake)[..] else {
        panic!("there is one");
    };
    fake.split_shard(&both.id, 1 << 127).await.unwrap();
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
