//! The fake as its users meet it: through `KinesisApi`, on a paused clock.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use kinesis_fake::{
    Choices, Durations, Fake, Fault, FutureTimestamp, Limits, OlderThanHorizon, Operation, ShardEnd,
};
use kinesis_source::{
    ApiError, KinesisApi, KinesisWriteApi, NextToken, Position, PutEntry, PutOutcome, Record,
    RecordsPage, Remedy, ShardId, ShardIterator, StreamStatus, Timestamp,
};
use tokio::time::{advance, sleep};

const MIB: usize = 1_024 * 1_024;

fn shard(number: u32) -> ShardId {
    ShardId::new(format!("shardId-{number:012}"))
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn entry(key: &str, bytes: usize) -> PutEntry {
    PutEntry {
        partition_key: key.into(),
        explicit_hash_key: None,
        data: Bytes::from(vec![0; bytes]),
    }
}

async fn iterator(fake: &Fake, shard: &ShardId, position: Position) -> ShardIterator {
    fake.get_shard_iterator(shard, &position).await.unwrap()
}

fn remedy<T: std::fmt::Debug>(answer: Result<T, ApiError>) -> Remedy {
    answer.unwrap_err().remedy()
}

fn data(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| String::from_utf8(record.data.to_vec()).unwrap();
    records.iter().map(text).collect()
}

/// Reads a shard to its end or tip, no faster than allowed.
async fn drain(fake: &Fake, shard: &ShardId) -> (Vec<Record>, RecordsPage) {
    let mut iterator = iterator(fake, shard, Position::TrimHorizon).await;
    let mut records = Vec::new();
    loop {
        let mut page = fake.get_records(&iterator, 1_000).await.unwrap();
        records.append(&mut page.records);
        match page.next.clone() {
            Some(next) if page.millis_behind_latest != Some(0) => iterator = next,
            _ => return (records, page),
        }
        sleep(millis(200)).await;
    }
}

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
        let answer = fake.get_records(&ShardIterator::new(text), 1).await;
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
async fn a_split_shard_ends_with_its_last_records_and_names_its_children() {
    let fake = Fake::new(1);
    fake.put("k", "x").unwrap();
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    let page = fake.get_records(&at, 10).await.unwrap();
    assert_eq!((page.records.len(), page.next), (1, None));
    assert_eq!(page.millis_behind_latest, Some(0));
    let children: Vec<_> = page.children.iter().map(|child| child.id.clone()).collect();
    assert_eq!(children, [shard(1), shard(2)]);
    assert!(page.children.iter().all(|it| it.parents == [shard(0)]));
    let shards = fake.list_shards(None).await.unwrap().shards;
    assert!(shards[0].is_closed());
    assert_eq!(shards[1].parent, Some(shard(0)));
    assert_eq!(shards[2].hash_range.start, 1 << 127);
}

#[tokio::test(start_paused = true)]
async fn both_parents_of_a_merge_name_the_child_with_both() {
    let fake = Fake::new(2);
    fake.merge_shards(&shard(1), &shard(0)).await.unwrap();
    for parent in [shard(0), shard(1)] {
        let (_, page) = drain(&fake, &parent).await;
        assert_eq!(page.next, None);
        assert_eq!(page.children[0].id, shard(2));
        assert_eq!(page.children[0].parents, [shard(1), shard(0)]);
    }
    let merged = fake.shards()[2].clone();
    assert_eq!(merged.parent, Some(shard(1)));
    assert_eq!(merged.adjacent_parent, Some(shard(0)));
}

#[tokio::test(start_paused = true)]
async fn the_end_may_take_one_more_answer() {
    let mut choices = Choices::default();
    choices.shard_end = ShardEnd::OneMoreAnswer;
    let fake = Fake::builder().choices(choices).build();
    fake.put("k", "x").unwrap();
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    let page = fake.get_records(&at, 10).await.unwrap();
    assert!(page.children.is_empty());
    let page = fake.get_records(&page.next.unwrap(), 10).await.unwrap();
    assert_eq!((page.next, page.children.len()), (None, 2));
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
async fn a_record_goes_after_a_day_and_a_closed_shard_with_its_last() {
    let fake = Fake::new(1);
    let (_, number) = fake.put("k", "x").unwrap();
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    advance(Duration::from_secs(24 * 3_600)).await;
    assert_eq!(fake.shards().len(), 3);
    assert_eq!(fake.records()[0].1.len(), 1);
    advance(millis(1)).await;
    assert_eq!(fake.shards().len(), 2);
    let at = Position::AtSequenceNumber(number);
    let answer = fake.get_shard_iterator(&shard(0), &at).await;
    assert_eq!(remedy(answer), Remedy::Verify);
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
async fn a_listing_comes_in_pages_whose_tokens_expire() {
    let fake = Fake::builder().shards(5).page_size(2).build();
    let first = fake.list_shards(None).await.unwrap();
    let second = fake.list_shards(first.next.clone()).await.unwrap();
    let third = fake.list_shards(second.next.clone()).await.unwrap();
    let sizes = [&first, &second, &third].map(|page| page.shards.len());
    assert_eq!((sizes, third.next), ([2, 2, 1], None));
    advance(millis(300_000)).await;
    assert!(fake.list_shards(first.next.clone()).await.is_ok());
    advance(millis(1)).await;
    let answer = fake.list_shards(first.next).await;
    assert_eq!(remedy(answer), Remedy::RestartListing);
}

#[tokio::test(start_paused = true)]
async fn a_shard_takes_a_thousand_records_a_second_and_refuses_the_rest() {
    let fake = Fake::new(1);
    let batch: Vec<_> = (0..500).map(|n| entry(&format!("k{n}"), 1)).collect();
    let mut refused = 0;
    for _ in 0..3 {
        let outcomes = fake.put_records(&batch).await.unwrap();
        let is_refused = |it: &&PutOutcome| matches!(it, PutOutcome::Refused { code, .. } if code == "ProvisionedThroughputExceededException");
        refused += outcomes.iter().filter(is_refused).count();
    }
    assert_eq!(refused, 500);
    advance(millis(500)).await;
    let outcomes = fake.put_records(&batch).await.unwrap();
    let stored = |it: &&PutOutcome| matches!(it, PutOutcome::Stored { .. });
    assert_eq!(outcomes.iter().filter(stored).count(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_shard_takes_a_mib_a_second() {
    let fake = Fake::new(1);
    let half = [entry("k", MIB / 2 - 1)];
    let mut stored = Vec::new();
    for _ in 0..4 {
        let outcomes = fake.put_records(&half).await.unwrap();
        stored.push(matches!(outcomes[0], PutOutcome::Stored { .. }));
    }
    assert_eq!(stored, [true, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_as_a_whole() {
    let fake = Fake::new(1);
    let many = vec![entry("k", 1); 501];
    let large = vec![entry("k", MIB)];
    let heavy = vec![entry("k", MIB - 1); 11];
    let nameless = vec![entry("", 1)];
    let long = vec![entry(&"ü".repeat(257), 1)];
    for entries in [many, large, heavy, nameless, long, Vec::new()] {
        assert_eq!(remedy(fake.put_records(&entries).await), Remedy::Correct);
    }
    assert!(fake.records()[0].1.is_empty());
    let longest = [entry(&"ü".repeat(256), 1)];
    assert!(fake.put_records(&longest).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn changes_take_their_time() {
    let fake = Fake::builder()
        .without_stream()
        .durations(Durations::all(Duration::from_secs(30)))
        .build();
    assert_eq!(remedy(fake.list_shards(None).await), Remedy::Verify);
    fake.create_stream(1).await.unwrap();
    let status = || async { fake.describe_stream_summary().await.map(|it| it.status) };
    assert_eq!(status().await.unwrap(), StreamStatus::Creating);
    assert_eq!(remedy(fake.list_shards(None).await), Remedy::AwaitActive);
    advance(Duration::from_secs(30)).await;
    assert_eq!(status().await.unwrap(), StreamStatus::Active);

    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    assert_eq!(status().await.unwrap(), StreamStatus::Updating);
    let again = fake.split_shard(&shard(0), 1 << 126).await;
    assert_eq!(remedy(again), Remedy::AwaitActive);
    assert_eq!(fake.put("k", "x").unwrap().0, shard(0));
    advance(Duration::from_secs(30)).await;
    assert_eq!(fake.shards().len(), 3);
    assert_ne!(fake.put("k", "x").unwrap().0, shard(0));

    fake.delete_stream().await.unwrap();
    assert_eq!(status().await.unwrap(), StreamStatus::Deleting);
    assert_eq!(remedy(fake.create_stream(1).await), Remedy::AwaitActive);
    advance(Duration::from_secs(30)).await;
    assert_eq!(remedy(status().await), Remedy::Verify);
}

#[tokio::test(start_paused = true)]
async fn a_stream_made_anew_refuses_what_was_the_old_ones() {
    let fake = Fake::new(1);
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    let (_, number) = fake.put("k", "x").unwrap();
    fake.delete_stream().await.unwrap();
    fake.create_stream(1).await.unwrap();
    assert_eq!(remedy(fake.get_records(&at, 1).await), Remedy::Verify);
    let old = Position::AtSequenceNumber(number);
    let answer = fake.get_shard_iterator(&shard(0), &old).await;
    assert_eq!(remedy(answer), Remedy::Correct);
}

#[tokio::test(start_paused = true)]
async fn only_open_neighbours_merge_and_only_keys_inside_split() {
    let fake = Fake::new(3);
    let answer = fake.merge_shards(&shard(0), &shard(2)).await;
    assert_eq!(remedy(answer), Remedy::Correct);
    let end = fake.shards()[0].hash_range.end;
    for key in [0, 1, end, u128::MAX] {
        let answer = fake.split_shard(&shard(0), key).await;
        assert_eq!(remedy(answer), Remedy::Correct);
    }
    let answer = fake.split_shard(&shard(9), 5).await;
    assert_eq!(remedy(answer), Remedy::Verify);
    fake.merge_shards(&shard(0), &shard(1)).await.unwrap();
    let answer = fake.merge_shards(&shard(0), &shard(1)).await;
    assert_eq!(remedy(answer), Remedy::Correct);
}

#[tokio::test(start_paused = true)]
async fn an_injected_fault_happens_and_is_used_up() {
    let fake = Fake::new(1);
    let at = iterator(&fake, &shard(0), Position::Latest).await;
    fake.inject(Fault::refusal(
        Operation::GetRecords,
        "KMSDisabledException",
    ));
    assert_eq!(remedy(fake.get_records(&at, 1).await), Remedy::MendKey);
    let tally = fake.calls().of(Operation::GetRecords);
    assert_eq!((tally.made, tally.throttled, tally.failed), (1, 0, 1));
    assert!(fake.get_records(&at, 1).await.is_ok());

    fake.inject(Fault::lost_answer(Operation::PutRecords));
    let answer = fake.put_records(&[entry("k", 1)]).await;
    assert_eq!(remedy(answer), Remedy::Retry);
    assert_eq!(fake.records()[0].1.len(), 1, "it was carried out");
    assert_eq!(fake.faults_waiting(), 0);
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
async fn memory_is_bounded_and_what_ages_out_makes_room() {
    let mut limits = Limits::default();
    limits.stored_bytes = 10;
    let fake = Fake::builder().limits(limits).build();
    fake.put("k", "123456").unwrap();
    assert_eq!(remedy(fake.put("k", "123456")), Remedy::Retry);
    assert_eq!(
        remedy(fake.put_records(&[entry("k", 6)]).await),
        Remedy::Retry
    );
    fake.put("k", "12").unwrap();
    advance(Duration::from_secs(24 * 3_600 + 1)).await;
    fake.put("k", "123456").unwrap();
}

#[tokio::test(start_paused = true)]
async fn control_calls_are_five_a_second() {
    let fake = Fake::new(1);
    for number in 0..5 {
        let shard = fake.shards().pop().unwrap();
        let middle = shard.hash_range.start + (shard.hash_range.end - shard.hash_range.start) / 2;
        assert!(
            fake.split_shard(&shard.id, middle).await.is_ok(),
            "{number}"
        );
    }
    let sixth = fake.split_shard(&shard(9), u128::MAX - 5).await;
    assert_eq!(remedy(sixth), Remedy::Wait);
    fake.set_limits(Limits::none());
    let seventh = fake.split_shard(&shard(10), u128::MAX - 5).await;
    assert!(seventh.is_ok());
}

#[tokio::test(start_paused = true)]
async fn fakes_of_one_account_are_streams_beside_each_other() {
    let orders = Fake::builder().name("orders").build();
    let bills = orders.stream("bills");
    bills.create_stream(3).await.unwrap();
    assert_eq!((orders.shards().len(), bills.shards().len()), (1, 3));
    bills.put("k", "x").unwrap();
    assert!(orders.records()[0].1.is_empty());
    assert_eq!(orders.calls().of(Operation::CreateStream).made, 1);
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
async fn a_closed_shard_is_read_from_its_own_numbers_and_none_beyond() {
    let fake = Fake::new(1);
    let (_, last) = fake.put("k", "x").unwrap();
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    let end = fake.shards()[0].ending_sequence_number.clone().unwrap();
    for number in [last, end] {
        let at = iterator(&fake, &shard(0), Position::AfterSequenceNumber(number)).await;
        let page = fake.get_records(&at, 1).await.unwrap();
        assert_eq!((page.next, page.children.len()), (None, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_has_500_open_shards_and_makes_five_streams_at_once() {
    let fake = Fake::builder()
        .shards(400)
        .durations(Durations::all(Duration::from_secs(30)))
        .build();
    assert_eq!(
        remedy(fake.stream("a").create_stream(101).await),
        Remedy::Wait
    );
    for name in ["a", "b", "c", "d", "e"] {
        advance(Duration::from_secs(1)).await;
        fake.stream(name).create_stream(1).await.unwrap();
    }
    advance(Duration::from_secs(1)).await;
    assert_eq!(
        remedy(fake.stream("f").create_stream(1).await),
        Remedy::Wait
    );
    advance(Duration::from_secs(30)).await;
    fake.stream("f").create_stream(95).await.unwrap();
    advance(Duration::from_secs(30)).await;
    let split = fake.split_shard(&shard(0), 5).await;
    assert_eq!(remedy(split), Remedy::Wait);
}
