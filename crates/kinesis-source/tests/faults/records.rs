//! E: records that are not what they seem.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use kinesis_source::{
    Aggregation, Deaggregation, OutsideRange, Record, ShardState, ShardStatus, kpl::MAGIC,
};
use tokio::time::sleep;

use crate::{
    canary::CANARY,
    dice::Dice,
    handler::Deed,
    log::Entry,
    reference::{Aggregated, UserRecord},
    seeds::{Mattered, each_seed},
    world::{World, millis, seconds},
};

/// So many records in one, each under a key of its own.
fn aggregated(dice: &mut Dice, records: u64) -> Aggregated {
    let key = |number| format!("{CANARY}-inner-{number}").into_bytes();
    let record = |number| UserRecord {
        partition_key_index: number,
        explicit_hash_key_index: None,
        data: format!("{CANARY}:{}", dice.next()).into_bytes(),
        tags: Vec::new(),
    };
    Aggregated {
        partition_key_table: (0..records).map(key).collect(),
        explicit_hash_key_table: Vec::new(),
        records: (0..records).map(record).collect(),
    }
}

fn taking_apart(seed: u64, shards: u32, outside: OutsideRange) -> World {
    let mut world = World::new(seed, shards);
    world.read_by(move |source, _| source.deaggregate(Deaggregation::new().outside_range(outside)));
    world
}

#[test]
fn f44_what_begins_as_an_aggregated_record_and_is_none() {
    each_seed(async |seed| {
        let mut world = taking_apart(seed, 2, OutsideRange::Deliver);
        let mut damaged = 0;
        for _ in 0..60 {
            let records = world.dice.between(1, 9);
            let mut data = aggregated(&mut world.dice.clone(), records).seal().to_vec();
            match world.dice.between(0, 3) {
                0 => {
                    let last = data.len() - 1;
                    data[last] ^= 1;
                }
                1 => data.truncate(data.len() - 17),
                2 => data = [&MAGIC[..], b"nonsense"].concat(),
                _ => {
                    world.put_aggregated(data, records);
                    continue;
                }
            }
            damaged += 1;
            world.put_aggregated(data, 1);
        }
        world.start();
        sleep(seconds(20)).await;
        let counted: u64 = world.handle().status().iter().map(|it| it.damaged).sum();
        assert_eq!(counted, damaged);
        world.settle(seconds(60)).await;
        Mattered::from(damaged > 0)
    });
}

#[test]
fn f45_a_record_that_swells_to_tens_of_thousands() {
    each_seed(async |seed| {
        let mut world = taking_apart(seed, 1, OutsideRange::Deliver);
        let parts = world.dice.between(5_000, 20_000);
        // All under one key, which is stored once.
        let mut bomb = aggregated(&mut world.dice.clone(), 1);
        let mut record = bomb.records.remove(0);
        record.data.clear();
        bomb.records = vec![record; parts as usize];
        world.put(10);
        world.put_aggregated(bomb.seal().to_vec(), parts);
        world.put(10);
        world.start();
        // Each part counts against the window: that is I7.
        world.settle(seconds(300)).await;
        Mattered::Yes
    });
}

#[test]
fn f46_a_part_of_an_aggregated_record_is_damaged() {
    each_seed(async |seed| {
        let mut world = taking_apart(seed, 2, OutsideRange::Deliver);
        for _ in 0..20 {
            let records = world.dice.between(2, 9);
            let mut half = aggregated(&mut world.dice.clone(), records);
            let at = world.dice.between(0, records - 1) as usize;
            half.records[at].partition_key_index = records + world.dice.between(0, 1 << 40);
            // All of it or none: it comes as it was put.
            world.put_aggregated(half.seal().to_vec(), 1);
            let whole = aggregated(&mut world.dice.clone(), records).seal();
            world.put_aggregated(whole.to_vec(), records);
        }
        world.start();
        world.settle(seconds(60)).await;
        Mattered::Yes
    });
}

#[test]
fn f47_parts_that_belong_on_other_shards() {
    each_seed(async |seed| {
        let drops = seed % 2 == 0;
        let outside = if drops {
            OutsideRange::DropLikeKcl
        } else {
            OutsideRange::Deliver
        };
        let mut world = taking_apart(seed, 8, outside);
        for _ in 0..40 {
            let records = world.dice.between(1, 4);
            let data = aggregated(&mut world.dice.clone(), records).seal();
            world.put_aggregated(data.to_vec(), records);
        }
        world.start();
        sleep(seconds(20)).await;
        let status = world.handle().status();
        let dropped: u64 = status.iter().map(|it| it.dropped).sum();
        let outside: u64 = status.iter().map(|it| it.outside_range).sum();
        if drops {
            // Which those are, is counted; the others have come.
            let mut lost = world.log.every_place();
            for entry in world.log.entries().iter() {
                if let Entry::Delivered(_, shard, place) = entry {
                    lost.remove(&(shard.clone(), place.clone()));
                }
            }
            world.allowed.lost = lost;
            assert_eq!(
                world.allowed.lost.len() as u64,
                dropped,
                "skipped, and listed"
            );
        } else {
            assert_eq!(dropped, 0);
        }
        world.settle(seconds(60)).await;
        Mattered::from(outside + dropped > 0)
    });
}

#[test]
fn f48_killed_in_the_middle_of_an_aggregated_record() {
    each_seed(async |seed| {
        let mut world = taking_apart(seed, 2, OutsideRange::Deliver);
        let slow = millis(world.dice.between(10, 60));
        world.handle_by(move |_, _| Deed::Take(slow));
        for life in 0..6 {
            for _ in 0..4 {
                let records = world.dice.between(2, 40);
                let data = aggregated(&mut world.dice.clone(), records).seal();
                world.put_aggregated(data.to_vec(), records);
            }
            world.put(5);
            if life == 3 {
                let first = world.open_shards().remove(0);
                world.split(&first).await;
            }
            world.start();
            sleep(millis(world.dice.between(1_500, 6_000))).await;
            world.kill().await;
        }
        let in_the_middle = world.log.entries().iter().any(is_in_the_middle);
        world.start();
        // It goes on with the part after the last that was stored: that is I3.
        world.settle(seconds(120)).await;
        Mattered::from(in_the_middle)
    });
}

fn is_in_the_middle(entry: &Entry) -> bool {
    let Entry::Stored(
        _,
        kinesis_source::Checkpoint::After {
            sub_sequence_number,
            ..
        },
    ) = entry
    else {
        return false;
    };
    sub_sequence_number.is_some()
}

#[test]
fn f49_a_producer_puts_the_same_again() {
    each_seed(async |seed| {
        let mut world = taking_apart(seed, 2, OutsideRange::Deliver);
        for number in 0..50 {
            let data = format!("{CANARY}:{number}").into_bytes();
            for _ in 0..world.dice.between(1, 3) {
                world.put_one("key", data.clone());
            }
        }
        let put = world.log.everything().values().map(Vec::len).sum::<usize>();
        world.start();
        world.settle(seconds(30)).await;
        assert_eq!(
            world.log.delivered(),
            put,
            "nothing is taken for a repetition"
        );
        Mattered::from(put > 50)
    });
}

/// What was found is said with each event.
#[test]
fn f47_what_belongs_elsewhere_is_flagged() {
    each_seed(async |seed| {
        let mut world = taking_apart(seed, 8, OutsideRange::Deliver);
        let flagged = Arc::new(AtomicU64::new(0));
        let count = flagged.clone();
        world.handle_by(move |event: &Record, _| {
            if let Aggregation::UserRecord {
                is_in_range: false, ..
            } = event.aggregation
            {
                count.fetch_add(1, Ordering::Relaxed);
            }
            Deed::Ack
        });
        for _ in 0..40 {
            let data = aggregated(&mut world.dice.clone(), 3).seal();
            world.put_aggregated(data.to_vec(), 3);
        }
        world.start();
        sleep(seconds(20)).await;
        let outside: u64 = world
            .handle()
            .status()
            .iter()
            .map(|it| it.outside_range)
            .sum();
        world.settle(seconds(60)).await;
        assert_eq!(flagged.load(Ordering::Relaxed), outside);
        Mattered::from(outside > 0)
    });
}

#[test]
fn f43_a_record_that_is_never_taken_in_is_never_passed_over() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.allowed.restarts = true;
        let poison = format!(":{}", world.dice.between(10, 90)).into_bytes();
        let is_mended = Arc::new(AtomicBool::new(false));
        let mended = Arc::clone(&is_mended);
        world.handle_by(move |event, _| {
            let is_poison = event.data.ends_with(&poison);
            match is_poison && !mended.load(Ordering::Relaxed) {
                true => Deed::Nack,
                false => Deed::Ack,
            }
        });
        world.put(100);
        world.start();
        let mut events = world.handle().events();
        // Its shard halts, and the other is read all the time. No checkpoint passes it: that is I2.
        for _ in 0..20 {
            world.put(2);
            sleep(seconds(60)).await;
        }
        let status = world.handle().status();
        let is_well = |it: &&ShardStatus| it.state == ShardState::AtTip && it.restarts == 0;
        let up_to_date = status.iter().filter(is_well);
        assert_eq!(up_to_date.count(), 1, "{status:#?}");
        is_mended.store(true, Ordering::Relaxed);
        world.settle(seconds(300)).await;
        let mut parked = 0;
        while let Some(event) = events.next().await {
            parked += u32::from(event.name() == "shard_parked");
        }
        assert_eq!(parked, 1, "it is said once");
        Mattered::Yes
    });
}
