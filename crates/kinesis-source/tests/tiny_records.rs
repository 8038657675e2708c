//! Records that are smaller than what they take besides, and a sink that keeps all of them.

#![allow(clippy::unwrap_used)]

use std::{
    alloc::System,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use kinesis_fake::Fake;
use kinesis_source::{ByteBudget, FanOut, Record, StreamSource};
use stage_core::{Batch, Consumer, Pipeline, Receipt, Window};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::time::sleep;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: u64 = 1_024 * 1_024;

/// In use now and not when the region began.
fn in_use(region: &Region<'_, System>) -> u64 {
    let stats = region.change();
    stats
        .bytes_allocated
        .saturating_sub(stats.bytes_deallocated) as u64
}

/// Keeps records and receipts, to settle them at a time that never comes.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Vec<(Record, Receipt)>>>);

impl Consumer<Record> for Keeper {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Infallible> {
        self.0.lock().unwrap().extend(batch.drain_with_receipts());
        Ok(())
    }
}

/// One after the other, as the heap is everybody's.
#[tokio::test(start_paused = true)]
async fn tiny_records_that_nobody_settles_take_no_more_than_the_budget() {
    for by_fan_out in [false, true] {
        let fake = Fake::builder().without_limits().build();
        for hundred in 0..1_000 {
            fake.put_numbered(hundred * 100..(hundred + 1) * 100)
                .unwrap();
        }
        let budget = ByteBudget::new(2 * MIB);
        let api = Arc::new(fake.clone());
        let source = StreamSource::new("orders", Arc::clone(&api) as _).byte_budget(&budget);
        let source = match by_fan_out {
            true => source.fan_out(FanOut::new(api, "audit")),
            false => source,
        };
        let keeper = Keeper::default();
        let mut pipeline = Pipeline::new().drain_within(Duration::from_secs(1));
        let (records, _) = source.add_to(&mut pipeline);
        pipeline.consume(keeper.clone(), records.subscribe(Window::new(100)));
        let region = Region::new(ALLOCATOR);
        let run = async {
            sleep(Duration::from_secs(3_600)).await;
            let heap = in_use(&region);
            let kept = keeper.0.lock().unwrap().len();
            println!("{kept} kept, {} in use, {heap} B", budget.in_use());
            assert!(kept > 1_000, "{kept}: the budget is used");
            // The last read was on trust.
            assert!(kept <= 20_000, "{kept}");
            // The sink's own storage doubles.
            let counted = budget.in_use();
            assert!(
                heap < counted * 3 / 2,
                "{heap} B, of which {counted} are counted"
            );
        };
        pipeline.run_reporting(run).await.result.unwrap_err();
        keeper.0.lock().unwrap().clear();
        assert_eq!(budget.in_use(), 0);
    }
}
