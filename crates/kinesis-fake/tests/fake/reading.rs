//! Iterators, positions, answers and their limits.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_put_is_read_in_order() {
    let fake = Fake::new(1);
    fake.put_numbered(0..2_500).unwrap();
    let (records, _) = drain(&fake, &shard(0)).await;
    let expected: Vec<_> = (0..2_500).map(|n| n.to_string()).collect();
    assert_eq!(data(&records), expected);
    assert!(records.is_sorted_by(|a, b| a.sequence_number < b.sequence_number));
    assert_eq!(fake.records(), [(shard(0), records)]);
    assert_eq!(fake.calls().throttled(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_naive_reader_gets_five_answers_a_second() {
    let fake = Fake::new(1);
    let iterator = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    for _ in 0..100 {
        let _ = fake.get_records(&iterator, 1).await;
        advance(millis(100)).await;
    }
    let tally = fake.calls().of(Operation::GetRecords);
    assert_eq!((tally.made, tally.throttled, tally.failed), (100, 50, 0));
}

#[tokio::test(start_paused = true)]
async fn ten_mib_close_a_shard_for_five_seconds() {
    let fake = Fake::new(1);
    for _ in 0..11 {
        fake.put("k", vec![0; MIB - 1]).unwrap();
    }
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    let page = fake.get_records(&at, 10_000).await.unwrap();
    assert_eq!(page.records.len(), 10);
    let next = page.next.unwrap();
    advance(millis(4_999)).await;
    let throttled = fake.get_records(&next, 10_000).await.unwrap_err();
    assert_eq!(
        throttled.code(),
        Some("ProvisionedThroughputExceededException")
    );
    advance(millis(1)).await;
    assert_eq!(fake.get_records(&next, 1).await.unwrap().records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_iterator_expires_after_five_minutes() {
    let fake = Fake::new(1);
    let old = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    advance(millis(300_000)).await;
    let fresh = fake.get_records(&old, 1).await.unwrap().next.unwrap();
    advance(millis(1)).await;
    assert_eq!(
        remedy(fake.get_records(&old, 1).await),
        Remedy::RenewIterator
    );
    assert!(fake.get_records(&fresh, 1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn positions_are_where_they_say() {
    let fake = Fake::new(1);
    let mut numbers = Vec::new();
    for text in ["a", "b", "c"] {
        numbers.push(fake.put("k", text).unwrap().1);
        advance(millis(10_000)).await;
    }
    let second = fake.now().plus(Duration::ZERO).as_millis() - 20_000;
    let second = Timestamp::from_millis(second);
    let start = fake.shards()[0].starting_sequence_number.clone();
    for (position, expected) in [
        (Position::TrimHorizon, "abc"),
        (Position::Latest, ""),
        (Position::AtSequenceNumber(numbers[1].clone()), "bc"),
        (Position::AfterSequenceNumber(numbers[1].clone()), "c"),
        (Position::AtSequenceNumber(start.clone()), "abc"),
        (Position::AfterSequenceNumber(start), "abc"),
        (Position::AtTimestamp(second), "bc"),
        (Position::AtTimestamp(second.plus(millis(1))), "c"),
        (Position::AtTimestamp(fake.now()), ""),
    ] {
        sleep(Duration::from_secs(1)).await;
        let at = iterator(&fake, &shard(0), position.clone()).await;
        let page = fake.get_records(&at, 10).await.unwrap();
        assert_eq!(data(&page.records).concat(), expected, "{position:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn latest_sees_what_comes_later_only() {
    let fake = Fake::new(1);
    fake.put("k", "old").unwrap();
    let at = iterator(&fake, &shard(0), Position::Latest).await;
    fake.put("k", "new").unwrap();
    let page = fake.get_records(&at, 10).await.unwrap();
    assert_eq!(data(&page.records), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn a_time_to_come_is_refused_or_is_the_end() {
    let fake = Fake::new(1);
    let now = Position::AtTimestamp(fake.now());
    assert!(fake.get_shard_iterator(&shard(0), &now).await.is_ok());
    let later = Position::AtTimestamp(fake.now().plus(millis(1)));
    let answer = fake.get_shard_iterator(&shard(0), &later).await;
    assert_eq!(remedy(answer), Remedy::Correct);

    let mut choices = Choices::default();
    choices.future_timestamp = FutureTimestamp::StartAtEnd;
    let fake = Fake::builder().choices(choices).build();
    assert!(fake.get_shard_iterator(&shard(0), &later).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_foreign_number_is_refused_by_name() {
    let fake = Fake::new(2);
    let (home, number) = fake.put("k", "x").unwrap();
    let other = [shard(0), shard(1)]
        .into_iter()
        .find(|it| *it != home)
        .unwrap();
    let at = Position::AtSequenceNumber(number);
    let error = fake.get_shard_iterator(&other, &at).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::Correct);
    let message = error.message().unwrap();
    assert!(message.contains(&format!("It encodes {home}")), "{message}");

    // Of other streams, an older and a younger one, with a shard of the same name.
    let stranger = |epoch| {
        let stranger = Fake::builder().epoch(epoch).build();
        stranger.put("k", "x").unwrap().1
    };
    let older = stranger(Timestamp::from_millis(1_000_000_000_000));
    let younger = stranger(fake.now().plus(Duration::from_secs(9)));
    for foreign in [older, younger, 7_u128.into()] {
        let at = Position::AfterSequenceNumber(foreign);
        let answer = fake.get_shard_iterator(&shard(0), &at).await;
        assert_eq!(remedy(answer), Remedy::Correct);
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_is_no_iterator_and_no_token() {
    let fake = Fake::new(1);
    for text in ["", "abc", "zz", &"0".repeat(100_000), "ü"] {
        let answer = fake
            .get_records(&ShardIterator::new(shard(0), text), 1)
            .await;
        assert_eq!(remedy(answer), Remedy::Correct, "{text:.10}");
        let answer = fake.list_shards(Some(NextToken(text.into()))).await;
        assert_eq!(remedy(answer), Remedy::Correct, "{text:.10}");
    }
    let at = iterator(&fake, &shard(0), Position::Latest).await;
    for limit in [0, 10_001, usize::MAX] {
        assert_eq!(remedy(fake.get_records(&at, limit).await), Remedy::Correct);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_empty_though_there_is_more() {
    let mut choices = Choices::default();
    choices.empty_answer_every = 2;
    let fake = Fake::builder().choices(choices).build();
    fake.put_numbered(0..5).unwrap();
    let mut at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let page = fake.get_records(&at, 2).await.unwrap();
        sizes.push((page.records.len(), page.millis_behind_latest == Some(0)));
        at = page.next.unwrap();
        sleep(millis(200)).await;
    }
    let expected = [2, 0, 2, 0, 1, 0]
        .into_iter()
        .zip([false, false, false, false, true, true]);
    assert_eq!(sizes, expected.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_trimmed_number_is_refused_or_is_the_horizon() {
    for (choice, refused) in [
        (OlderThanHorizon::Refuse, true),
        (OlderThanHorizon::StartAtHorizon, false),
    ] {
        let mut choices = Choices::default();
        choices.older_than_horizon = choice;
        let fake = Fake::builder().choices(choices).build();
        let (_, first) = fake.put("k", "a").unwrap();
        let (_, second) = fake.put("k", "b").unwrap();
        advance(Duration::from_secs(24 * 3_600 + 1)).await;
        fake.put("k", "c").unwrap();
        let at = Position::AtSequenceNumber(second.clone());
        let answer = fake.get_shard_iterator(&shard(0), &at).await;
        assert_eq!(answer.is_err(), refused);
        if let Ok(at) = answer {
            let page = fake.get_records(&at, 10).await.unwrap();
            assert_eq!(data(&page.records), ["c"]);
        }
        let gap = Position::AfterSequenceNumber(first);
        assert_eq!(
            fake.get_shard_iterator(&shard(0), &gap).await.is_err(),
            refused
        );
        // Who begins at the shard's own start asks for whatever is left.
        let start = fake.shards()[0].starting_sequence_number.clone();
        let start = iterator(&fake, &shard(0), Position::AtSequenceNumber(start)).await;
        let page = fake.get_records(&start, 10).await.unwrap();
        assert_eq!(data(&page.records), ["c"]);
        // Nothing is lost between the newest trimmed record and the oldest kept one.
        let no_gap = Position::AfterSequenceNumber(second);
        assert!(fake.get_shard_iterator(&shard(0), &no_gap).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_of_ten_thousand_is_read_without_limits_in_one_moment() {
    let fake = Fake::builder().limits(Limits::none()).build();
    fake.put_numbered(0..20_000).unwrap();
    let mut at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    for _ in 0..2 {
        let page = fake.get_records(&at, 10_000).await.unwrap();
        assert_eq!(page.records.len(), 10_000);
        at = page.next.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn each_shard_opens_five_iterators_a_second() {
    let fake = Fake::new(2);
    for _ in 0..5 {
        iterator(&fake, &shard(0), Position::Latest).await;
    }
    let answer = fake.get_shard_iterator(&shard(0), &Position::Latest).await;
    assert_eq!(remedy(answer), Remedy::Wait);
    iterator(&fake, &shard(1), Position::Latest).await;
}

#[tokio::test(start_paused = true)]
async fn one_record_is_returned_however_large() {
    let mut limits = Limits::default();
    limits.bytes_per_answer = 10;
    let fake = Fake::builder().limits(limits).build();
    fake.put("k", "large enough").unwrap();
    fake.put("k", "small").unwrap();
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    let page = fake.get_records(&at, 10).await.unwrap();
    assert_eq!(data(&page.records), ["large enough"]);
}

#[tokio::test(start_paused = true)]
async fn a_lenient_shard_lets_reading_run_a_second_ahead() {
    for (limits, closed_for) in [(Limits::default(), 1_000), (Limits::lenient(), 0)] {
        let fake = Fake::builder().limits(limits).build();
        for _ in 0..4 {
            fake.put("k", vec![0; MIB - 1]).unwrap();
        }
        let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
        let page = fake.get_records(&at, 2).await.unwrap();
        let next = page.next.unwrap();
        if closed_for > 0 {
            sleep(millis(closed_for - 1)).await;
            assert_eq!(remedy(fake.get_records(&next, 2).await), Remedy::Wait);
            sleep(millis(1)).await;
        }
        let next = fake.get_records(&next, 2).await.unwrap().next.unwrap();
        // That was all that it may run ahead.
        assert_eq!(remedy(fake.get_records(&next, 2).await), Remedy::Wait);
    }
}

#[tokio::test(start_paused = true)]
async fn an_exception_takes_nothing_and_leaves_the_iterator_good() {
    let fake = Fake::new(1);
    fake.put("k", "x").unwrap();
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    for code in ["InternalFailure", "KMSThrottlingException", "Nonsense"] {
        fake.inject(Fault::refusal(Operation::GetRecords, code));
        let error = fake.get_records(&at, 10).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
    }
    assert_eq!(fake.get_records(&at, 10).await.unwrap().records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn arrival_times_may_be_out_of_order() {
    let mut choices = Choices::default();
    choices.arrival_disorder = millis(500);
    let told = |seed| {
        let fake = Fake::builder().choices(choices).seed(seed).build();
        fake.put_numbered(0..100).unwrap();
        let records = fake.records().remove(0).1;
        let told = records.iter().map(|it| it.approximate_arrival.unwrap());
        (told.collect::<Vec<_>>(), fake.now())
    };
    let (times, now) = told(1);
    assert!(!times.is_sorted());
    assert!(
        times
            .iter()
            .all(|time| *time <= now && now.since(*time) <= millis(500))
    );
    assert_eq!(told(1).0, times);
    assert_ne!(told(2).0, times);
}

#[tokio::test(start_paused = true)]
async fn two_thousand_records_a_second_are_read_or_any_number() {
    let fake = Fake::new(1);
    fake.put_numbered(0..3_000).unwrap();
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    let next = fake.get_records(&at, 3_000).await.unwrap().next.unwrap();
    sleep(millis(1_499)).await;
    assert_eq!(remedy(fake.get_records(&next, 1).await), Remedy::Wait);
    sleep(millis(1)).await;
    fake.get_records(&next, 1).await.unwrap();

    let mut limits = Limits::default();
    limits.read_records_per_second = None;
    fake.set_limits(limits);
    sleep(millis(1_000)).await;
    let page = fake.get_records(&at, 3_000).await.unwrap();
    assert_eq!(page.records.len(), 3_000);
    // What its bytes take.
    sleep(millis(100)).await;
    fake.get_records(&page.next.unwrap(), 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fast_clock_makes_an_hour_a_second() {
    let fake = Fake::builder().clock_rate(3_600).build();
    fake.put("k", "x").unwrap();
    advance(millis(23_900)).await;
    assert_eq!(fake.records()[0].1.len(), 1);
    advance(millis(200)).await;
    assert_eq!(fake.records()[0].1.len(), 0, "after a day");
    // Whatever waits for a moment wakes when it has come.
    let hour = Duration::from_secs(3_600);
    fake.inject(Fault::delayed(Operation::GetShardIterator, hour));
    let begin = tokio::time::Instant::now();
    iterator(&fake, &shard(0), Position::Latest).await;
    assert_eq!(begin.elapsed(), millis(1_000));
}
