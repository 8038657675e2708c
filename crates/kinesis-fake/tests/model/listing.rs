//! Which shards and streams a listing has.

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn numbers(shards: &[Shard]) -> Vec<u32> {
    let number = |shard: &Shard| shard.id.as_str()[8..].parse().unwrap();
    shards.iter().map(number).collect()
}

/// Shard 0 is split after an hour; 1 and 2 are merged after two.
fn history() -> Life {
    let mut life = Life::new(1, Settings::default());
    life.now = START.plus(HOUR);
    let halves =
        life.service
            .split_shard(STREAM, &"shardId-000000000000".into(), 1 << 127, life.now);
    halves.unwrap();
    life.now = START.plus(2 * HOUR);
    let (a, b) = ("shardId-000000000001".into(), "shardId-000000000002".into());
    life.service.merge_shards(STREAM, &a, &b, life.now).unwrap();
    life
}

fn at(hours: u32) -> Timestamp {
    START.plus(hours * HOUR).timestamp()
}

fn minute_after(time: Timestamp) -> Timestamp {
    time.plus(Duration::from_secs(60))
}

#[test]
fn from_the_trim_horizon_there_are_all() {
    let mut life = history();
    assert_eq!(
        numbers(&list(&mut life, ShardFilter::FromTrimHorizon)),
        [0, 1, 2, 3]
    );
    // Until the first has expired.
    life.now = START.plus(25 * HOUR).plus(Duration::from_millis(1));
    assert_eq!(
        numbers(&list(&mut life, ShardFilter::FromTrimHorizon)),
        [1, 2, 3]
    );
}

#[test]
fn at_the_trim_horizon_there_are_those_that_were_open_then() {
    let mut life = history();
    assert_eq!(numbers(&list(&mut life, ShardFilter::AtTrimHorizon)), [0]);
    life.now = START.plus(25 * HOUR).plus(Duration::from_millis(1));
    assert_eq!(
        numbers(&list(&mut life, ShardFilter::AtTrimHorizon)),
        [1, 2]
    );
    life.now = START.plus(27 * HOUR);
    assert_eq!(numbers(&list(&mut life, ShardFilter::AtTrimHorizon)), [3]);
}

#[test]
fn at_latest_there_are_the_open_ones() {
    assert_eq!(numbers(&list(&mut history(), ShardFilter::AtLatest)), [3]);
}

#[test]
fn at_a_time_there_are_those_that_were_open_then() {
    let mut life = history();
    let mut at_time = |time| numbers(&list(&mut life, ShardFilter::AtTimestamp(time)));
    assert_eq!(at_time(minute_after(at(0))), [0]);
    assert_eq!(
        at_time(at(1)),
        [0, 1, 2],
        "at the split: it ended and they began then"
    );
    assert_eq!(at_time(minute_after(at(1))), [1, 2]);
    assert_eq!(at_time(minute_after(at(2))), [3]);
}

#[test]
fn from_a_time_there_are_those_that_were_open_then_or_came_later() {
    let mut life = history();
    let mut from_time = |time| numbers(&list(&mut life, ShardFilter::FromTimestamp(time)));
    assert_eq!(
        from_time(Timestamp::from_millis(0)),
        [0, 1, 2, 3],
        "the horizon"
    );
    assert_eq!(from_time(minute_after(at(1))), [1, 2, 3]);
    assert_eq!(from_time(minute_after(at(2))), [3]);
}

#[test]
fn after_a_shard_there_are_those_of_higher_ids() {
    let mut life = history();
    let mut after = |id: &str| numbers(&list(&mut life, ShardFilter::AfterShardId(id.into())));
    assert_eq!(after("shardId-000000000001"), [2, 3]);
    assert_eq!(after("shardId-000000000003"), [0; 0]);
}

#[test]
fn a_token_knows_its_filter() {
    let mut life = history();
    let listing = Listing::First {
        stream: STREAM,
        filter: ShardFilter::FromTimestamp(minute_after(at(1))),
        max_results: Some(2),
    };
    let first = life.service.list_shards(&listing, life.now).unwrap();
    assert_eq!(numbers(&first.shards), [1, 2]);
    let listing = Listing::Next {
        token: &first.next.unwrap(),
        max_results: None,
    };
    let rest = life.service.list_shards(&listing, life.now).unwrap();
    assert_eq!((numbers(&rest.shards), rest.next), (vec![3], None));
}

#[test]
fn a_page_has_as_many_as_asked_for_between_one_and_ten_thousand() {
    let mut life = history();
    for (most, fits) in [(0, false), (1, true), (10_000, true), (10_001, false)] {
        let listing = Listing::First {
            stream: STREAM,
            filter: ShardFilter::default(),
            max_results: Some(most),
        };
        let answer = life.service.list_shards(&listing, life.now);
        assert_eq!(answer.is_ok(), fits, "{most}");
    }
}

#[test]
fn a_description_comes_in_pages_after_a_shard() {
    let mut life = history();
    let now = life.now;
    let mut page = |after: Option<&ShardId>| {
        let page = life.service.describe_stream(STREAM, after, 3, now);
        let (summary, shards, more) = page.unwrap();
        assert_eq!((summary.open_shards, summary.name.as_str()), (1, STREAM));
        (numbers(&shards), more)
    };
    assert_eq!(page(None), (vec![0, 1, 2], true));
    assert_eq!(page(Some(&"shardId-000000000002".into())), (vec![3], false));
}

#[test]
fn descriptions_are_ten_and_twenty_a_second() {
    let mut life = history();
    for _ in 0..10 {
        life.service
            .describe_stream(STREAM, None, 1, life.now)
            .unwrap();
    }
    let answer = life.service.describe_stream(STREAM, None, 1, life.now);
    assert_eq!(answer.unwrap_err().code(), "LimitExceededException");
    for _ in 0..20 {
        life.service
            .describe_stream_summary(STREAM, life.now)
            .unwrap();
    }
    let answer = life.service.describe_stream_summary(STREAM, life.now);
    assert_eq!(answer.unwrap_err().code(), "LimitExceededException");
}

#[test]
fn listings_of_shards_are_a_hundred_a_second() {
    let mut life = history();
    let listing = Listing::First {
        stream: STREAM,
        filter: ShardFilter::default(),
        max_results: None,
    };
    for _ in 0..100 {
        life.service.list_shards(&listing, life.now).unwrap();
    }
    let answer = life.service.list_shards(&listing, life.now);
    assert_eq!(answer.unwrap_err().code(), "LimitExceededException");
}
