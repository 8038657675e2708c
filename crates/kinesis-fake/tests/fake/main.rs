//! The fake as its users meet it: through `KinesisApi`, on a paused clock.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use kinesis_fake::{
    Choices, Durations, Fake, Fault, FaultPlan, FutureTimestamp, Limits, OlderThanHorizon,
    Operation, Operations, Rewrite, ShardEnd, Swizzle,
};
use kinesis_source::{
    ApiError, KinesisApi, KinesisWriteApi, NextToken, Position, PutEntry, PutOutcome, Record,
    RecordsPage, Remedy, ShardId, ShardIterator, StreamStatus, Timestamp,
};
use tokio::time::{advance, sleep};

mod changing;
mod deliveries;
mod determinism;
mod fan_out;
mod faults;
mod reading;
mod scaling;
mod telling;
mod worker;
mod writing;

const MIB: usize = 1_024 * 1_024;

fn shard(number: u32) -> ShardId {
    ShardId::new(format!("shardId-{number:012}"))
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn entry(key: &str, bytes: usize) -> PutEntry {
    PutEntry {
        partition_key: key.into(),
        explicit_hash_key: None,
        data: Bytes::from(vec![0; bytes]),
    }
}

async fn iterator(fake: &Fake, shard: &ShardId, position: Position) -> ShardIterator {
    fake.get_shard_iterator(shard, &position).await.unwrap()
}

fn remedy<T: std::fmt::Debug>(answer: Result<T, ApiError>) -> Remedy {
    answer.unwrap_err().remedy()
}

fn data(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| String::from_utf8(record.data.to_vec()).unwrap();
    records.iter().map(text).collect()
}

/// Reads a shard to its end or tip, no faster than allowed.
async fn drain(fake: &Fake, shard: &ShardId) -> (Vec<Record>, RecordsPage) {
    let mut iterator = iterator(fake, shard, Position::TrimHorizon).await;
    let mut records = Vec::new();
    loop {
        let mut page = fake.get_records(&iterator, 400).await.unwrap();
        records.append(&mut page.records);
        match page.next.clone() {
            Some(next) if page.millis_behind_latest != Some(0) => iterator = next,
            _ => return (records, page),
        }
        sleep(millis(200)).await;
    }
}
