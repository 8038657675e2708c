//! G: the process itself.

use stage_core::PipelineError;
use tokio::time::sleep;

use crate::{
    handler::{Deed, once},
    seeds::{Mattered, each_seed},
    world::{World, millis, seconds, shard},
};

#[test]
fn f64_the_handler_panics_at_any_event() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let at = world.dice.between(0, 199);
        world.handle_by(once(at, Deed::Panic));
        world.put(200);
        world.start();
        let error = world.failure(seconds(60)).await;
        assert!(matches!(error, PipelineError::Panicked { .. }), "{error:?}");
        world.start();
        world.settle(seconds(60)).await;
        Mattered::Yes
    });
}

#[test]
fn f65_the_handler_returns_an_error() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let at = world.dice.between(0, 199);
        world.handle_by(once(at, Deed::Fail));
        world.put(200);
        world.start();
        let error = world.failure(seconds(60)).await;
        assert!(matches!(error, PipelineError::Failed { .. }), "{error:?}");
        // From the first that was not acknowledged: that is I3.
        world.start();
        world.settle(seconds(60)).await;
        Mattered::Yes
    });
}

#[test]
fn f66_the_handler_never_returns() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let at = world.dice.between(0, 150);
        world.handle_by(once(at, Deed::Hang));
        world.drain_within(seconds(5));
        world.put(200);
        world.start();
        sleep(seconds(3_600)).await;
        // It can be stopped all the same, in the time it has for that.
        let error = world.stop().await.expect_err("not all was taken in");
        assert!(
            matches!(error, PipelineError::DrainTimedOut { .. }),
            "{error:?}"
        );
        world.start();
        world.settle(seconds(60)).await;
        Mattered::Yes
    });
}

#[test]
fn f68_stopped_in_the_middle_of_a_batch() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 3);
        let slow = millis(world.dice.between(1, 80));
        world.handle_by(move |_, _| Deed::Take(slow));
        for _ in 0..8 {
            world.put(60);
            world.start();
            sleep(millis(world.dice.between(0, 8_000))).await;
            if world.dice.between(0, 2) == 0 {
                world.reshard().await;
            }
            world.stop().await.unwrap();
        }
        world.start();
        world.settle(seconds(300)).await;
        assert_eq!(world.duplicates(), 0);
        Mattered::Yes
    });
}

#[test]
fn f69_killed_between_acknowledgement_and_checkpoint() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let slow = millis(world.dice.between(20, 60));
        world.handle_by(move |_, _| Deed::Take(slow));
        for _ in 0..10 {
            world.put(50);
            world.start();
            sleep(millis(world.dice.between(1, 5_000))).await;
            world.kill().await;
        }
        world.start();
        world.settle(seconds(300)).await;
        Mattered::from(world.duplicates() > 0)
    });
}

#[test]
fn f70_killed_between_the_end_of_a_shard_and_the_begin_of_its_children() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 1);
        world.read_by(|source, _| {
            let latest = kinesis_source::StartPosition::Latest;
            source.start(latest).checkpoint_every(millis(50))
        });
        world.start();
        sleep(seconds(3)).await;
        let mut ended = 0;
        for step in 0..12 {
            let open = world.open_shards();
            let shard = world.dice.one_of(&open);
            world.put(20);
            world.split(&shard).await;
            // What the children get before anybody knows of them is not skipped, even though reading
            // had begun at the tip.
            world.put(20);
            sleep(millis(step * 250 + world.dice.between(0, 250))).await;
            world.kill().await;
            ended += u64::from(world.has_ended(&shard.id));
            world.start();
        }
        world.settle(seconds(120)).await;
        Mattered::from(ended > 0)
    });
}

#[test]
fn f71_there_is_room_for_one_event() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 4);
        world.set_window(1);
        let slow = millis(world.dice.between(0, 20));
        world.handle_by(move |_, _| Deed::Take(slow));
        world.put(200);
        world.start();
        sleep(seconds(5)).await;
        world.reshard().await;
        world.put(50);
        world.settle(seconds(300)).await;
        Mattered::Yes
    });
}

#[test]
fn f72_dropped_at_any_moment() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.put(40);
        // Where it awaits something, a bit further each time.
        for step in 0..60 {
            world.start();
            sleep(millis(step * 20 + seed)).await;
            world.kill().await;
        }
        world.put(40);
        world.start();
        world.settle(seconds(120)).await;
        Mattered::Yes
    });
}

/// F60 for one process: what cannot be stored is not forgotten, and what is read meanwhile is bounded.
#[test]
fn f60_checkpoints_cannot_be_stored_for_hours() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        world.read_by(|source, _| source.unsaved_at_most(100));
        world.put(50);
        world.start();
        sleep(seconds(5)).await;
        world.store.fail(true);
        for _ in 0..world.dice.between(200, 600) {
            world.put(2);
            sleep(seconds(10)).await;
        }
        let failed = world.store.failed();
        // I4: it would all come again. What had been asked for by then is handed out.
        let unsaved = world.log.unsaved();
        let most = unsaved.values().copied().max().unwrap_or_default();
        assert!((100..150).contains(&most), "{unsaved:?}");
        world.store.fail(false);
        world.settle(seconds(600)).await;
        Mattered::from(failed > 10)
    });
}

/// F61 for one process: nothing but the window is on its way, and no storm of expired iterators.
#[test]
fn f61_the_handler_is_slow_for_hours() {
    each_seed(async |seed| {
        let mut world = World::new(seed, 2);
        let slow = seconds(world.dice.between(20, 120));
        world.handle_by(move |event, _| match event.shard == shard(0) {
            true => Deed::Take(slow),
            false => Deed::Ack,
        });
        world.put(150);
        world.start();
        for _ in 0..300 {
            world.put(4);
            sleep(seconds(36)).await;
        }
        world.handle_by(|_, _| Deed::Ack);
        world.kill().await;
        world.start();
        world.settle(seconds(1_200)).await;
        Mattered::Yes
    });
}

/// Blocking is nothing that a handler should do. If it does, on a runtime of two threads and in real
/// time, all comes all the same.
#[test]
fn f67_the_handler_blocks_its_thread() {
    for seed in 0..5 {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(seed, 2);
            world.fake.set_limits(kinesis_fake::Limits::none());
            world.handle_by(|_, _| {
                #[expect(clippy::disallowed_methods, reason = "that is the fault")]
                std::thread::sleep(millis(1));
                Deed::Ack
            });
            world.put(100);
            world.start();
            world.settle(seconds(60)).await;
        });
    }
}
