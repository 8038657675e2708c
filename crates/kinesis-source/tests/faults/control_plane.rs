//! B: listing, and shards that split and merge.

use std::{collections::BTreeSet, error::Error};

use kinesis_fake::{Durations, Fake, Fault, FaultPlan, Operation, Rewrite};
use kinesis_source::{KinesisApi, KinesisWriteApi, OnDataLoss, ShardError, StreamError};
use stage_core::PipelineError;
use tokio::time::sleep;

use crate::{
    handler::Deed,
    seeds::{Mattered, each_seed},
    world::{World, millis, seconds, shard},
};

const LIST: Operation = Operation::ListShards;
const DESCRIBE: Operation = Operation::DescribeStreamSummary;

/// Shards change each few seconds while a stream is read and something goes wrong.
async fn a_lively_minute(mut world: World) -> World {
    world.put(100);
    world.start();
    for _ in 0..12 {
        world.put(30);
        sleep(seconds(5)).await;
        world.reshard().await;
    }
    world
}

#[test]
fn f23_listing_is_refused_for_minutes() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let span = seconds(world.dice.between(60, 240));
        world.follow(FaultPlan::new(seed).with(
            Fault::refusal([LIST, DESCRIBE], "LimitExceededException").between(seconds(3)..span),
        ));
        world = a_lively_minute(world).await;
        // What is known is read on with all the time: nothing of the two first shards is left.
        sleep(span.saturating_sub(seconds(60))).await;
        Mattered::from(world.settle(seconds(180)).await > 0)
    });
}

#[test]
fn f24_a_token_expires_in_the_middle_of_a_listing() {
    each_seed(async |seed| {
        let mut world = World::of(
            seed,
            Fake::builder().instant().shards(20).page_size(3),
            |_| {},
        );
        let page = world.dice.between(1, 5) as u32;
        let fault = match seed % 2 {
            0 => Fault::delayed(LIST, seconds(301)).after(page),
            _ => Fault::refusal(LIST, "ExpiredNextTokenException").after(page),
        };
        world.follow(FaultPlan::new(seed).with(fault));
        world.put(200);
        world.start();
        sleep(seconds(10)).await;
        Mattered::from(world.settle(seconds(900)).await > 0)
    });
}

#[test]
fn f25_a_listing_is_incomplete_or_stale_or_the_wrong_way_round() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 3);
        world.follow(
            FaultPlan::new(seed)
                .with(Fault::rewritten(LIST, Rewrite::MISSING_SHARD).with_probability(0.3))
                .with(Fault::rewritten(LIST, Rewrite::SHARDS_BACKWARDS).with_probability(0.3))
                .with(Fault::rewritten(LIST, Rewrite::NO_SHARDS).with_probability(0.2)),
        );
        world.read_by(|source, _| source.discover_every(seconds(7)));
        world = a_lively_minute(world).await;
        Mattered::from(world.settle(seconds(180)).await > 0)
    });
}

#[test]
fn f26_a_listing_never_ends() {
    each_seed(async |seed| {
        let mut world = World::of(
            seed,
            Fake::builder().instant().shards(9).page_size(2),
            |_| {},
        );
        // More of them while it is opened are an error: it never ends.
        let times = world.dice.between(1, 3) as u32;
        let fault = Fault::rewritten(LIST, Rewrite::SAME_TOKEN).times(times);
        world.follow(FaultPlan::new(seed).with(fault));
        world.put(90);
        world.start();
        sleep(seconds(30)).await;
        Mattered::from(world.settle(seconds(300)).await > 0)
    });
}

#[test]
fn f27_the_stream_is_being_made_or_changed() {
    each_seed(async |seed| {
        let mut durations = Durations::instant();
        let span = seconds(5 + seed * 2);
        durations.create = span;
        durations.update = span;
        let builder = Fake::builder().without_stream().durations(durations);
        let mut world = World::of(seed, builder, |_| {});
        world.fake.create_stream(2).await.unwrap();
        world.start();
        sleep(span + seconds(1)).await;
        world.put(100);
        let first = world.open_shards().remove(0);
        world.split(&first).await;
        world.put_for(span + seconds(10), 3).await;
        world.settle(seconds(120)).await;
        Mattered::from(world.fake.shards().len() == 4)
    });
}

#[test]
fn f28_shards_split_while_they_are_read_a_hundred_at_once() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 100);
        world.put(1_000);
        world.start();
        sleep(millis(world.dice.between(0, 4_000))).await;
        for shard in world.open_shards() {
            world.split(&shard).await;
        }
        world.put(1_000);
        world.settle(seconds(120)).await;
        Mattered::from(world.fake.shards().len() == 300)
    });
}

#[test]
fn f29_shards_merge_while_they_are_read() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 8);
        let slow = millis(world.dice.between(0, 50));
        world.handle_by(move |_, _| Deed::Take(slow));
        world.put(400);
        world.start();
        // Until one is left.
        while world.open_shards().len() > 1 {
            sleep(millis(world.dice.between(10, 2_000))).await;
            let open = world.open_shards();
            let at = world.dice.between(0, open.len() as u64 - 2) as usize;
            let (left, right) = (&open[at], &open[at + 1]);
            if left.hash_range.end.checked_add(1) == Some(right.hash_range.start) {
                world.fake.merge_shards(&left.id, &right.id).await.unwrap();
            }
            world.put(20);
        }
        // A child begins once, after both: that is I3 and I6.
        world.settle(seconds(120)).await;
        Mattered::from(world.fake.shards().len() == 15)
    });
}

#[test]
fn f30_a_parent_of_a_merged_shard_has_aged_out() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.put(50);
        let open = world.open_shards();
        world
            .fake
            .merge_shards(&open[0].id, &open[1].id)
            .await
            .unwrap();
        // Nothing of the parents is kept when reading begins.
        let age = world.dice.between(24 * 3_600 + 60, 60 * 3_600);
        sleep(seconds(age)).await;
        let mut left = world.log.everything();
        left.retain(|shard, _| world.fake.shards().iter().any(|it| it.id == *shard));
        for places in left.values_mut() {
            places.clear();
        }
        world.log.set_everything(left);
        world.put(50);
        world.start();
        world.settle(seconds(60)).await;
        Mattered::Yes
    });
}

#[test]
fn f31_the_stream_has_dropped_what_was_not_read() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 1);
        let goes_on = seed % 2 == 1;
        if goes_on {
            world.read_by(|source, _| source.on_data_loss(OnDataLoss::GoOn));
        }
        world.put(100);
        world.start();
        sleep(seconds(10)).await;
        world.kill().await;
        // These are put and gone before anybody reads again, and so is the last that was read.
        let read: BTreeSet<_> = world.log.every_place();
        world.put(40);
        let before: BTreeSet<_> = world.log.every_place();
        sleep(seconds(25 * 3_600)).await;
        world.put(60);
        let kept: BTreeSet<_> = world
            .log
            .every_place()
            .difference(&before)
            .cloned()
            .collect();
        let oldest = kept.iter().map(|(_, place)| place.0.clone()).min();
        world.start();
        if goes_on {
            sleep(seconds(20)).await;
            let losses = world.handle().data_losses();
            assert_eq!(losses.len(), 1, "{losses:?}");
            assert_eq!(losses[0].to, oldest, "the exact gap");
            world.allowed.lost = before.difference(&read).cloned().collect();
            world.settle(seconds(60)).await;
        } else {
            let error = world.failure(seconds(60)).await;
            let ShardError::DataLoss(loss) = cause(&error) else {
                panic!("{error:?}");
            };
            assert_eq!((&loss.shard, &loss.to), (&shard(0), &oldest));
        }
        Mattered::Yes
    });
}

/// Why the first shard that has stopped did.
pub(crate) fn cause(error: &PipelineError) -> &ShardError {
    let Some(StreamError::ShardsStopped { source, .. }) = error.source().unwrap().downcast_ref()
    else {
        panic!("{error:?}");
    };
    source
}

#[test]
fn f32_many_generations_at_once() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.put(60);
        for _ in 0..30 {
            world.reshard().await;
            world.put(20);
        }
        world.start();
        for _ in 0..10 {
            sleep(millis(world.dice.between(1, 1_500))).await;
            world.reshard().await;
            world.put(20);
        }
        world.settle(seconds(300)).await;
        Mattered::from(world.fake.shards().len() > 40)
    });
}

#[test]
fn f33_the_stream_is_deleted_while_it_is_read() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.put(100);
        world.start();
        sleep(millis(world.dice.between(3_000, 20_000))).await;
        world.fake.delete_stream().await.unwrap();
        let error = world.failure(seconds(60)).await;
        let cause = error.source().unwrap().downcast_ref::<ShardError>();
        assert!(
            matches!(cause, Some(ShardError::StreamDeleted { .. })),
            "{error:?}"
        );
        // No end of a shard is stored: that would be I2's to say, but for shards that are read up.
        let entries = world.log.entries();
        let ends = entries.iter().filter(
            |entry| matches!(entry, crate::log::Entry::Stored(_, stored) if stored.is_end()),
        );
        assert_eq!(ends.count(), 0);
        Mattered::Yes
    });
}

#[test]
fn f34_the_stream_is_deleted_and_made_anew_under_its_name() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.put(100);
        world.start();
        let span = millis(world.dice.between(3_000, 20_000));
        sleep(span).await;
        let by_then = seed % 2 == 0;
        if by_then {
            // Nobody reads meanwhile: the checkpoints are refused.
            world.stop().await.unwrap();
        }
        world.fake.delete_stream().await.unwrap();
        sleep(millis(1)).await;
        world.fake.create_stream(2).await.unwrap();
        world.fake.put("key", "another stream's").unwrap();
        let before = world.log.delivered();
        if by_then {
            world.start();
        }
        let error = world.failure(seconds(60)).await;
        assert!(
            error.source().is_some() && error.to_string().contains("orders"),
            "{error:?}"
        );
        assert_eq!(
            world.log.delivered(),
            before,
            "nothing of the new one is delivered"
        );
        assert!(world.fake.describe_stream_summary().await.is_ok());
        Mattered::Yes
    });
}
