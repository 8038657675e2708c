//! A thousand shards of which nothing is taken in: what they hold, of the budget and of the heap.

#![allow(clippy::unwrap_used)]

mod alive;

use std::{
    alloc::System,
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use alive::Copying;
use bytes::Bytes;
use kinesis_fake::{Fake, Operation};
use kinesis_source::{ByteBudget, FanOut, Record, ShardId, StreamSource};
use stage_core::{Batch, Consumer, Pipeline, Window};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: u64 = 1_024 * 1_024;

/// In use now and not when the region began.
fn in_use(region: &Region<'_, System>) -> usize {
    let stats = region.change();
    stats
        .bytes_allocated
        .saturating_sub(stats.bytes_deallocated)
}

/// Takes nothing in before it is opened; then counts.
#[derive(Clone)]
struct Gate {
    open: watch::Receiver<bool>,
    taken: Arc<Mutex<BTreeMap<ShardId, usize>>>,
}

impl Consumer<Record> for Gate {
    type Error = Infallible;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), Infallible> {
        let _ = self.open.wait_for(|open| *open).await;
        let mut taken = self.taken.lock().unwrap();
        for event in batch.drain() {
            *taken.entry(event.shard).or_default() += 1;
        }
        Ok(())
    }
}

struct Case {
    shards: u32,
    records: usize,
    by_fan_out: bool,
}

/// Each shard has 64 KiB records. All are stalled for six hours and then released.
async fn stall(case: Case) {
    let fake = Fake::builder().instant().shards(case.shards).build();
    let data = Bytes::from(vec![b'x'; 64 * 1_024]);
    for shard in fake.shards() {
        for _ in 0..case.records {
            fake.put_on(&shard.id, "k", data.clone()).unwrap();
        }
    }
    let api = Copying::new(&fake);
    let budget = ByteBudget::new(64 * MIB);
    let bound = budget.bytes() + budget.fetches() as u64 * 13 * MIB;
    let source = StreamSource::new("orders", Arc::new(api.clone())).byte_budget(&budget);
    let source = match case.by_fan_out {
        true => source.fan_out(FanOut::new(Arc::new(api.clone()), "audit")),
        false => source,
    };
    let (open, is_open) = watch::channel(false);
    let gate = Gate {
        open: is_open,
        taken: Arc::default(),
    };

    let region = Region::new(ALLOCATOR);
    let mut pipeline = Pipeline::new();
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(gate.clone(), records.subscribe(Window::new(1_000)));
    let run = tokio::spawn(pipeline.run_until(async move { handle.caught_up().await }));
    sleep(Duration::from_secs(3_600)).await;
    let (first, iterators) = (
        in_use(&region),
        fake.calls().of(Operation::GetShardIterator).made,
    );
    assert!(
        api.alive.now() >= budget.bytes() / 2,
        "as much is read as may be"
    );
    assert!(budget.waiting() > case.shards as usize / 2);
    sleep(Duration::from_secs(5 * 3_600)).await;
    let last = in_use(&region);
    println!(
        "{first} B after an hour, {last} B after six; {} B of data at most",
        api.alive.most()
    );
    assert!(last <= first + first / 100, "{first}, then {last}");
    // What each shard takes by itself is looked at elsewhere.
    assert!(
        last as u64 <= bound + 32 * 1_024 * u64::from(case.shards),
        "{last}"
    );
    let calls = fake.calls();
    assert_eq!(
        calls.of(Operation::GetShardIterator).made,
        iterators,
        "none is got in vain"
    );

    open.send(true).unwrap();
    timeout(Duration::from_secs(3_600), run)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let taken = gate.taken.lock().unwrap();
    assert_eq!(taken.len(), case.shards as usize);
    assert!(taken.values().all(|&count| count == case.records));
    // At every instant until now: by the account, and by what was there.
    assert!(budget.most_in_use() <= bound, "{}", budget.most_in_use());
    assert!(api.alive.most() <= bound, "{}", api.alive.most());
    assert_eq!(
        (budget.in_use(), budget.waiting(), api.alive.now()),
        (0, 0, 0)
    );
    let calls = fake.calls();
    assert_eq!(calls.throttled(), 0);
    assert_eq!(
        calls.of(Operation::GetRecords).failed,
        0,
        "no iterator had expired"
    );
    let iterators = calls.of(Operation::GetShardIterator).made;
    assert!(iterators <= 2 * u64::from(case.shards), "{iterators}");
}

/// One after the other, as the heap is everybody's.
#[tokio::test(start_paused = true)]
async fn shards_that_stall_for_six_hours_keep_to_the_budget_and_do_not_grow() {
    stall(Case {
        shards: 1_000,
        records: 60,
        by_fan_out: false,
    })
    .await;
    stall(Case {
        shards: 300,
        records: 100,
        by_fan_out: true,
    })
    .await;
}
