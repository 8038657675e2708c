use std::{fmt, ops::Range, str, sync::Arc};

use bytes::Bytes;
use md5::{Digest, Md5};

use super::{
    Cursor, Damage, MAGIC, MAX_DATA, MAX_KEYS, MAX_USER_RECORDS, UserRecord, UserRecords,
    user_records::Entry,
    wire::{Field, Wire},
};
use crate::HashRange;

/// What a record's data is.
#[derive(Clone, Debug)]
pub enum Payload {
    /// What was put, as it is.
    Plain,
    /// User records that were put together.
    Aggregated(AggregatedRecord),
    /// It begins as an aggregated record does, and is none: to be taken as it is.
    Damaged(Damage),
}

/// A record that holds user records. All of it has been checked.
///
/// It shares the data that it was made of. Beyond that it needs memory only to find keys: eight
/// bytes for each, of at most twice [`MAX_KEYS`]. Clones share that, too.
#[derive(Clone)]
pub struct AggregatedRecord {
    body: Bytes,
    partition_keys: KeyTable,
    explicit_hash_keys: KeyTable,
    user_records: u64,
}

/// Where each key is in the body.
type KeyTable = Arc<[Range<u32>]>;

/// The fields of the body.
const PARTITION_KEY_TABLE: u32 = 1;
const EXPLICIT_HASH_KEY_TABLE: u32 = 2;
const RECORDS: u32 = 3;

/// How many bytes the digest has.
const DIGEST: usize = 16;

impl Payload {
    /// Looks at the data of a record. Plain data is told by its first four bytes.
    pub fn of(data: &Bytes) -> Self {
        if !data.starts_with(&MAGIC) {
            return Self::Plain;
        }
        match AggregatedRecord::check(data) {
            Ok(record) => Self::Aggregated(record),
            Err(damage) => Self::Damaged(damage),
        }
    }
}

impl AggregatedRecord {
    fn check(data: &Bytes) -> Result<Self, Damage> {
        if data.len() <= MAGIC.len() + DIGEST {
            return Err(Damage::TooShort);
        }
        if data.len() > MAX_DATA {
            return Err(Damage::TooLong);
        }
        let body = data.slice(MAGIC.len()..data.len() - DIGEST);
        if Md5::digest(&body)[..] != data[data.len() - DIGEST..] {
            return Err(Damage::WrongDigest);
        }
        let survey = Survey::of(&body)?;
        Ok(Self {
            partition_keys: table(&body, PARTITION_KEY_TABLE, survey.partition_keys)?,
            explicit_hash_keys: table(&body, EXPLICIT_HASH_KEY_TABLE, survey.explicit_hash_keys)?,
            user_records: survey.user_records,
            body,
        })
    }

    /// How many user records it holds. It may be none.
    pub fn len(&self) -> u64 {
        self.user_records
    }

    /// Whether it holds no user record.
    pub fn is_empty(&self) -> bool {
        self.user_records == 0
    }

    /// Its user records, in order.
    pub fn user_records(&self) -> UserRecords<'_> {
        UserRecords::of(self)
    }

    /// Whether all its user records [fall on](UserRecord::is_within) `range`. If not, the KCL drops it
    /// whole.
    pub fn is_within(&self, range: HashRange) -> bool {
        self.user_records().all(|record| record.is_within(range))
    }

    /// The user record that comes next, if there is one more.
    pub(crate) fn read_at(&self, cursor: &mut Cursor) -> Option<UserRecord<'_>> {
        let mut wire = Wire::new(&self.body, cursor.at);
        loop {
            let field = wire.next_field().expect("it was checked")?;
            cursor.at = wire.at();
            if let Field::Bytes {
                number: RECORDS,
                range,
            } = field
            {
                let entry = Entry::read(wire.within(range)).expect("it was checked");
                let sub_sequence_number = cursor.sub_sequence_number;
                cursor.sub_sequence_number += 1;
                return Some(self.user_record(sub_sequence_number, entry));
            }
        }
    }

    fn user_record(&self, sub_sequence_number: u64, entry: Entry) -> UserRecord<'_> {
        let explicit_hash_key = entry.explicit_hash_key_index;
        UserRecord {
            sub_sequence_number,
            partition_key: self.key(&self.partition_keys, entry.partition_key_index),
            explicit_hash_key: explicit_hash_key.map(|i| self.key(&self.explicit_hash_keys, i)),
            data: self.body.slice(entry.data),
        }
    }

    fn key(&self, table: &[Range<u32>], index: u64) -> &str {
        let Range { start, end } = table[index as usize].clone();
        str::from_utf8(&self.body[start as usize..end as usize]).expect("it was checked")
    }

    /// How many bytes it needs beside the data that it shares.
    #[cfg(test)]
    fn memory(&self) -> usize {
        size_of_val(&*self.partition_keys) + size_of_val(&*self.explicit_hash_keys)
    }
}

/// What one walk over a body finds: how much there is of everything, and that all of it is sound.
#[derive(Debug, Default)]
struct Survey {
    partition_keys: u64,
    explicit_hash_keys: u64,
    user_records: u64,
    /// How many keys the tables must have. They may come after what names them.
    needs_partition_keys: u64,
    needs_explicit_hash_keys: u64,
}

impl Survey {
    fn of(body: &[u8]) -> Result<Self, Damage> {
        let mut survey = Self::default();
        let mut wire = Wire::new(body, 0);
        while let Some(field) = wire.next_field()? {
            let Field::Bytes { number, range } = field else {
                continue;
            };
            match number {
                PARTITION_KEY_TABLE => {
                    check_key(&body[range])?;
                    count(&mut survey.partition_keys, MAX_KEYS, Damage::TooManyKeys)?;
                }
                EXPLICIT_HASH_KEY_TABLE => {
                    check_key(&body[range])?;
                    let keys = &mut survey.explicit_hash_keys;
                    count(keys, MAX_KEYS, Damage::TooManyKeys)?;
                }
                RECORDS => {
                    survey.note(&Entry::read(wire.within(range))?);
                    let records = &mut survey.user_records;
                    count(records, MAX_USER_RECORDS, Damage::TooManyRecords)?;
                }
                _ => {}
            }
        }
        survey.check_needs()?;
        Ok(survey)
    }

    fn note(&mut self, entry: &Entry) {
        let needs = |index: u64| index.saturating_add(1);
        let partition_keys = needs(entry.partition_key_index);
        self.needs_partition_keys = self.needs_partition_keys.max(partition_keys);
        let explicit_hash_keys = entry.explicit_hash_key_index.map_or(0, needs);
        self.needs_explicit_hash_keys = self.needs_explicit_hash_keys.max(explicit_hash_keys);
    }

    fn check_needs(&self) -> Result<(), Damage> {
        let has_all = self.needs_partition_keys <= self.partition_keys
            && self.needs_explicit_hash_keys <= self.explicit_hash_keys;
        if has_all {
            Ok(())
        } else {
            Err(Damage::NoSuchKey)
        }
    }
}

fn check_key(key: &[u8]) -> Result<(), Damage> {
    str::from_utf8(key).map_err(|_| Damage::KeyIsNoText)?;
    Ok(())
}

/// Counts one more, up to `max`.
fn count(so_far: &mut u64, max: u64, damage: Damage) -> Result<(), Damage> {
    *so_far += 1;
    if *so_far > max { Err(damage) } else { Ok(()) }
}

/// Where the `keys` keys of a table are.
fn table(body: &[u8], table: u32, keys: u64) -> Result<KeyTable, Damage> {
    let mut places = Vec::with_capacity(keys as usize);
    let mut wire = Wire::new(body, 0);
    // The records may be many. There is nothing to find among them once all keys are.
    while places.len() < keys as usize
        && let Some(field) = wire.next_field()?
    {
        if let Field::Bytes { number, range } = field
            && number == table
        {
            // The data is no longer than `MAX_DATA`.
            places.push(range.start as u32..range.end as u32);
        }
    }
    Ok(places.into())
}

impl fmt::Debug for AggregatedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregatedRecord")
            .field("user_records", &self.user_records)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(body: &[u8]) -> Bytes {
        let digest = Md5::digest(body);
        [&MAGIC[..], body, &digest[..]].concat().into()
    }

    fn aggregated(body: &[u8]) -> AggregatedRecord {
        match Payload::of(&sealed(body)) {
            Payload::Aggregated(record) => record,
            other => panic!("{other:?}"),
        }
    }

    fn damage(data: &Bytes) -> Damage {
        match Payload::of(data) {
            Payload::Damaged(damage) => damage,
            other => panic!("{other:?}"),
        }
    }

    /// A table of one key, "k", and a record of it, without data.
    const KEY: [u8; 3] = [0x0A, 1, b'k'];
    const EMPTY_RECORD: [u8; 6] = [0x1A, 4, 0x08, 0, 0x1A, 0];
    const TEN_MIB: usize = 10 * 1024 * 1024;

    #[test]
    fn each_kind_of_damage_is_told() {
        assert!(matches!(Payload::of(&Bytes::new()), Payload::Plain));
        assert!(matches!(
            Payload::of(&Bytes::from_static(&[0xF3, 0x89, 0x9A, 0xC3])),
            Payload::Plain
        ));
        assert_eq!(damage(&sealed(&[])), Damage::TooShort);
        let mut flipped = sealed(&KEY).to_vec();
        flipped[5] ^= 1;
        assert_eq!(damage(&flipped.into()), Damage::WrongDigest);
        for (body, expected) in [
            (&[0x0A, 9, b'k'][..], Damage::Malformed),
            (&[0x1A, 2, 0x08, 0], Damage::FieldMissing),
            (&[0x1A, 2, 0x1A, 0], Damage::FieldMissing),
            // A tag with no key.
            (
                &[0x0A, 1, b'k', 0x1A, 6, 0x08, 0, 0x1A, 0, 0x22, 0],
                Damage::FieldMissing,
            ),
            // Its index is of another wire type.
            (&[0x1A, 4, 0x0A, 0, 0x1A, 0], Damage::FieldMissing),
            (&EMPTY_RECORD, Damage::NoSuchKey),
            (
                &[0x0A, 1, b'k', 0x1A, 6, 0x08, 0, 0x10, 0, 0x1A, 0],
                Damage::NoSuchKey,
            ),
            (&[0x0A, 1, 0xFF], Damage::KeyIsNoText),
        ] {
            assert_eq!(damage(&sealed(body)), expected, "{body:?}");
        }
    }

    #[test]
    fn a_field_of_another_wire_type_is_an_unknown_one() {
        let body = [&[0x08, 7][..], &KEY, &EMPTY_RECORD, &[0x18, 7]].concat();
        let record = aggregated(&body);
        assert_eq!(record.len(), 1);
        let keys: Vec<&str> = record.user_records().map(|it| it.partition_key).collect();
        assert_eq!(keys, ["k"]);
    }

    #[test]
    fn data_is_a_slice_of_the_record() {
        let data = sealed(&[&KEY[..], &[0x1A, 6, 0x08, 0, 0x1A, 2, 7, 8]].concat());
        let Payload::Aggregated(record) = Payload::of(&data) else {
            panic!("plain");
        };
        let inner = record.user_records().next().unwrap().data;
        assert_eq!(inner, [7, 8][..]);
        assert!(data.as_ptr_range().contains(&inner.as_ptr()));
    }

    #[test]
    fn ten_mib_of_nothing_but_records_or_keys_is_refused() {
        let of = |unit: &[u8]| sealed(&unit.repeat(TEN_MIB / unit.len()));
        assert_eq!(damage(&of(&EMPTY_RECORD)), Damage::TooManyRecords);
        assert_eq!(damage(&of(&[0x0A, 0])), Damage::TooManyKeys);
        assert_eq!(damage(&of(&[0x12, 0])), Damage::TooManyKeys);
        assert_eq!(damage(&of(&[0x0B])), Damage::Malformed);
        let long = Bytes::from([&MAGIC[..], &vec![0; MAX_DATA]].concat());
        assert_eq!(damage(&long), Damage::TooLong);
    }

    #[test]
    fn memory_is_for_keys_alone_and_bounded() {
        let one_key = |records: u64| [&KEY[..], &EMPTY_RECORD.repeat(records as usize)].concat();
        let full = aggregated(&one_key(MAX_USER_RECORDS));
        assert_eq!(full.len(), MAX_USER_RECORDS);
        assert_eq!(full.memory(), 8);
        assert_eq!(full.user_records().count() as u64, MAX_USER_RECORDS);
        let keys = [
            [0x0A, 0].repeat(MAX_KEYS as usize),
            [0x12, 0].repeat(MAX_KEYS as usize),
        ];
        assert_eq!(aggregated(&keys.concat()).memory(), 4 * 1024 * 1024);
        let over = one_key(MAX_USER_RECORDS + 1);
        assert_eq!(damage(&sealed(&over)), Damage::TooManyRecords);
        let over = [0x0A, 0].repeat(MAX_KEYS as usize + 1);
        assert_eq!(damage(&sealed(&over)), Damage::TooManyKeys);
    }
}
