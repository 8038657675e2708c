//! Shards whose readers are at work all the time, and get nowhere: that is told, once, and so is its end.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Choices, Fake, Fault, Operation, Rewrite, Takeover};
use kinesis_source::{
    ConsumerAddress, FanOut, KinesisFanOutApi, Position, ShardId, SourceEvent, StreamSource,
    WaitingFor,
};
use rig::Sink;
use stage_core::{Pipeline, Window};
use tokio::time::sleep;

fn shard() -> ShardId {
    "shardId-000000000000".into()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What is told while a story goes on.
async fn told(source: StreamSource, story: impl Future<Output = ()>) -> (Vec<SourceEvent>, Sink) {
    let (mut pipeline, sink) = (Pipeline::new(), Sink::default());
    let (records, handle) = source.add_to(&mut pipeline);
    let mut events = handle.events();
    pipeline.consume(sink.clone(), records.subscribe(Window::new(50)));
    let mut told = Vec::new();
    let listening = async {
        while let Some(event) = events.next().await {
            told.push(event);
        }
    };
    let (run, ()) = tokio::join!(pipeline.run_until(story), listening);
    run.unwrap();
    (told, sink)
}

/// Of these, in order, those that say that the shard is stuck with that, or no more.
fn stuck(told: &[SourceEvent], with: WaitingFor) -> Vec<bool> {
    let stuck = told.iter().filter_map(|event| match event {
        SourceEvent::Stuck {
            waiting_for, since, ..
        } if *waiting_for == with => {
            assert!((300..320).contains(&since.as_secs()), "{since:?}");
            Some(true)
        }
        SourceEvent::Unstuck {
            waiting_for, after, ..
        } if *waiting_for == with => {
            assert!(after.as_secs() >= 300, "{after:?}");
            Some(false)
        }
        _ => None,
    });
    stuck.collect()
}

fn count(told: &[SourceEvent], name: &str) -> usize {
    told.iter().filter(|event| event.name() == name).count()
}

/// Looks at the only shard each second of a story: what events call stuck is explained as stuck, with that, for as
/// long as they do, and nothing else is. Returns for how many seconds it was, and whether it is in the end.
async fn explained_as_told(
    source: StreamSource,
    with: WaitingFor,
    story: impl Future<Output = ()>,
) -> (u64, bool) {
    let (mut pipeline, mut told, mut looks) = (Pipeline::new(), None, 0);
    let (records, handle) = source.add_to(&mut pipeline);
    let mut events = handle.events();
    pipeline.consume(Sink::default(), records.subscribe(Window::new(50)));
    let looking = async {
        loop {
            sleep(seconds(1)).await;
            while let Some(event) = events.try_next() {
                told = match event {
                    SourceEvent::Stuck { waiting_for, .. } => Some(waiting_for),
                    SourceEvent::Unstuck { .. } => None,
                    _ => told,
                };
            }
            let explained = handle.explain();
            let waiting = &explained.shards[0].waiting;
            assert_eq!(waiting.is_stuck, told.is_some(), "{explained}");
            if let Some(told) = told {
                assert_eq!((told, waiting.waiting_for), (with, with), "{explained}");
                assert!(waiting.since >= seconds(300 + looks), "{explained}");
                looks += 1;
            }
        }
    };
    let both = async {
        tokio::select! {
            () = story => {}
            () = looking => {}
        }
    };
    pipeline.run_until(both).await.unwrap();
    // What has ended waits for nothing.
    assert!(!handle.explain().shards[0].waiting.is_stuck);
    (looks, told.is_some())
}

#[tokio::test(start_paused = true)]
async fn what_is_told_as_stuck_is_explained_as_stuck_for_as_long() {
    let throttle = "ProvisionedThroughputExceededException";
    let nothing = Fault::rewritten(Operation::GetRecords, Rewrite::EMPTY_PAGE);
    for (fault, with) in [
        (
            Fault::refusal(Operation::GetRecords, throttle),
            WaitingFor::Turn,
        ),
        (
            Fault::refusal(Operation::GetShardIterator, throttle),
            WaitingFor::Turn,
        ),
        (nothing, WaitingFor::Headway),
    ] {
        for is_cleared in [true, false] {
            let fake = Fake::instant(1);
            fake.put_numbered(0..100).unwrap();
            sleep(seconds(10)).await;
            fake.inject(fault.clone().always());
            let source = StreamSource::new("orders", Arc::new(fake.clone()));
            let story = async {
                sleep(seconds(900)).await;
                if is_cleared {
                    fake.clear_faults();
                    sleep(seconds(60)).await;
                }
            };
            let (stuck, is_stuck) = explained_as_told(source, with, story).await;
            // Whoever was refused for long is tried again within twenty seconds.
            assert!((590..625).contains(&stuck), "{with:?}: {stuck}");
            assert_eq!(is_stuck, !is_cleared, "{with:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn so_is_a_shard_that_is_taken_over_again_and_again() {
    let (fake, source) = with_a_rival();
    let story = async {
        take_over_again_and_again(&fake).await;
        sleep(seconds(600)).await;
    };
    let other = WaitingFor::OtherSubscriber;
    let (stuck, is_stuck) = explained_as_told(source, other, story).await;
    assert!(stuck > 1_500 && !is_stuck, "{stuck}");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_only_throttled_is_stuck() {
    for operation in [Operation::GetRecords, Operation::GetShardIterator] {
        let fake = Fake::instant(2);
        fake.put_numbered(0..100).unwrap();
        let throttled = Fault::refusal(operation, "ProvisionedThroughputExceededException");
        fake.inject(throttled.on_shard(&shard()).always());
        let source = StreamSource::new("orders", Arc::new(fake.clone()));
        let story = async {
            sleep(seconds(3_600)).await;
            fake.clear_faults();
            sleep(seconds(120)).await;
        };
        let (told, sink) = told(source, story).await;
        assert_eq!(stuck(&told, WaitingFor::Turn), [true, false], "{told:?}");
        assert_eq!(count(&told, "throttling_began"), 1);
        sink.assert_complete(&fake);
    }
}

/// Beside another reader, some calls are refused and some are not.
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_throttled_now_and_then_is_not() {
    let fake = Fake::instant(1);
    let source = StreamSource::new("orders", Arc::new(fake.clone()));
    let story = async {
        for _ in 0..60 {
            let throttled = Fault::refusal(
                Operation::GetRecords,
                "ProvisionedThroughputExceededException",
            );
            fake.inject(throttled.times(3));
            sleep(seconds(20)).await;
        }
    };
    let (told, _) = told(source, story).await;
    assert_eq!(count(&told, "throttling_began"), 1);
    assert_eq!(count(&told, "stuck"), 0);
}

/// A source whose consumer another process has as well.
fn with_a_rival() -> (Fake, StreamSource) {
    let mut choices = Choices::default();
    choices.takeover = Takeover::Fails;
    let fake = Fake::builder().instant().choices(choices).build();
    let api = Arc::new(fake.clone());
    let source = StreamSource::new("orders", api.clone()).fan_out(FanOut::new(api, "audit"));
    (fake, source)
}

/// Each ten seconds, for half an hour and more.
async fn take_over_again_and_again(fake: &Fake) {
    sleep(seconds(10)).await;
    for _ in 0..200 {
        another_subscriber(fake).await;
        sleep(seconds(10)).await;
    }
}

async fn another_subscriber(fake: &Fake) {
    let by_name = ConsumerAddress::Name("audit".into());
    let consumer = fake.describe_stream_consumer(&by_name).await.unwrap();
    let shard = shard();
    let call = fake.subscribe_to_shard(&consumer.arn, &shard, &Position::Latest);
    // It may have just been taken back.
    drop(call.await);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_taken_over_again_and_again_is_stuck() {
    let (fake, source) = with_a_rival();
    let story = async {
        take_over_again_and_again(&fake).await;
        fake.put_numbered(0..100).unwrap();
        sleep(seconds(600)).await;
    };
    let (told, sink) = told(source, story).await;
    assert_eq!(
        stuck(&told, WaitingFor::OtherSubscriber),
        [true, false],
        "{told:?}"
    );
    assert_eq!(count(&told, "subscription_taken_over"), 2);
    assert!(count(&told, "subscribed") <= 3, "{told:?}");
    sink.assert_complete(&fake);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_not_renewed_is_told_once() {
    let fake = Fake::instant(1);
    let api = Arc::new(fake.clone());
    let source = StreamSource::new("orders", api.clone()).fan_out(FanOut::new(api, "audit"));
    let story = async {
        sleep(seconds(200)).await;
        let fails = Fault::refusal(Operation::SubscribeToShard, "InternalFailure");
        fake.inject(fails.times(2));
        sleep(seconds(200)).await;
        assert_eq!(fake.faults_waiting(), 0);
    };
    let (told, _) = told(source, story).await;
    assert_eq!(count(&told, "subscription_renewal_failing"), 1, "{told:?}");
    assert_eq!(count(&told, "subscription_renewed"), 1);
    assert_eq!(count(&told, "subscription_lost"), 0);
}
