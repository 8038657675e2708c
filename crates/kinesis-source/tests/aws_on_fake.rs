//! The real SDK against the fake over HTTP: every operation, and what goes wrong on the wire.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used)]

#[path = "canned/client.rs"]
mod client;
#[path = "canned/server.rs"]
mod server;

use std::{slice, time::Duration};

use aws_sdk_kinesis::{
    Client,
    primitives::{Blob, DateTime},
    types::{
        EncryptionType, MetricsName, MinimumThroughputBillingCommitmentInput,
        MinimumThroughputBillingCommitmentInputStatus,
        MinimumThroughputBillingCommitmentOutputStatus, PutRecordsRequestEntry,
        RecordDistributionStrategy, ScalingType, ShardFilter, ShardFilterType, ShardIteratorType,
        StartingPosition, StreamMode, StreamModeDetails, StreamStatus,
    },
};
use kinesis_fake::{Fake, Fault, Limits, Operation, Server};
use kinesis_source::{AwsKinesis, KinesisApi, KinesisWriteApi, Position, Remedy, ShardIterator};
use tokio::{task::JoinSet, time::timeout};

use self::client::{conf, entry};

async fn serve(fake: &Fake) -> (String, JoinSet<()>) {
    let server = Server::on_loopback(fake.clone()).await.unwrap();
    let endpoint = server.endpoint();
    let mut serving = JoinSet::new();
    serving.spawn(server.run());
    (endpoint, serving)
}

fn sdk(endpoint: &str) -> Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let conf = conf(endpoint).http_client(http).behavior_version_latest();
    Client::from_conf(conf.build())
}

const SHARD: &str = "shardId-000000000000";

#[tokio::test]
async fn every_operation_is_understood_on_both_sides() {
    let fake = Fake::builder().instant().without_stream().wall_clock();
    let fake = fake.limits(Limits::none()).build();
    let (endpoint, _serving) = serve(&fake).await;
    let sdk = sdk(&endpoint);

    let create = sdk.create_stream().stream_name("orders").shard_count(1);
    create.send().await.unwrap();
    let summary = sdk.describe_stream_summary().stream_name("orders");
    let summary = summary
        .send()
        .await
        .unwrap()
        .stream_description_summary
        .unwrap();
    assert_eq!(*summary.stream_status(), StreamStatus::Active);
    let arn = summary.stream_arn().to_owned();
    let listed = sdk.list_streams().send().await.unwrap();
    assert_eq!(listed.stream_names(), ["orders"]);
    assert_eq!(listed.stream_summaries()[0].stream_arn(), arn);

    let put = sdk.put_record().stream_arn(&arn).partition_key("k");
    let put = put.data(Blob::new([0, 255])).send().await.unwrap();
    assert_eq!(put.shard_id(), SHARD);
    let record = PutRecordsRequestEntry::builder().partition_key("k");
    let record = record.data(Blob::new("text")).build().unwrap();
    let puts = sdk.put_records().stream_name("orders").records(record);
    let puts = puts.send().await.unwrap();
    assert_eq!(puts.failed_record_count(), Some(0));

    let shards = sdk.list_shards().stream_name("orders");
    let filter = ShardFilter::builder().r#type(ShardFilterType::AtTimestamp);
    let now = fake.stream("orders").now().as_millis();
    let filter = filter
        .timestamp(DateTime::from_millis(now))
        .build()
        .unwrap();
    let shards = shards.shard_filter(filter).send().await.unwrap();
    assert_eq!(shards.shards()[0].shard_id(), SHARD);

    let iterator = sdk
        .get_shard_iterator()
        .stream_name("orders")
        .shard_id(SHARD);
    let iterator = iterator
        .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
        .starting_sequence_number(put.sequence_number());
    let iterator = iterator.send().await.unwrap().shard_iterator.unwrap();
    let page = sdk.get_records().shard_iterator(iterator).limit(10);
    let page = page.send().await.unwrap();
    let data: Vec<_> = page.records().iter().map(|it| it.data().as_ref()).collect();
    assert_eq!(data, [&b"\x00\xff"[..], b"text"]);
    let arrival = page.records()[0].approximate_arrival_timestamp().unwrap();
    let stored = fake.stream("orders").records()[0].1[0]
        .approximate_arrival
        .unwrap();
    // The SDK cuts off what a float of seconds lacks of a whole millisecond.
    let apart = stored.as_millis() - arrival.to_millis().unwrap();
    assert!((0..=1).contains(&apart), "{apart} ms");
    assert_eq!(page.millis_behind_latest(), Some(0));

    let half = (1_u128 << 127).to_string();
    let split = sdk
        .split_shard()
        .stream_name("orders")
        .shard_to_split(SHARD);
    split.new_starting_hash_key(half).send().await.unwrap();
    let merge = sdk.merge_shards().stream_name("orders");
    let merge = merge.shard_to_merge("shardId-000000000001");
    let merge = merge.adjacent_shard_to_merge("shardId-000000000002");
    merge.send().await.unwrap();
    let resize = sdk
        .update_shard_count()
        .stream_name("orders")
        .target_shard_count(2);
    let resize = resize
        .scaling_type(ScalingType::UniformScaling)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (resize.current_shard_count(), resize.target_shard_count()),
        (Some(1), Some(2))
    );
    let described = sdk
        .describe_stream()
        .stream_name("orders")
        .send()
        .await
        .unwrap();
    let shards = described.stream_description.unwrap().shards;
    assert_eq!(
        shards
            .iter()
            .filter(|it| it.parent_shard_id.is_some())
            .count(),
        5
    );

    let longer = sdk.increase_stream_retention_period().stream_name("orders");
    longer.retention_period_hours(48).send().await.unwrap();
    let shorter = sdk.decrease_stream_retention_period().stream_name("orders");
    shorter.retention_period_hours(24).send().await.unwrap();
    let size = sdk.update_max_record_size().stream_arn(&arn);
    size.max_record_size_in_kib(2_048).send().await.unwrap();
    let mode = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand);
    let mode = sdk
        .update_stream_mode()
        .stream_arn(&arn)
        .stream_mode_details(mode.build().unwrap());
    mode.send().await.unwrap();
    let auto = sdk
        .update_stream_record_distribution_strategy()
        .stream_arn(&arn);
    let auto = auto.record_distribution_strategy(RecordDistributionStrategy::Auto);
    auto.send().await.unwrap();
    let limits = sdk.describe_limits().send().await.unwrap();
    assert_eq!(limits.on_demand_stream_count(), 1);

    tags(&sdk, &arn).await;
    policies(&sdk, &arn).await;
    encryption_and_monitoring(&sdk).await;
    account(&sdk).await;
    fan_out(&sdk, &arn).await;
    let delete = sdk.delete_stream().stream_name("orders");
    delete.enforce_consumer_deletion(true).send().await.unwrap();
    let gone = sdk
        .describe_stream()
        .stream_name("orders")
        .send()
        .await
        .unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception());
    for operation in Operation::ALL {
        assert!(
            fake.calls().of(*operation).made > 0,
            "{operation} was not called"
        );
    }
}

async fn tags(sdk: &Client, arn: &str) {
    let add = sdk.add_tags_to_stream().stream_name("orders");
    add.tags("team", "a").send().await.unwrap();
    let tag = sdk.tag_resource().resource_arn(arn).tags("tier", "gold");
    tag.send().await.unwrap();
    let listed = sdk.list_tags_for_stream().stream_name("orders");
    let listed = listed.send().await.unwrap();
    let keys: Vec<_> = listed.tags().iter().map(|tag| tag.key()).collect();
    assert_eq!(keys, ["team", "tier"]);
    let untag = sdk.untag_resource().resource_arn(arn).tag_keys("tier");
    untag.send().await.unwrap();
    let listed = sdk.list_tags_for_resource().resource_arn(arn);
    let listed = listed.send().await.unwrap();
    let tag = &listed.tags()[0];
    assert_eq!((tag.key(), tag.value()), ("team", Some("a")));
    let remove = sdk.remove_tags_from_stream().stream_name("orders");
    remove.tag_keys("team").send().await.unwrap();
    let listed = sdk.list_tags_for_stream().stream_name("orders");
    assert!(listed.send().await.unwrap().tags().is_empty());
}

async fn policies(sdk: &Client, arn: &str) {
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny"}]}"#;
    let put = sdk.put_resource_policy().resource_arn(arn).policy(policy);
    put.send().await.unwrap();
    let kept = sdk.get_resource_policy().resource_arn(arn);
    assert_eq!(kept.send().await.unwrap().policy(), policy);
    let delete = sdk.delete_resource_policy().resource_arn(arn);
    delete.send().await.unwrap();
    let gone = sdk.get_resource_policy().resource_arn(arn);
    let gone = gone.send().await.unwrap_err().into_service_error();
    assert!(gone.is_resource_not_found_exception());
}

async fn encryption_and_monitoring(sdk: &Client) {
    let start = sdk.start_stream_encryption().stream_name("orders");
    let start = start.encryption_type(EncryptionType::Kms);
    start.key_id("alias/orders").send().await.unwrap();
    let put = sdk.put_record().stream_name("orders").partition_key("k");
    let put = put.data(Blob::new("secret")).send().await.unwrap();
    assert_eq!(put.encryption_type(), Some(&EncryptionType::Kms));
    let stop = sdk.stop_stream_encryption().stream_name("orders");
    let stop = stop.encryption_type(EncryptionType::Kms);
    stop.key_id("alias/orders").send().await.unwrap();

    let bytes = MetricsName::IncomingBytes;
    let enable = sdk.enable_enhanced_monitoring().stream_name("orders");
    let enabled = enable.shard_level_metrics(bytes.clone()).send().await;
    let enabled = enabled.unwrap();
    assert_eq!(
        enabled.desired_shard_level_metrics(),
        slice::from_ref(&bytes)
    );
    let disable = sdk.disable_enhanced_monitoring().stream_name("orders");
    let disabled = disable.shard_level_metrics(bytes.clone()).send().await;
    let disabled = disabled.unwrap();
    assert_eq!(disabled.current_shard_level_metrics(), [bytes]);
    assert!(disabled.desired_shard_level_metrics().is_empty());
}

async fn account(sdk: &Client) {
    let enabled = MinimumThroughputBillingCommitmentInputStatus::Enabled;
    let commitment = MinimumThroughputBillingCommitmentInput::builder().status(enabled);
    let update = sdk
        .update_account_settings()
        .minimum_throughput_billing_commitment(commitment.build().unwrap());
    update.send().await.unwrap();
    let settings = sdk.describe_account_settings().send().await.unwrap();
    let commitment = settings.minimum_throughput_billing_commitment().unwrap();
    let enabled = MinimumThroughputBillingCommitmentOutputStatus::Enabled;
    assert_eq!(*commitment.status(), enabled);
    let warm = sdk.update_stream_warm_throughput().stream_name("orders");
    let warm = warm.warm_throughput_mibps(6).send().await.unwrap();
    let warm = warm.warm_throughput().unwrap();
    assert_eq!(warm.target_mibps(), Some(6));
}

async fn fan_out(sdk: &Client, arn: &str) {
    let register = sdk
        .register_stream_consumer()
        .stream_arn(arn)
        .consumer_name("audit");
    let consumer = register.send().await.unwrap().consumer.unwrap();
    let listed = sdk
        .list_stream_consumers()
        .stream_arn(arn)
        .send()
        .await
        .unwrap();
    assert_eq!(
        listed.consumers()[0].consumer_arn(),
        consumer.consumer_arn()
    );
    let described = sdk
        .describe_stream_consumer()
        .consumer_arn(consumer.consumer_arn());
    let described = described
        .send()
        .await
        .unwrap()
        .consumer_description
        .unwrap();
    assert_eq!(described.stream_arn(), arn);
    let start = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon);
    let subscribe = sdk
        .subscribe_to_shard()
        .consumer_arn(consumer.consumer_arn());
    let subscribe = subscribe
        .shard_id(SHARD)
        .starting_position(start.build().unwrap());
    let mut events = subscribe.send().await.unwrap().event_stream;
    let mut records = 0;
    while let Some(event) = events.recv().await.unwrap() {
        records += event.as_subscribe_to_shard_event().unwrap().records().len();
    }
    assert_eq!(records, 2);
    let deregister = sdk.deregister_stream_consumer();
    let deregister = deregister.consumer_arn(consumer.consumer_arn());
    deregister.send().await.unwrap();
}

/// A stream with three records, a client of it, and an iterator to the first of them.
async fn three_records() -> (Fake, AwsKinesis, ShardIterator, JoinSet<()>) {
    let fake = Fake::builder().instant().name("orders").wall_clock();
    let fake = fake.limits(Limits::none()).build();
    fake.put_numbered(0..3).unwrap();
    let (endpoint, serving) = serve(&fake).await;
    let api = AwsKinesis::from_conf(conf(&endpoint), "orders").unwrap();
    let shard = SHARD.into();
    let iterator = api.get_shard_iterator(&shard, &Position::TrimHorizon);
    let iterator = iterator.await.unwrap();
    (fake, api, iterator, serving)
}

#[tokio::test]
async fn an_answer_that_is_cut_anywhere_gives_nothing_and_is_worth_a_retry() {
    let (fake, api, iterator, _serving) = three_records().await;
    let whole = api.get_records(&iterator, 10).await.unwrap();
    let mut cut = 0;
    // Until nothing is left to be cut off.
    loop {
        fake.inject(Fault::cut_answer(Operation::GetRecords, cut));
        match api.get_records(&iterator, 10).await {
            Err(error) => assert_eq!(error.remedy(), Remedy::Retry, "cut after {cut}: {error}"),
            Ok(page) => {
                assert_eq!(page.records, whole.records, "cut after {cut}");
                break;
            }
        }
        cut += 7;
    }
    assert!(cut > 500, "the head alone has more than {cut} bytes");
    let again = api.get_records(&iterator, 10).await.unwrap();
    assert_eq!(again.records, whole.records, "the iterator is good");
}

#[tokio::test]
async fn garbled_lost_and_unknown_answers_are_worth_a_retry_and_hide_no_record() {
    let (fake, api, iterator, _serving) = three_records().await;
    let operation = Operation::GetRecords;
    for fault in [
        Fault::garbled_answer(operation).times(20),
        Fault::lost_answer(operation).times(2),
        Fault::refusal(operation, "UnheardOfException"),
        Fault::refusal(operation, "InternalFailure"),
        Fault::refusal(operation, "ServiceUnavailable"),
    ] {
        let shown = format!("{fault:?}");
        fake.inject(fault);
        while fake.faults_waiting() > 0 {
            let error = api.get_records(&iterator, 10).await.unwrap_err();
            assert_eq!(error.remedy(), Remedy::Retry, "{shown}: {error}");
        }
        let page = api.get_records(&iterator, 10).await.unwrap();
        assert_eq!(page.records.len(), 3, "{shown}");
    }
}

#[tokio::test]
async fn a_late_answer_is_waited_for_and_a_hung_call_can_be_given_up() {
    let (fake, api, iterator, _serving) = three_records().await;
    let late = Duration::from_millis(200);
    fake.inject(Fault::late_answer(Operation::GetRecords, late));
    assert_eq!(
        api.get_records(&iterator, 10).await.unwrap().records.len(),
        3
    );
    fake.inject(Fault::hung(Operation::PutRecords));
    let put = [entry("k")];
    let hung = timeout(Duration::from_millis(200), api.put_records(&put)).await;
    assert!(hung.is_err());
    assert_eq!(fake.records()[0].1.len(), 3, "it was not carried out");
    api.put_records(&put).await.unwrap();
    assert_eq!(fake.records()[0].1.len(), 4);
}

#[tokio::test]
async fn the_fakes_clock_is_the_services_clock() {
    let fake = Fake::builder().instant().name("orders").build();
    let (endpoint, _serving) = serve(&fake).await;
    let api = AwsKinesis::from_conf(conf(&endpoint), "orders").unwrap();
    api.describe_stream_summary().await.unwrap();
    let apart = api.now().as_millis() - fake.now().as_millis();
    assert!(
        apart.abs() < 60_000,
        "{apart} ms, in another year otherwise"
    );
}
