//! How many shards a stream has, and who decides that.

use kinesis_fake::{AccountLimits, ForeignArn, RecordDistribution, Resize, StreamMode};
use kinesis_source::{ConsumerAddress, ConsumerArn, HashRange, KinesisFanOutApi, StreamStatus};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn code<T: std::fmt::Debug>(answer: Result<T, ApiError>) -> String {
    answer.unwrap_err().code().unwrap().to_owned()
}

fn open_ranges(fake: &Fake) -> Vec<HashRange> {
    let shards = fake.shards();
    let open = shards.iter().filter(|shard| !shard.is_closed());
    let mut ranges: Vec<_> = open.map(|shard| shard.hash_range).collect();
    ranges.sort_unstable();
    ranges
}

#[tokio::test(start_paused = true)]
async fn four_shards_become_three_by_way_of_six() {
    let durations = Durations::all(Duration::from_secs(30));
    let fake = Fake::builder().shards(4).durations(durations).build();
    let resize = fake.update_shard_count(3).await.unwrap();
    let Resize {
        current, target, ..
    } = resize;
    assert_eq!((current, target), (4, 3));
    let status = || async { fake.describe_stream_summary().await.unwrap().status };
    let mut open = Vec::new();
    while status().await == StreamStatus::Updating {
        open.push(open_ranges(&fake).len());
        sleep(Duration::from_secs(30)).await;
    }
    // Two splits at the new boundaries, then three merges over the old ones.
    assert_eq!(open, [4, 6]);
    let third = u128::MAX / 3;
    let starts: Vec<_> = open_ranges(&fake).iter().map(|range| range.start).collect();
    assert_eq!(starts, [0, third, 2 * third]);
    let lives = fake.shards();
    assert_eq!(lives.len(), 4 + 2 * 2 + 3);
    let merged = lives.iter().filter(|shard| shard.adjacent_parent.is_some());
    assert_eq!(merged.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stream_at_most_doubles_and_at_most_halves() {
    let fake = Fake::builder().instant().shards(5).build();
    for target in [0, 2, 11] {
        let refused = code(fake.update_shard_count(target).await);
        let expected = match target {
            0 => "ValidationException",
            _ => "LimitExceededException",
        };
        assert_eq!(refused, expected, "{target}");
    }
    fake.update_shard_count(10).await.unwrap();
    assert_eq!(open_ranges(&fake).len(), 10);
    fake.update_shard_count(5).await.unwrap();
    fake.update_shard_count(3).await.unwrap();
    assert_eq!(open_ranges(&fake).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_scaled_ten_times_in_a_day() {
    let fake = Fake::new(1);
    for round in 0..10 {
        fake.update_shard_count(1 + (round + 1) % 2).await.unwrap();
        sleep(HOUR).await;
    }
    let answer = fake.update_shard_count(2).await;
    assert_eq!(code(answer), "LimitExceededException");
    sleep(13 * HOUR).await;
    assert_eq!(
        code(fake.update_shard_count(2).await),
        "LimitExceededException"
    );
    sleep(HOUR).await;
    fake.update_shard_count(2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn short_lived_shards_count_too() {
    let mut limits = Limits::default();
    limits.open_shards = 5;
    let fake = Fake::builder().shards(4).limits(limits).build();
    // On the way there are six.
    assert_eq!(
        code(fake.update_shard_count(3).await),
        "LimitExceededException"
    );
    fake.update_shard_count(2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn scaling_is_ten_calls_a_second() {
    let fake = Fake::new(1);
    for _ in 0..10 {
        assert_eq!(
            code(fake.update_shard_count(0).await),
            "ValidationException"
        );
    }
    assert_eq!(
        code(fake.update_shard_count(2).await),
        "LimitExceededException"
    );
    assert_eq!(open_ranges(&fake).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_changes_is_not_scaled() {
    let durations = Durations::all(Duration::from_secs(30));
    let fake = Fake::builder().durations(durations).build();
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    assert_eq!(
        code(fake.update_shard_count(2).await),
        "ResourceInUseException"
    );
    sleep(Duration::from_secs(30)).await;
    fake.update_shard_count(4).await.unwrap();
    let split = fake.split_shard(&shard(1), 1 << 126).await;
    assert_eq!(code(split), "ResourceInUseException");
}

/// Writes to a stream for a minute at that many MiB a second, evenly; how much was refused.
async fn write_for_a_minute(fake: &Fake, mib: usize) -> usize {
    let mut refused = 0;
    for _ in 0..60 {
        let shards = open_ranges(fake);
        let share = mib * MIB / shards.len() - 1_024;
        for range in &shards {
            let mut it = entry("k", share.min(MIB - 1));
            it.explicit_hash_key = Some(range.start);
            let mut left = share;
            while left > 1 {
                it.data = it.data.slice(..left.min(MIB - 1));
                let outcomes = fake.put_records(std::slice::from_ref(&it)).await.unwrap();
                refused += usize::from(matches!(outcomes[0], PutOutcome::Refused { .. }));
                left -= it.data.len();
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
    refused
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_demand_begins_with_four_and_doubles_what_it_took_a_quarter_of_an_hour_later() {
    let fake = Fake::builder().on_demand().retention_hours(24).build();
    assert_eq!(open_ranges(&fake).len(), 4);
    assert_eq!(write_for_a_minute(&fake, 4).await, 0);
    // More than that is throttled until it has grown.
    assert!(write_for_a_minute(&fake, 6).await > 0);
    assert_eq!(open_ranges(&fake).len(), 4);
    sleep(Duration::from_secs(14 * 60)).await;
    let grown = open_ranges(&fake);
    assert_eq!(grown.len(), 8);
    assert_eq!(write_for_a_minute(&fake, 6).await, 0);
    // Less traffic does not let it shrink.
    sleep(30 * HOUR).await;
    assert!(open_ranges(&fake).len() >= 8);
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_demand_grows_again_and_not_beyond_its_bound() {
    let mut limits = Limits::default();
    limits.on_demand_shards = 13;
    let fake = Fake::builder().on_demand().limits(limits).build();
    for (mib, grown) in [(4, 8), (8, 13), (13, 13)] {
        assert_eq!(write_for_a_minute(&fake, mib).await, 0, "{mib}");
        sleep(Duration::from_secs(16 * 60)).await;
        assert_eq!(open_ranges(&fake).len(), grown);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_back_to_provisioned_only_if_there_is_room_for_its_shards() {
    let mut limits = Limits::default();
    limits.open_shards = 3;
    let fake = Fake::builder().on_demand().limits(limits).build();
    let answer = fake.update_stream_mode(StreamMode::Provisioned).await;
    assert_eq!(code(answer), "LimitExceededException");
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_demand_grows_even_if_nobody_looks() {
    let fake = Fake::builder().on_demand().build();
    let at = iterator(&fake, &shard(0), Position::Latest).await;
    write_for_a_minute(&fake, 4).await;
    let page = fake.get_records(&at, 10_000).await.unwrap();
    // Nothing more is put. The reader alone finds its shard split, at the time when it was.
    let mut next = page.next;
    let mut last = None;
    for _ in 0..20 {
        let Some(iterator) = &next else { break };
        sleep(Duration::from_secs(60)).await;
        let page = fake.get_records(iterator, 10_000).await.unwrap();
        next = page.next.clone();
        last = Some(page);
    }
    assert_eq!(last.unwrap().children.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_a_provisioned_stream_is_resharded_by_hand() {
    let fake = Fake::builder().on_demand().build();
    let answers = [
        fake.split_shard(&shard(0), 1 << 120).await,
        fake.merge_shards(&shard(0), &shard(1)).await,
        fake.update_shard_count(8).await.map(drop),
    ];
    for answer in answers {
        assert_eq!(code(answer), "ValidationException");
    }
}

#[tokio::test(start_paused = true)]
async fn a_streams_mode_is_switched_twice_a_day() {
    let durations = Durations::all(Duration::from_secs(60));
    let fake = Fake::builder().shards(2).durations(durations).build();
    let same = fake.update_stream_mode(StreamMode::Provisioned).await;
    assert_eq!(code(same), "InvalidArgumentException");
    for mode in [StreamMode::OnDemand, StreamMode::Provisioned] {
        fake.update_stream_mode(mode).await.unwrap();
        let status = fake.describe_stream_summary().await.unwrap().status;
        assert_eq!(status, StreamStatus::Updating);
        let again = fake.update_stream_mode(mode).await;
        assert_eq!(code(again), "ResourceInUseException");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(open_ranges(&fake).len(), 2);
    }
    let third = fake.update_stream_mode(StreamMode::OnDemand).await;
    assert_eq!(code(third), "LimitExceededException");
    sleep(24 * HOUR).await;
    fake.update_stream_mode(StreamMode::OnDemand).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_distributes_by_itself_needs_no_keys() {
    let fake = Fake::instant(1);
    let auto = RecordDistribution::Auto;
    let refused = fake.update_stream_record_distribution_strategy(auto).await;
    assert_eq!(code(refused), "InvalidArgumentException");
    fake.update_stream_mode(StreamMode::OnDemand).await.unwrap();
    assert_eq!(
        code(fake.put_records(&[entry("", 1)]).await),
        "ValidationException"
    );
    let set = fake.update_stream_record_distribution_strategy(auto).await;
    set.unwrap();
    fake.update_stream_mode(StreamMode::Provisioned)
        .await
        .unwrap();
    assert_eq!(
        code(fake.put_records(&[entry("", 1)]).await),
        "ValidationException"
    );

    let fake = Fake::builder().instant().on_demand().build();
    let set = fake.update_stream_record_distribution_strategy(auto).await;
    set.unwrap();
    let mut entries = vec![entry("", 1); 10];
    entries.extend(vec![entry("the same", 1); 10]);
    entries[0].explicit_hash_key = Some(0);
    fake.put_records(&entries).await.unwrap();
    // Evenly, whatever the keys; those that were given are returned.
    let records = fake.records();
    assert_eq!(
        records.iter().map(|(_, it)| it.len()).collect::<Vec<_>>(),
        [5; 4]
    );
    let keys = records.iter().flat_map(|(_, records)| records);
    let keys: Vec<_> = keys.filter_map(|it| it.partition_key.clone()).collect();
    assert_eq!(keys, vec!["the same"; 10]);
}

#[tokio::test(start_paused = true)]
async fn an_account_tells_its_limits_once_a_second() {
    let fake = Fake::builder().shards(3).build();
    fake.stream("other")
        .create_on_demand_stream()
        .await
        .unwrap();
    let AccountLimits {
        shard_limit,
        open_shards,
        on_demand_stream_limit,
        on_demand_streams,
        ..
    } = fake.describe_limits().await.unwrap();
    assert_eq!((shard_limit, open_shards), (200, 3));
    assert_eq!((on_demand_stream_limit, on_demand_streams), (50, 1));
    assert_eq!(code(fake.describe_limits().await), "LimitExceededException");
    sleep(Duration::from_secs(1)).await;
    fake.describe_limits().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_account_has_fifty_streams_on_demand() {
    let mut limits = Limits::default();
    limits.control_per_second = None;
    let fake = Fake::builder()
        .instant()
        .limits(limits)
        .without_stream()
        .build();
    for number in 0..50 {
        let stream = fake.stream(&format!("stream-{number}"));
        stream.create_on_demand_stream().await.unwrap();
    }
    let answer = fake.create_on_demand_stream().await;
    assert_eq!(code(answer), "LimitExceededException");
    fake.create_stream(1).await.unwrap();
    let answer = fake.update_stream_mode(StreamMode::OnDemand).await;
    assert_eq!(code(answer), "LimitExceededException");
}

#[tokio::test(start_paused = true)]
async fn retention_grows_and_shrinks_between_a_day_and_a_year() {
    let fake = Fake::new(1);
    let hours = || async {
        fake.describe_stream_summary()
            .await
            .unwrap()
            .retention_hours
    };
    fake.put("k", "x").unwrap();
    fake.increase_stream_retention_period(48).await.unwrap();
    assert_eq!(hours().await, 48);
    sleep(47 * HOUR).await;
    assert_eq!(fake.records()[0].1.len(), 1);
    for wrong in [47, 8_761] {
        let answer = fake.increase_stream_retention_period(wrong).await;
        assert_eq!(code(answer), "InvalidArgumentException");
    }
    let answer = fake.decrease_stream_retention_period(23).await;
    assert_eq!(code(answer), "InvalidArgumentException");
    // What is too old goes at once, and does not come back.
    fake.decrease_stream_retention_period(24).await.unwrap();
    fake.increase_stream_retention_period(8_760).await.unwrap();
    assert_eq!(fake.records()[0].1.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_known_by_its_name_and_by_its_arn() {
    let fake = Fake::builder().name("orders").build();
    let arn = fake.describe_stream_summary().await.unwrap().arn;
    let same = fake.stream("other").stream(&arn);
    assert_eq!(same.name(), "orders");
    assert_eq!(same.describe_stream_summary().await.unwrap().arn, arn);
}

#[tokio::test(start_paused = true)]
async fn an_arn_of_another_account_or_region_is_refused() {
    for (foreign_arn, expected) in [
        (ForeignArn::AccessDenied, "AccessDeniedException"),
        (ForeignArn::NotFound, "ResourceNotFoundException"),
    ] {
        let mut choices = Choices::default();
        choices.foreign_arn = foreign_arn;
        let builder = Fake::builder().name("orders").choices(choices);
        let fake = builder.account("123456789012").region("eu-west-1").build();
        let arn = fake.describe_stream_summary().await.unwrap().arn;
        assert_eq!(arn, "arn:aws:kinesis:eu-west-1:123456789012:stream/orders");
        assert_eq!(fake.stream(&arn).name(), "orders");
        let consumer = fake.register_stream_consumer("audit").await.unwrap().arn;
        assert!(
            consumer
                .as_str()
                .starts_with(&format!("{arn}/consumer/audit:"))
        );
        for (former, other, expected) in [
            ("123456789012", "000000000000", expected),
            ("eu-west-1", "us-east-1", "ResourceNotFoundException"),
        ] {
            let foreign = fake.stream(&arn.replace(former, other));
            assert_eq!(code(foreign.describe_stream_summary().await), expected);
            assert_eq!(code(foreign.list_shards(None).await), expected);
            assert_eq!(code(foreign.put("k", "x")), expected);
            let foreign = ConsumerArn::new(consumer.as_str().replace(former, other));
            let address = ConsumerAddress::Arn(foreign.clone());
            assert_eq!(
                code(fake.describe_stream_consumer(&address).await),
                expected
            );
            let start = &Position::TrimHorizon;
            let subscribed = fake.subscribe_to_shard(&foreign, &shard(0), start).await;
            assert_eq!(code(subscribed.map(drop)), expected);
        }
    }
}

#[test]
#[should_panic(expected = "an account is twelve digits: \"12\"")]
fn an_account_of_two_digits_is_none() {
    let _ = Fake::builder().account("12");
}

#[test]
#[should_panic(expected = "a region is named as us-east-1: \"US East\"")]
fn a_region_has_no_capitals() {
    let _ = Fake::builder().region("US East");
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_does_not_come_back_when_retention_grows() {
    let fake = Fake::instant(1);
    fake.put("k", "x").unwrap();
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    let shard_ids = || async {
        let page = fake.list_shards(None).await.unwrap();
        page.shards.into_iter().map(|it| it.id).collect::<Vec<_>>()
    };
    sleep(24 * HOUR + Duration::from_secs(1)).await;
    // Nobody looks before it grows.
    fake.increase_stream_retention_period(48).await.unwrap();
    assert_eq!(shard_ids().await, [shard(1), shard(2)]);
    let answer = fake
        .get_shard_iterator(&shard(0), &Position::TrimHorizon)
        .await;
    assert_eq!(code(answer), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_has_expired_does_not_come_back_when_retention_grows() {
    let fake = Fake::new(1);
    fake.put("k", "old").unwrap();
    sleep(Duration::from_secs(1)).await;
    fake.put("k", "new").unwrap();
    sleep(24 * HOUR).await;
    fake.increase_stream_retention_period(48).await.unwrap();
    let (records, _) = drain(&fake, &shard(0)).await;
    assert_eq!(data(&records), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_left_on_demand_forgets_that_it_was_to_grow() {
    let fake = Fake::builder().on_demand().build();
    write_for_a_minute(&fake, 4).await;
    // Its traffic has been seen: it is to have eight shards soon.
    sleep(Duration::from_secs(60)).await;
    assert_eq!(open_ranges(&fake).len(), 4);
    let provisioned = fake.update_stream_mode(StreamMode::Provisioned).await;
    provisioned.unwrap();
    sleep(HOUR).await;
    fake.update_stream_mode(StreamMode::OnDemand).await.unwrap();
    sleep(HOUR).await;
    assert_eq!(open_ranges(&fake).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_account_may_have_several_streams_from_the_start() {
    let durations = Durations::all(Duration::from_secs(30));
    let builder = Fake::builder().name("one").shards(3).durations(durations);
    let fake = builder.and_stream("two", 2).and_stream("three", 0).build();
    for (name, shards) in [("one", 3), ("two", 2), ("three", 1)] {
        let stream = fake.stream(name);
        let summary = stream.describe_stream_summary().await.unwrap();
        let told = (summary.status, summary.open_shards);
        assert_eq!(told, (StreamStatus::Active, shards), "{name}");
    }
    let only = Fake::builder()
        .without_stream()
        .and_stream("two", 1)
        .build();
    let answer = only.describe_stream_summary().await;
    assert_eq!(code(answer), "ResourceNotFoundException");
    assert_eq!(only.stream("two").shards().len(), 1);
}
