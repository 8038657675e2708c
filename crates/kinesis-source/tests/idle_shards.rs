//! What shards cost that nothing comes from: memory here, time in `ratios kinesis`.

#![allow(clippy::unwrap_used)]

use std::{alloc::System, convert::Infallible, sync::Arc, time::Duration};

use kinesis_fake::{Fake, Limits, Operation};
use kinesis_source::{Record, StreamSource};
use stage_core::{Batch, Consumer, Pipeline, Window};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::time::sleep;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

struct Sink;

impl Consumer<Record> for Sink {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Infallible> {
        batch.drain().for_each(drop);
        Ok(())
    }
}

/// In use now and not when the region began.
fn in_use(region: &Region<'_, System>) -> usize {
    let stats = region.change();
    stats.bytes_allocated - stats.bytes_deallocated
}

#[tokio::test(start_paused = true)]
async fn an_idle_shard_takes_16_kib_at_most_and_no_more_with_time() {
    const SHARDS: usize = 10_000;
    let fake = Fake::builder()
        .shards(SHARDS as u32)
        .limits(Limits::none())
        .build();
    let region = Region::new(ALLOCATOR);
    let mut pipeline = Pipeline::new();
    let (records, _) = StreamSource::new("stream", Arc::new(fake.clone())).add_to(&mut pipeline);
    pipeline.consume(Sink, records.subscribe(Window::new(1_000)));
    let reads = || fake.calls().of(Operation::GetRecords).made;
    let looking = async {
        sleep(Duration::from_secs(5)).await;
        let before = in_use(&region);
        println!("{} B a shard", before / SHARDS);
        assert!(before <= 16 * 1024 * SHARDS);
        let read = reads();
        sleep(Duration::from_secs(5)).await;
        let polls = (reads() - read) / SHARDS as u64;
        assert!((4..=6).contains(&polls), "{polls} polls in five seconds");
        let after = in_use(&region);
        assert!(after <= before + before / 100, "{before}, then {after}");
    };
    pipeline.run_until(looking).await.unwrap();
}
