//! Shards that were read to an end that was none, as answers bore each other out in saying so: they are read on.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Fake, Fault, Operation, Rewrite};
use kinesis_source::{
    CheckpointStore, ChildShard, FanOut, HashRange, KinesisApi, KinesisWriteApi,
    MemoryCheckpointStore, PinnedPosition, ShardId, SourceEvent, SourceEvents, StartPosition,
    StreamHandle, StreamIdentity, StreamSource,
};
use rig::{Sink, run_until_caught_up};
use stage_core::{Pipeline, Window};
use tokio::time::{sleep, timeout};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn shard(number: u32) -> ShardId {
    ShardId::new(format!("shardId-{number:012}"))
}

fn source(fake: &Fake, store: &Arc<MemoryCheckpointStore>, by_fan_out: bool) -> StreamSource {
    let source = StreamSource::new("orders", Arc::new(fake.clone()));
    let source = source.checkpoints(Arc::clone(store) as _);
    match by_fan_out {
        true => source.fan_out(FanOut::new(Arc::new(fake.clone()), "audit")),
        false => source,
    }
}

fn reading(source: StreamSource, sink: &Sink) -> (Pipeline, StreamHandle) {
    let mut pipeline = Pipeline::new();
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(50)));
    (pipeline, handle)
}

/// Two shards, with 200 records, and how they are read.
fn of_two_shards(by_fan_out: bool) -> (Fake, Sink, Pipeline, StreamHandle, SourceEvents) {
    let fake = Fake::instant(2);
    fake.put_numbered(0..200).unwrap();
    let (sink, store) = (Sink::default(), Arc::new(MemoryCheckpointStore::new()));
    let (pipeline, handle) = reading(source(&fake, &store, by_fan_out), &sink);
    let events = handle.events();
    (fake, sink, pipeline, handle, events)
}

/// A child that there is not.
fn imagined(parent: &ShardId) -> ChildShard {
    ChildShard {
        id: "shardId-000000000099".into(),
        parents: vec![parent.clone()],
        hash_range: HashRange::ALL,
    }
}

/// Answers say that the shard has ended, perhaps with a child, and listings have it closed.
fn end_wrongly(fake: &Fake, of: &ShardId, by_fan_out: bool, with_child: bool) {
    answer_end(fake, of, by_fan_out, with_child);
    fake.inject(listed_as_closed(of));
}

/// Answers say that the shard has ended, perhaps with a child.
fn answer_end(fake: &Fake, of: &ShardId, by_fan_out: bool, with_child: bool) {
    let children: Vec<_> = with_child.then(|| imagined(of)).into_iter().collect();
    let of_event = children.clone();
    let page = Rewrite::records("the end", move |page| {
        page.next = None;
        page.records.clear();
        page.children = children.clone();
        page.millis_behind_latest = Some(0);
    });
    let event = Rewrite::events("the end, sent", move |event| {
        event.continuation_sequence_number = None;
        event.records.clear();
        event.children = of_event.clone();
    });
    fake.inject(
        Fault::rewritten(Operation::GetRecords, page)
            .on_shard(of)
            .always(),
    );
    if by_fan_out {
        let events = Fault::rewritten(Operation::SubscribeToShard, event).in_stream();
        fake.inject(events.on_shard(of).always());
    }
}

/// Listings have the shard as closed, and its hash keys on the others.
fn listed_as_closed(shard: &ShardId) -> Fault {
    let shard = shard.clone();
    let rewrite = Rewrite::shards("has it closed", move |page| {
        for listed in &mut page.shards {
            if listed.id == shard {
                listed.ending_sequence_number = Some(u128::MAX.into());
            } else {
                listed.hash_range = HashRange::ALL;
            }
        }
    });
    Fault::rewritten(Operation::ListShards, rewrite).always()
}

/// If it never is, the test is over, all the same.
async fn caught_up(handle: &StreamHandle) {
    let within = seconds(3_600);
    timeout(within, handle.caught_up()).await.unwrap();
}

async fn told(events: &mut SourceEvents) -> Vec<SourceEvent> {
    let mut told = Vec::new();
    while let Ok(Some(event)) = timeout(seconds(1), events.next()).await {
        told.push(event);
    }
    told
}

fn reopened(told: &[SourceEvent]) -> Vec<(&ShardId, &PinnedPosition)> {
    let reopened = told.iter().filter_map(|event| match event {
        SourceEvent::ShardReopened {
            shard,
            from,
            children,
        } => {
            assert!(children.is_empty());
            Some((shard, from))
        }
        _ => None,
    });
    reopened.collect()
}

async fn retired(events: &mut SourceEvents) {
    while !matches!(events.next().await, Some(SourceEvent::ShardRetired { .. })) {}
}

/// The first shard of 200 records seems to end, and then records come.
async fn end_early(fake: &Fake, events: &mut SourceEvents) {
    sleep(seconds(10)).await;
    end_wrongly(fake, &shard(0), false, true);
    retired(events).await;
    fake.clear_faults();
    fake.put_numbered(200..400).unwrap();
}

/// Whether somebody runs on or starts anew, and whatever was read of it before.
#[tokio::test(start_paused = true)]
async fn a_shard_that_was_ended_wrongly_is_read_on() {
    for case in 0..16 {
        let [by_fan_out, with_child, restarts, is_empty] = [1, 2, 4, 8].map(|bit| case & bit != 0);
        let fake = Fake::instant(2);
        let before = if is_empty { 0 } else { 200 };
        fake.put_numbered(0..before).unwrap();
        let (sink, store) = (Sink::default(), Arc::new(MemoryCheckpointStore::new()));
        let (pipeline, handle) = reading(source(&fake, &store, by_fan_out), &sink);
        let mut events = handle.events();
        let first = async {
            sleep(seconds(10)).await;
            end_wrongly(&fake, &shard(0), by_fan_out, with_child);
            retired(&mut events).await;
            sleep(seconds(1)).await;
            fake.clear_faults();
            fake.put_numbered(before..400).unwrap();
        };
        let last = fake
            .records()
            .remove(0)
            .1
            .last()
            .map(|it| it.sequence_number.clone());
        let then = async {
            sleep(seconds(300)).await;
            fake.put_numbered(400..500).unwrap();
            sleep(seconds(10)).await;
        };
        if restarts {
            pipeline.run_until(first).await.unwrap();
            let (pipeline, handle) = reading(source(&fake, &store, by_fan_out), &sink);
            events = handle.events();
            let caught_up = async {
                then.await;
                caught_up(&handle).await;
            };
            pipeline.run_until(caught_up).await.unwrap();
        } else {
            let story = async {
                first.await;
                then.await;
                caught_up(&handle).await;
            };
            pipeline.run_until(story).await.unwrap();
        }
        sink.assert_complete(&fake);
        let told = told(&mut events).await;
        let from = last.map_or(
            PinnedPosition::TrimHorizon,
            PinnedPosition::AfterSequenceNumber,
        );
        assert_eq!(reopened(&told), [(&shard(0), &from)], "{case}");
        let stream = StreamIdentity::from(&fake.describe_stream_summary().await.unwrap());
        let stored = store.load(&stream).await.unwrap();
        assert_eq!(
            stored.keys().collect::<Vec<_>>(),
            [&shard(0), &shard(1)],
            "{case}"
        );
        assert!(stored.values().all(|it| !it.is_end()), "{stored:?}");
        // The next goes on where this one was.
        run_until_caught_up(source(&fake, &store, by_fan_out), &sink, Window::new(50))
            .await
            .unwrap();
        sink.assert_complete(&fake);
    }
}

/// It is shown as open, and without its children, when it has just been closed: it has not ended before that is over.
/// Or a moment after it has ended: then that is doubted once it cannot be late any more.
#[tokio::test(start_paused = true)]
async fn a_listing_that_is_out_of_date_starts_no_retired_shard_again() {
    for (late, has_ended, reopens) in [
        (50, false, false),
        (200, false, false),
        (50, true, false),
        (55, true, false),
        (200, true, true),
    ] {
        let fake = Fake::instant(1);
        fake.put_numbered(0..200).unwrap();
        let (sink, store) = (Sink::default(), Arc::new(MemoryCheckpointStore::new()));
        let source = source(&fake, &store, false).discover_every(seconds(7));
        let (pipeline, handle) = reading(source, &sink);
        let mut events = handle.events();
        let out_of_date = Fault::rewritten(Operation::ListShards, out_of_date()).always();
        let story = async {
            sleep(seconds(10)).await;
            if has_ended {
                fake.split_shard(&shard(0), 1 << 127).await.unwrap();
                retired(&mut events).await;
                sleep(seconds(1)).await;
                fake.inject(out_of_date);
            } else {
                fake.inject(out_of_date);
                fake.split_shard(&shard(0), 1 << 127).await.unwrap();
            }
            fake.put_numbered(200..400).unwrap();
            sleep(seconds(late)).await;
            fake.clear_faults();
            sleep(seconds(300)).await;
            caught_up(&handle).await;
        };
        pipeline.run_until(story).await.unwrap();
        sink.assert_complete(&fake);
        let told = told(&mut events).await;
        let is_reopened = told
            .iter()
            .any(|it| matches!(it, SourceEvent::ShardReopened { .. }));
        assert_eq!(is_reopened, reopens, "{late} {has_ended}");
        let starts = told.iter().filter(
            |it| matches!(it, SourceEvent::ShardStarted { shard: it, .. } if *it == shard(0)),
        );
        let before = usize::from(!has_ended);
        assert_eq!(starts.count(), before + usize::from(reopens));
    }
}

/// As it was before the stream was split.
fn out_of_date() -> Rewrite {
    Rewrite::shards("out of date", |page| {
        page.shards.truncate(1);
        page.shards[0].ending_sequence_number = None;
    })
}

/// While a listing shows it as open still, nobody is told that all is read; nor does a replay end.
#[tokio::test(start_paused = true)]
async fn nothing_is_over_while_an_ended_shard_is_listed_as_open() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..200).unwrap();
    let (sink, store) = (Sink::default(), Arc::new(MemoryCheckpointStore::new()));
    let (pipeline, handle) = reading(source(&fake, &store, false), &sink);
    let mut events = handle.events();
    let story = async {
        end_early(&fake, &mut events).await;
        caught_up(&handle).await;
    };
    pipeline.run_until(story).await.unwrap();
    sink.assert_complete(&fake);
}

/// The shard is closed in earnest, and read to its end, and so are its children.
async fn split_and_go_on(fake: &Fake, handle: &StreamHandle) {
    fake.split_shard(&shard(0), 1 << 126).await.unwrap();
    sleep(seconds(1)).await;
    fake.put_numbered(400..600).unwrap();
    sleep(seconds(300)).await;
    caught_up(handle).await;
}

/// It is split before that is proven: then it is read on all the same, and its children wait for it.
#[tokio::test(start_paused = true)]
async fn a_shard_that_was_ended_wrongly_and_is_closed_by_now_is_read_on() {
    let (fake, sink, pipeline, handle, mut events) = of_two_shards(false);
    let story = async {
        end_early(&fake, &mut events).await;
        sleep(seconds(90)).await;
        split_and_go_on(&fake, &handle).await;
    };
    pipeline.run_until(story).await.unwrap();
    sink.assert_complete(&fake);
    sink.assert_parents_before_children(&fake);
    assert_eq!(reopened(&told(&mut events).await).len(), 1);
}

/// Only answers have said so, with a child; then records come, and it is closed at once. A shard is not over before
/// a listing has it so, and what bears that out is asked for after that.
#[tokio::test(start_paused = true)]
async fn a_shard_that_answers_end_wrongly_and_that_is_closed_soon_is_read_to_its_end() {
    for by_fan_out in [false, true] {
        for (wrong_for, closed_after) in [(2, 0), (10, 1), (10, 30), (90, 0)] {
            let (fake, sink, pipeline, handle, mut events) = of_two_shards(by_fan_out);
            let story = async {
                sleep(seconds(10)).await;
                answer_end(&fake, &shard(0), by_fan_out, true);
                sleep(seconds(wrong_for)).await;
                fake.clear_faults();
                fake.put_numbered(200..400).unwrap();
                sleep(seconds(closed_after)).await;
                split_and_go_on(&fake, &handle).await;
            };
            pipeline.run_until(story).await.unwrap();
            sink.assert_complete(&fake);
            sink.assert_parents_before_children(&fake);
            assert_eq!(reopened(&told(&mut events).await), []);
        }
    }
}

/// Listings have said so, too, and have shown it as open since, or closed elsewhere.
#[tokio::test(start_paused = true)]
async fn a_shard_that_was_ended_wrongly_and_is_closed_soon_is_read_to_its_end() {
    for by_fan_out in [false, true] {
        for (closed_after, shown_open) in [(1, true), (20, true), (50, true), (1, false)] {
            let (fake, sink, pipeline, handle, mut events) = of_two_shards(by_fan_out);
            let story = async {
                sleep(seconds(10)).await;
                end_wrongly(&fake, &shard(0), by_fan_out, true);
                retired(&mut events).await;
                sleep(seconds(1)).await;
                fake.clear_faults();
                fake.put_numbered(200..400).unwrap();
                if shown_open {
                    // Whoever asks has shards listed anew.
                    let _ = timeout(seconds(1), handle.caught_up()).await;
                }
                sleep(seconds(closed_after)).await;
                split_and_go_on(&fake, &handle).await;
            };
            pipeline.run_until(story).await.unwrap();
            sink.assert_complete(&fake);
            sink.assert_parents_before_children(&fake);
            assert_eq!(reopened(&told(&mut events).await).len(), 1);
        }
    }
}

/// Of a shard that was read from LATEST and to which nothing had come, that is where it goes on.
#[tokio::test(start_paused = true)]
async fn a_shard_that_was_ended_wrongly_before_a_record_goes_on_where_it_began() {
    for (by_fan_out, restarts) in [(false, false), (false, true), (true, false), (true, true)] {
        let fake = Fake::instant(2);
        fake.put_numbered(0..200).unwrap();
        sleep(seconds(60)).await;
        let (sink, store) = (Sink::default(), Arc::new(MemoryCheckpointStore::new()));
        let source = || source(&fake, &store, by_fan_out).start(StartPosition::Latest);
        let (pipeline, handle) = reading(source(), &sink);
        let mut events = handle.events();
        let first = async {
            sleep(seconds(10)).await;
            end_wrongly(&fake, &shard(0), by_fan_out, true);
            retired(&mut events).await;
            sleep(seconds(1)).await;
            fake.clear_faults();
            fake.put_numbered(200..400).unwrap();
        };
        let told = if restarts {
            pipeline.run_until(first).await.unwrap();
            let (pipeline, handle) = reading(source(), &sink);
            let mut events = handle.events();
            let story = async {
                sleep(seconds(300)).await;
                caught_up(&handle).await;
            };
            pipeline.run_until(story).await.unwrap();
            told(&mut events).await
        } else {
            let story = async {
                first.await;
                sleep(seconds(300)).await;
                caught_up(&handle).await;
            };
            pipeline.run_until(story).await.unwrap();
            told(&mut events).await
        };
        assert_eq!(sink.numbers(), (200..400).collect::<Vec<_>>(), "{restarts}");
        let reopened = reopened(&told);
        assert!(
            matches!(reopened[..], [(_, PinnedPosition::AtTimestamp(_))]),
            "{reopened:?}"
        );
    }
}

/// An end that is sent is borne out by a read, but not by one that also says that there is more.
#[tokio::test(start_paused = true)]
async fn an_end_that_is_sent_and_contradicts_itself_is_not_believed() {
    let (fake, store) = (Fake::instant(2), Arc::default());
    let sink = Sink::default();
    let (pipeline, handle) = reading(source(&fake, &store, true), &sink);
    let run = tokio::spawn(pipeline.run_until(sleep(seconds(600))));
    caught_up(&handle).await;
    let sent = Rewrite::events("the end, sent", |event| {
        event.continuation_sequence_number = None;
    });
    let read = Rewrite::records("the end, far behind", |page| {
        page.next = None;
        page.millis_behind_latest = Some(5_000);
    });
    let sent = Fault::rewritten(Operation::SubscribeToShard, sent).in_stream();
    let read = Fault::rewritten(Operation::GetRecords, read);
    for fault in [sent, read] {
        fake.inject(fault.on_shard(&shard(1)).times(1));
    }
    fake.inject(listed_as_closed(&shard(1)));
    sleep(seconds(60)).await;
    assert_eq!(fake.calls().of(Operation::GetRecords).made, 1);
    fake.put_numbered(0..100).unwrap();
    run.await.unwrap().unwrap();
    sink.assert_complete(&fake);
}

/// However rarely the shards are listed: once a listing has shown that, the next ones are made soon.
#[tokio::test(start_paused = true)]
async fn a_shard_that_was_ended_wrongly_is_read_on_minutes_after_it_is_listed_as_open() {
    let hour = seconds(3_600);
    let (fake, store) = (Fake::instant(2), Arc::default());
    fake.put_numbered(0..200).unwrap();
    let sink = Sink::default();
    let source = source(&fake, &store, false).discover_every(hour);
    let (pipeline, handle) = reading(source, &sink);
    let mut events = handle.events();
    let story = async {
        sleep(seconds(10)).await;
        end_wrongly(&fake, &shard(0), false, false);
        retired(&mut events).await;
        sleep(seconds(1)).await;
        fake.clear_faults();
        fake.put_numbered(200..400).unwrap();
        sleep(hour + seconds(600)).await;
    };
    pipeline.run_until(story).await.unwrap();
    sink.assert_complete(&fake);
    assert_eq!(reopened(&told(&mut events).await).len(), 1);
}
