//! Aggregated records of encoders that are not ours, line by line; and of any content, by prost.
//! `KPL_CORPUS=FILE` replays another corpus of the same format.

#![allow(clippy::unwrap_used)]

mod corpus;
mod reference;
mod round_trip;

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use kinesis_source::kpl::{AggregatedRecord, Damage, Payload, UserRecord};
use sha2::{Digest, Sha256};

use self::{
    corpus::{InRange, Line, Records, User, Word},
    reference::Aggregated,
};

/// What a line was found to be.
type Kind = &'static str;

#[test]
fn every_line_is_taken_apart_as_it_was_put_together() {
    let lines = corpus::lines();
    let mut kinds = BTreeMap::<Kind, usize>::new();
    let mut failures = Vec::new();
    for line in &lines {
        match check(line, &line.data()) {
            Ok(kind) => *kinds.entry(kind).or_default() += 1,
            Err(error) => failures.push(format!("{} ({}): {error}", line.id, line.case)),
        }
    }
    println!("{} lines: {kinds:?}", lines.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(kinds.values().sum::<usize>(), lines.len());
}

/// The check above bites: it is not passed by a record that is another by one bit or byte.
#[test]
fn no_line_passes_that_is_not_as_it_was() {
    let mut changed = 0;
    for line in corpus::lines() {
        // The KCL's own ways are not checked byte by byte.
        if !line.expect.aggregated || line.policy.is_some() {
            continue;
        }
        let data = line.data();
        let places = [0, 3, 4, data.len() / 2, data.len() - 17, data.len() - 1];
        for at in places {
            for bit in [0x01, 0x80] {
                let mut other = data.to_vec();
                other[at] ^= bit;
                let kind = check(&line, &other.into());
                assert!(kind.is_err(), "{}: byte {at} ^ {bit:#x}: {kind:?}", line.id);
                changed += 1;
            }
        }
        assert!(check(&line, &data.slice(..data.len() - 1)).is_err());
    }
    assert!(changed > 0, "there are no aggregated records");
}

/// With a good digest, the same records in another order or with other data are found out.
#[test]
fn no_line_passes_with_other_records_in_it() {
    let mut changed = 0;
    for line in corpus::lines() {
        if !line.expect.aggregated || line.policy.is_some() {
            continue;
        }
        let Ok(sound) = Aggregated::open(&line.data()) else {
            println!("{}: prost cannot open it", line.id);
            continue;
        };
        let Some(last) = sound.records.len().checked_sub(1) else {
            continue;
        };
        assert_eq!(check(&line, &sound.seal()), Ok("aggregated"), "{}", line.id);
        let mut others = [(); 3].map(|()| sound.clone());
        others[0].records.pop();
        others[1].records[last].data.push(0);
        others[2].partition_key_table[sound.records[0].partition_key_index as usize].push(b'x');
        for (way, other) in others.iter().enumerate() {
            assert!(check(&line, &other.seal()).is_err(), "{}: {way}", line.id);
            changed += 1;
        }
    }
    assert!(changed > 0, "there are no aggregated records");
}

fn check(line: &Line, data: &Bytes) -> Result<Kind, String> {
    let payload = Payload::of(data);
    if line.policy.is_some() {
        return check_policy(line, data, &payload);
    }
    match (payload, line.expect.aggregated) {
        (Payload::Plain, false) => Ok("plain"),
        (Payload::Damaged(_), false) => Ok("damaged, raw"),
        (Payload::Aggregated(record), true) => {
            check_records(line, &record)?;
            check_range(line, &record)?;
            Ok("aggregated")
        }
        (other, expected) => Err(format!("{other:?}, aggregated: {expected}")),
    }
}

/// Where libraries differ, ours delivers damaged records raw: see the documentation of `kpl`. What
/// the KCL delivers must be the part of it that is sound, or the keys are no text; prost says which.
fn check_policy(line: &Line, data: &Bytes, payload: &Payload) -> Result<Kind, String> {
    let reference = Aggregated::open(data).map_err(|error| error.to_string())?;
    let sound = reference.sound_records();
    let Records::List(kcl) = &line.expect.records else {
        return Err("a policy without a list".to_owned());
    };
    equal("what the KCL delivers", &kcl.len(), &sound)?;
    for (user, record) in kcl.iter().zip(&reference.records) {
        let data = STANDARD.decode(user.data.as_ref().unwrap()).unwrap();
        equal("what the KCL delivers", &data, &record.data)?;
    }
    match payload {
        Payload::Damaged(Damage::KeyIsNoText) if !reference.keys_are_text() => {
            Ok("policy: key is no text, raw")
        }
        Payload::Damaged(Damage::NoSuchKey) if sound < reference.records.len() => {
            Ok("policy: no such key, raw")
        }
        Payload::Aggregated(record)
            if reference.keys_are_text() && sound == reference.records.len() =>
        {
            check_records(line, record)?;
            Ok("policy: aggregated")
        }
        other => Err(format!("{other:?}, where libraries differ")),
    }
}

fn check_records(line: &Line, record: &AggregatedRecord) -> Result<(), String> {
    let found: Vec<UserRecord<'_>> = record.user_records().collect();
    equal("len", &record.len(), &(found.len() as u64))?;
    let expect = &line.expect;
    match &expect.records {
        Records::List(users) => {
            equal("count", &found.len(), &users.len())?;
            for (found, user) in found.iter().zip(users) {
                check_user(found, user)?;
            }
            Ok(())
        }
        Records::Word(Word::Digest) => {
            equal("count", &Some(found.len() as u64), &expect.count)?;
            check_user(found.first().unwrap(), expect.first.as_ref().unwrap())?;
            check_user(found.last().unwrap(), expect.last.as_ref().unwrap())?;
            let all = Some(sha256_all(&found));
            equal("sha256_all", &all, &expect.sha256_all)
        }
        Records::Word(Word::Same) => Err("aggregated, and the same".to_owned()),
    }
}

fn check_user(found: &UserRecord<'_>, user: &User) -> Result<(), String> {
    equal("pk", &found.partition_key, &user.pk.as_str())?;
    equal("ehk", &found.explicit_hash_key, &user.ehk.as_deref())?;
    equal("sub", &found.sub_sequence_number, &user.sub)?;
    equal("len", &found.data.len(), &user.len)?;
    match (&user.data, &user.sha256) {
        (Some(data), _) => equal("data", &found.data[..], &STANDARD.decode(data).unwrap()[..]),
        (None, Some(digest)) => equal("sha256", &sha256(&found.data), digest),
        (None, None) => Err("neither data nor sha256".to_owned()),
    }
}

fn check_range(line: &Line, record: &AggregatedRecord) -> Result<(), String> {
    let in_range = line.shard_range().map(|range| {
        if record.is_within(range) {
            InRange::All
        } else {
            InRange::None
        }
    });
    equal("in range", &in_range, &line.expect_in_range)
}

fn equal<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    found: &T,
    expected: &T,
) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}, expected {expected:?}"))
    }
}

fn sha256_all(records: &[UserRecord<'_>]) -> String {
    let mut text = Vec::new();
    for record in records {
        let UserRecord {
            sub_sequence_number: sub,
            partition_key: pk,
            explicit_hash_key: ehk,
            data,
            ..
        } = record;
        let (ehk, len) = (ehk.unwrap_or("-"), data.len());
        text.extend(format!("{sub}|{pk}|{ehk}|{len}|").into_bytes());
        text.extend_from_slice(data);
        text.push(b'\n');
    }
    sha256(&text)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
