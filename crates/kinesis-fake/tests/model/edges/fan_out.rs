use kinesis_fake::model::{Sent, SubscriptionId};
use kinesis_source::{ConsumerAddress, ConsumerArn};

use super::*;

fn register(life: &mut Life, name: &str) -> ConsumerArn {
    let consumer = life
        .service
        .register_stream_consumer(STREAM, name, life.now);
    consumer.unwrap().arn
}

fn subscribe(
    life: &mut Life,
    consumer: &ConsumerArn,
    now: Moment,
) -> Result<SubscriptionId, Refusal> {
    life.service
        .subscribe_to_shard(consumer, &shard(), &Position::TrimHorizon, now)
}

/// How many records the next event has.
fn event(life: &mut Life, id: SubscriptionId, now: Moment) -> Option<usize> {
    match life.service.next_event(id, now) {
        Sent::Event(event) => Some(event.records.len()),
        Sent::Nothing { .. } => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_about_consumers_pass_five_times_a_second_and_twenty_to_describe() {
    let mut life = strict();
    register(&mut life, "audit");
    let named = ConsumerAddress::Name("audit".to_owned());
    let service = &mut life.service;
    passes(5, SECOND, LIMIT, |now| {
        service.list_stream_consumers(STREAM, None, None, now)
    });
    passes(20, SECOND, LIMIT, |now| {
        service.describe_stream_consumer(STREAM, &named, now)
    });
    let mut count = 0;
    passes(5, SECOND, LIMIT, |now| {
        count += 1;
        service.register_stream_consumer(STREAM, &count.to_string(), now)
    });
    let mut count = 0;
    passes(5, SECOND, LIMIT, |now| {
        let name = match count {
            0..5 => format!("{}", count + 1),
            _ => "audit".to_owned(),
        };
        count += 1;
        service.deregister_stream_consumer(STREAM, &ConsumerAddress::Name(name), now)
    });
}

#[test]
fn a_stream_has_twenty_consumers_and_five_in_the_making() {
    let free = |limits: &mut Limits| limits.consumers_per_second = None;
    let mut life = Life::new(1, settings_with(free));
    for number in 0..20 {
        register(&mut life, &number.to_string());
    }
    let answer = life
        .service
        .register_stream_consumer(STREAM, "more", life.now);
    assert_eq!(code(answer), LIMIT);

    let mut settings = settings_with(free);
    settings.durations = Durations::all(SECOND);
    let mut life = Life::new(1, settings);
    for number in 0..5 {
        register(&mut life, &number.to_string());
    }
    let answer = life
        .service
        .register_stream_consumer(STREAM, "more", life.now);
    assert_eq!(code(answer), LIMIT);
    life.now = life.now.plus(SECOND);
    register(&mut life, "more");
}

#[test]
fn a_stream_without_limits_has_ten_thousand_consumers() {
    let mut life = Life::new(1, no_limits());
    for number in 0..10_000 {
        register(&mut life, &number.to_string());
    }
    let answer = life
        .service
        .register_stream_consumer(STREAM, "more", life.now);
    assert_eq!(code(answer), LIMIT);
}

#[test]
fn a_subscription_is_asked_for_once_a_second_and_taken_over_after_five() {
    let mut life = strict();
    let consumer = register(&mut life, "audit");
    let start = life.now;
    subscribe(&mut life, &consumer, start).unwrap();
    for (after, refusal) in [
        (999, LIMIT),
        (1_000, IN_USE),
        (1_999, LIMIT),
        (4_999, IN_USE),
    ] {
        let answer = subscribe(&mut life, &consumer, start.plus(millis(after)));
        assert_eq!(code(answer), refusal, "{after} ms");
    }
    let mut life = strict();
    let consumer = register(&mut life, "audit");
    subscribe(&mut life, &consumer, start).unwrap();
    subscribe(&mut life, &consumer, start.plus(millis(5_000))).unwrap();
}

#[test]
fn a_subscription_lives_for_five_minutes_with_an_event_every_five_seconds() {
    let mut life = strict();
    let consumer = register(&mut life, "audit");
    let start = life.now;
    let id = subscribe(&mut life, &consumer, start).unwrap();
    for beat in 1..60 {
        let due = start.plus(millis(5_000 * beat));
        assert_eq!(event(&mut life, id, due.minus(millis(1))), None);
        assert_eq!(event(&mut life, id, due), Some(0));
    }
    assert_eq!(event(&mut life, id, start.plus(millis(299_999))), None);
    let end = life.service.next_event(id, start.plus(millis(300_000)));
    assert_eq!(end, Sent::Ended);
}

#[test]
fn an_event_has_ten_thousand_records() {
    let mut life = strict();
    for _ in 0..10_001 {
        life.put_data(1, &Bytes::from_static(b"x"));
    }
    let consumer = register(&mut life, "audit");
    let start = life.now;
    let id = subscribe(&mut life, &consumer, start).unwrap();
    assert_eq!(event(&mut life, id, start), Some(10_000));
}

#[test]
fn an_event_has_a_mib_and_takes_half_a_second() {
    for (second, records) in [(MIB / 2, 2), (MIB / 2 + 1, 1)] {
        let mut life = strict();
        for bytes in [MIB / 2, second, MIB] {
            life.put_data(1, &Bytes::from(vec![0; bytes - 1]));
        }
        let consumer = register(&mut life, "audit");
        let start = life.now;
        let id = subscribe(&mut life, &consumer, start).unwrap();
        assert_eq!(event(&mut life, id, start), Some(records));
        // A debt of less than a millisecond is none.
        let due = start.plus(millis(250 * records as u64));
        assert_eq!(event(&mut life, id, due.minus(millis(2))), None);
        assert_eq!(event(&mut life, id, due), Some(1));
    }
}

#[test]
fn an_event_waits_for_thirty_seconds() {
    for (late, broken) in [(30_000, false), (30_001, true)] {
        let mut life = strict();
        let consumer = register(&mut life, "audit");
        let start = life.now;
        let id = subscribe(&mut life, &consumer, start).unwrap();
        life.put(1, 10);
        let sent = life.service.next_event(id, start.plus(millis(late)));
        assert_eq!(sent == Sent::Broken, broken, "{sent:?}");
    }
}
