//! How to test a consumer of one's own: a stream in memory with Kinesis' real limits, on a clock
//! that stands still, so that an hour takes no time.
//!
//!     cargo test -p examples --test own_consumer

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use kinesis_fake::{Fake, Fault, Operation};
use kinesis_source::{KinesisWriteApi, Record, StreamSource};
use stage_core::{Batch, Consumer, Pipeline, Window};
use tokio::time::sleep;

/// The consumer to test: counts the records of each key.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, usize>>>);

impl Consumer<Record> for Counts {
    type Error = io::Error;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> io::Result<()> {
        for event in batch.drain() {
            let key = event.partition_key.unwrap_or_default();
            *self.0.lock().unwrap().entry(key).or_default() += 1;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_a_shard_is_split_and_kinesis_has_a_bad_hour() {
    let fake = Fake::new(2);
    let counts = Counts::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) =
        StreamSource::new("orders", Arc::new(fake.clone())).add_to(&mut pipeline);
    pipeline.consume(counts.clone(), records.subscribe(Window::new(100)));

    let trouble = async move {
        fake.put_numbered(0..500).unwrap();
        sleep(Duration::from_secs(60)).await;
        fake.inject(Fault::refusal(Operation::GetRecords, "InternalFailure").times(300));
        fake.split_shard(&"shardId-000000000000".into(), 1 << 126)
            .await
            .unwrap();
        fake.put_numbered(500..1_000).unwrap();
        sleep(Duration::from_secs(3_600)).await;
        handle.caught_up().await;
    };
    pipeline.run_until(trouble).await.unwrap();

    let counts = counts.0.lock().unwrap();
    assert_eq!(counts.len(), 1_000);
    assert!(counts.values().all(|&times| times == 1));
}
