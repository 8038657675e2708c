//! Limits at other numbers than the service's, each on both sides of its edge.

use kinesis_fake::{
    Limits, StreamMode,
    model::{NewStream, Refusal, Tags},
};

use super::*;

const LIMIT: &str = "LimitExceededException";
const ARGUMENT: &str = "InvalidArgumentException";
const VALIDATION: &str = "ValidationException";

/// A life without limits, but for what is changed.
fn with(shards: u32, change: impl FnOnce(&mut Limits)) -> Life {
    let mut settings = no_limits();
    change(&mut settings.limits);
    Life::new(shards, settings)
}

fn code<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> String {
    answer.unwrap_err().code().to_owned()
}

fn page(stream: &str, asked: Option<usize>) -> Listing<'_> {
    Listing::First {
        stream,
        filter: ShardFilter::default(),
        max_results: asked,
    }
}

fn tags(count: usize) -> Tags {
    let tag = |number| (format!("{number:03}"), String::new());
    (0..count).map(tag).collect()
}

#[test]
fn the_sizes_that_records_may_have_are_those_that_are_chosen() {
    let mut life = with(1, |limits| limits.record_kib = 8..=16);
    let now = life.now;
    for (kib, fits) in [(7, false), (8, true), (16, true), (17, false)] {
        let answer = life.service.update_max_record_size(STREAM, kib, now);
        assert_eq!(answer.is_ok(), fits, "{kib}");
        let new = NewStream {
            shards: Some(1),
            record_kib: Some(kib),
            ..NewStream::default()
        };
        let name = format!("of-{kib}");
        let made = life.service.create_described_stream(&name, &new, now);
        match fits {
            true => made.unwrap(),
            false => assert_eq!(code(made), VALIDATION, "{kib}"),
        }
    }
}

#[test]
fn a_record_is_as_large_as_is_chosen() {
    let mut life = with(1, |limits| {
        limits.record_bytes = 10;
        limits.record_kib = 1..=2;
    });
    let now = life.now;
    let put = |life: &mut Life, size: usize| {
        let entry = PutEntry {
            partition_key: "k".to_owned(),
            explicit_hash_key: None,
            data: vec![0; size - 1].into(),
        };
        life.service.put_record(STREAM, &entry, now).is_ok()
    };
    assert!(put(&mut life, 10) && !put(&mut life, 11));
    life.service.update_max_record_size(STREAM, 2, now).unwrap();
    assert!(put(&mut life, 2_048) && !put(&mut life, 2_049));
}

#[test]
fn retention_is_in_the_range_that_is_chosen() {
    let mut life = with(1, |limits| limits.retention_hours = 2..=30);
    let (service, now) = (&mut life.service, life.now);
    assert_eq!(code(service.increase_retention(STREAM, 31, now)), ARGUMENT);
    service.increase_retention(STREAM, 30, now).unwrap();
    assert_eq!(code(service.decrease_retention(STREAM, 1, now)), ARGUMENT);
    service.decrease_retention(STREAM, 2, now).unwrap();
}

#[test]
fn a_page_has_as_many_shards_streams_consumers_and_tags_as_is_chosen() {
    let mut life = with(5, |limits| {
        limits.shards_per_page = 4;
        limits.shards_per_description = 3;
        limits.streams_per_page = 2;
        limits.consumers_per_page = 3;
        limits.tags_per_page = 2;
    });
    let (service, now) = (&mut life.service, life.now);
    for name in ["one", "two"] {
        service.create_stream(name, 4, now).unwrap();
    }
    for name in ["a", "b", "c", "d"] {
        let registered = service.register_stream_consumer(STREAM, name, now);
        registered.unwrap();
    }
    service.tag_resource(&arn(STREAM), &tags(3), now).unwrap();
    for asked in [None, Some(1_000)] {
        let most = asked.unwrap_or(usize::MAX);
        let listed = service.list_shards(&page(STREAM, asked), now).unwrap();
        assert_eq!((listed.shards.len(), listed.next.is_some()), (4, true));
        let listed = service.list_shards(&page("one", asked), now).unwrap();
        assert_eq!((listed.shards.len(), listed.next.is_some()), (4, false));
        let described = service.describe_stream(STREAM, None, most, now);
        let (_, shards, more) = described.unwrap();
        assert_eq!((shards.len(), more), (3, true));
        let (streams, more) = service.list_streams(None, most, now).unwrap();
        assert_eq!((streams.len(), more), (2, true));
        let listed = service.list_stream_consumers(STREAM, None, asked, now);
        let listed = listed.unwrap();
        assert_eq!((listed.consumers.len(), listed.next.is_some()), (3, true));
        let (tags, more) = service
            .list_tags_for_stream(STREAM, None, most, now)
            .unwrap();
        assert_eq!((tags.len(), more), (2, true));
    }
    let described = service.describe_stream(STREAM, None, 2, now);
    assert_eq!(described.unwrap().1.len(), 2, "fewer were asked for");
}

/// API DescribeStream, ListStreams, ListStreamConsumers: "if you specify a value greater than 100, at
/// most 100 results are returned".
#[test]
fn a_page_of_what_is_no_listing_of_shards_has_a_hundred() {
    let mut life = with(101, |limits| limits.consumers_per_stream = 101);
    let (service, now) = (&mut life.service, life.now);
    for number in 0..101 {
        let name = format!("{number:03}");
        let registered = service.register_stream_consumer(STREAM, &name, now);
        registered.unwrap();
        service.put_stream(&name, 1, now);
    }
    for asked in [None, Some(101), Some(10_000)] {
        let most = asked.unwrap_or(usize::MAX);
        let (_, shards, more) = service.describe_stream(STREAM, None, most, now).unwrap();
        assert_eq!((shards.len(), more), (100, true));
        let (streams, more) = service.list_streams(None, most, now).unwrap();
        assert_eq!((streams.len(), more), (100, true));
        let listed = service.list_stream_consumers(STREAM, None, asked, now);
        assert_eq!(listed.unwrap().consumers.len(), 100);
    }
}

#[test]
fn as_many_results_may_be_asked_for_as_is_chosen() {
    let mut life = with(1, |limits| limits.results_asked_for = 7);
    let (service, now) = (&mut life.service, life.now);
    service.list_shards(&page(STREAM, Some(7)), now).unwrap();
    let answer = service.list_shards(&page(STREAM, Some(8)), now);
    assert_eq!(code(answer), VALIDATION);
    let consumers = service.list_stream_consumers(STREAM, None, Some(7), now);
    consumers.unwrap();
    let consumers = service.list_stream_consumers(STREAM, None, Some(8), now);
    assert_eq!(code(consumers), VALIDATION);
}

/// Quotas has 100 a second and says nothing of streams, API ListShards has 1,000 for each of them.
#[test]
fn listings_are_limited_for_the_account_or_for_each_stream() {
    let listings = |account: Option<u32>, of_stream: Option<u32>| {
        let mut life = with(1, |limits| {
            limits.list_shards_per_second = account;
            limits.list_shards_per_second_of_stream = of_stream;
        });
        life.service.put_stream("other", 1, life.now);
        ["orders", "other"].map(|stream| {
            let mut list = || life.service.list_shards(&page(stream, None), life.now);
            let answered = (0..2_000).take_while(|_| list().is_ok()).count();
            if answered < 2_000 {
                assert_eq!(code(list()), LIMIT);
            }
            answered
        })
    };
    let limits = Limits::default();
    let (account, of_stream) = (
        limits.list_shards_per_second,
        limits.list_shards_per_second_of_stream,
    );
    assert_eq!(listings(account, of_stream), [100, 0], "the stricter one");
    assert_eq!(listings(None, of_stream), [1_000, 1_000]);
    assert_eq!(listings(Some(20), Some(5)), [5, 5]);
    assert_eq!(listings(None, Some(5)), [5, 5]);
    assert_eq!(listings(Some(7), None), [7, 0]);
    assert_eq!(listings(None, None), [2_000, 2_000]);
}

#[test]
fn a_stream_is_scaled_by_the_factor_that_is_chosen() {
    let mut life = with(2, |limits| limits.update_shard_count_factor = Some(3));
    let (service, now) = (&mut life.service, life.now);
    assert_eq!(code(service.update_shard_count(STREAM, 7, now)), LIMIT);
    service.update_shard_count(STREAM, 6, now).unwrap();
    assert_eq!(code(service.update_shard_count(STREAM, 1, now)), LIMIT);
    service.update_shard_count(STREAM, 2, now).unwrap();
}

#[test]
fn a_stream_is_scaled_as_far_as_is_chosen_where_no_limit_holds() {
    let mut life = with(2, |limits| {
        limits.update_shard_count_shards = 50;
        limits.open_shards = 200;
    });
    let (service, now) = (&mut life.service, life.now);
    assert_eq!(code(service.update_shard_count(STREAM, 51, now)), LIMIT);
    service.update_shard_count(STREAM, 50, now).unwrap();
    // Four billion would be too many to count.
    life.service.settings_mut().limits.update_shard_count_shards = u32::MAX;
    let answer = life.service.update_shard_count(STREAM, u32::MAX, now);
    assert_eq!(code(answer), LIMIT);
}

/// API UpdateShardCount: not "a stream with more than 10000 shards down unless you set this value to
/// less than 10000 shards".
#[test]
fn what_has_too_many_shards_is_scaled_down_to_fewer_than_there_may_be() {
    let mut life = with(60, |limits| limits.update_shard_count_shards = 50);
    let (service, now) = (&mut life.service, life.now);
    assert_eq!(code(service.update_shard_count(STREAM, 50, now)), LIMIT);
    service.update_shard_count(STREAM, 49, now).unwrap();
}

#[test]
fn tags_and_policies_are_as_long_as_is_chosen() {
    let mut life = with(1, |limits| {
        limits.tag_key_chars = 3;
        limits.tag_value_chars = 2;
        limits.policy_bytes = 4;
    });
    let (service, now, stream) = (&mut life.service, life.now, arn(STREAM));
    for (key, value, fits) in [
        ("abc", "de", true),
        ("abcd", "", false),
        ("a", "bcd", false),
    ] {
        let tags = Tags::from([(key.to_owned(), value.to_owned())]);
        let answer = service.tag_resource(&stream, &tags, now);
        assert_eq!(answer.is_ok(), fits, "{key} {value}");
    }
    service.put_resource_policy(&stream, "1234", now).unwrap();
    let answer = service.put_resource_policy(&stream, "12345", now);
    assert_eq!(code(answer), ARGUMENT);
}

#[test]
fn an_account_is_committed_for_as_long_as_is_chosen() {
    let hour = Duration::from_secs(3_600);
    let mut life = with(1, |limits| limits.commitment = hour);
    let (service, now) = (&mut life.service, life.now);
    service.update_account_settings(true, now).unwrap();
    let it = service.update_account_settings(false, now).unwrap();
    let end = now.plus(hour);
    assert_eq!(it.earliest_end, Some(end));
    assert!(it.holds(end.minus(Duration::from_millis(1))) && !it.holds(end));
}

#[test]
fn a_stream_on_demand_begins_with_as_many_shards_as_is_chosen() {
    for (chosen, shards) in [(6, 6), (1, 1), (0, 1)] {
        let mut life = with(1, |limits| limits.on_demand_shards_at_start = chosen);
        let now = life.now;
        life.service.create_on_demand_stream("new", now).unwrap();
        assert_eq!(life.service.shards("new", now).len(), shards);
        let mode = life.service.capacity("new", now).unwrap().mode;
        assert_eq!(mode, StreamMode::OnDemand);
    }
}

/// Ten records a second are all that a shard takes: in ten seconds, 600 are worth six.
#[test]
fn a_stream_on_demand_counts_traffic_for_as_long_and_grows_so_far_as_is_chosen() {
    // What came at the very end of the window belongs to the next one.
    for (headroom, second, grown) in [(1, 9_999, 8), (1, 10_000, 6), (3, 10_000, 18)] {
        let mut life = with(1, |limits| {
            limits.write_records_per_second = Some(10);
            limits.on_demand_window = Duration::from_secs(10);
            limits.on_demand_headroom = headroom;
        });
        let start = life.now;
        life.service.put_on_demand_stream(STREAM, start);
        for (after, records) in [(0, 600), (second, 200)] {
            life.now = start.plus(Duration::from_millis(after));
            for key in 0..records {
                life.put(key, 0);
            }
        }
        let due = start.plus(Duration::from_secs(10 + 15 * 60));
        life.now = due.minus(Duration::from_millis(1));
        assert_eq!(life.open().len(), 4, "{headroom} {second}");
        life.now = due;
        assert_eq!(life.open().len(), grown, "{headroom} {second}");
    }
}
