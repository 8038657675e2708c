use std::{fmt, iter::FusedIterator, ops::Range};

use bytes::Bytes;

use super::{
    AggregatedRecord, Damage,
    wire::{Field, Wire},
};

/// A record as its producer meant it, out of an aggregated one.
///
/// Its `Debug` shows sizes, never what was put.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserRecord<'a> {
    /// Which of the aggregated record's it is, counted from zero.
    pub sub_sequence_number: u64,
    /// What it was put under.
    pub partition_key: &'a str,
    /// The hash key it was put under, in decimal digits, if it was given one.
    pub explicit_hash_key: Option<&'a str>,
    /// What was put: a slice of the aggregated record's data.
    pub data: Bytes,
}

/// The user records of an [`AggregatedRecord`], in order. Each is looked for when it is asked for.
#[derive(Clone, Debug)]
pub struct UserRecords<'a> {
    record: &'a AggregatedRecord,
    cursor: Cursor,
}

/// How far an aggregated record has been walked over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Where in the body the next field begins.
    pub(super) at: usize,
    /// Which user record comes next.
    pub(super) sub_sequence_number: u64,
}

/// What a user record's message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) partition_key_index: u64,
    pub(super) explicit_hash_key_index: Option<u64>,
    pub(super) data: Range<usize>,
}

/// The fields of a user record's message, and of a tag's.
const PARTITION_KEY_INDEX: u32 = 1;
const EXPLICIT_HASH_KEY_INDEX: u32 = 2;
const DATA: u32 = 3;
const TAGS: u32 = 4;
const TAG_KEY: u32 = 1;

impl<'a> UserRecords<'a> {
    pub(super) fn of(record: &'a AggregatedRecord) -> Self {
        let cursor = Cursor::default();
        Self { record, cursor }
    }
}

impl<'a> Iterator for UserRecords<'a> {
    type Item = UserRecord<'a>;

    fn next(&mut self) -> Option<UserRecord<'a>> {
        self.record.read_at(&mut self.cursor)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.record.len() - self.cursor.sub_sequence_number;
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for UserRecords<'_> {}
impl FusedIterator for UserRecords<'_> {}

impl Entry {
    /// Reads a user record's message. Of tags, nothing is kept.
    pub(super) fn read(mut wire: Wire<'_>) -> Result<Self, Damage> {
        let (mut partition_key_index, mut explicit_hash_key_index, mut data) = (None, None, None);
        while let Some(field) = wire.next_field()? {
            match field {
                Field::Varint { number, value } if number == PARTITION_KEY_INDEX => {
                    partition_key_index = Some(value);
                }
                Field::Varint { number, value } if number == EXPLICIT_HASH_KEY_INDEX => {
                    explicit_hash_key_index = Some(value);
                }
                Field::Bytes { number, range } if number == DATA => data = Some(range),
                Field::Bytes { number, range } if number == TAGS => check_tag(wire.within(range))?,
                _ => {}
            }
        }
        Ok(Self {
            partition_key_index: partition_key_index.ok_or(Damage::FieldMissing)?,
            explicit_hash_key_index,
            data: data.ok_or(Damage::FieldMissing)?,
        })
    }
}

fn check_tag(mut wire: Wire<'_>) -> Result<(), Damage> {
    let mut has_key = false;
    while let Some(field) = wire.next_field()? {
        has_key |= matches!(field, Field::Bytes { number, .. } if number == TAG_KEY);
    }
    if has_key {
        Ok(())
    } else {
        Err(Damage::FieldMissing)
    }
}

impl fmt::Debug for UserRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRecord")
            .field("sub_sequence_number", &self.sub_sequence_number)
            .field("partition_key", &self.partition_key.len())
            .field("explicit_hash_key", &self.explicit_hash_key.map(str::len))
            .field("data", &self.data.len())
            .finish()
    }
}
