//! Streams and shards that come, change and go; faults.

use kinesis_fake::{DeletingStream, MergeOrder};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_split_shard_ends_with_its_last_records_and_names_its_children() {
    let fake = Fake::instant(1);
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
    let fake = Fake::instant(2);
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
    let fake = Fake::builder().instant().choices(choices).build();
    fake.put("k", "x").unwrap();
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
    let page = fake.get_records(&at, 10).await.unwrap();
    assert!(page.children.is_empty());
    let page = fake.get_records(&page.next.unwrap(), 10).await.unwrap();
    assert_eq!((page.next, page.children.len()), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn a_record_goes_after_a_day_and_a_closed_shard_with_its_last() {
    let fake = Fake::instant(1);
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

/// Whichever of the builder's words comes last.
#[tokio::test(start_paused = true)]
async fn pages_have_their_size_whatever_the_limits_are() {
    let small = || Fake::builder().shards(5).page_size(2);
    let before = Fake::builder().shards(5).limits(Limits::none());
    for builder in [small().limits(Limits::default()), before.page_size(2)] {
        let page = builder.build().list_shards(None).await.unwrap();
        assert_eq!(page.shards.len(), 2);
    }
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
    let fake = Fake::instant(1);
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
    let fake = Fake::instant(3);
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
async fn control_calls_are_five_a_second() {
    let fake = Fake::instant(1);
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
    let orders = Fake::builder().instant().name("orders").build();
    let bills = orders.stream("bills");
    bills.create_stream(3).await.unwrap();
    assert_eq!((orders.shards().len(), bills.shards().len()), (1, 3));
    bills.put("k", "x").unwrap();
    assert!(orders.records()[0].1.is_empty());
    assert_eq!(orders.calls().of(Operation::CreateStream).made, 1);
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_is_read_from_its_own_numbers_and_none_beyond() {
    let fake = Fake::instant(1);
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
async fn an_account_has_200_open_shards_and_makes_five_streams_at_once() {
    let fake = Fake::builder()
        .shards(100)
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
async fn a_stream_that_is_being_removed_refuses_or_goes_on_to_serve() {
    for deleting_stream in [DeletingStream::Refuse, DeletingStream::Serve] {
        let mut choices = Choices::default();
        choices.deleting_stream = deleting_stream;
        let mut durations = Durations::default();
        durations.delete = Duration::from_secs(30);
        let fake = Fake::builder().choices(choices).durations(durations);
        let fake = fake.build();
        let at = iterator(&fake, &shard(0), Position::TrimHorizon).await;
        fake.delete_stream().await.unwrap();
        let put = fake.put_records(&[entry("k", 1)]).await;
        let read = fake
            .get_records(&at, 1)
            .await
            .map(|page| page.records.len());
        match deleting_stream {
            DeletingStream::Serve => assert_eq!((put.unwrap().len(), read.unwrap()), (1, 1)),
            _ => assert_eq!(
                (remedy(put), remedy(read)),
                (Remedy::Verify, Remedy::Verify)
            ),
        }
        advance(Duration::from_secs(30)).await;
        assert_eq!(remedy(fake.get_records(&at, 1).await), Remedy::Verify);
    }
}

#[tokio::test(start_paused = true)]
async fn changes_take_about_as_long_as_on_the_service_unless_told_otherwise() {
    let fake = Fake::builder().without_stream().build();
    let status = async || {
        let summary = fake.describe_stream_summary().await;
        summary.map(|summary| summary.status).ok()
    };
    let seconds = async |count| advance(Duration::from_secs(count)).await;
    fake.create_stream(1).await.unwrap();
    assert_eq!(status().await, Some(StreamStatus::Creating));
    seconds(20).await;
    assert_eq!(status().await, Some(StreamStatus::Active));
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    seconds(29).await;
    assert_eq!(status().await, Some(StreamStatus::Updating));
    seconds(1).await;
    assert_eq!(status().await, Some(StreamStatus::Active));
    fake.delete_stream().await.unwrap();
    assert_eq!(status().await, Some(StreamStatus::Deleting));
    seconds(30).await;
    assert_eq!(status().await, None);
    // No time at all, if that is wanted.
    let hasty = Fake::builder().instant().without_stream().build();
    hasty.create_stream(1).await.unwrap();
    let summary = hasty.describe_stream_summary().await.unwrap();
    assert_eq!(summary.status, StreamStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn parents_of_a_merge_come_as_asked_or_by_their_hash_keys() {
    for (order, asked, parents) in [
        (MergeOrder::AsAsked, [1, 0], [1, 0]),
        (MergeOrder::AsAsked, [0, 1], [0, 1]),
        (MergeOrder::ByHashKey, [1, 0], [0, 1]),
        (MergeOrder::ByHashKey, [0, 1], [0, 1]),
        (MergeOrder::LowerFirst, [0, 1], [0, 1]),
    ] {
        let mut choices = Choices::default();
        choices.merge_order = order;
        let fake = Fake::builder().instant().shards(2).choices(choices).build();
        let [one, other] = asked.map(shard);
        fake.merge_shards(&one, &other).await.unwrap();
        let [parent, adjacent] = parents.map(shard);
        let merged = fake.shards().remove(2);
        assert_eq!(merged.parent.as_ref(), Some(&parent));
        assert_eq!(merged.adjacent_parent.as_ref(), Some(&adjacent));
        let (_, end) = drain(&fake, &one).await;
        assert_eq!(end.children[0].parents, [parent, adjacent]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_merge_may_be_refused_that_names_the_upper_shard_first() {
    let mut choices = Choices::default();
    choices.merge_order = MergeOrder::LowerFirst;
    let fake = Fake::builder().shards(2).choices(choices).build();
    let refused = fake.merge_shards(&shard(1), &shard(0)).await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidArgumentException"));
    fake.merge_shards(&shard(0), &shard(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_merge_with_a_shard_that_is_not_there_says_so_whatever_the_other_one_is() {
    let fake = Fake::new(1);
    fake.split_shard(&shard(0), 1 << 127).await.unwrap();
    for (one, other) in [(0, 7), (7, 0), (1, 7), (7, 1)] {
        let refused = fake.merge_shards(&shard(one), &shard(other)).await;
        let code = refused.unwrap_err().code().map(str::to_owned);
        assert_eq!(code.as_deref(), Some("ResourceNotFoundException"));
    }
}
