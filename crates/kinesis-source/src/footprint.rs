use stage_core::Receipt;

use crate::{
    Record,
    read_size::{MOST_BYTES, MOST_RECORDS},
};

/// What a record takes in memory besides its key and its data, in bytes, from the answer to the last receipt:
/// itself, in the answer's storage and, if that is handed out bit by bit, in a batch's; its number, which is kept until
/// all before it are settled; its receipt; and what the allocator needs for the key, the data, and who shares that.
pub(crate) const BESIDES: u64 =
    (2 * size_of::<Record>() + size_of::<u128>() + size_of::<Receipt>() + 3 * ALLOCATION) as u64;

/// What an allocation takes that is not asked for: its header, and up to where the next one may begin.
const ALLOCATION: usize = 16;

/// The most that an answer takes in memory.
pub(crate) const MOST_TAKEN: u64 = taken(MOST_RECORDS as u64, MOST_BYTES);

/// What so many records take in memory that have so many bytes of keys and data.
pub(crate) const fn taken(records: u64, bytes: u64) -> u64 {
    bytes.saturating_add(BESIDES.saturating_mul(records))
}

/// What an answer may take in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// As far as the last ones tell.
    pub(crate) expected: u64,
    /// In any case.
    pub(crate) most: u64,
}

impl From<u64> for Need {
    /// Of an answer that may have as much as there is.
    fn from(expected: u64) -> Self {
        let most = MOST_TAKEN;
        Self { expected, most }
    }
}
