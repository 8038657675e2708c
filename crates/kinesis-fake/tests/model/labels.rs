//! What is attached to streams and consumers, and what is said of their records and their account.

use kinesis_fake::{
    Durations, NoPolicy,
    model::{Metric, NewStream, Tags},
};
use kinesis_source::StreamStatus;

use super::*;

fn tags(of: &[(&str, &str)]) -> Tags {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    of.iter().map(owned).collect()
}

fn keys(of: &[&str]) -> Vec<String> {
    of.iter().map(|key| (*key).to_owned()).collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The code of what refuses it.
fn code<T: std::fmt::Debug>(answer: Result<T, kinesis_fake::model::Refusal>) -> String {
    answer.unwrap_err().code().to_owned()
}

/// Changes take ten seconds.
fn slow(limits: Limits) -> Life {
    let mut settings = instant();
    settings.limits = limits;
    settings.durations = Durations::all(seconds(10));
    Life::new(1, settings)
}

#[test]
fn a_stream_and_a_consumer_have_fifty_tags_each() {
    let mut life = slow(Limits::none());
    let now = life.now;
    let service = &mut life.service;
    let consumer = service.register_stream_consumer(STREAM, "audit", now);
    let consumer = consumer.unwrap().arn;
    service
        .add_tags_to_stream(STREAM, &tags(&[("a", "1"), ("b", "2")]), now)
        .unwrap();
    let more: Tags = (0..48)
        .map(|n| (format!("n{n:02}"), String::new()))
        .collect();
    for resource in [arn(STREAM), consumer.to_string()] {
        service.tag_resource(&resource, &more, now).unwrap();
        service
            .tag_resource(&resource, &tags(&[("a", "3")]), now)
            .ok();
    }
    let of_stream = service.list_tags_for_resource(&arn(STREAM), now).unwrap();
    assert_eq!(
        (of_stream.len(), &*of_stream["a"], &*of_stream["b"]),
        (50, "3", "2")
    );
    let too_many = service.tag_resource(&arn(STREAM), &tags(&[("z", "")]), now);
    assert_eq!(code(too_many), "InvalidArgumentException");
    let of_consumer = service.list_tags_for_resource(consumer.as_str(), now);
    assert_eq!(of_consumer.unwrap().len(), 49);

    let gone = keys(&["b", "never was"]);
    service.remove_tags_from_stream(STREAM, &gone, now).unwrap();
    service
        .untag_resource(consumer.as_str(), &keys(&["a"]), now)
        .unwrap();
    let of_stream = service.list_tags_for_resource(&arn(STREAM), now).unwrap();
    assert!(of_stream.len() == 49 && !of_stream.contains_key("b"));
    let of_consumer = service.list_tags_for_resource(consumer.as_str(), now);
    assert!(!of_consumer.unwrap().contains_key("a"));
    for nowhere in [&*arn("other"), "arn:aws:s3:::bucket", ""] {
        let answer = service.list_tags_for_resource(nowhere, now);
        assert_eq!(code(answer), "ResourceNotFoundException");
    }
}

#[test]
fn tags_of_a_stream_are_listed_by_key_and_in_pages() {
    let mut life = slow(Limits::none());
    let now = life.now;
    let all = tags(&[("a", "1"), ("b", "2"), ("c", "3")]);
    life.service.add_tags_to_stream(STREAM, &all, now).unwrap();
    let mut page = |after, most| {
        life.service
            .list_tags_for_stream(STREAM, after, most, now)
            .unwrap()
    };
    assert_eq!(page(None, 2), (tags(&[("a", "1"), ("b", "2")]), true));
    assert_eq!(page(Some("b"), 2), (tags(&[("c", "3")]), false));
    assert_eq!(page(None, 50), (all, false));
}

#[test]
fn a_stream_that_is_being_made_is_not_tagged_but_may_come_with_tags() {
    let mut life = slow(Limits::none());
    let now = life.now;
    let new = |tags: Tags| NewStream {
        shards: Some(1),
        tags,
        ..NewStream::default()
    };
    let service = &mut life.service;
    let refused = service.create_described_stream("new", &new(tags(&[("k!", "")])), now);
    assert_eq!(code(refused), "InvalidArgumentException");
    let own = tags(&[("team", "orders")]);
    service
        .create_described_stream("new", &new(own.clone()), now)
        .unwrap();
    let answer = service.tag_resource(&arn("new"), &tags(&[("a", "")]), now);
    assert_eq!(code(answer), "ResourceInUseException");
    assert_eq!(
        service.list_tags_for_resource(&arn("new"), now),
        Ok(own.clone())
    );
    let consumer = service.register_tagged_consumer(STREAM, "audit", &own, now);
    let consumer = consumer.unwrap().arn;
    assert_eq!(
        service.list_tags_for_resource(consumer.as_str(), now),
        Ok(own)
    );
}

#[test]
fn a_policy_is_kept_as_it_was_given() {
    let mut life = slow(Limits::none());
    let now = life.now;
    let service = &mut life.service;
    let consumer = service.register_stream_consumer(STREAM, "audit", now);
    let consumer = consumer.unwrap().arn.to_string();
    let policy = r#"{"Statement": [ ]}"#;
    for resource in [&arn(STREAM), &consumer] {
        assert_eq!(
            code(service.get_resource_policy(resource, now)),
            "ResourceNotFoundException"
        );
        service.put_resource_policy(resource, "{}", now).unwrap();
        service.put_resource_policy(resource, policy, now).unwrap();
        assert_eq!(service.get_resource_policy(resource, now).unwrap(), policy);
        let large = service.put_resource_policy(resource, &"x".repeat(20_481), now);
        assert_eq!(code(large), "InvalidArgumentException");
        service.delete_resource_policy(resource, now).unwrap();
        let again = service.delete_resource_policy(resource, now);
        assert_eq!(code(again), "ResourceNotFoundException");
    }
}

/// As `rules` and `DIFFERENCES.md` say: who is denied everything reads and writes.
#[test]
fn a_policy_holds_nobody_back() {
    let mut life = Life::new(1, no_limits());
    let now = life.now;
    let denied =
        r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"kinesis:*","Resource":"*"}]}"#;
    let service = &mut life.service;
    service
        .put_resource_policy(&arn(STREAM), denied, now)
        .unwrap();
    let entry = PutEntry {
        partition_key: "k".into(),
        explicit_hash_key: None,
        data: Bytes::from_static(b"x"),
    };
    let (shard, _) = service.put_record(STREAM, &entry, now).unwrap();
    let at = service.get_shard_iterator(STREAM, &shard, &Position::TrimHorizon, now);
    let page = service.get_records(at.unwrap().as_str(), 10, now).unwrap();
    assert_eq!(page.records.len(), 1);
}

#[test]
fn where_there_is_no_policy_that_is_refused_or_an_empty_one() {
    let mut life = slow(Limits::none());
    let now = life.now;
    let answer = life.service.get_resource_policy(&arn(STREAM), now);
    assert_eq!(code(answer), "ResourceNotFoundException");
    life.service.settings_mut().choices.no_policy = NoPolicy::Empty;
    let answer = life.service.get_resource_policy(&arn(STREAM), now);
    assert_eq!(answer.unwrap(), "{}");
}

#[test]
fn records_are_encrypted_once_the_stream_is_active_again() {
    let mut life = slow(Limits::none());
    let status = |life: &mut Life| {
        let summary = life.service.describe_stream_summary(STREAM, life.now);
        summary.unwrap().status
    };
    let key = |life: &mut Life| life.service.encryption_key(STREAM, life.now).unwrap();
    life.put(1, 10);
    life.service
        .start_stream_encryption(STREAM, "alias/k", life.now)
        .unwrap();
    assert_eq!(
        (status(&mut life), key(&mut life)),
        (StreamStatus::Updating, None)
    );
    let meanwhile = life
        .service
        .start_stream_encryption(STREAM, "alias/k", life.now);
    assert_eq!(code(meanwhile), "ResourceInUseException");
    life.put(1, 10);
    life.now = life.now.plus(seconds(10));
    assert_eq!(status(&mut life), StreamStatus::Active);
    assert_eq!(key(&mut life).as_deref(), Some("alias/k"));
    life.put(1, 10);
    life.service
        .stop_stream_encryption(STREAM, life.now)
        .unwrap();
    life.put(1, 10);
    life.now = life.now.plus(seconds(10));
    assert_eq!(key(&mut life), None);
    life.put(1, 10);
    let encrypted = life.service.encrypted_records(STREAM, life.now);
    let records = life.service.records(STREAM, life.now).remove(0).1;
    let records = records.iter().map(|it| encrypted.has(&it.sequence_number));
    assert_eq!(
        records.collect::<Vec<_>>(),
        [false, false, true, true, false]
    );
}

#[test]
fn encryption_is_started_and_stopped_25_times_a_day_each() {
    let mut life = Life::new(1, instant());
    for _ in 0..25 {
        life.service
            .start_stream_encryption(STREAM, "k", life.now)
            .unwrap();
        life.service
            .stop_stream_encryption(STREAM, life.now)
            .unwrap();
        life.now = life.now.plus(seconds(1));
    }
    let start = life.service.start_stream_encryption(STREAM, "k", life.now);
    assert_eq!(code(start), "LimitExceededException");
    let stop = life.service.stop_stream_encryption(STREAM, life.now);
    assert_eq!(code(stop), "LimitExceededException");
    life.now = life.now.plus(DAY);
    life.service
        .start_stream_encryption(STREAM, "k", life.now)
        .unwrap();
}

#[test]
fn metrics_are_wanted_and_wanted_no_longer() {
    let mut life = slow(Limits::none());
    let now = life.now;
    let service = &mut life.service;
    let (bytes, age) = (Metric::IncomingBytes, Metric::IteratorAgeMilliseconds);
    let (before, after) = service
        .enable_enhanced_monitoring(STREAM, &[age, bytes], now)
        .unwrap();
    assert!(before.is_empty());
    assert_eq!(after.iter().copied().collect::<Vec<_>>(), [bytes, age]);
    let (before, after) = service
        .disable_enhanced_monitoring(STREAM, &[age, Metric::OutgoingBytes], now)
        .unwrap();
    assert_eq!(
        (before.len(), after.into_iter().collect::<Vec<_>>()),
        (2, vec![bytes])
    );
    assert_eq!(service.metrics(STREAM, now).unwrap().len(), 1);
    service
        .split_shard(STREAM, &"shardId-000000000000".into(), 9, now)
        .unwrap();
    let meanwhile = service.enable_enhanced_monitoring(STREAM, &[age], now);
    assert_eq!(code(meanwhile), "ResourceInUseException");
}

#[test]
fn an_account_commits_itself_for_a_day() {
    let mut life = slow(Limits::none());
    let begin = life.now;
    let mut at = |hours: u64, committed: Option<bool>| {
        let now = begin.plus(seconds(hours * 3_600));
        let commitment = match committed {
            Some(committed) => life.service.update_account_settings(committed, now),
            None => life.service.describe_account_settings(now),
        };
        let commitment = commitment.unwrap();
        (commitment.holds(now), commitment.ended)
    };
    assert_eq!(at(0, None), (false, None));
    assert_eq!(at(0, Some(true)), (true, None));
    let day = begin.plus(DAY);
    assert_eq!(at(1, Some(false)), (true, Some(day)));
    assert_eq!(at(2, Some(true)), (true, None), "it was meant to go on");
    assert_eq!(at(3, Some(false)), (true, Some(day)));
    assert_eq!(at(24, None), (false, Some(day)));
    assert_eq!(at(30, Some(true)), (true, None));
    let end = begin.plus(seconds(60 * 3_600));
    assert_eq!(at(60, Some(false)), (false, Some(end)));
}

#[test]
fn a_stream_on_demand_is_warmed_up_where_the_account_has_committed_itself() {
    let mut life = slow(Limits::none());
    let now = life.now;
    let service = &mut life.service;
    service.put_on_demand_stream("warm", now);
    let warm = service.update_stream_warm_throughput("warm", 9, now);
    assert_eq!(code(warm), "ValidationException", "the account has not");
    service.update_account_settings(true, now).unwrap();
    let warm = service.update_stream_warm_throughput(STREAM, 9, now);
    assert_eq!(code(warm), "ValidationException", "it is provisioned");
    let warm = service.update_stream_warm_throughput("warm", 1_000, now);
    assert_eq!(code(warm), "LimitExceededException");
    let warm = service
        .update_stream_warm_throughput("warm", 9, now)
        .unwrap();
    assert_eq!((warm.target, warm.current), (9, 4));
    let again = service.update_stream_warm_throughput("warm", 9, now);
    assert_eq!(code(again), "ResourceInUseException");
    let later = now.plus(seconds(10));
    let warm = service
        .capacity("warm", later)
        .unwrap()
        .warm_throughput
        .unwrap();
    assert_eq!((warm.target, warm.current), (9, 9));
    let shards = service.shards("warm", later);
    assert!(covers_everything(
        shards
            .iter()
            .filter(|it| !it.is_closed())
            .map(|it| it.hash_range)
            .collect()
    ));
    let new = NewStream {
        warm: Some(6),
        ..NewStream::default()
    };
    service.create_described_stream("new", &new, later).unwrap();
    let much_later = later.plus(seconds(10));
    let summary = service.describe_stream_summary("new", much_later).unwrap();
    assert_eq!(
        (summary.open_shards, summary.status),
        (6, StreamStatus::Active)
    );
}

#[test]
fn tags_policies_encryption_monitoring_and_settings_are_five_calls_a_second_each() {
    let mut life = Life::new(1, instant());
    let now = life.now;
    let service = &mut life.service;
    let one = tags(&[("a", "")]);
    let it = arn(STREAM);
    let it = &it;
    macro_rules! five_times {
        ($($call:expr;)*) => {
            $(
                for _ in 0..5 {
                    $call.unwrap();
                }
                assert_eq!(code($call), "LimitExceededException");
            )*
        };
    }
    five_times! {
        service.add_tags_to_stream(STREAM, &one, now);
        service.tag_resource(it, &one, now);
        service.list_tags_for_stream(STREAM, None, 1, now);
        service.list_tags_for_resource(it, now);
        service.remove_tags_from_stream(STREAM, &[], now);
        service.untag_resource(it, &[], now);
        service.put_resource_policy(it, "{}", now);
        service.get_resource_policy(it, now);
        service.start_stream_encryption(STREAM, "k", now);
        service.stop_stream_encryption(STREAM, now);
        service.enable_enhanced_monitoring(STREAM, &[], now);
        service.disable_enhanced_monitoring(STREAM, &[], now);
        service.describe_account_settings(now);
        service.update_account_settings(true, now);
    }
    service.delete_resource_policy(it, now).unwrap();
    for _ in 0..4 {
        let again = service.delete_resource_policy(it, now);
        assert_eq!(code(again), "ResourceNotFoundException");
    }
    let sixth = service.delete_resource_policy(it, now);
    assert_eq!(code(sixth), "LimitExceededException");
    service.put_on_demand_stream("warm", now);
    five_times! {
        service.update_stream_warm_throughput("warm", 4, now);
    }
}
