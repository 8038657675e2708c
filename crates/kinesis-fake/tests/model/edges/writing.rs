use super::*;

pub(super) fn entry(key: &str, bytes: usize) -> PutEntry {
    PutEntry {
        partition_key: key.to_owned(),
        explicit_hash_key: None,
        data: vec![0; bytes].into(),
    }
}

fn stored(life: &mut Life, entries: &[PutEntry]) -> usize {
    let put = life.service.put_records(STREAM, entries, life.now);
    let put = put.unwrap().into_iter();
    put.filter(|it| matches!(it, PutOutcome::Stored { .. }))
        .count()
}

#[test]
fn a_request_has_five_hundred_records() {
    let mut life = strict();
    assert_eq!(stored(&mut life, &vec![entry("k", 1); 500]), 500);
    let many = vec![entry("k", 1); 501];
    let answer = life.service.put_records(STREAM, &many, life.now);
    assert_eq!(code(answer), VALIDATION);
}

#[test]
fn a_request_has_ten_mib_with_its_keys() {
    let mut life = strict();
    let mut entries = vec![entry("k", MIB - 1); 9];
    entries.extend([entry("k", MIB - 2), entry("", 0)]);
    entries[10].partition_key = "k".to_owned();
    life.service
        .put_records(STREAM, &entries, life.now)
        .unwrap();
    entries[10] = entry("k", 1);
    let answer = life.service.put_records(STREAM, &entries, life.now);
    assert_eq!(code(answer), ARGUMENT);
}

#[test]
fn a_record_has_a_mib_with_its_key_which_has_256_characters() {
    let mut life = strict();
    for (key, bytes, fits) in [
        ("k", MIB - 1, true),
        ("k", MIB, false),
        ("", 1, false),
        (&*"ü".repeat(256), MIB - 512, true),
        (&*"ü".repeat(256), MIB - 511, false),
        (&*"ü".repeat(257), 1, false),
    ] {
        let one = entry(key, bytes);
        life.now = life.now.plus(SECOND);
        let alone = life.service.put_record(STREAM, &one, life.now);
        assert_eq!(alone.is_ok(), fits, "{bytes}");
        life.now = life.now.plus(SECOND);
        let among = life.service.put_records(STREAM, &[one], life.now);
        assert_eq!(among.is_ok(), fits, "{bytes}");
    }
}

#[test]
fn a_shard_takes_a_mib_a_second() {
    let mut life = strict();
    assert_eq!(stored(&mut life, &[entry("k", MIB - 1)]), 1);
    assert_eq!(stored(&mut life, &[entry("k", 0)]), 0);
    life.now = life.now.plus(SECOND);
    assert_eq!(stored(&mut life, &[entry("k", MIB - 1)]), 1);
}

#[test]
fn a_shard_takes_a_thousand_records_a_second() {
    let mut life = strict();
    assert_eq!(stored(&mut life, &vec![entry("k", 0); 500]), 500);
    assert_eq!(stored(&mut life, &vec![entry("k", 0); 499]), 499);
    assert_eq!(stored(&mut life, &vec![entry("k", 0); 2]), 1);
    life.now = life.now.plus(millis(1));
    assert_eq!(stored(&mut life, &vec![entry("k", 0); 2]), 1);
}

#[test]
fn a_tank_of_large_records_has_ten_mib_to_the_byte() {
    let mut life = strict();
    for (kib, fits) in [
        (1_023, false),
        (10_241, false),
        (1_024, true),
        (10_240, true),
    ] {
        let answer = life.service.update_max_record_size(STREAM, kib, life.now);
        assert_eq!(answer.is_ok(), fits, "{kib}");
    }
    let too_large = life
        .service
        .put_record(STREAM, &entry("k", 10 * MIB), life.now);
    assert_eq!(code(too_large), VALIDATION);
    assert_eq!(stored(&mut life, &[entry("k", 5 * MIB - 1)]), 1);
    assert_eq!(stored(&mut life, &[entry("k", 5 * MIB)]), 0);
    assert_eq!(stored(&mut life, &[entry("k", 5 * MIB - 1)]), 1);
    assert_eq!(stored(&mut life, &[entry("k", 0)]), 0);
}

#[test]
fn the_size_of_records_is_changed_while_nothing_else_is() {
    let mut settings = instant();
    settings.durations = Durations::all(SECOND);
    let mut life = Life::new(1, settings);
    let (shard, now) = (shard(), life.now);
    life.service
        .split_shard(STREAM, &shard, 1 << 127, now)
        .unwrap();
    let meanwhile = life.service.update_max_record_size(STREAM, 2_048, now);
    assert_eq!(code(meanwhile), IN_USE);
    let large = life
        .service
        .put_record(STREAM, &entry("k", 2 * MIB - 1), now);
    assert_eq!(code(large), VALIDATION);
    life.service
        .update_max_record_size(STREAM, 2_048, now.plus(SECOND))
        .unwrap();
}

/// What they share takes no more memory than one of them.
#[test]
fn four_gib_are_kept() {
    let mut life = strict();
    let large = Bytes::from(vec![0; 64 * MIB - 1]);
    for _ in 0..63 {
        life.put_data(1, &large);
    }
    // Each of the 65 takes 168 bytes besides.
    life.put_data(1, &large.slice(1 + 65 * 168..));
    let put = |life: &mut Life, bytes| {
        let put = life
            .service
            .put_unlimited(STREAM, &entry("k", bytes), life.now);
        put.map(drop)
    };
    assert_eq!(code(put(&mut life, 1)), "InternalFailure");
    put(&mut life, 0).unwrap();
    assert_eq!(code(put(&mut life, 0)), "InternalFailure");
}
