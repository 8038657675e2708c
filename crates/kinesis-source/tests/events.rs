//! What a source tells of itself: each change once.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Choices, Fake, Fault, Operation, Takeover};
use kinesis_source::{
    ConsumerAddress, FanOut, KinesisFanOutApi, KinesisWriteApi, MemoryCheckpointStore, OnDataLoss,
    OnShardFailure, Position, SourceEvent, SourceEvents, StreamEnd, StreamSource,
};
use rig::{FailingStore, Sink, everything};
use stage_core::{Pipeline, Window};
use tokio::time::sleep;

const SHARD: &str = "shardId-000000000000";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn source(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

/// All that is there.
fn taken(events: &mut SourceEvents) -> Vec<SourceEvent> {
    std::iter::from_fn(|| events.try_next()).collect()
}

fn names(events: &[SourceEvent]) -> Vec<&'static str> {
    events.iter().map(SourceEvent::name).collect()
}

/// Reads for some time while `meanwhile` happens. All events, the last one included.
async fn events_of(
    source: StreamSource,
    span: Duration,
    meanwhile: impl Future<Output = ()>,
) -> Vec<SourceEvent> {
    let mut pipeline = Pipeline::new();
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(100)));
    let mut events = handle.events();
    let both = tokio::join!(pipeline.run_until(sleep(span)), meanwhile);
    both.0.unwrap();
    let taken = taken(&mut events);
    assert!(events.next().await.is_none(), "it ends with the source");
    taken
}

fn nothing() -> std::future::Ready<()> {
    std::future::ready(())
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_shard_and_its_children_in_order() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..20).unwrap();
    let events = events_of(source(&fake), seconds(300), async {
        sleep(seconds(10)).await;
        fake.split_shard(&SHARD.into(), 1 << 127).await.unwrap();
    });
    let events = events.await;
    let began = ["stream_opened", "shard_started", "shard_caught_up"];
    let split = ["shard_drained", "shard_retired"];
    let children = ["shard_discovered", "shard_discovered"];
    let started = ["shard_started", "shard_started"];
    let caught_up = ["shard_caught_up", "shard_caught_up"];
    let all = [
        &began[..],
        &split,
        &children,
        &started,
        &caught_up,
        &["stream_ended"],
    ];
    assert_eq!(names(&events), all.concat(), "{events:#?}");
    assert!(
        events[..5]
            .iter()
            .skip(1)
            .all(|it| it.shard() == Some(&SHARD.into()))
    );
    let SourceEvent::ShardDiscovered { parents, .. } = &events[5] else {
        panic!("{events:?}");
    };
    assert_eq!(parents, &[SHARD.into()]);
    let SourceEvent::StreamEnded { end } = &events[events.len() - 1] else {
        panic!("{events:?}");
    };
    assert_eq!(*end, StreamEnd::Stopped);
}

#[tokio::test(start_paused = true)]
async fn failures_and_refusals_in_a_row_are_one_event_and_one_when_they_are_over() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..20).unwrap();
    let get = Operation::GetRecords;
    let throttle = "ProvisionedThroughputExceededException";
    fake.inject(Fault::refusal(get, "InternalFailure").times(4));
    fake.inject(Fault::refusal(get, throttle).after(20).times(7));
    let events = events_of(source(&fake), seconds(300), nothing()).await;
    let of = |name: &str| -> Vec<&SourceEvent> {
        events.iter().filter(|event| event.name() == name).collect()
    };
    let [SourceEvent::ShardFailing { error, .. }] = of("shard_failing")[..] else {
        panic!("{events:?}");
    };
    assert_eq!(error.code(), Some("InternalFailure"));
    let [
        SourceEvent::ShardRecovered {
            failures: 4, after, ..
        },
    ] = of("shard_recovered")[..]
    else {
        panic!("{events:?}");
    };
    assert!(*after >= seconds(1), "{after:?}");
    assert_eq!(of("throttling_began").len(), 1);
    let [SourceEvent::ThrottlingEnded { refusals: 7, .. }] = of("throttling_ended")[..] else {
        panic!("{events:?}");
    };
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_falls_behind_is_told_once_and_so_is_that_it_caught_up() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..3_000).unwrap();
    sleep(seconds(600)).await;
    let events = events_of(source(&fake), seconds(300), async {
        sleep(seconds(200)).await;
        fake.put_numbered(3_000..3_100).unwrap();
    });
    let events = events.await;
    let standing: Vec<&str> = names(&events)
        .into_iter()
        .filter(|name| ["shard_behind", "shard_caught_up"].contains(name))
        .collect();
    assert_eq!(standing, ["shard_behind", "shard_caught_up"]);
}

#[tokio::test(start_paused = true)]
async fn checkpoints_and_listings_that_fail_are_told_once_and_when_they_do_not() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..20).unwrap();
    let store = Arc::new(FailingStore::default());
    let source = source(&fake)
        .checkpoints(store.clone())
        .discover_every(seconds(10));
    let events = events_of(source, seconds(300), async {
        sleep(seconds(5)).await;
        store.fail(true);
        fake.inject(Fault::refusal(Operation::ListShards, "LimitExceededException").times(6));
        fake.put_numbered(20..30).unwrap();
        sleep(seconds(60)).await;
        store.fail(false);
    });
    let events = events.await;
    let changes: Vec<String> = events.iter().map(ToString::to_string).collect();
    let with = |words: &str| changes.iter().filter(|it| it.contains(words)).count();
    assert_eq!(
        with("checkpoints are not stored; trying on: "),
        1,
        "{changes:#?}"
    );
    assert_eq!(with("on purpose"), 1, "{changes:#?}");
    assert_eq!(with("checkpoints are stored again"), 1, "{changes:#?}");
    assert_eq!(with("shards cannot be listed"), 1, "{changes:#?}");
    assert_eq!(with("listed again, after 6 failures"), 1, "{changes:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_an_event() {
    let fake = Fake::instant(1);
    let store = Arc::new(MemoryCheckpointStore::new());
    let source = || {
        source(&fake)
            .checkpoints(store.clone())
            .on_data_loss(OnDataLoss::GoOn)
    };
    fake.put_numbered(0..10).unwrap();
    events_of(source(), seconds(10), nothing()).await;
    sleep(seconds(3_600)).await;
    fake.put_numbered(10..20).unwrap();
    sleep(seconds(25 * 3_600)).await;
    fake.put_numbered(20..30).unwrap();
    let events = events_of(source(), seconds(10), nothing()).await;
    let losses = events.iter().filter_map(|event| match event {
        SourceEvent::DataLost { loss } => Some(loss.shard.to_string()),
        _ => None,
    });
    assert_eq!(losses.collect::<Vec<_>>(), [SHARD]);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_come_and_go_with_an_event_for_each() {
    for takeover in [Takeover::Fails, Takeover::Ends] {
        let mut choices = Choices::default();
        choices.takeover = takeover;
        let fake = Fake::builder().instant().choices(choices).build();
        let api = Arc::new(fake.clone());
        let source = source(&fake).fan_out(FanOut::new(api, "audit"));
        let events = events_of(source, seconds(900), async {
            sleep(seconds(400)).await;
            assert_eq!(fake.silence_subscriptions(&SHARD.into()), 1);
            sleep(seconds(100)).await;
            let by_name = ConsumerAddress::Name("audit".into());
            let consumer = fake.describe_stream_consumer(&by_name).await.unwrap();
            let shard = SHARD.into();
            let taken = fake.subscribe_to_shard(&consumer.arn, &shard, &Position::Latest);
            drop(taken.await.unwrap());
        });
        let events = events.await;
        let of_subscriptions: Vec<&str> = names(&events)
            .into_iter()
            .filter(|name| name.starts_with("subscri") || name.contains("consumer"))
            .collect();
        let begin = ["consumer_active", "subscribed", "subscription_renewed"];
        let mut expected = begin.to_vec();
        expected.extend(["subscription_lost", "subscribed"]);
        if takeover == Takeover::Fails {
            expected.extend(["subscription_taken_over", "subscribed"]);
        }
        // One that only ends is like one whose time is over, and nothing is told of it.
        let length = expected.len();
        assert_eq!(of_subscriptions[..length], expected, "{takeover:?}");
        // None of it is a failure besides, unless the shard is found in use.
        let fails = names(&events).contains(&"shard_failing");
        assert!(!fails || takeover == Takeover::Ends, "{events:?}");
    }
}

/// However often subscriptions are lost, and whether the shard is parked for that or goes on in between.
#[tokio::test(start_paused = true)]
async fn subscriptions_that_are_lost_again_and_again_are_told_once_and_counted() {
    let failing = || Fault::refusal(Operation::SubscribeToShard, "InternalFailure").in_stream();
    let absent = Fault::refusal(Operation::SubscribeToShard, "ResourceNotFoundException");
    let faults = [
        (failing().every(3), false),
        (failing().always(), true),
        (absent.in_stream().always(), true),
    ];
    for (fault, is_parked) in faults {
        let fake = Fake::new(2);
        fake.put_numbered(0..100).unwrap();
        let source = source(&fake).fan_out(FanOut::new(Arc::new(fake.clone()), "audit"));
        let events = events_of(source, seconds(8_000), async {
            sleep(seconds(60)).await;
            fake.inject(fault);
            sleep(seconds(7_200)).await;
            fake.clear_faults();
        });
        let events = events.await;
        let of_one = events.iter().filter(|it| it.shard() == Some(&SHARD.into()));
        let of_one: Vec<_> = of_one.cloned().collect();
        let mut expected = vec!["shard_started", "subscribed", "shard_caught_up"];
        expected.extend(["subscription_lost", "subscribed"]);
        expected.extend(match is_parked {
            true => ["shard_parked", "shard_resumed"].as_slice(),
            false => ["shard_recovered"].as_slice(),
        });
        let mut told = names(&of_one);
        told.retain(|name| *name != "subscription_renewed");
        assert_eq!(told, expected);
        let (SourceEvent::ShardRecovered { failures, .. }
        | SourceEvent::ShardResumed { failures, .. }) = of_one
            .iter()
            .find(|it| ["shard_recovered", "shard_resumed"].contains(&it.name()))
            .unwrap()
        else {
            unreachable!();
        };
        assert!(*failures > 50, "{failures} were counted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_opened_says_so_as_its_last_word() {
    let fake = Fake::builder().instant().without_stream().build();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(Sink::default(), records.subscribe(Window::new(100)));
    let mut events = handle.events();
    pipeline.run().await.unwrap_err();
    let events = taken(&mut events);
    let Some(SourceEvent::StreamEnded {
        end: StreamEnd::Failed { reason, .. },
    }) = events.last()
    else {
        panic!("{events:?}");
    };
    assert!(reason.contains("there is no stream `orders`"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn nobody_has_to_take_events_out() {
    let fake = Fake::instant(3);
    fake.put_numbered(0..600).unwrap();
    let mut pipeline = Pipeline::new();
    let sink = Sink::default();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(100)));
    let unread = handle.events();
    let stop = async move { handle.caught_up().await };
    pipeline.run_until(stop).await.unwrap();
    assert_eq!(sink.numbers(), everything(600));
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_made_anew_or_gives_up_says_so() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..20).unwrap();
    let sink = Sink::default().refusing_always(7);
    let mut pipeline = Pipeline::new();
    let source = source(&fake).on_shard_failure(OnShardFailure::FailPipeline);
    let (records, handle) = source.add_to(&mut pipeline);
    pipeline.consume(sink, records.subscribe(Window::new(100)));
    let mut events = handle.events();
    pipeline.run().await.unwrap_err();
    let events = taken(&mut events);
    let restarts: Vec<(u64, u64)> = events
        .iter()
        .filter_map(|event| match event {
            SourceEvent::ShardRestarted {
                restarts, nacked, ..
            } => Some((*restarts, *nacked)),
            _ => None,
        })
        .collect();
    assert_eq!(restarts, [(1, 1), (2, 1), (3, 1)]);
    let given_up = events.iter().find(|event| event.name() == "shard_failed");
    let given_up = given_up.unwrap().to_string();
    assert!(given_up.contains("were not taken in"), "{given_up}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_dropped_has_a_last_word_too() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..20).unwrap();
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink, records.subscribe(Window::new(10)));
    let mut events = handle.events();
    // It is dropped where it stands.
    let running = tokio::spawn(pipeline.run());
    sleep(seconds(10)).await;
    running.abort();
    running.await.unwrap_err();
    let last = taken(&mut events).pop().unwrap();
    assert!(last.to_string().contains("it was aborted"), "{last}");
}

/// Its last answer comes twice: the last record was nacked, and is read again.
#[tokio::test(start_paused = true)]
async fn a_shard_that_ends_twice_has_its_children_once() {
    let fake = Fake::instant(1);
    fake.put_numbered(0..10).unwrap();
    let range = fake.shards()[0].hash_range;
    fake.split_shard(&SHARD.into(), range.end / 2)
        .await
        .unwrap();
    // It takes longer than it takes to see that this is the end.
    let sink = Sink::by(seconds(3)).refusing_once(9);
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).add_to(&mut pipeline);
    pipeline.consume(sink, records.subscribe(Window::new(4)));
    let mut events = handle.events();
    pipeline.run_until(sleep(seconds(60))).await.unwrap();
    let events = taken(&mut events);
    let drained = events.iter().filter(|it| it.name() == "shard_drained");
    assert_eq!(drained.count(), 2, "{events:?}");
    let retired = events.iter().find_map(|event| match event {
        SourceEvent::ShardRetired { children, .. } => Some(children.len()),
        _ => None,
    });
    assert_eq!(retired, Some(2), "{events:?}");
}
