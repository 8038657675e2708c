//! Calls that are only to be checked.

use kinesis_fake::model::{DryRun, Refusal};
use kinesis_source::ConsumerArn;

use super::*;

const DONE: &str = "DryRunOperationException";
const NOT_FOUND: &str = "ResourceNotFoundException";
const IN_USE: &str = "ResourceInUseException";
const ARGUMENT: &str = "InvalidArgumentException";

fn entry(key: &str) -> PutEntry {
    PutEntry {
        partition_key: key.to_owned(),
        explicit_hash_key: None,
        data: Bytes::from_static(b"x"),
    }
}

/// Guide "Test your permissions and request inputs with dry run".
#[test]
fn a_dry_run_is_refused_as_the_call_would_be_or_as_one_that_would_have_succeeded() {
    let mut life = Life::new(1, no_limits());
    let now = life.now;
    let shard = life.open()[0].id.clone();
    let iterator = life.iterator(&shard, &Position::TrimHorizon);
    let registered = life.service.register_stream_consumer(STREAM, "audit", now);
    let consumer = registered.unwrap().arn;
    let (other, none) = (ShardId::new("shardId-000000000009"), "x");
    let iterator = iterator.as_str();
    let gone = ConsumerArn::new(consumer.as_str().replace("audit", "gone"));
    let later = Position::AtTimestamp(now.plus(DAY).timestamp());
    let start = Position::TrimHorizon;
    let (good, bad) = (entry("k"), entry(""));
    let (all_good, one_bad) = ([good.clone(), good.clone()], [good.clone(), bad.clone()]);
    let open = |stream, shard, position| DryRun::GetShardIterator {
        stream,
        shard,
        position,
    };
    let read = |stream, iterator, limit| DryRun::GetRecords {
        stream,
        iterator,
        limit,
    };
    let put = |stream, entry| DryRun::PutRecord { stream, entry };
    let put_all = |stream, entries| DryRun::PutRecords { stream, entries };
    let subscribe = |consumer, shard, position| DryRun::SubscribeToShard {
        consumer,
        shard,
        position,
    };
    for (call, code) in [
        (open(STREAM, &shard, &start), DONE),
        (open("none", &shard, &start), NOT_FOUND),
        (open(STREAM, &other, &start), NOT_FOUND),
        (open(STREAM, &shard, &later), ARGUMENT),
        (read(None, iterator, 10), DONE),
        (read(Some(STREAM), iterator, 10), DONE),
        (read(Some("none"), iterator, 10), ARGUMENT),
        (read(None, none, 10), ARGUMENT),
        (read(None, iterator, 0), ARGUMENT),
        (put(STREAM, &good), DONE),
        (put("none", &good), NOT_FOUND),
        (put(STREAM, &bad), "ValidationException"),
        (put_all(STREAM, &all_good), DONE),
        (put_all("none", &all_good), NOT_FOUND),
        (put_all(STREAM, &one_bad), "ValidationException"),
        (subscribe(&consumer, &shard, &start), DONE),
        (subscribe(&gone, &shard, &start), NOT_FOUND),
        (subscribe(&consumer, &other, &start), NOT_FOUND),
        (subscribe(&consumer, &shard, &later), ARGUMENT),
    ] {
        let refusal = life.service.dry_run(call, now);
        assert_eq!(refusal.code(), code, "{call:?}: {}", refusal.message());
    }
    assert!(life.service.records(STREAM, now)[0].1.is_empty());
    // Nobody is subscribed: this takes nobody's place.
    life.service
        .subscribe_to_shard(&consumer, &shard, &start, now)
        .unwrap();
}

#[test]
fn dry_runs_are_one_a_second_of_a_stream_or_as_many_as_is_chosen_and_take_nothing_of_other_limits()
{
    for (chosen, times) in [(Some(1), 1), (Some(3), 3)] {
        let mut settings = instant();
        assert_eq!(settings.limits.dry_runs_per_second, Some(1));
        settings.limits.dry_runs_per_second = chosen;
        let mut life = Life::new(1, settings);
        life.service.put_stream("other", 1, life.now);
        let shard = life.open()[0].id.clone();
        let iterator = life.iterator(&shard, &Position::TrimHorizon);
        let (now, entry) = (life.now, entry("k"));
        let later = now.plus(Duration::from_secs(1));
        let early = later.minus(Duration::from_millis(1));
        let mut put = |stream, now| -> Refusal {
            let entry = &entry;
            life.service
                .dry_run(DryRun::PutRecord { stream, entry }, now)
        };
        for _ in 0..times {
            assert_eq!(put(STREAM, now).code(), DONE);
        }
        assert_eq!(put(STREAM, early).code(), "ThrottlingException");
        assert_eq!(put("other", early).code(), DONE);
        // All operations share it.
        let read = DryRun::GetRecords {
            stream: None,
            iterator: iterator.as_str(),
            limit: 1,
        };
        assert_eq!(
            life.service.dry_run(read, early).code(),
            "ThrottlingException"
        );
        assert_eq!(life.service.dry_run(read, later).code(), DONE);
        for _ in 0..5 {
            life.service
                .get_records(iterator.as_str(), 1, later)
                .unwrap();
        }
    }
}

/// What has gone since an iterator was given, and what is not there yet.
#[test]
fn a_dry_run_looks_at_what_is_there_at_its_time() {
    let mut settings = no_limits();
    settings.durations.register = Duration::from_secs(10);
    let mut life = Life::new(1, settings);
    let parent = life.open()[0].id.clone();
    let iterator = life.iterator(&parent, &Position::TrimHorizon);
    let split = life
        .service
        .split_shard(STREAM, &parent, 1 << 127, life.now);
    split.unwrap();
    let read = DryRun::GetRecords {
        stream: None,
        iterator: iterator.as_str(),
        limit: 10,
    };
    life.now = START.plus(DAY);
    assert_eq!(life.service.dry_run(read, life.now).code(), DONE);
    life.now = life.now.plus(Duration::from_millis(1));
    // Its shard has expired; the iterator has not.
    assert_eq!(life.service.dry_run(read, life.now).code(), NOT_FOUND);
    let answer = life.service.get_records(iterator.as_str(), 10, life.now);
    assert_eq!(answer.unwrap_err().code(), NOT_FOUND);

    let registered = life
        .service
        .register_stream_consumer(STREAM, "audit", life.now);
    let consumer = registered.unwrap().arn;
    let child = life.open()[0].id.clone();
    let subscribe = DryRun::SubscribeToShard {
        consumer: &consumer,
        shard: &child,
        position: &Position::TrimHorizon,
    };
    assert_eq!(life.service.dry_run(subscribe, life.now).code(), IN_USE);
    life.now = life.now.plus(Duration::from_secs(10));
    assert_eq!(life.service.dry_run(subscribe, life.now).code(), DONE);
}

#[test]
fn a_stream_that_is_being_made_is_neither_subscribed_to_nor_removed() {
    let mut settings = no_limits();
    settings.durations.create = Duration::from_secs(20);
    let mut service = Service::new(settings);
    service.create_stream(STREAM, 1, START).unwrap();
    let consumer = ConsumerArn::new(format!("{}/consumer/audit:1", arn(STREAM)));
    let (shard, position) = (ShardId::new("shardId-000000000000"), Position::TrimHorizon);
    let subscribe = DryRun::SubscribeToShard {
        consumer: &consumer,
        shard: &shard,
        position: &position,
    };
    let active = START.plus(Duration::from_secs(20));
    for (now, code) in [(START, IN_USE), (active, NOT_FOUND)] {
        let refused = service.subscribe_to_shard(&consumer, &shard, &position, now);
        assert_eq!(refused.unwrap_err().code(), code);
        assert_eq!(service.dry_run(subscribe, now).code(), code);
        if now == START {
            let refused = service.delete_stream(STREAM, now).unwrap_err();
            assert_eq!(refused.code(), IN_USE);
            let refused = service.delete_stream_and_consumers(STREAM, now);
            assert_eq!(refused.unwrap_err().code(), IN_USE);
        }
    }
    assert_eq!(service.shards(STREAM, active).len(), 1, "it was made");
    service.delete_stream(STREAM, active).unwrap();
}
