//! Putting records and its limits.

use super::*;

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
async fn memory_is_bounded_and_what_ages_out_makes_room() {
    let mut limits = Limits::default();
    limits.stored_bytes = 10 + 2 * 168;
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

/// A million records of one byte take more than a megabyte.
#[tokio::test(start_paused = true)]
async fn what_a_record_takes_besides_its_bytes_counts() {
    let mut limits = Limits::none();
    limits.stored_bytes = 1_000_000;
    let fake = Fake::builder().limits(limits).build();
    let put = (0..).take_while(|_| fake.put("k", "").is_ok()).count();
    assert_eq!(put, 1_000_000 / 169);
}

#[tokio::test(start_paused = true)]
async fn a_record_can_be_put_on_any_open_shard() {
    let fake = Fake::instant(3);
    for number in 0..3 {
        fake.put_on(&shard(number), "k", number.to_string())
            .unwrap();
    }
    for (number, (id, records)) in (0..).zip(fake.records()) {
        assert_eq!(
            (id, data(&records)),
            (shard(number), vec![number.to_string()])
        );
    }
    fake.split_shard(&shard(0), 5).await.unwrap();
    assert_eq!(remedy(fake.put_on(&shard(0), "k", "x")), Remedy::Verify);
    assert_eq!(remedy(fake.put_on(&shard(9), "k", "x")), Remedy::Verify);
}

fn was_stored(outcomes: &[PutOutcome]) -> bool {
    matches!(outcomes, [PutOutcome::Stored { .. }])
}

#[tokio::test(start_paused = true)]
async fn a_large_record_is_taken_once_the_stream_may_have_it() {
    let fake = Fake::new(1);
    let large = [entry("k", 5 * MIB)];
    let refused = fake.put_records(&large).await;
    assert_eq!(remedy(refused), Remedy::Correct);
    for kib in [1_023, 10_241] {
        let answer = fake.update_max_record_size(kib).await;
        assert_eq!(answer.unwrap_err().code(), Some("ValidationException"));
    }
    fake.update_max_record_size(5 * 1_024 + 1).await.unwrap();
    assert!(was_stored(&fake.put_records(&large).await.unwrap()));
    let larger = fake.put_records(&[entry("k", 6 * MIB)]).await;
    assert_eq!(remedy(larger), Remedy::Correct);
}

#[tokio::test(start_paused = true)]
async fn large_records_draw_on_a_tank_of_ten_mib_that_fills_up_at_one_a_second() {
    let fake = Fake::new(1);
    fake.update_max_record_size(10_240).await.unwrap();
    let five = [entry("k", 5 * MIB - 1)];
    assert!(was_stored(&fake.put_records(&five).await.unwrap()));
    assert!(was_stored(&fake.put_records(&five).await.unwrap()));
    // It is empty: small ones wait as well, for as much as they take.
    let small = [entry("k", MIB / 2)];
    assert!(!was_stored(&fake.put_records(&small).await.unwrap()));
    sleep(millis(600)).await;
    assert!(was_stored(&fake.put_records(&small).await.unwrap()));
    sleep(millis(4_400)).await;
    assert!(!was_stored(&fake.put_records(&five).await.unwrap()));
    sleep(millis(600)).await;
    assert!(was_stored(&fake.put_records(&five).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn small_records_draw_on_the_tank_and_on_their_seconds_worth() {
    let fake = Fake::new(1);
    fake.update_max_record_size(10_240).await.unwrap();
    let half = [entry("k", MIB / 2 - 1)];
    let five = [entry("k", 5 * MIB - 1)];
    assert!(was_stored(&fake.put_records(&half).await.unwrap()));
    assert!(was_stored(&fake.put_records(&half).await.unwrap()));
    // Nine of the ten are there, and nothing of the second.
    assert!(!was_stored(&fake.put_records(&half).await.unwrap()));
    assert!(was_stored(&fake.put_records(&five).await.unwrap()));
    assert!(!was_stored(&fake.put_records(&five).await.unwrap()));
}

/// Each draws on the tank alone, whatever is left of the second's worth, and leaves that to others.
#[tokio::test(start_paused = true)]
async fn a_large_record_neither_needs_nor_takes_the_seconds_worth() {
    let fake = Fake::new(1);
    fake.update_max_record_size(10_240).await.unwrap();
    let (small, five) = ([entry("k", MIB / 2)], [entry("k", 5 * MIB)]);
    assert!(was_stored(&fake.put_records(&small).await.unwrap()));
    assert!(was_stored(&fake.put_records(&five).await.unwrap()));
    let small = [entry("k", MIB / 2 - 10)];
    assert!(was_stored(&fake.put_records(&small).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_tank_changes_nothing_for_small_records() {
    let fake = Fake::new(1);
    fake.update_max_record_size(10_240).await.unwrap();
    let half = [entry("k", MIB / 2 - 1)];
    for _ in 0..100 {
        assert!(was_stored(&fake.put_records(&half).await.unwrap()));
        assert!(was_stored(&fake.put_records(&half).await.unwrap()));
        assert!(!was_stored(&fake.put_records(&half).await.unwrap()));
        sleep(millis(1_000)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_puts_again_makes_a_duplicate_with_a_number_of_its_own() {
    let fake = Fake::new(1);
    fake.inject(Fault::lost_answer(Operation::PutRecords));
    let records = [entry("k", 1)];
    assert_eq!(remedy(fake.put_records(&records).await), Remedy::Retry);
    fake.put_records(&records).await.unwrap();
    let stored = fake.records().remove(0).1;
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[0].data, stored[1].data);
    assert!(stored[0].sequence_number < stored[1].sequence_number);
}

#[tokio::test]
async fn a_record_without_key_is_put_only_where_none_is_needed() {
    let fake = Fake::new(1);
    let refused = fake.put("", "x").unwrap_err();
    assert_eq!(refused.code(), Some("ValidationException"));
    assert!(fake.put_on(&shard(0), "", "x").is_err());
    assert!(fake.records()[0].1.is_empty());
}
