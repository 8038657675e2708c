use kinesis_fake::ReadLimit;

use super::*;

/// A record of so many bytes, its key of one byte included.
fn put(life: &mut Life, bytes: usize) {
    life.put_data(1, &Bytes::from(vec![0; bytes - 1]));
}

#[test]
fn get_records_passes_five_times_a_second() {
    let mut life = strict();
    let at = life.iterator(&shard(), &Position::TrimHorizon);
    life.service.settings_mut().limits.iterator_life = None;
    passes(5, SECOND, THROUGHPUT, |now| {
        life.service.get_records(at.as_str(), 1, now)
    });
}

#[test]
fn get_shard_iterator_passes_five_times_a_second() {
    let mut life = strict();
    passes(5, SECOND, THROUGHPUT, |now| {
        life.service
            .get_shard_iterator(STREAM, &shard(), &Position::TrimHorizon, now)
    });
}

#[test]
fn an_answer_has_ten_thousand_records() {
    let mut life = strict();
    for _ in 0..10_001 {
        put(&mut life, 5);
    }
    let at = life.iterator(&shard(), &Position::TrimHorizon);
    for limit in [0, 10_001] {
        let answer = life.service.get_records(at.as_str(), limit, life.now);
        assert_eq!(code(answer), ARGUMENT);
    }
    life.service.settings_mut().choices.read_limit = ReadLimit::Validation;
    for limit in [0, 10_001] {
        let answer = life.service.get_records(at.as_str(), limit, life.now);
        assert_eq!(code(answer), VALIDATION);
    }
    let page = life
        .service
        .get_records(at.as_str(), 10_000, life.now)
        .unwrap();
    assert_eq!(page.records.len(), 10_000);
}

#[test]
fn an_answer_has_ten_mib() {
    for (last, records) in [(MIB, 10), (MIB + 1, 9)] {
        let mut life = strict();
        for _ in 0..9 {
            put(&mut life, MIB);
        }
        put(&mut life, last);
        put(&mut life, 1);
        let at = life.iterator(&shard(), &Position::TrimHorizon);
        let page = life
            .service
            .get_records(at.as_str(), 100, life.now)
            .unwrap();
        assert_eq!(page.records.len(), records);
    }
}

/// When a shard is read again after an answer of so many bytes, in milliseconds.
fn closed_for(bytes: usize, limits: Limits) -> u64 {
    let mut settings = instant();
    settings.limits = limits;
    let mut life = Life::new(1, settings);
    put(&mut life, bytes);
    let at = life.iterator(&shard(), &Position::TrimHorizon);
    life.service.get_records(at.as_str(), 1, life.now).unwrap();
    (0..20_000)
        .find(|after| {
            let now = life.now.plus(millis(*after));
            let answer = life.service.get_records(at.as_str(), 1, now);
            answer.is_ok()
        })
        .unwrap()
}

#[test]
fn reading_is_two_mib_a_second_and_a_lenient_service_lets_it_run_a_second_ahead() {
    // A debt of less than a millisecond is none.
    for (mib, strict, lenient) in [(2, 1_000, 0), (4, 2_000, 1_000), (10, 5_000, 4_000)] {
        let off_by = |closed: u64, exact: u64| closed.abs_diff(exact) <= 1;
        let (bytes, closed) = (mib * MIB, closed_for(mib * MIB, Limits::default()));
        assert!(off_by(closed, strict), "{mib} MiB: {closed} ms");
        let closed = closed_for(bytes, Limits::lenient());
        assert!(off_by(closed, lenient), "{mib} MiB: {closed} ms");
    }
}

#[test]
fn an_iterator_lives_for_five_minutes() {
    let mut life = strict();
    let at = life.iterator(&shard(), &Position::TrimHorizon);
    let end = life.now.plus(millis(300_000));
    life.service.get_records(at.as_str(), 1, end).unwrap();
    let late = life
        .service
        .get_records(at.as_str(), 1, end.plus(millis(1)));
    assert_eq!(code(late), "ExpiredIteratorException");
}

#[test]
fn a_token_lives_for_five_minutes() {
    let mut life = Life::new(2, instant());
    let first = Listing::First {
        stream: STREAM,
        filter: ShardFilter::FromTrimHorizon,
        max_results: Some(1),
    };
    let page = life.service.list_shards(&first, life.now).unwrap();
    let next = Listing::Next {
        stream: Some(STREAM),
        token: &page.next.unwrap(),
        max_results: None,
    };
    let end = life.now.plus(millis(300_000));
    life.service.list_shards(&next, end).unwrap();
    let late = life.service.list_shards(&next, end.plus(millis(1)));
    assert_eq!(code(late), "ExpiredNextTokenException");
}

#[test]
fn a_record_is_kept_for_a_day_unless_told_otherwise_and_for_a_year_at_most() {
    let mut life = strict();
    put(&mut life, 5);
    let kept = |life: &mut Life, now| life.service.records(STREAM, now)[0].1.len();
    let day = life.now.plus(DAY);
    assert_eq!(kept(&mut life, day), 1);
    assert_eq!(kept(&mut life, day.plus(millis(1))), 0);
    for (hours, fits) in [(8_761, false), (8_760, true)] {
        let answer = life.service.increase_retention(STREAM, hours, day);
        assert_eq!(answer.is_ok(), fits, "{hours}");
    }
    for (hours, fits) in [(23, false), (24, true)] {
        let answer = life.service.decrease_retention(STREAM, hours, day);
        assert_eq!(answer.is_ok(), fits, "{hours}");
    }
}
