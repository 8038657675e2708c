//! The real SDK against the fake over HTTP: enhanced fan-out from end to end, on a real connection.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

#[path = "canned/client.rs"]
mod client;
mod rig;
#[path = "canned/server.rs"]
mod server;

use std::{sync::Arc, time::Duration};

use kinesis_fake::{Fake, Limits, Operation, Server};
use kinesis_source::{
    AwsKinesis, ConsumerAddress, ConsumerArn, ConsumerStatus, Deregistration, FanOut,
    KinesisFanOutApi, KinesisWriteApi, MemoryCheckpointStore, Position, Remedy, ShardId,
    ShardSubscription, StreamSource, SubscribeEvent,
};
use stage_core::{Pipeline, Window};
use tokio::{task::JoinSet, time::sleep};

use self::{
    client::conf,
    rig::{Sink, run_until_caught_up},
};

/// A fake, a server of it, and a client of that. The server ends with it.
struct Served {
    fake: Fake,
    api: AwsKinesis,
    _serving: JoinSet<()>,
}

impl Served {
    async fn start(shards: u32) -> Self {
        let fake = Fake::builder().instant().name("orders").shards(shards);
        let fake = fake.limits(Limits::none()).wall_clock().build();
        let server = Server::on_loopback(fake.clone()).await.unwrap();
        let api = AwsKinesis::from_conf(conf(&server.endpoint()), "orders").unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(server.run());
        Self {
            fake,
            api,
            _serving: serving,
        }
    }

    async fn subscribe(
        &self,
        consumer: &ConsumerArn,
        shard: &ShardId,
        position: Position,
    ) -> ShardSubscription {
        let subscription = self.api.subscribe_to_shard(consumer, shard, &position);
        subscription.await.unwrap()
    }
}

async fn event(subscription: &mut ShardSubscription) -> SubscribeEvent {
    subscription.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn consumers_come_and_go() {
    let served = Served::start(1).await;
    let api = &served.api;
    let consumer = api.register_stream_consumer("audit").await.unwrap();
    let again = api.register_stream_consumer("audit").await.unwrap_err();
    assert_eq!(again.remedy(), Remedy::AwaitActive);
    let by_name = ConsumerAddress::Name("audit".into());
    let found = api.describe_stream_consumer(&by_name).await.unwrap();
    assert_eq!(
        (&found.arn, found.status),
        (&consumer.arn, ConsumerStatus::Active)
    );
    assert_eq!(found.created, consumer.created);
    let page = api.list_stream_consumers(None).await.unwrap();
    assert_eq!((page.consumers, page.next), (vec![found], None));
    let by_arn = ConsumerAddress::Arn(consumer.arn);
    api.deregister_stream_consumer(&by_arn).await.unwrap();
    let gone = api.describe_stream_consumer(&by_arn).await.unwrap_err();
    assert_eq!(gone.remedy(), Remedy::Verify);
}

#[tokio::test]
async fn a_shard_is_read_by_subscriptions_to_its_end_and_its_children_after_it() {
    let served = Served::start(1).await;
    let consumer = served.api.register_stream_consumer("audit").await.unwrap();
    let root: ShardId = "shardId-000000000000".into();
    served.fake.put_numbered(0..500).unwrap();
    let mut subscription = served
        .subscribe(&consumer.arn, &root, Position::TrimHorizon)
        .await;
    let mut records = event(&mut subscription).await.records;
    while records.len() < 500 {
        records.extend(event(&mut subscription).await.records);
    }
    // What is put while it is open is sent as it comes.
    served.fake.put_numbered(500..510).unwrap();
    let mut last = event(&mut subscription).await;
    records.append(&mut last.records);
    while records.len() < 510 {
        records.extend(event(&mut subscription).await.records);
    }
    assert_eq!(served.fake.records(), [(root.clone(), records)]);

    served.api.split_shard(&root, 1 << 127).await.unwrap();
    let end = event(&mut subscription).await;
    assert_eq!(
        (end.continuation_sequence_number, end.children.len()),
        (None, 2)
    );
    assert!(subscription.next().await.is_none());
    served.fake.put_numbered(510..600).unwrap();
    let mut rest = 0;
    for child in end.children {
        assert_eq!(child.parents, std::slice::from_ref(&root));
        let mut subscription = served
            .subscribe(&consumer.arn, &child.id, Position::TrimHorizon)
            .await;
        rest += event(&mut subscription).await.records.len();
    }
    assert_eq!(rest, 90);
}

#[tokio::test]
async fn a_subscription_goes_on_after_the_last_continuation() {
    let served = Served::start(1).await;
    let consumer = served.api.register_stream_consumer("audit").await.unwrap();
    let shard: ShardId = "shardId-000000000000".into();
    let mut position = Position::TrimHorizon;
    let mut numbers = Vec::new();
    for round in 0..10_u64 {
        served.fake.put_numbered(round..round + 1).unwrap();
        let mut subscription = served
            .subscribe(&consumer.arn, &shard, position.clone())
            .await;
        let event = event(&mut subscription).await;
        numbers.extend(event.records.into_iter().map(|record| record.data));
        position = Position::AfterSequenceNumber(event.continuation_sequence_number.unwrap());
    }
    let expected: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn errors_come_at_the_call_and_among_the_events() {
    let served = Served::start(1).await;
    let consumer = served.api.register_stream_consumer("audit").await.unwrap();
    let shard: ShardId = "shardId-000000000000".into();
    let nowhere = "shardId-000000000009".into();
    let (arn, latest) = (&consumer.arn, Position::Latest);
    let refused = served.api.subscribe_to_shard(arn, &nowhere, &latest).await;
    assert_eq!(refused.unwrap_err().remedy(), Remedy::Verify);
    for (code, remedy) in [
        ("KMSThrottlingException", Remedy::Wait),
        ("InternalFailureException", Remedy::Retry),
        ("SomethingNewException", Remedy::Retry),
    ] {
        let mut subscription = served.subscribe(arn, &shard, Position::Latest).await;
        assert_eq!(served.fake.fail_subscriptions(&shard, code), 1);
        let error = subscription.next().await.unwrap().unwrap_err();
        assert_eq!((error.code(), error.remedy()), (Some(code), remedy));
        assert!(subscription.next().await.is_none());
    }
    // Another one takes over, as nothing keeps it waiting here.
    let mut first = served.subscribe(arn, &shard, Position::Latest).await;
    let _second = served.subscribe(arn, &shard, Position::Latest).await;
    let error = first.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some("ResourceInUseException"));
}

#[tokio::test]
async fn a_subscriber_that_lets_go_is_forgotten() {
    let served = Served::start(1).await;
    let consumer = served.api.register_stream_consumer("audit").await.unwrap();
    let shard: ShardId = "shardId-000000000000".into();
    let subscription = served
        .subscribe(&consumer.arn, &shard, Position::Latest)
        .await;
    drop(subscription);
    // The server finds out by its next write, or by the connection's end.
    while served.fake.silence_subscriptions(&shard) > 0 {
        served.fake.put("k", "x").unwrap();
        tokio::task::yield_now().await;
    }
}

/// A whole source over the real SDK: a split and a merge meanwhile, errors among the events, and a
/// second run that goes on where the first had finished, by polling.
#[tokio::test]
async fn a_stream_is_read_by_fan_out_and_then_by_polling() {
    let served = Served::start(2).await;
    served.fake.put_numbered(0..300).unwrap();
    let store = Arc::new(MemoryCheckpointStore::new());
    let api = Arc::new(served.api.clone());
    let source = || {
        StreamSource::new("orders", api.clone())
            .checkpoints(Arc::clone(&store) as _)
            .checkpoint_every(Duration::from_millis(20))
    };
    let fan_out = FanOut::new(api.clone(), "audit").deregister(Deregistration::IfRegisteredHere);
    let sink = Sink::default();
    let mut pipeline = Pipeline::new();
    let (records, handle) = source().fan_out(fan_out).add_to(&mut pipeline);
    pipeline.consume(sink.clone(), records.subscribe(Window::new(40)));
    let taken = |count: usize| {
        let sink = sink.clone();
        async move {
            while sink.taken().len() < count {
                sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let changes = async {
        taken(300).await;
        let root = "shardId-000000000000".into();
        assert_eq!(
            served
                .fake
                .fail_subscriptions(&root, "KMSThrottlingException"),
            1
        );
        served.fake.put_numbered(300..400).unwrap();
        taken(400).await;
        served.fake.split_shard(&root, 1 << 125).await.unwrap();
        served.fake.put_numbered(400..500).unwrap();
        taken(500).await;
        let (one, other) = ("shardId-000000000001".into(), "shardId-000000000003".into());
        served.fake.merge_shards(&one, &other).await.unwrap();
        served.fake.put_numbered(500..600).unwrap();
        handle.caught_up().await;
    };
    pipeline.run_until(changes).await.unwrap();
    sink.assert_complete(&served.fake);
    sink.assert_parents_before_children(&served.fake);
    // One for each of the three shards that have ended, to bear that out.
    assert_eq!(served.fake.calls().of(Operation::GetRecords).made, 3);
    let left = served.fake.list_stream_consumers(None).await.unwrap();
    assert_eq!(left.consumers, []);

    served.fake.put_numbered(600..700).unwrap();
    run_until_caught_up(source(), &sink, Window::new(40))
        .await
        .unwrap();
    sink.assert_complete(&served.fake);
}
