//! Listings that lack shards that are there: nothing is decided by one of them.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Fake, Fault, Operation, Rewrite};
use kinesis_source::{
    EndPosition, FanOut, KinesisApi, KinesisWriteApi, MemoryCheckpointStore, ShardId, SourceEvent,
    StreamSource,
};
use rig::{Sink, everything};
use stage_core::{Pipeline, Window};
use tokio::time::{sleep, timeout};

fn source(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn first() -> ShardId {
    "shardId-000000000000".into()
}

/// So many listings lack a shard that is there.
fn lacking(shard: ShardId, times: u32) -> Fault {
    let lacks = Rewrite::shards("lacks a shard", move |page| {
        page.shards.retain(|listed| listed.id != shard);
    });
    Fault::rewritten(Operation::ListShards, lacks).times(times)
}

async fn split(fake: &Fake) {
    fake.split_shard(&first(), 1 << 127).await.unwrap();
    sleep(seconds(1)).await;
    fake.put_numbered(1_000..1_200).unwrap();
}

#[tokio::test(start_paused = true)]
async fn children_wait_for_a_parent_that_the_first_listing_lacks() {
    let fake = Fake::new(1);
    fake.put_numbered(0..1_000).unwrap();
    split(&fake).await;
    fake.inject(lacking(first(), 1));
    let sink = Sink::by(Duration::from_millis(100));
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
    // Whoever asks has shards listed anew.
    let story = async move {
        sleep(seconds(20)).await;
        handle.caught_up().await;
    };
    pipeline.run_until(story).await.unwrap();
    assert!(fake.fault_report().all_fired());
    sink.assert_complete(&fake);
    sink.assert_parents_before_children(&fake);
}

/// That it was being read is stored: it has not just aged out because two listings lack it.
#[tokio::test(start_paused = true)]
async fn children_wait_longer_for_a_parent_that_was_being_read() {
    let fake = Fake::new(1);
    fake.put_numbered(0..1_000).unwrap();
    let store = Arc::new(MemoryCheckpointStore::new());
    let sink = Sink::by(Duration::from_millis(100));
    let start = || source(&fake).checkpoints(Arc::clone(&store) as _);
    let mut pipeline = Pipeline::new();
    let (records, _) = start().add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
    pipeline.run_until(sleep(seconds(2))).await.unwrap();
    split(&fake).await;
    fake.inject(lacking(first(), 4));
    let mut pipeline = Pipeline::new();
    let (records, handle) = start().add_to(&mut pipeline);
    let mut events = handle.events();
    pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
    let caught_up = async move { handle.caught_up().await };
    pipeline.run_until(caught_up).await.unwrap();
    sink.assert_complete(&fake);
    sink.assert_parents_before_children(&fake);
    let mut told = Vec::new();
    while let Ok(Some(event)) = timeout(seconds(1), events.next()).await {
        told.push(event);
    }
    let lacks = |event: &SourceEvent| matches!(event, SourceEvent::ListingIncomplete { missing, .. } if *missing == [first()]);
    assert_eq!(told.iter().filter(|it| lacks(it)).count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replay_does_not_end_without_a_parent_that_a_listing_lacks() {
    let fake = Fake::new(1);
    fake.put_numbered(0..1_000).unwrap();
    split(&fake).await;
    sleep(seconds(30)).await;
    fake.inject(lacking(first(), 1));
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let until = EndPosition::BeforeTimestamp(fake.now());
    let (records, _) = source(&fake).until(until).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    pipeline.run().await.unwrap();
    assert_eq!(sink.numbers(), everything(1_200));
    sink.assert_parents_before_children(&fake);
}

/// An answer says that it has ended, and the listing that is asked lacks it.
#[tokio::test(start_paused = true)]
async fn an_open_shard_that_one_listing_lacks_is_read_on() {
    for by_fan_out in [false, true] {
        let fake = Fake::new(3);
        fake.put_numbered(0..300).unwrap();
        let (sink, mut source) = (Sink::default(), source(&fake));
        if by_fan_out {
            source = source.fan_out(FanOut::new(Arc::new(fake.clone()), "audit"));
        }
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
        let shard: ShardId = "shardId-000000000001".into();
        let story = async {
            sleep(seconds(10)).await;
            fake.inject(lacking(shard.clone(), 1));
            let end = |operation| Fault::rewritten(operation, Rewrite::NO_NEXT_ITERATOR);
            let end = match by_fan_out {
                true => end(Operation::SubscribeToShard).in_stream(),
                false => end(Operation::GetRecords),
            };
            fake.inject(end.on_shard(&shard).times(1));
            sleep(seconds(10)).await;
            fake.put_numbered(300..600).unwrap();
            sleep(seconds(120)).await;
            handle.caught_up().await;
        };
        pipeline.run_until(story).await.unwrap();
        assert!(fake.fault_report().all_fired());
        sink.assert_complete(&fake);
    }
}
