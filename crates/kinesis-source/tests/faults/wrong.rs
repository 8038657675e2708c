//! Fourteen consumers that are wrong in one way each. One that is not passes each of these scenarios,
//! and each of them is caught by one.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use kinesis_fake::{Fault, FaultPlan, Operation, Rewrite};
use kinesis_source::SequenceNumber;
use tokio::{runtime::Builder, time::sleep};

use crate::{
    by_hand::Mistake,
    handler::Deed,
    lease::Row,
    reference::{Aggregated, UserRecord},
    world::{World, millis, seconds},
};

type Scenario = (
    &'static str,
    fn(World) -> std::pin::Pin<Box<dyn Future<Output = ()>>>,
);

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        const SCENARIOS: &[Scenario] =
            &[$((stringify!($name), |world| Box::pin($name(world)))),*];
    };
}

scenarios![
    killed_while_it_works,
    killed_within_a_record,
    an_end_that_is_none,
    not_found_now_and_then,
    an_error_of_the_handler,
    children_before_anybody_looks,
    a_merge_with_a_slow_parent,
    numbers_that_grow_longer,
    a_slow_handler,
    failures_for_a_minute,
    paused_and_taken_over,
    a_clock_that_is_ahead,
];

/// I2: a checkpoint before its time shows when the process dies.
async fn killed_while_it_works(mut world: World) {
    let slow = millis(world.dice.between(20, 60));
    world.handle_by(move |_, _| Deed::Take(slow));
    for _ in 0..4 {
        world.put(80);
        world.start();
        sleep(millis(world.dice.between(1_000, 4_000))).await;
        world.kill().await;
    }
    world.start();
    world.settle(seconds(600)).await;
}

/// I1: what is left of an aggregated record that was done in part.
async fn killed_within_a_record(mut world: World) {
    world.handle_by(|_, _| Deed::Take(millis(150)));
    let record = UserRecord {
        partition_key_index: 0,
        explicit_hash_key_index: None,
        data: b"part".to_vec(),
        tags: Vec::new(),
    };
    let whole = Aggregated {
        partition_key_table: vec![b"inner".to_vec()],
        explicit_hash_key_table: Vec::new(),
        records: vec![record; 30],
    };
    for _ in 0..3 {
        world.put_aggregated(whole.seal().to_vec(), 30);
    }
    for _ in 0..4 {
        world.start();
        sleep(millis(world.dice.between(2_000, 4_000))).await;
        world.kill().await;
    }
    world.start();
    world.settle(seconds(600)).await;
}

async fn an_end_that_is_none(mut world: World) {
    world.follow(
        FaultPlan::new(1)
            .with(Fault::rewritten(Operation::GetRecords, Rewrite::NO_NEXT_ITERATOR).after(3)),
    );
    world.put(50);
    world.start();
    world.put_for(seconds(20), 5).await;
    world.settle(seconds(120)).await;
}

async fn not_found_now_and_then(mut world: World) {
    world.follow(
        FaultPlan::new(1).with(
            Fault::refusal(Operation::GetRecords, "ResourceNotFoundException")
                .after(5)
                .times(2),
        ),
    );
    world.put(50);
    world.start();
    world.put_for(seconds(20), 5).await;
    world.settle(seconds(120)).await;
}

async fn an_error_of_the_handler(mut world: World) {
    world.handle_by(|event, times| {
        let now_and_then = event.data.last().is_some_and(|it| it % 7 == 3);
        if now_and_then && times == 1 {
            Deed::Fail
        } else {
            Deed::Ack
        }
    });
    world.allowed.restarts = true;
    world.put(60);
    world.start();
    world.settle(seconds(300)).await;
}

async fn children_before_anybody_looks(mut world: World) {
    world.put(20);
    world.start();
    sleep(seconds(5)).await;
    let first = world.open_shards().remove(0);
    world.split(&first).await;
    // They get these before they are found.
    world.put(40);
    sleep(seconds(30)).await;
    world.settle(seconds(120)).await;
}

async fn a_merge_with_a_slow_parent(mut world: World) {
    let open = world.open_shards();
    let slow = open[1].id.clone();
    world.handle_by(move |event, _| match event.shard == slow {
        true => Deed::Take(millis(400)),
        false => Deed::Ack,
    });
    world.put(120);
    world.start();
    sleep(seconds(2)).await;
    use kinesis_source::KinesisWriteApi;
    let (left, right) = (&open[0].id, &open[1].id);
    world.fake.merge_shards(left, right).await.unwrap();
    world.put(20);
    sleep(seconds(20)).await;
    world.settle(seconds(300)).await;
}

/// As text, 10 comes before 9.
async fn numbers_that_grow_longer(mut world: World) {
    world.put(60);
    let mut small = BTreeMap::new();
    let mut put = world.log.everything();
    for places in put.values_mut() {
        for (at, place) in (1_u128..).zip(places.iter_mut()) {
            small.insert(place.0.clone(), SequenceNumber::from(at));
            place.0 = at.into();
        }
    }
    world.log.set_everything(put);
    let rename = Rewrite::records("small numbers", move |page| {
        for record in &mut page.records {
            if let Some(number) = small.get(&record.sequence_number) {
                record.sequence_number = number.clone();
            }
        }
    });
    // In two answers, since within one nobody compares.
    world.follow(FaultPlan::new(1).with(Fault::rewritten(Operation::GetRecords, rename).always()));
    world.set_window(7);
    world.start();
    sleep(seconds(30)).await;
    world.settle_with_faults(seconds(60)).await;
}

async fn a_slow_handler(mut world: World) {
    world.set_window(20);
    world.handle_by(|_, _| Deed::Take(millis(300)));
    world.put(400);
    world.start();
    sleep(seconds(30)).await;
    world.settle(seconds(600)).await;
}

async fn failures_for_a_minute(mut world: World) {
    world.follow(FaultPlan::new(1).with(
        Fault::refusal(Operation::GetRecords, "InternalFailure").between(seconds(5)..seconds(65)),
    ));
    world.put(50);
    world.start();
    world.put_for(seconds(70), 2).await;
    world.settle(seconds(120)).await;
}

/// One stands still in the middle of a batch until another has taken over, and goes on then.
async fn paused_and_taken_over(world: World) {
    two_workers(world, 0, true).await;
}

/// The other's clock is ahead of the first one's, which is well.
async fn a_clock_that_is_ahead(world: World) {
    two_workers(world, 900_000, false).await;
}

async fn two_workers(mut world: World, skew: i64, pauses: bool) {
    let row = Row::default();
    world.handle_by(|_, _| Deed::Take(millis(100)));
    world.put(400);
    world.start_leased(&row, 0).await;
    sleep(seconds(3)).await;
    if pauses {
        world.worker().pause();
    }
    let first = world.take_life();
    // It waits until it may.
    let (row, waits) = (row.clone(), seconds(if pauses { 40 } else { 6 }));
    let second = world.start_leased(&row, skew);
    if tokio::time::timeout(waits, second).await.is_ok() {
        sleep(seconds(3)).await;
        first.worker.resume();
        sleep(seconds(20)).await;
        world.settle(seconds(300)).await;
        first.worker.kill().await;
    } else {
        // The first one has had it all the time.
        world.put_life(first);
        world.settle(seconds(300)).await;
    }
    if !pauses {
        // Nobody has died, and so nothing comes twice.
        assert_eq!(world.duplicates(), 0, "I4");
    }
}

/// What a consumer with that mistake is caught by, if it is.
fn caught(mistake: Option<Mistake>) -> Vec<&'static str> {
    let is_caught = |(_, scenario): &&Scenario| {
        let play = || {
            let mut builder = Builder::new_current_thread();
            let runtime = builder.enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let mut world = World::new(7, 2);
                world.read_by_hand(mistake);
                scenario(world).await;
            });
        };
        catch_unwind(AssertUnwindSafe(play)).is_err()
    };
    let caught = SCENARIOS.iter().filter(is_caught);
    caught.map(|(name, _)| *name).collect()
}

#[test]
fn a_consumer_without_a_mistake_passes() {
    assert_eq!(caught(None), [""; 0]);
}

#[test]
fn each_mistake_is_caught() {
    for mistake in Mistake::ALL {
        let by = caught(Some(mistake));
        println!("{mistake:?} is caught by {by:?}");
        assert!(!by.is_empty(), "{mistake:?} is not caught");
    }
}
