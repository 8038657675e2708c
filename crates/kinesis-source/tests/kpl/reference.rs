//! The format for prost: what it makes of a body, and an encoder. Keys are bytes, so that those that
//! are no text get through.

#![allow(dead_code)] // Each test uses its own part.

use bytes::Bytes;
use kinesis_source::kpl::MAGIC;
use md5::{Digest, Md5};
use prost::{DecodeError, Message};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Aggregated {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) partition_key_table: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) explicit_hash_key_table: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) records: Vec<UserRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct UserRecord {
    #[prost(uint64, required, tag = "1")]
    pub(crate) partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "vec", required, tag = "3")]
    pub(crate) data: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tag {
    #[prost(string, required, tag = "1")]
    pub(crate) key: String,
    #[prost(string, optional, tag = "2")]
    pub(crate) value: Option<String>,
}

impl Aggregated {
    /// The data of a record with this in it.
    pub(crate) fn seal(&self) -> Bytes {
        let body = self.encode_to_vec();
        let digest = Md5::digest(&body);
        [&MAGIC[..], &body, &digest[..]].concat().into()
    }

    /// What is in a record's data, whatever its digest. Of fields with another wire type than they
    /// should have, prost makes an error.
    pub(crate) fn open(data: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(&data[MAGIC.len()..data.len() - 16])
    }

    /// How many of the first records name keys that there are.
    pub(crate) fn sound_records(&self) -> usize {
        let has = |table: &[Vec<u8>], index: u64| index < table.len() as u64;
        let is_sound = |record: &&UserRecord| {
            let explicit = record.explicit_hash_key_index;
            has(&self.partition_key_table, record.partition_key_index)
                && explicit.is_none_or(|index| has(&self.explicit_hash_key_table, index))
        };
        self.records.iter().take_while(is_sound).count()
    }

    pub(crate) fn keys_are_text(&self) -> bool {
        let tables = [&self.partition_key_table, &self.explicit_hash_key_table];
        let mut keys = tables.into_iter().flatten();
        keys.all(|key| std::str::from_utf8(key).is_ok())
    }
}
