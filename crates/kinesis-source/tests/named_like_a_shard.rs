//! A stage of the pipeline has the name that a shard's reader would have: the reader has another one, and is no different.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::Fake;
use kinesis_source::{PinnedPosition, ShardState, StreamSource};
use rig::Sink;
use stage_core::{Pipeline, Window};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_shard_whose_name_is_taken_is_being_read() {
    for is_taken in [false, true] {
        // There is nothing in it: it is at its tip a second after the first answer.
        let fake = Fake::instant(1);
        let shard = fake.shards()[0].id.clone();
        let source = StreamSource::new("orders", Arc::new(fake.clone()));
        let mut pipeline = Pipeline::new();
        let (records, handle) = source.add_to(&mut pipeline);
        let window = records.subscribe(Window::new(10));
        match is_taken {
            true => pipeline
                .stage(format!("orders/{shard}"))
                .consume(Sink::default(), window),
            false => pipeline.consume(Sink::default(), window),
        };
        let running = tokio::spawn(pipeline.run());
        while handle.status().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        let state = handle.status()[0].state;
        let sought = handle.seek(&shard, PinnedPosition::TrimHorizon).await;
        running.abort();
        assert_eq!(
            state,
            ShardState::Reading,
            "whether it is taken: {is_taken}"
        );
        assert!(sought.is_ok(), "{sought:?}");
    }
}
