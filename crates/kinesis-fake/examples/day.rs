//! A day of many shards, on a paused clock: how long it takes, and what it takes.
//!
//! `cargo run --release -p kinesis-fake --example day -- [SHARDS] [HOURS] [SECONDS BETWEEN POLLS]`,
//! 1,000, 24 and 1 unless told otherwise. Each shard has a reader that polls, and renews its
//! iterator when it has to; for each hundred of them, a record a second is put.

use std::{error::Error, time::Duration};

use kinesis_fake::{Fake, Operation};
use kinesis_source::{ApiError, KinesisApi, Position, Remedy, ShardId};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: u64| arguments.next().map_or(Ok(default), |it| it.parse());
    let (shards, hours, seconds) = (next(1_000)?, next(24)?, next(1)?);
    let fake = Fake::builder().shards(u32::try_from(shards)?).build();
    let started = std::time::SystemTime::now();
    let end = Instant::now() + Duration::from_secs(hours * 3_600);

    let mut readers = JoinSet::new();
    for shard in fake.shards() {
        let (fake, seconds) = (fake.clone(), Duration::from_secs(seconds));
        readers.spawn(async move { read(&fake, &shard.id, seconds, end).await });
    }
    let mut put = 0_u64;
    while Instant::now() < end {
        for _ in 0..shards.div_ceil(100) {
            fake.put(&put.to_string(), put.to_be_bytes().to_vec())?;
            put += 1;
        }
        sleep(Duration::from_secs(1)).await;
    }
    let mut records = 0;
    while let Some(read) = readers.join_next().await {
        records += read??;
    }
    let calls = fake.calls();
    println!(
        "{shards} shards, {hours} hours: {:.1} s; {} calls of GetRecords, {} throttled; {put} \
         records put, {records} read; at most {} in memory",
        started.elapsed()?.as_secs_f64(),
        calls.of(Operation::GetRecords).made,
        calls.throttled(),
        peak_memory(),
    );
    Ok(())
}

/// Polls a shard until the day is over; how many records that were.
async fn read(fake: &Fake, shard: &ShardId, idle: Duration, end: Instant) -> Result<u64, ApiError> {
    let mut iterator = fake
        .get_shard_iterator(shard, &Position::TrimHorizon)
        .await?;
    let mut records = 0;
    loop {
        match fake.get_records(&iterator, 1_000).await {
            Ok(page) => {
                records += page.records.len() as u64;
                match page.next {
                    Some(next) if Instant::now() < end || page.millis_behind_latest != Some(0) => {
                        iterator = next;
                    }
                    _ => return Ok(records),
                }
            }
            Err(error) if error.remedy() == Remedy::Wait => {}
            Err(error) => return Err(error),
        }
        sleep(idle).await;
    }
}

/// As the system tells it, where it does.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    line.unwrap_or("unknown").trim().to_owned()
}
