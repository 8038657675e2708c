//! UpdateShardCount, and records distributed by the service.

use kinesis_fake::model::{RecordDistribution, StreamMode};

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_resized_stream_has_as_many_equal_shards_and_all_its_records(
        shards in 1..12_u32, targets in vec((1..24_u32, 0..3_u64), 1..6), keys in vec(any::<u16>(), 0..80),
    ) {
        let mut settings = no_limits();
        settings.durations.update = Duration::from_millis(1_000);
        let mut life = Life::new(shards, settings);
        let mut keys = keys.into_iter();
        let mut count = shards;
        for (target, wait) in targets {
            let target = target.clamp(count.div_ceil(2), 2 * count);
            let answer = life.service.update_shard_count(STREAM, target, life.now);
            let answer = answer.unwrap();
            prop_assert_eq!((answer.current, answer.target), (count, target));
            // Puts go on while shards come and go.
            for _ in 0..20 {
                if let Some(key) = keys.next() {
                    life.put(key, 1);
                }
                life.now = life.now.plus(Duration::from_millis(wait * 500 + 700));
                let open = life.open();
                prop_assert!(covers_everything(open.iter().map(|it| it.hash_range).collect()));
            }
            let open = life.open();
            prop_assert_eq!(open.len(), target as usize);
            let width = |shard: &Shard| shard.hash_range.end - shard.hash_range.start;
            let (least, most) = (open.iter().map(width).min(), open.iter().map(width).max());
            prop_assert!(most.unwrap() - least.unwrap() < u128::from(target));
            count = target;
        }
        for shard in life.service.shards(STREAM, life.now) {
            let (records, announced) = life.read(&shard.id, &Position::TrimHorizon, 100);
            let data: Vec<_> = records.iter().map(|record| record.data.clone()).collect();
            prop_assert_eq!(data, life.put.remove(&shard.id).unwrap_or_default());
            prop_assert_eq!(announced, u32::from(shard.is_closed()));
        }
        prop_assert!(life.put.is_empty());
    }
}

/// Whoever asks for sixteen times as many shards, or for twice as many of uneven ones, waits for halvings
/// and not for one shard after another.
#[test]
fn it_takes_few_rounds() {
    for (shards, splits, target, rounds) in [(1, 0, 16, 4), (1, 0, 1_000, 10), (2, 6, 16, 6)] {
        let case = format!("{shards} shards, {splits} splits of the first, {target} wanted");
        let mut settings = no_limits();
        settings.durations.update = Duration::from_secs(1);
        let mut life = Life::new(shards, settings);
        let split_first = |life: &mut Life| {
            let first = life.open().remove(0);
            let at = first.hash_range.start / 2 + first.hash_range.end / 2;
            life.service.split_shard(STREAM, &first.id, at, life.now)
        };
        for _ in 0..splits {
            split_first(&mut life).unwrap();
            life.now = life.now.plus(Duration::from_secs(1));
        }
        let answer = life.service.update_shard_count(STREAM, target, life.now);
        answer.unwrap();
        life.now = life.now.plus(Duration::from_secs(rounds - 1));
        assert!(split_first(&mut life).is_err(), "{case}: over already");
        life.now = life.now.plus(Duration::from_secs(1));
        assert_eq!(life.open().len(), target as usize, "{case}");
        split_first(&mut life).expect(&case);
    }
}

#[test]
fn an_order_is_asked_for_by_key_alone() {
    let mut life = Life::new(1, instant());
    let entry = PutEntry {
        partition_key: "k".to_owned(),
        explicit_hash_key: None,
        data: Bytes::from_static(b"x"),
    };
    let (_, first) = life.service.put_record(STREAM, &entry, life.now).unwrap();
    let second = life
        .service
        .put_record_after(STREAM, &entry, &first, life.now);
    assert!(second.unwrap().1 > first);
    // Whatever comes is behind a number that is lower than any record's.
    let third = life
        .service
        .put_record_after(STREAM, &entry, &7.into(), life.now);
    assert!(third.unwrap().1 > first);
    let garbage: SequenceNumber = "9".repeat(56).parse().unwrap();
    let garbage = life
        .service
        .put_record_after(STREAM, &entry, &garbage, life.now);
    assert_eq!(garbage.unwrap_err().code(), "InvalidArgumentException");

    let Life { service, now, .. } = &mut life;
    service
        .update_stream_mode(STREAM, StreamMode::OnDemand, *now)
        .unwrap();
    let auto = RecordDistribution::Auto;
    service
        .update_stream_record_distribution_strategy(STREAM, auto, *now)
        .unwrap();
    let refused = service.put_record_after(STREAM, &entry, &first, *now);
    assert_eq!(refused.unwrap_err().code(), "InvalidArgumentException");
    let capacity = service.capacity(STREAM, *now).unwrap();
    assert_eq!(
        (capacity.mode, capacity.distribution),
        (StreamMode::OnDemand, auto)
    );
    assert_eq!(
        (capacity.record_bytes, capacity.consumers),
        (1_024 * 1_024, 0)
    );
}

/// Who counts two billion ranges before saying no stops everybody for minutes.
#[test]
fn a_target_out_of_reach_is_refused_before_its_shards_are_laid_out() {
    let mut settings = no_limits();
    settings.limits.update_shard_count_factor = Limits::default().update_shard_count_factor;
    let mut life = Life::new(2, settings);
    for target in [5, i32::MAX.unsigned_abs(), u32::MAX] {
        let answer = life.service.update_shard_count(STREAM, target, life.now);
        let refusal = answer.unwrap_err();
        assert_eq!(refusal.code(), "LimitExceededException");
        assert!(refusal.message().contains("up over double"), "{refusal:?}");
    }
}
