//! Calls that are only to be checked.

use kinesis_fake::model::{DryRun, Refusal};
use kinesis_source::{ConsumerArn, ShardIterator};

use super::*;

const DONE: &str = "DryRunOperationException";
const NOT_FOUND: &str = "ResourceNotFoundException";
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
    let (other, none) = (
        ShardId::new("shardId-000000000009"),
        ShardIterator::new("x"),
    );
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
        (read(None, &iterator, 10), DONE),
        (read(Some(STREAM), &iterator, 10), DONE),
        (read(Some("none"), &iterator, 10), ARGUMENT),
        (read(None, &none, 10), ARGUMENT),
        (read(None, &iterator, 0), ARGUMENT),
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
            iterator: &iterator,
            limit: 1,
        };
        assert_eq!(
            life.service.dry_run(read, early).code(),
            "ThrottlingException"
        );
        assert_eq!(life.service.dry_run(read, later).code(), DONE);
        for _ in 0..5 {
            life.service.get_records(&iterator, 1, later).unwrap();
        }
    }
}
