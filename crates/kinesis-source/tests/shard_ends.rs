//! Answers that say that a shard has ended, too early: nothing of it may be lost.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Choices, Fake, Fault, Operation, Rewrite, ShardEnd};
use kinesis_source::{ChildShard, FanOut, HashRange, KinesisWriteApi, ShardId, StreamSource};
use rig::{Sink, run_until_caught_up};
use stage_core::Window;
use tokio::time::sleep;

fn source(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

fn parent() -> ShardId {
    "shardId-000000000000".into()
}

/// A stream whose first shard is closed, and has more than one answer brings.
async fn split(shard_end: ShardEnd) -> Fake {
    let mut choices = Choices::default();
    choices.shard_end = shard_end;
    let fake = Fake::builder().instant().choices(choices).build();
    fake.put_numbered(0..1_000).unwrap();
    fake.split_shard(&parent(), 1 << 127).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    fake.put_numbered(1_000..1_200).unwrap();
    fake
}

fn children() -> Vec<ChildShard> {
    let child = |id: &str, start, end| ChildShard {
        id: id.into(),
        parents: vec![parent()],
        hash_range: HashRange { start, end },
    };
    vec![
        child("shardId-000000000001", 0, (1 << 127) - 1),
        child("shardId-000000000002", 1 << 127, u128::MAX),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_is_read_on_after_an_answer_that_ends_it_too_early() {
    let with_children = Rewrite::records("the end, with children", |page| {
        page.next = None;
        page.children = children();
    });
    let empty = Rewrite::records("the end, without anything", |page| {
        page.next = None;
        page.records.clear();
        page.children.clear();
    });
    for shard_end in [ShardEnd::WithLastRecords, ShardEnd::OneMoreAnswer] {
        for rewrite in [&Rewrite::NO_NEXT_ITERATOR, &with_children, &empty] {
            for after in 0..4 {
                let fake = split(shard_end).await;
                let fault = Fault::rewritten(Operation::GetRecords, rewrite.clone());
                fake.inject(fault.on_shard(&parent()).after(after).times(1));
                let sink = Sink::by(Duration::from_millis(10));
                run_until_caught_up(source(&fake), &sink, Window::new(50))
                    .await
                    .unwrap();
                assert!(fake.fault_report().all_fired());
                sink.assert_complete(&fake);
                sink.assert_parents_before_children(&fake);
                assert_eq!(fake.calls().throttled(), 0);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_is_read_on_after_an_event_that_ends_it_too_early() {
    for names_children in [false, true] {
        for after in 0..3 {
            let fake = split(ShardEnd::default()).await;
            let half = Rewrite::events("half of it, the end", move |event| {
                event.records.truncate(event.records.len() / 2);
                event.continuation_sequence_number = None;
                event.children = if names_children {
                    children()
                } else {
                    Vec::new()
                };
            });
            let fault = Fault::rewritten(Operation::SubscribeToShard, half).in_stream();
            fake.inject(fault.on_shard(&parent()).after(after).times(1));
            let sink = Sink::by(Duration::from_millis(10));
            let source = source(&fake).fan_out(FanOut::new(Arc::new(fake.clone()), "audit"));
            run_until_caught_up(source, &sink, Window::new(50))
                .await
                .unwrap();
            sink.assert_complete(&fake);
            sink.assert_parents_before_children(&fake);
        }
    }
}

/// None of the answers says what comes after it, so that each shard looks for its end in a listing.
#[tokio::test(start_paused = true)]
async fn a_hundred_shards_that_end_at_once_share_their_listings() {
    let fake = Fake::instant(100);
    fake.put_numbered(0..1_000).unwrap();
    for shard in fake.shards() {
        let range = shard.hash_range;
        let half = range.start + (range.end - range.start) / 2;
        fake.split_shard(&shard.id, half).await.unwrap();
        sleep(Duration::from_millis(250)).await;
    }
    fake.put_numbered(1_000..2_000).unwrap();
    fake.inject(Fault::rewritten(Operation::GetRecords, Rewrite::NO_CHILDREN).always());
    let sink = Sink::default();
    run_until_caught_up(source(&fake), &sink, Window::new(50))
        .await
        .unwrap();
    sink.assert_complete(&fake);
    let calls = fake.calls();
    assert_eq!(calls.throttled(), 0);
    let listings = calls.of(Operation::ListShards).made;
    assert!(listings <= 20, "{listings}");
}
