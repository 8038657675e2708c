//! A: GetShardIterator and GetRecords.

use std::collections::BTreeMap;

use kinesis_fake::{Choices, Fake, Fault, FaultPlan, Operation, Operations, Rewrite, ShardEnd};
use kinesis_source::{
    Checkpoint, CheckpointStore, KinesisApi, ShardError, ShardState, StreamIdentity,
};

use tokio::time::sleep;

use crate::{
    control_plane::cause,
    dice::Dice,
    handler::{Deed, once},
    log::Entry,
    seeds::{Mattered, each_seed},
    world::{World, millis, seconds, shard},
};

const READ: Operation = Operation::GetRecords;
const ITERATOR: Operation = Operation::GetShardIterator;
const BOTH: [Operation; 2] = [READ, ITERATOR];

/// Two shards are read while something goes wrong for a minute and more is put; then all is well.
async fn a_bad_minute(mut world: World) -> World {
    world.put(100);
    world.start();
    world.put_for(seconds(60), 10).await;
    world
}

#[test]
fn f01_throughput_exceeded_now_and_then_or_by_half_for_ever() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let fault = Fault::refusal(READ, "ProvisionedThroughputExceededException");
        let fault = fault.on_shard(&shard(0));
        world.follow(FaultPlan::new(seed).with(match seed % 2 {
            0 => fault.times(20),
            _ => fault.with_probability(0.5),
        }));
        world = a_bad_minute(world).await;
        let status = world.handle().status();
        assert!(
            status.iter().all(|it| it.restarts == 0),
            "no failure of a shard: {status:?}"
        );
        let throttled: u64 = status.iter().map(|it| it.throttled).sum();
        let struck = world.settle(seconds(60)).await;
        assert!(throttled <= struck);
        Mattered::from(struck >= 5 && throttled >= 5)
    });
}

#[test]
fn f02_no_read_while_an_answer_of_ten_mebibytes_is_paid_for() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 1);
        let each = world.dice.between(300, 1_000) as usize * 1024;
        for number in 0..(30 << 20) / each {
            world.put_one(&format!("big-{number}"), vec![7; each]);
        }
        world.start();
        // None is throttled: that is what is checked.
        world.settle(seconds(60)).await;
        Mattered::Yes
    });
}

#[test]
fn f03_an_iterator_expires_while_the_handler_stalls_and_the_next_one_at_once() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.put(400);
        let stalls = once(world.dice.between(10, 200), Deed::Take(seconds(360)));
        world.handle_by(stalls);
        world.follow(
            FaultPlan::new(seed).with(
                Fault::refusal(READ, "ExpiredIteratorException")
                    .after(3)
                    .times(2),
            ),
        );
        world.start();
        world.put_for(seconds(900), 1).await;
        let struck = world.settle(seconds(3_600)).await;
        Mattered::from(struck == 2)
    });
}

#[test]
fn f04_failures_of_the_service_also_such_as_nobody_knows() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let code = world.dice.one_of(&[
            "InternalFailure",
            "ServiceUnavailable",
            "InternalServerError",
            "SomethingThatNobodyHasHeardOf",
        ]);
        world.follow(FaultPlan::new(seed).with(Fault::refusal(BOTH, code).with_probability(0.3)));
        world = a_bad_minute(world).await;
        assert!(world.handle().status().iter().all(|it| it.restarts == 0));
        Mattered::from(world.settle(seconds(60)).await > 0)
    });
}

#[test]
fn f05_the_key_service_throttles() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.follow(
            FaultPlan::new(seed)
                .with(Fault::refusal(READ, "KMSThrottlingException").with_probability(0.4)),
        );
        world = a_bad_minute(world).await;
        let throttled: u64 = world.handle().status().iter().map(|it| it.throttled).sum();
        assert!(throttled > 0);
        Mattered::from(world.settle(seconds(60)).await > 0)
    });
}

/// One of two shards cannot be read for two hours. It is tried about once a minute, goes on by itself
/// where it was, and the other is read all the time.
async fn parked_for_hours(seed: u64, code: &str, operations: impl Into<Operations>) -> Mattered {
    let mut world = World::new(seed, 2);
    world.put(40);
    world.start();
    sleep(seconds(world.dice.between(5, 20))).await;
    let fault = Fault::refusal(operations, code).on_shard(&shard(0));
    world.fake.inject(fault.between(seconds(0)..seconds(7_200)));
    let mut events = world.handle().events();
    let before = world.fake.calls().of(READ).made;
    for _ in 0..72 {
        world.put(2);
        sleep(seconds(100)).await;
    }
    let status = world.handle().status();
    let (parked, other) = (&status[0], &status[1]);
    assert_eq!(
        other.state,
        ShardState::AtTip,
        "others are not affected: {other:?}"
    );
    assert_eq!(other.millis_behind_latest, Some(0));
    assert!(parked.retries < 400, "a slow probe: {parked:?}");
    assert!(world.fake.calls().of(READ).made < before + 10_000);
    let struck = world.settle(seconds(300)).await;
    let mut said = BTreeMap::<_, u32>::new();
    while let Some(event) = events.next().await {
        *said.entry(event.name()).or_default() += 1;
    }
    assert_eq!(
        (said.get("shard_parked"), said.get("shard_resumed")),
        (Some(&1), Some(&1)),
        "{said:?}"
    );
    Mattered::from(struck > 60)
}

#[test]
fn f06_the_key_cannot_be_used_for_hours() {
    each_seed(async |seed| {
        let code = Dice::new(seed).one_of(&[
            "KMSAccessDeniedException",
            "KMSDisabledException",
            "KMSNotFoundException",
            "KMSInvalidStateException",
            "KMSOptInRequired",
        ]);
        parked_for_hours(seed, code, READ).await
    });
}

#[test]
fn f07_access_is_denied_to_an_operation_for_hours() {
    each_seed(async |seed| parked_for_hours(seed, "AccessDeniedException", BOTH).await);
}

#[test]
fn f08_a_checkpoint_that_is_another_streams() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.put(100);
        let stream = StreamIdentity::from(&world.fake.describe_stream_summary().await.unwrap());
        // A place that no shard of this stream has: it is neither skipped over nor begun anew.
        let foreign = Checkpoint::after((u128::from(world.dice.next()) << 8).into());
        let wrong = BTreeMap::from([(shard(0), foreign)]);
        world.store.save(&stream, &wrong).await.unwrap();
        world.log.entries().clear();
        world.start();
        sleep(seconds(60)).await;
        // That shard has stopped, and the other is read on; the end says so.
        world.put(50);
        sleep(seconds(20)).await;
        let status = world.handle().status();
        assert_eq!(status[0].state, ShardState::Stopped);
        assert_eq!(status[1].in_flight, 0);
        let error = world.stop().await.expect_err("not all was read");
        assert!(
            matches!(
                cause(&error),
                ShardError::InvalidPosition { shard: it, .. } if *it == shard(0)
            ),
            "{error:?}"
        );
        let put = world.log.everything();
        let delivered = |id: u32| {
            let entries = world.log.entries();
            let of_it =
                |entry: &&Entry| matches!(entry, Entry::Delivered(_, it, _) if *it == shard(id));
            entries.iter().filter(of_it).count()
        };
        assert_eq!(delivered(0), 0, "nothing of it is delivered");
        assert_eq!(delivered(1), put[&shard(1)].len());
        Mattered::Yes
    });
}

#[test]
fn f09_not_found_is_no_end_of_a_shard() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let fault = Fault::refusal(BOTH, "ResourceNotFoundException").on_shard(&shard(1));
        world.follow(FaultPlan::new(seed).with(match seed % 2 {
            0 => fault.after(2).times(6),
            _ => fault.with_probability(0.2),
        }));
        world = a_bad_minute(world).await;
        Mattered::from(world.settle(seconds(120)).await > 0)
    });
}

#[test]
fn f10_a_request_is_never_answered() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.follow(FaultPlan::new(seed).with(Fault::hung(BOTH).with_probability(0.05)));
        world = a_bad_minute(world).await;
        Mattered::from(world.settle(seconds(300)).await > 0)
    });
}

#[test]
fn f11_an_answer_comes_when_nobody_waits_for_it_any_more() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let late = seconds(world.dice.between(5, 120));
        world.follow(
            FaultPlan::new(seed).with(Fault::late_answer(BOTH, late).with_probability(0.05)),
        );
        world = a_bad_minute(world).await;
        let struck = world.settle(seconds(400)).await;
        assert_eq!(world.duplicates(), 0);
        Mattered::from(struck > 0)
    });
}

// The same on a connection: `aws_served.rs`, where bodies are cut after any byte.
#[test]
fn f12_an_answer_gets_lost_or_breaks_off() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let fault = match seed % 2 {
            0 => Fault::lost_answer(BOTH),
            _ => Fault::cut_answer(BOTH, world.dice.between(0, 400)),
        };
        world.follow(FaultPlan::new(seed).with(fault.with_probability(0.2)));
        world = a_bad_minute(world).await;
        let struck = world.settle(seconds(120)).await;
        assert_eq!(world.duplicates(), 0);
        Mattered::from(struck > 0)
    });
}

#[test]
fn f13_an_answer_makes_no_sense() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.follow(FaultPlan::new(seed).with(Fault::garbled_answer(BOTH).with_probability(0.2)));
        world = a_bad_minute(world).await;
        Mattered::from(world.settle(seconds(120)).await > 0)
    });
}

#[test]
fn f14_nothing_comes_for_a_day() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 1);
        let before = world.dice.between(0, 30);
        world.put(before);
        world.start();
        // A day once; two hours, in which iterators expire as well, otherwise.
        let span = if seed == 0 { 86_400 } else { 7_200 };
        sleep(seconds(span)).await;
        let reads = world.fake.calls().of(READ).made;
        // An idle shard is asked about once a second.
        assert!((span * 9 / 10..span * 12 / 10).contains(&reads), "{reads}");
        assert_eq!(world.handle().status()[0].retries, 0);
        world.put(20);
        world.settle(seconds(60)).await;
        Mattered::Yes
    });
}

#[test]
fn f15_empty_answers_while_there_is_more_and_lags_that_jump() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let strange = Rewrite::records("lag below nothing", |page| {
            page.millis_behind_latest = page.millis_behind_latest.map(|_| u64::MAX);
        });
        world.follow(
            FaultPlan::new(seed)
                .with(Fault::rewritten(READ, Rewrite::EMPTY_PAGE).with_probability(0.3))
                .with(Fault::rewritten(READ, Rewrite::NO_LAG).with_probability(0.2))
                .with(Fault::rewritten(READ, Rewrite::HUGE_LAG).with_probability(0.2))
                .with(Fault::rewritten(READ, strange).with_probability(0.1)),
        );
        world = a_bad_minute(world).await;
        let report = world.fake.fault_report();
        world.settle(seconds(60)).await;
        Mattered::from(report.all_fired())
    });
}

#[test]
fn f16_an_open_shard_says_it_has_ended() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let fault = Fault::rewritten(READ, Rewrite::NO_NEXT_ITERATOR);
        world.follow(FaultPlan::new(seed).with(match seed % 2 {
            0 => fault.after(3).times(2),
            _ => fault.with_probability(0.1),
        }));
        world = a_bad_minute(world).await;
        Mattered::from(world.settle(seconds(120)).await > 0)
    });
}

#[test]
fn f17_the_end_of_a_shard_comes_with_its_last_records_or_after_them() {
    each_seed(async |seed| {
        let mut choices = Choices::default();
        choices.shard_end = match seed % 2 {
            0 => ShardEnd::WithLastRecords,
            _ => ShardEnd::OneMoreAnswer,
        };
        let mut world = World::of(seed, Fake::builder().instant().choices(choices), |_| {});
        let slow = millis(world.dice.between(1, 40));
        world.handle_by(move |_, _| Deed::Take(slow));
        world.put(200);
        world.start();
        let root = world.open_shards().remove(0);
        world.split(&root).await;
        world.put(100);
        // Parents before children, all of them: that is I6.
        world.settle(seconds(120)).await;
        Mattered::from(world.fake.shards().len() == 3)
    });
}

#[test]
fn f18_records_come_again_or_the_wrong_way_round_or_from_elsewhere() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let again = Rewrite::REPEATED_RECORDS;
        world.follow(
            FaultPlan::new(seed)
                .with(Fault::rewritten(READ, again).with_probability(0.3))
                .with(Fault::rewritten(READ, Rewrite::DUPLICATE_PAGE).with_probability(0.2))
                .with(Fault::rewritten(READ, Rewrite::WRONG_ORDER).with_probability(0.3)),
        );
        world.put(100);
        world.start();
        for _ in 0..60 {
            world.put(20);
            sleep(seconds(1)).await;
        }
        let report = world.fake.fault_report();
        world.settle(seconds(120)).await;
        assert_eq!(world.duplicates(), 0);
        Mattered::from(report.all_fired())
    });
}

#[test]
fn f19_records_of_ten_mebibytes() {
    each_seed(async |seed| {
        let mut world = World::of(seed, Fake::builder().instant(), |_| {});
        world.fake.update_max_record_size(10 * 1024).await.unwrap();
        world.set_window(3);
        world.read_by(|source, _| source.read_at_most(1 << 20));
        for number in 0..8 {
            let kib = world.dice.between(1, 10 * 1024) as usize;
            world.put_one(&format!("big-{number}"), vec![7; kib * 1024 - 100]);
        }
        world.start();
        world.settle(seconds(300)).await;
        Mattered::Yes
    });
}

#[test]
fn f20_no_data_no_key_and_the_longest_key() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 1);
        let keys = ["a".to_owned(), "\u{1f980}".repeat(256), "\u{0}".to_owned()];
        for _ in 0..100 {
            let key = world.dice.one_of(&keys);
            let data = vec![1; world.dice.between(0, 2) as usize];
            world.put_one(&key, data);
        }
        world.follow(
            FaultPlan::new(seed)
                .with(Fault::rewritten(READ, Rewrite::NO_PARTITION_KEYS).with_probability(0.5)),
        );
        world.start();
        world.put_for(seconds(20), 5).await;
        Mattered::from(world.settle(seconds(30)).await > 0)
    });
}

// Sequence numbers of any length: a property test in `sequence_number.rs`.
#[test]
fn f21_times_of_arrival_are_missing_or_go_backwards() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.follow(
            FaultPlan::new(seed)
                .with(Fault::rewritten(READ, Rewrite::NO_ARRIVAL_TIMES).with_probability(0.3))
                .with(
                    Fault::rewritten(READ, Rewrite::ARRIVAL_TIMES_BACKWARDS).with_probability(0.3),
                ),
        );
        world = a_bad_minute(world).await;
        Mattered::from(world.settle(seconds(30)).await > 0)
    });
}

#[test]
fn f22_a_thousand_shards_want_iterators_at_once() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 1_000);
        world.put(500);
        world.start();
        for _ in 0..2 {
            sleep(millis(world.dice.between(100, 3_000))).await;
            world.kill().await;
            world.start();
        }
        world.settle(seconds(120)).await;
        Mattered::Yes
    });
}
