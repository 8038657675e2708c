//! C: enhanced fan-out.

use kinesis_fake::{Fault, FaultPlan, Operation, Rewrite};
use kinesis_source::{ConsumerAddress, FanOut, KinesisFanOutApi, Position};
use tokio::time::sleep;

use crate::{
    seeds::{Mattered, each_seed},
    world::{World, millis, seconds, shard},
};

const SUBSCRIBE: Operation = Operation::SubscribeToShard;

fn subscribed(seed: u64, shards: u32) -> World {
    let mut world = World::new(seed, shards);
    world.read_by(|source, worker| source.fan_out(FanOut::new(worker.api(), "audit")));
    // What a subscription sends is not asked for: an event of it waits beside the window.
    world
}

#[test]
fn f35_subscriptions_end_after_five_minutes() {
    each_seed(async |seed| {
        let mut world = subscribed(seed, 2);
        world.start();
        sleep(millis(world.dice.between(0, 9_000))).await;
        world.put_for(seconds(1_000), 2).await;
        let calls = world.fake.calls().of(SUBSCRIBE).made;
        assert!((6..=12).contains(&calls), "{calls}");
        world.settle(seconds(60)).await;
        assert_eq!(world.duplicates(), 0);
        Mattered::Yes
    });
}

#[test]
fn f36_a_shard_is_in_use_or_taken_over_by_another_subscriber() {
    each_seed(async |seed| {
        let mut world = subscribed(seed, 1);
        world.put(20);
        world.start();
        world.put_for(seconds(10), 2).await;
        let by_name = ConsumerAddress::Name("audit".into());
        let arn = world
            .fake
            .describe_stream_consumer(&by_name)
            .await
            .unwrap()
            .arn;
        let mut taken = 0;
        for _ in 0..3 {
            sleep(millis(world.dice.between(6_000, 40_000))).await;
            let (other, fake) = (arn.clone(), world.fake.clone());
            let position = Position::Latest;
            let (id, call) = (shard(0), async move |id| {
                fake.subscribe_to_shard(&other, &id, &position).await
            });
            // Refused within five seconds of the last one; otherwise it takes over.
            if call(id).await.is_ok() {
                taken += 1;
            }
            world.put(10);
        }
        let status = &world.handle().status()[0];
        assert!(
            status.subscriptions <= 3 + 2 * taken,
            "no ping-pong: {status:?}"
        );
        world.throttles = None;
        world.settle(seconds(300)).await;
        Mattered::from(taken > 0)
    });
}

#[test]
fn f37_an_error_comes_among_the_events() {
    each_seed(async |seed| {
        let mut world = subscribed(seed, 2);
        let code = world.dice.one_of(&[
            "InternalFailureException",
            "ResourceInUseException",
            "ResourceNotFoundException",
            "KMSThrottlingException",
            "SomethingThatNobodyHasHeardOf",
        ]);
        world.follow(
            FaultPlan::new(seed).with(
                Fault::refusal(SUBSCRIBE, code)
                    .in_stream()
                    .with_probability(0.2),
            ),
        );
        world.put(100);
        world.start();
        world.put_for(seconds(90), 5).await;
        world.throttles = None;
        let struck = world.settle(seconds(180)).await;
        assert_eq!(world.duplicates(), 0);
        Mattered::from(struck > 0)
    });
}

#[test]
fn f38_a_subscription_falls_silent() {
    each_seed(async |seed| {
        let mut world = subscribed(seed, 2);
        let after = world.dice.between(1, 8) as u32;
        world.follow(
            FaultPlan::new(seed).with(Fault::hung(SUBSCRIBE).in_stream().after(after).times(2)),
        );
        world.put(50);
        world.start();
        world.put_for(seconds(60), 3).await;
        sleep(seconds(60)).await;
        let silences: u64 = world.handle().status().iter().map(|it| it.silences).sum();
        let struck = world.settle(seconds(120)).await;
        Mattered::from(struck > 0 && silences > 0)
    });
}

// Frames that are wrong or cut, on a connection: `aws_fan_out.rs`.
#[test]
fn f39_a_subscription_breaks_or_makes_no_sense() {
    each_seed(async |seed| {
        let mut world = subscribed(seed, 2);
        let plan = FaultPlan::new(seed)
            .with(
                Fault::lost_answer(SUBSCRIBE)
                    .in_stream()
                    .with_probability(0.1),
            )
            .with(
                Fault::garbled_answer(SUBSCRIBE)
                    .in_stream()
                    .with_probability(0.1),
            )
            .with(
                Fault::rewritten(SUBSCRIBE, Rewrite::REPEATED_RECORDS)
                    .in_stream()
                    .with_probability(0.1),
            );
        world.follow(plan);
        world.put(50);
        world.start();
        world.put_for(seconds(120), 5).await;
        let report = world.fake.fault_report();
        world.throttles = None;
        world.settle(seconds(180)).await;
        assert_eq!(world.duplicates(), 0);
        Mattered::from(report.rows[0].fired > 0 && report.rows[1].fired > 0)
    });
}

/// Polling and fan-out go on from each other's checkpoints, over kills.
#[test]
fn fan_out_and_polling_take_turns_over_kills() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        for life in 0..6 {
            if life % 2 == 0 {
                world.read_by(|source, worker| source.fan_out(FanOut::new(worker.api(), "audit")));
            } else {
                world.read_by(|source, _| source);
            }
            world.put(60);
            world.start();
            let span = millis(world.dice.between(500, 15_000));
            world.put_for(span, 5).await;
            world.kill().await;
        }
        world.start();
        world.settle(seconds(120)).await;
        Mattered::Yes
    });
}
