//! D: credentials and time.

use kinesis_fake::{Fault, FaultPlan, Operations};
use kinesis_source::StartPosition;
use tokio::time::{advance, sleep};

use crate::{
    seeds::{Mattered, each_seed},
    world::{World, millis, seconds},
};

#[test]
fn f40_credentials_expire_and_come_back_after_ten_minutes() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let code = world.dice.one_of(&[
            "ExpiredTokenException",
            "UnrecognizedClientException",
            "AccessDeniedException",
        ]);
        let from = seconds(world.dice.between(5, 30));
        world.follow(
            FaultPlan::new(seed)
                .with(Fault::refusal(Operations::ALL, code).between(from..from + seconds(600))),
        );
        world.put(50);
        world.start();
        world.put_for(seconds(700), 2).await;
        Mattered::from(world.settle(seconds(180)).await > 0)
    });
}

#[test]
fn f41_the_clock_is_a_quarter_of_an_hour_off() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.put(30);
        sleep(seconds(3_600)).await;
        let off = seconds(world.dice.between(60, 900));
        // What was put before is not read, what is put from now on is: whatever this clock says.
        world.read_by(|source, _| source.start(StartPosition::Latest));
        world.log.set_everything(Default::default());
        world.start();
        match seed % 2 {
            0 => world.worker().clock_ahead(off),
            _ => world.worker().clock_behind(off),
        }
        sleep(seconds(10)).await;
        world.put_for(seconds(30), 4).await;
        world.kill().await;
        world.put(20);
        world.start();
        match seed % 2 {
            0 => world.worker().clock_behind(off),
            _ => world.worker().clock_ahead(off),
        }
        world.put_for(seconds(10), 4).await;
        world.settle(seconds(60)).await;
        Mattered::Yes
    });
}

#[test]
fn f42_the_machine_sleeps_for_hours() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.put(100);
        world.start();
        sleep(millis(world.dice.between(100, 8_000))).await;
        // The monotonic clock jumps, and no task has run meanwhile: iterators have expired.
        world.worker().pause();
        advance(seconds(world.dice.between(3_600, 8 * 3_600))).await;
        world.put(50);
        world.worker().resume();
        world.put_for(seconds(20), 3).await;
        world.settle(seconds(120)).await;
        Mattered::Yes
    });
}
