//! Parents that should be kept, by their children's numbers, and that no listing has.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Fake, Fault, Operation, Rewrite};
use kinesis_source::{
    FanOut, KinesisWriteApi, OnDataLoss, ShardError, ShardId, SourceEvent, StreamSource,
};
use rig::{Sink, shard_error};
use stage_core::{Pipeline, Window};
use tokio::time::{sleep, timeout};

fn first() -> ShardId {
    "shardId-000000000000".into()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A stream that was split, and whose listings never have the parent.
async fn split() -> Fake {
    let fake = Fake::instant(1);
    fake.put_numbered(0..500).unwrap();
    fake.split_shard(&first(), 1 << 127).await.unwrap();
    sleep(seconds(1)).await;
    fake.put_numbered(500..700).unwrap();
    let lacks = Rewrite::shards("lacks the parent", |page| {
        page.shards.retain(|listed| listed.id != first());
    });
    fake.inject(Fault::rewritten(Operation::ListShards, lacks).always());
    fake
}

fn source(fake: &Fake, by_fan_out: bool) -> StreamSource {
    let api = Arc::new(fake.clone());
    let source = StreamSource::new("orders", api.clone());
    match by_fan_out {
        true => source.fan_out(FanOut::new(api, "audit")),
        false => source,
    }
}

/// It is there: then it is read, and before its children.
#[tokio::test(start_paused = true)]
async fn one_that_is_there_all_the_same_is_read_first() {
    for by_fan_out in [false, true] {
        let fake = split().await;
        let sink = Sink::by(Duration::from_millis(100));
        let mut pipeline = Pipeline::new();
        let (records, handle) = source(&fake, by_fan_out).add_to(&mut pipeline);
        pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
        let caught_up = async { timeout(seconds(3_600), handle.caught_up()).await.unwrap() };
        pipeline.run_until(caught_up).await.unwrap();
        sink.assert_complete(&fake);
        sink.assert_parents_before_children(&fake);
    }
}

/// It is not: what it had is lost, and its children are read if that is gone on without.
#[tokio::test(start_paused = true)]
async fn one_that_is_not_there_is_a_loss_as_any_other() {
    for by_fan_out in [false, true] {
        for on_data_loss in [OnDataLoss::Stop, OnDataLoss::GoOn] {
            let fake = split().await;
            for operation in [Operation::GetShardIterator, Operation::SubscribeToShard] {
                let gone = Fault::refusal(operation, "ResourceNotFoundException");
                fake.inject(gone.on_shard(&first()).always());
            }
            let sink = Sink::default();
            let mut pipeline = Pipeline::new();
            let source = source(&fake, by_fan_out).on_data_loss(on_data_loss);
            let (records, handle) = source.add_to(&mut pipeline);
            let mut events = handle.events();
            pipeline.consume(sink.clone(), records.subscribe(Window::new(20)));
            let goes_on = on_data_loss == OnDataLoss::GoOn;
            let story = async {
                sleep(seconds(600)).await;
                if goes_on {
                    timeout(seconds(60), handle.caught_up()).await.unwrap();
                }
            };
            let run = pipeline.run_until(story).await;
            let mut losses = Vec::new();
            while let Ok(Some(event)) = timeout(seconds(1), events.next()).await {
                if let SourceEvent::DataLost { loss } = event {
                    losses.push(loss);
                }
            }
            assert_eq!(losses.len(), 1);
            assert_eq!((&losses[0].shard, &losses[0].to), (&first(), &None));
            if goes_on {
                run.unwrap();
                assert_eq!(sink.numbers(), (500..700).collect::<Vec<_>>());
            } else {
                let error = run.unwrap_err();
                assert!(
                    matches!(shard_error(&error), ShardError::DataLoss(loss) if *loss == losses[0]),
                    "{error:?}"
                );
                assert!(sink.taken().is_empty(), "its children wait");
            }
        }
    }
}
