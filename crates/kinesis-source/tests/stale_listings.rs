//! Listings that lack shards that are there: nothing is decided by one of them.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Fake, Fault, Operation, Rewrite};
use kinesis_source::{
    EndPosition, FanOut, KinesisApi, KinesisWriteApi, MemoryCheckpointStore, OnDataLoss, ShardId,
    SourceEvent, StartPosition, StreamSource,
};
use rig::{Sink, everything, run_until_caught_up};
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
    let fake = Fake::instant(1);
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

/// Its children are younger than records are kept, by their numbers: so it must be there.
#[tokio::test(start_paused = true)]
async fn children_wait_longer_for_a_parent_that_should_be_kept() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..1_000).unwrap();
    split(&fake).await;
    fake.inject(lacking(first(), 4));
    let sink = Sink::by(Duration::from_millis(100));
    run_until_caught_up(source(&fake), &sink, Window::new(20))
        .await
        .unwrap();
    assert!(fake.fault_report().all_fired());
    sink.assert_complete(&fake);
    sink.assert_parents_before_children(&fake);
}

/// That it was being read is stored: it has not just aged out because two listings lack it.
#[tokio::test(start_paused = true)]
async fn children_wait_longer_for_a_parent_that_was_being_read() {
    let fake = Fake::instant(1);
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
    let fake = Fake::instant(1);
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
        let fake = Fake::instant(3);
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

/// Nothing else is left of it, and nothing is said of it but what is stored.
#[tokio::test(start_paused = true)]
async fn a_shard_that_aged_out_before_it_was_finished_is_a_loss_to_whoever_goes_on() {
    for policy in [OnDataLoss::Stop, OnDataLoss::GoOn] {
        let fake = Fake::instant(1);
        fake.put_numbered(0..1_000).unwrap();
        let store = Arc::new(MemoryCheckpointStore::new());
        let sink = Sink::by(Duration::from_millis(100));
        let start = || {
            let source = source(&fake).on_data_loss(policy);
            source.checkpoints(Arc::clone(&store) as _)
        };
        let mut pipeline = Pipeline::new();
        let (records, _) = start().add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
        pipeline.run_until(sleep(seconds(2))).await.unwrap();
        let done = sink.numbers().len();
        assert!(done < 900);
        split(&fake).await;
        sleep(seconds(25 * 3_600)).await;
        fake.put_numbered(1_200..1_300).unwrap();
        assert!(fake.shards().iter().all(|shard| shard.id != first()));
        let sink = Sink::default();
        let mut pipeline = Pipeline::new();
        let (records, handle) = start().add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
        let ended = pipeline.run_until(sleep(seconds(300))).await;
        let losses = handle.data_losses();
        assert!(
            losses.iter().any(|loss| loss.shard == first()),
            "{losses:?}"
        );
        match policy {
            OnDataLoss::GoOn => {
                ended.unwrap();
                assert_eq!(sink.numbers(), (1_200..1_300).collect::<Vec<_>>());
            }
            _ => assert!(ended.is_err()),
        }
    }
}

/// What was there before must not come, although a later listing has it.
#[tokio::test(start_paused = true)]
async fn latest_leaves_out_a_closed_parent_that_the_first_listing_lacks() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..1_000).unwrap();
    fake.split_shard(&first(), 1 << 127).await.unwrap();
    sleep(seconds(60)).await;
    fake.inject(lacking(first(), 1));
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let latest = source(&fake).start(StartPosition::Latest);
    let (records, handle) = latest.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
    let story = async {
        sleep(seconds(120)).await;
        fake.put_numbered(1_000..1_100).unwrap();
        handle.caught_up().await;
    };
    pipeline.run_until(story).await.unwrap();
    assert!(fake.fault_report().all_fired());
    assert_eq!(sink.numbers(), (1_000..1_100).collect::<Vec<_>>());
}

/// Its hash keys fall on no shard: nobody waits for the next minute, or hour, to look again.
#[tokio::test(start_paused = true)]
async fn a_shard_that_the_first_listing_lacks_is_looked_for_at_once() {
    let fake = Fake::instant(3);
    fake.put_numbered(0..300).unwrap();
    fake.inject(lacking("shardId-000000000001".into(), 1));
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let hourly = source(&fake).discover_every(seconds(3_600));
    let (records, _) = hourly.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
    pipeline.run_until(sleep(seconds(10))).await.unwrap();
    sink.assert_complete(&fake);
}

/// Neither is all read before it is listed.
#[tokio::test(start_paused = true)]
async fn a_stream_is_not_caught_up_while_its_listing_has_holes() {
    let fake = Fake::instant(3);
    fake.put_numbered(0..300).unwrap();
    fake.inject(lacking("shardId-000000000001".into(), 12));
    let sink = Sink::default();
    let run = run_until_caught_up(source(&fake), &sink, Window::new(100));
    run.await.unwrap();
    assert!(fake.fault_report().all_fired());
    sink.assert_complete(&fake);
}

/// Of all streams of an account, a hundred listings a second are answered.
#[tokio::test(start_paused = true)]
async fn shards_that_stay_unlisted_are_looked_for_ever_less_often() {
    let fake = Fake::instant(3);
    fake.put_numbered(0..300).unwrap();
    fake.inject(lacking("shardId-000000000001".into(), 1_000_000));
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, _) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let listings = || fake.calls().of(Operation::ListShards).made;
    let story = async {
        sleep(seconds(60)).await;
        let of_first_minute = listings();
        assert!((5..=30).contains(&of_first_minute), "{of_first_minute}");
        sleep(seconds(3_600)).await;
        let an_hour = listings() - of_first_minute;
        assert!((60..=400).contains(&an_hour), "{an_hour}");
    };
    pipeline.run_until(story).await.unwrap();
    let lacked: ShardId = "shardId-000000000001".into();
    for (shard, records) in fake.records() {
        let taken = sink.taken().iter().filter(|it| it.shard == shard).count();
        let expected = if shard == lacked { 0 } else { records.len() };
        assert_eq!(taken, expected, "{shard}");
    }
}
