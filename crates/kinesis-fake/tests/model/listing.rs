//! Which shards and streams a listing has.

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn numbers(shards: &[Shard]) -> Vec<u32> {
    let number = |shard: &Shard| shard.id.number().unwrap() as u32;
    shards.iter().map(number).collect()
}

/// Shard 0 is split after an hour; 1 and 2 are merged after two.
fn history() -> Life {
    let mut life = Life::new(1, instant());
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
fn a_time_before_the_horizon_is_taken_at_its_word_or_is_the_horizon() {
    let long_ago = ShardFilter::AtTimestamp(at(0).plus(Duration::from_millis(1)));
    let before_there_was_a_stream = ShardFilter::AtTimestamp(Timestamp::from_millis(0));
    let mut life = history();
    // The first shard was split after an hour, and has expired.
    life.now = life.now.plus(DAY);
    assert_eq!(numbers(&list(&mut life, long_ago.clone())), [0; 0]);
    assert_eq!(
        numbers(&list(&mut life, before_there_was_a_stream.clone())),
        [0; 0]
    );
    let settings = life.service.settings_mut();
    settings.choices.time_before_horizon = TimeBeforeHorizon::TrimHorizon;
    let at_horizon = numbers(&list(&mut life, ShardFilter::AtTrimHorizon));
    assert!(!at_horizon.is_empty());
    assert_eq!(numbers(&list(&mut life, long_ago)), at_horizon);
    assert_eq!(
        numbers(&list(&mut life, before_there_was_a_stream)),
        at_horizon
    );
}

/// A stream that is younger than its retention has its horizon where it was made.
#[test]
fn before_a_young_stream_was_made_it_is_the_horizon() {
    let mut life = history();
    let minute_before = Timestamp::from_millis(START.timestamp().as_millis() - 60_000);
    let before = ShardFilter::AtTimestamp(minute_before);
    assert_eq!(numbers(&list(&mut life, before.clone())), [0; 0]);
    let settings = life.service.settings_mut();
    settings.choices.time_before_horizon = TimeBeforeHorizon::TrimHorizon;
    assert_eq!(numbers(&list(&mut life, before)), [0]);
    // What is not before it is taken at its word.
    let between = ShardFilter::AtTimestamp(minute_after(at(1)));
    assert_eq!(numbers(&list(&mut life, between)), [1, 2]);
}

#[test]
fn a_stream_may_be_meant_by_the_time_of_its_making() {
    let mut life = history();
    let now = life.now;
    let made = START.timestamp();
    let mut check = |time| life.service.check_created(STREAM, time, now);
    check(made).unwrap();
    let other = check(Timestamp::from_millis(made.as_millis() + 1_000)).unwrap_err();
    assert_eq!(other.code(), "ResourceNotFoundException");

    let late = now.plus(Duration::from_millis(1_234));
    life.service.put_stream("late", 1, late);
    let mut check = |millis| {
        let time = Timestamp::from_millis(late.timestamp().as_millis() / 1_000 * 1_000 + millis);
        life.service.check_created("late", time, late).is_ok()
    };
    assert_eq!(
        [0, 234, 235, 1_000].map(&mut check),
        [true, true, false, false]
    );
}

#[test]
fn another_streams_token_is_refused() {
    let mut life = history();
    life.service.put_stream("other", 3, life.now);
    let first = Listing::First {
        stream: STREAM,
        filter: ShardFilter::default(),
        max_results: Some(1),
    };
    let token = life
        .service
        .list_shards(&first, life.now)
        .unwrap()
        .next
        .unwrap();
    let next = |stream| Listing::Next {
        stream,
        token: &token,
        max_results: None,
    };
    let refusal = life
        .service
        .list_shards(&next(Some("other")), life.now)
        .unwrap_err();
    assert_eq!(refusal.code(), "InvalidArgumentException");
    for stream in [None, Some(STREAM)] {
        life.service.list_shards(&next(stream), life.now).unwrap();
    }
}

#[test]
fn another_streams_iterator_is_refused() {
    let mut life = history();
    life.service.put_stream("other", 3, life.now);
    let shard = life.open()[0].id.clone();
    let iterator = life.iterator(&shard, &Position::TrimHorizon);
    let mut read = |stream| {
        life.service
            .get_records_of(stream, iterator.as_str(), 1, life.now)
    };
    let refusal = read(Some("other")).unwrap_err();
    assert_eq!(refusal.code(), "InvalidArgumentException");
    for stream in [None, Some(STREAM)] {
        read(stream).unwrap();
    }
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

/// Each ends before shard 3, which a listing of all would go on to.
#[test]
fn a_token_knows_its_filter() {
    let a_day_after_the_split = START.plus(25 * HOUR).plus(Duration::from_millis(1));
    for (filter, now) in [
        (
            ShardFilter::AtTimestamp(minute_after(at(1))),
            START.plus(2 * HOUR),
        ),
        (ShardFilter::AtTrimHorizon, a_day_after_the_split),
    ] {
        let mut life = history();
        life.now = now;
        let listing = Listing::First {
            stream: STREAM,
            filter: filter.clone(),
            max_results: Some(1),
        };
        let first = life.service.list_shards(&listing, life.now).unwrap();
        assert_eq!(numbers(&first.shards), [1], "{filter:?}");
        let listing = Listing::Next {
            stream: Some(STREAM),
            token: &first.next.unwrap(),
            max_results: None,
        };
        let rest = life.service.list_shards(&listing, life.now).unwrap();
        let rest = (numbers(&rest.shards), rest.next);
        assert_eq!(rest, (vec![2], None), "{filter:?}");
    }
    // One that is split meanwhile is not open any more.
    let mut life = Life::new(3, instant());
    let listing = Listing::First {
        stream: STREAM,
        filter: ShardFilter::AtLatest,
        max_results: Some(1),
    };
    let first = life.service.list_shards(&listing, life.now).unwrap();
    let second = life.open()[1].clone();
    let middle = second.hash_range.start + (second.hash_range.end - second.hash_range.start) / 2;
    let split = life
        .service
        .split_shard(STREAM, &second.id, middle, life.now);
    split.unwrap();
    let listing = Listing::Next {
        stream: Some(STREAM),
        token: &first.next.unwrap(),
        max_results: None,
    };
    let rest = life.service.list_shards(&listing, life.now).unwrap();
    assert_eq!((numbers(&rest.shards), rest.next), (vec![2, 3, 4], None));
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
fn a_page_has_a_thousand_at_most() {
    let mut life = Life::new(1_001, no_limits());
    for asked in [None, Some(1_000), Some(10_000)] {
        let listing = Listing::First {
            stream: STREAM,
            filter: ShardFilter::default(),
            max_results: asked,
        };
        let page = life.service.list_shards(&listing, life.now).unwrap();
        assert_eq!((page.shards.len(), page.next.is_some()), (1_000, true));
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
