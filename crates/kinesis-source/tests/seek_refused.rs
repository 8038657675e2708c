//! A seek that Kinesis refuses changes nothing, whatever the shard's reader was at.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Fake, Fault, Operation};
use kinesis_source::{FanOut, PinnedPosition, SeekError, StreamSource};
use rig::{Sink, everything};
use stage_core::{Pipeline, Window};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_seek_that_is_refused_while_another_ones_place_is_looked_up_skips_nothing() {
    let mut first = Vec::new();
    for by_fan_out in [false, true] {
        let fake = Fake::instant(1);
        fake.put_numbered(0..100).unwrap();
        let shard = fake.shards()[0].clone();
        let api = Arc::new(fake.clone());
        let source = StreamSource::new("orders", api.clone());
        let source = match by_fan_out {
            true => source.fan_out(FanOut::new(api, "audit")),
            false => source,
        };
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        let sink = Sink::default();
        pipeline.consume(sink.clone(), records.subscribe(Window::new(10)));
        let running = tokio::spawn(pipeline.run());
        handle.caught_up().await;
        assert_eq!(sink.taken().len(), 100);
        // Where the shard begins is a place, and no record: the shard is looked up in a listing, which takes a while.
        fake.inject(Fault::delayed(Operation::ListShards, Duration::from_secs(20)).always());
        let begin = PinnedPosition::AtSequenceNumber(shard.starting_sequence_number);
        handle.seek(&shard.id, begin).await.unwrap();
        sleep(Duration::from_secs(8)).await;
        let nowhere = PinnedPosition::AfterSequenceNumber(77.into());
        let refused = handle.seek(&shard.id, nowhere).await;
        assert!(
            matches!(refused, Err(SeekError::Refused { .. })),
            "{refused:?}"
        );
        sleep(Duration::from_secs(120)).await;
        let again = sink.numbers_in_order().split_off(100);
        assert_eq!(again[..], everything(100)[100 - again.len()..]);
        let caught_up = tokio::time::timeout(Duration::from_secs(300), handle.caught_up()).await;
        running.abort();
        first.push((by_fan_out, again.first().copied(), caught_up.is_ok()));
    }
    assert_eq!(
        first,
        [(false, Some(0), true), (true, Some(0), true)],
        "it goes on there"
    );
}
