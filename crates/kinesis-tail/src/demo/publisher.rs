use std::time::Duration;

use kinesis_source::{AwsKinesis, KinesisApi, KinesisWriteApi};
use stage_core::BoxError;
use tokio::time::interval;

use crate::publish::{Put, made_up};

/// How many records are published in all.
pub(super) const RECORDS: u64 = PORTION * PORTIONS;
const PORTION: u64 = 75;
const PORTIONS: u64 = 80;
/// Between two portions: 750 records a second in all, of the 4,000 that four shards take.
const PACE: Duration = Duration::from_millis(100);
/// Which portion finds a shard split.
const SPLIT_AT: u64 = PORTIONS / 3;

/// Publishes all records, and splits a shard on the way.
pub(super) async fn publish(api: &AwsKinesis, mut put: Put) -> Result<(), BoxError> {
    let mut ticks = interval(PACE);
    for portion in 0..PORTIONS {
        ticks.tick().await;
        if portion == SPLIT_AT {
            split(api).await?;
        }
        let first = portion * PORTION + 1;
        put.all((first..first + PORTION).map(made_up)).await?;
    }
    Ok(())
}

/// Splits the stream's second shard in the middle.
async fn split(api: &AwsKinesis) -> Result<(), BoxError> {
    let shards = api.list_shards(None).await?.shards;
    let shard = shards
        .get(1)
        .ok_or("the demo's stream has no second shard")?;
    let range = shard.hash_range;
    let middle = range.start + (range.end - range.start) / 2 + 1;
    api.split_shard(&shard.id, middle).await?;
    Ok(())
}
