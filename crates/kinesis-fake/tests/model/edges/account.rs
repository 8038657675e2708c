use kinesis_fake::model::{NewStream, Tags};

use super::{writing::entry, *};

/// Without limits on calls and shards, on demand and committed.
fn on_demand(change: impl FnOnce(&mut Limits)) -> Life {
    let settings = settings_with(|limits| {
        limits.control_per_second = None;
        change(limits);
    });
    let mut life = Life::new(1, settings);
    life.service.put_on_demand_stream(STREAM, life.now);
    life.service
        .update_account_settings(true, life.now)
        .unwrap();
    life
}

fn open_at(life: &mut Life, now: Moment) -> u32 {
    life.now = now;
    life.open().len() as u32
}

#[test]
fn calls_about_streams_pass_as_often_as_is_said() {
    let mut life = strict();
    let service = &mut life.service;
    passes(100, SECOND, LIMIT, |now| {
        let listing = Listing::First {
            stream: STREAM,
            filter: ShardFilter::FromTrimHorizon,
            max_results: None,
        };
        service.list_shards(&listing, now)
    });
    passes(10, SECOND, LIMIT, |now| {
        service.describe_stream(STREAM, None, 1, now)
    });
    passes(20, SECOND, LIMIT, |now| {
        service.describe_stream_summary(STREAM, now)
    });
    passes(1, SECOND, LIMIT, |now| service.describe_limits(now));
    passes(5, SECOND, LIMIT, |now| service.list_streams(None, 1, now));
    let mut count = 0;
    passes(5, SECOND, LIMIT, |now| {
        count += 1;
        service.create_stream(&count.to_string(), 1, now)
    });
    let mut count = 0;
    passes(5, SECOND, LIMIT, |now| {
        count = count % 6 + 1;
        service.delete_stream(&count.to_string(), now)?;
        service.put_stream(&count.to_string(), 1, now);
        Ok(())
    });
    passes(5, SECOND, LIMIT, |now| {
        service.put_resource_policy(&arn(STREAM), "{}", now)
    });
}

#[test]
fn a_stream_is_scaled_ten_times_a_second_and_ten_times_a_day() {
    let mut life = strict();
    let mut shards = 1;
    passes(10, DAY, LIMIT, |now| {
        let target = 3 - shards;
        let resize = life.service.update_shard_count(STREAM, target, now)?;
        shards = target;
        Ok(resize)
    });
    let mut settings = instant();
    settings.limits.update_shard_count_per_day = None;
    let mut life = Life::new(1, settings);
    let mut shards = 1;
    passes(10, SECOND, LIMIT, |now| {
        let target = 3 - shards;
        let resize = life.service.update_shard_count(STREAM, target, now)?;
        shards = target;
        Ok(resize)
    });
}

#[test]
fn a_mode_is_switched_twice_and_encryption_25_times_a_day() {
    let free = |limits: &mut Limits| limits.control_per_second = None;
    let mut life = Life::new(1, settings_with(free));
    let service = &mut life.service;
    let mut on_demand = false;
    passes(2, DAY, LIMIT, |now| {
        let mode = match on_demand {
            true => StreamMode::Provisioned,
            false => StreamMode::OnDemand,
        };
        service.update_stream_mode(STREAM, mode, now)?;
        on_demand = !on_demand;
        Ok(())
    });
    let service = &mut life.service;
    let (start, mut started, mut stopped) = (START.plus(3 * DAY), 0, 0);
    while service.start_stream_encryption(STREAM, "k", start).is_ok() {
        started += 1;
        stopped += usize::from(service.stop_stream_encryption(STREAM, start).is_ok());
    }
    assert_eq!((started, stopped), (25, 25));
    let early = start.plus(DAY).minus(millis(1));
    assert_eq!(
        code(service.start_stream_encryption(STREAM, "k", early)),
        LIMIT
    );
    service
        .start_stream_encryption(STREAM, "k", start.plus(DAY))
        .unwrap();
}

#[test]
fn five_streams_are_made_at_once_and_200_shards_are_open() {
    let free = |limits: &mut Limits| limits.control_per_second = None;
    let mut settings = settings_with(free);
    settings.durations = Durations::all(SECOND);
    let mut life = Life::new(1, settings);
    let now = life.now;
    for number in 0..5 {
        life.service
            .create_stream(&number.to_string(), 1, now)
            .unwrap();
    }
    assert_eq!(code(life.service.create_stream("more", 1, now)), LIMIT);
    life.service
        .create_stream("more", 1, now.plus(SECOND))
        .unwrap();

    for (mut life, most) in [(strict(), 200), (Life::new(1, no_limits()), 100_000)] {
        let answer = life.service.create_stream("more", most, now);
        assert_eq!(code(answer), LIMIT);
        life.service.create_stream("most", most - 1, now).unwrap();
        let answer = life.service.create_stream("more", 1, now);
        assert_eq!(code(answer), LIMIT);
    }
}

#[test]
fn a_stream_has_fifty_tags_and_a_policy_of_20_kib() {
    let mut life = strict();
    let (now, resource) = (life.now, arn(STREAM));
    let tags =
        |count: usize| -> Tags { (0..count).map(|it| (it.to_string(), "".into())).collect() };
    let service = &mut life.service;
    let more = service.tag_resource(&resource, &tags(51), now);
    assert_eq!(code(more), ARGUMENT);
    service.tag_resource(&resource, &tags(50), now).unwrap();
    for (bytes, fits) in [(0, false), (20_480, true), (20_481, false)] {
        let policy = "x".repeat(bytes);
        let put = service.put_resource_policy(&resource, &policy, now);
        assert_eq!(put.is_ok(), fits, "{bytes}");
    }
}

#[test]
fn an_account_has_fifty_streams_on_demand_of_four_to_200_shards() {
    let mut life = on_demand(|_| {});
    let now = life.now;
    assert_eq!(open_at(&mut life, now), 4);
    for number in 1..50 {
        let made = life
            .service
            .create_on_demand_stream(&number.to_string(), now);
        made.unwrap();
    }
    let more = life.service.create_on_demand_stream("more", now);
    assert_eq!(code(more), LIMIT);
    let warm = life.service.update_stream_warm_throughput(STREAM, 201, now);
    assert_eq!(code(warm), LIMIT);
    life.service
        .update_stream_warm_throughput(STREAM, 200, now)
        .unwrap();
    assert_eq!(open_at(&mut life, now), 200);
}

#[test]
fn an_account_of_on_demand_advantage_has_fifty_consumers() {
    let mut life = on_demand(|limits| limits.consumers_per_second = None);
    for number in 0..50 {
        life.service
            .register_stream_consumer(STREAM, &number.to_string(), life.now)
            .unwrap();
    }
    let more = life
        .service
        .register_stream_consumer(STREAM, "more", life.now);
    assert_eq!(code(more), LIMIT);
}

#[test]
fn an_account_is_committed_for_a_day() {
    let mut life = on_demand(|_| {});
    let day = life.now.plus(DAY);
    let it = life
        .service
        .update_account_settings(false, life.now)
        .unwrap();
    assert!(it.holds(day.minus(millis(1))) && !it.holds(day));
}

/// Puts records of a byte or two, whatever limits say.
fn put_records(life: &mut Life, records: u32, now: Moment) {
    for key in 0..records {
        let entry = entry(&key.to_string(), 0);
        life.service.put_unlimited(STREAM, &entry, now).unwrap();
    }
}

/// By records as well as by bytes: ten records of a byte a second are all that a shard takes.
#[test]
fn a_stream_on_demand_grows_a_quarter_of_an_hour_after_a_minute_of_its_records() {
    let mut life = on_demand(|limits| limits.write_records_per_second = Some(10));
    let start = life.now;
    for second in 0..61 {
        let now = start.plus(Duration::from_secs(second));
        // The last is beyond the minute, and closes it.
        put_records(&mut life, if second < 60 { 30 } else { 1 }, now);
    }
    let due = start.plus(Duration::from_secs(60 + 15 * 60));
    assert_eq!(open_at(&mut life, due.minus(millis(1))), 4);
    assert_eq!(open_at(&mut life, due), 6);
}

#[test]
fn a_minute_of_traffic_is_a_minute() {
    // What came before the minute was over counts together, what came after does not.
    for (second, grown) in [(59_999, 8), (60_000, 6)] {
        let mut life = on_demand(|limits| limits.write_records_per_second = Some(10));
        let start = life.now;
        for (after, records) in [(0, 1_800), (second, 600)] {
            let now = start.plus(millis(after));
            put_records(&mut life, records, now);
        }
        let due = start.plus(Duration::from_secs(60 + 15 * 60));
        assert_eq!(open_at(&mut life, due), grown, "{second} ms");
    }
}

#[test]
fn a_stream_that_left_on_demand_is_warm_no_longer() {
    let mut life = on_demand(|_| {});
    let now = life.now;
    let new = NewStream {
        warm: Some(6),
        ..NewStream::default()
    };
    life.service
        .create_described_stream("warm", &new, now)
        .unwrap();
    let warm = |life: &mut Life| {
        let capacity = life.service.capacity("warm", now).unwrap();
        capacity.warm_throughput.map(|it| it.target)
    };
    assert_eq!(warm(&mut life), Some(6));
    for mode in [StreamMode::Provisioned, StreamMode::OnDemand] {
        life.service.update_stream_mode("warm", mode, now).unwrap();
        assert_eq!(warm(&mut life), None, "{mode:?}");
    }
}
