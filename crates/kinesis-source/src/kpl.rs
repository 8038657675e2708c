//! Records that the Kinesis Producer Library (KPL) aggregated: many user records in one record.
//!
//! ```text
//! F3 89 9A C2 | body, a protobuf message | MD5 of the body, 16 bytes
//! ```
//!
//! [`Payload::of`] says what a record's data is. It checks all of it before anything is handed on,
//! in one walk that allocates nothing. Then the user records of an [`AggregatedRecord`] are read
//! one by one, as slices of the data.
//!
//! The walk is written by hand. The message has five fields, and a general decoder such as prost
//! makes a vector of everything before the first can be looked at: of 10 MiB of empty records, more
//! than 100 MiB.
//!
//! # Where libraries differ
//!
//! - A user record that names a key outside the tables: Amazon's client library (the KCL) keeps what
//!   comes before it and loses the rest. Here the whole record is [`Damage::NoSuchKey`], and nothing
//!   is lost.
//! - A key that is no UTF-8, used or not: the KCL puts other characters in its place. Here it is
//!   [`Damage::KeyIsNoText`].
//! - Otherwise a body is taken or refused as the KCL's protobuf does: unknown fields are skipped, and
//!   so are known ones of another wire type; of a field that is given twice, the last counts;
//!   required fields are required, those of tags too.
//! - One level only: what an aggregated record holds is data, whatever it looks like.

mod aggregated_record;
mod damage;
mod hash_key;
mod user_records;
mod wire;

pub(crate) use self::user_records::Cursor;
pub use self::{
    aggregated_record::{AggregatedRecord, Payload},
    damage::Damage,
    user_records::{UserRecord, UserRecords},
};

/// What an aggregated record begins with.
pub const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// The most bytes that are looked into. A record of Kinesis has at most 10 MiB; what is larger
/// comes from elsewhere, and checking it would take longer than anybody expects.
pub const MAX_DATA: usize = 16 * 1024 * 1024;

/// The most user records in one. In 10 MiB, more than these have fewer than ten bytes each, of which
/// six are needed for an empty one: no producer means that.
pub const MAX_USER_RECORDS: u64 = 1 << 20;

/// The most entries in each table of keys. They are what memory is needed for: eight bytes each, so
/// 2 MiB a table. In 10 MiB, more than these have fewer than 40 bytes each, with their record.
pub const MAX_KEYS: u64 = 1 << 18;

/// How deep groups and messages may be nested, as in protobuf's own decoders.
const MAX_DEPTH: usize = 100;
