use bytes::Bytes;
use kinesis_source::kpl::{Damage, MAGIC, Payload};
use md5::{Digest, Md5};
use proptest::prelude::*;

use crate::reference::{Aggregated, Tag, UserRecord};

fn key() -> impl Strategy<Value = Vec<u8>> {
    any::<String>().prop_map(String::into_bytes)
}

fn tag() -> impl Strategy<Value = Tag> {
    (any::<String>(), any::<Option<String>>()).prop_map(|(key, value)| Tag { key, value })
}

prop_compose! {
    /// Any record that is sound: each of its records names a key that there is.
    fn aggregated()(
        partition_key_table in prop::collection::vec(key(), 1..8),
        explicit_hash_key_table in prop::collection::vec(key(), 0..4),
        records in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                any::<Option<prop::sample::Index>>(),
                prop::collection::vec(any::<u8>(), 0..200),
                prop::collection::vec(tag(), 0..3),
            ),
            0..20,
        ),
    ) -> Aggregated {
        let explicit = explicit_hash_key_table.len();
        let records = records.into_iter().map(|(key, hash_key, data, tags)| UserRecord {
            partition_key_index: key.index(partition_key_table.len()) as u64,
            explicit_hash_key_index: hash_key
                .filter(|_| explicit > 0)
                .map(|hash_key| hash_key.index(explicit) as u64),
            data,
            tags,
        });
        let records = records.collect();
        Aggregated { partition_key_table, explicit_hash_key_table, records }
    }
}

/// Bytes with a sound magic and digest around them.
fn sealed(body: &[u8]) -> Bytes {
    let digest = Md5::digest(body);
    [&MAGIC[..], body, &digest[..]].concat().into()
}

proptest! {
    #[test]
    fn what_was_put_together_comes_apart(sound in aggregated()) {
        let data = sound.seal();
        let payload = Payload::of(&data);
        let Payload::Aggregated(record) = payload else {
            panic!("{payload:?}");
        };
        prop_assert_eq!(record.len(), sound.records.len() as u64);
        let mut found = record.user_records();
        for (sub, expected) in (0..).zip(&sound.records) {
            let found = found.next().unwrap();
            prop_assert_eq!(found.sub_sequence_number, sub);
            let key = &sound.partition_key_table[expected.partition_key_index as usize];
            prop_assert_eq!(found.partition_key.as_bytes(), &key[..]);
            let hash_key = expected.explicit_hash_key_index;
            let hash_key = hash_key.map(|at| &sound.explicit_hash_key_table[at as usize][..]);
            prop_assert_eq!(found.explicit_hash_key.map(str::as_bytes), hash_key);
            prop_assert_eq!(&found.data[..], &expected.data[..]);
            // Nothing is copied.
            let is_slice = data.as_ptr_range().contains(&found.data.as_ptr());
            prop_assert!(is_slice || found.data.is_empty());
        }
        prop_assert!(found.next().is_none());
    }

    #[test]
    fn a_body_that_is_cut_or_changed_is_what_prost_makes_of_it(
        sound in aggregated(),
        at in any::<prop::sample::Index>(),
        byte: u8,
        cut: bool,
    ) {
        let whole = sound.seal();
        let mut body = whole[MAGIC.len()..whole.len() - 16].to_vec();
        let at = at.index(body.len());
        if cut {
            body.truncate(at);
        } else {
            body[at] = byte;
        }
        let data = sealed(&body);
        let reference = Aggregated::open(&data);
        match Payload::of(&data) {
            Payload::Aggregated(record) => {
                let found: Vec<Bytes> = record.user_records().map(|it| it.data).collect();
                prop_assert_eq!(found.len() as u64, record.len());
                // It is stricter than protobuf in places, and then has nothing to say.
                if let Ok(reference) = reference {
                    let expected: Vec<Vec<u8>> =
                        reference.records.into_iter().map(|it| it.data).collect();
                    prop_assert_eq!(found, expected);
                }
            }
            Payload::Damaged(Damage::FieldMissing | Damage::TooShort) => {}
            Payload::Damaged(Damage::NoSuchKey) => {
                let is_sound = |it: &Aggregated| it.sound_records() == it.records.len();
                prop_assert!(!reference.is_ok_and(|it| is_sound(&it)));
            }
            Payload::Damaged(Damage::KeyIsNoText) => {
                prop_assert!(!reference.is_ok_and(|it| it.keys_are_text()));
            }
            Payload::Damaged(Damage::Malformed) => prop_assert!(reference.is_err()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body: Vec<u8>) {
        if let Payload::Aggregated(record) = Payload::of(&sealed(&body)) {
            prop_assert_eq!(record.user_records().count() as u64, record.len());
        }
    }
}
