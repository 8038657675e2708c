use std::fmt;

use smol_str::SmolStr;

use crate::SequenceNumber;

/// Names a shard within its stream, as `shardId-000000000003`.
///
/// Such a name is held in place: each record has one, and to clone it costs next to nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(SmolStr);

impl ShardId {
    /// The shard of this name.
    pub fn new(id: impl AsRef<str>) -> Self {
        Self(SmolStr::new(id))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ShardId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The hash keys that fall on a shard: `start` to `end`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashRange {
    /// The first.
    pub start: u128,
    /// The last.
    pub end: u128,
}

impl HashRange {
    /// Every hash key there is.
    pub const ALL: Self = Self {
        start: 0,
        end: u128::MAX,
    };

    /// Whether `hash_key` falls on it.
    pub const fn contains(self, hash_key: u128) -> bool {
        self.start <= hash_key && hash_key <= self.end
    }
}

/// A shard, as the service lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its name.
    pub id: ShardId,
    /// The shard it was split off, or the first of the two it was merged from.
    pub parent: Option<ShardId>,
    /// The second of the two it was merged from.
    pub adjacent_parent: Option<ShardId>,
    /// The hash keys that fall on it.
    pub hash_range: HashRange,
    /// Where it starts. No record needs to have this number.
    pub starting_sequence_number: SequenceNumber,
    /// Where it ends, once it is closed. No record needs to have this number.
    pub ending_sequence_number: Option<SequenceNumber>,
}

impl Shard {
    /// Its parents: none, one after a split, two after a merge.
    pub fn parents(&self) -> impl Iterator<Item = &ShardId> {
        self.parent.iter().chain(&self.adjacent_parent)
    }

    /// Whether it no longer takes records.
    pub fn is_closed(&self) -> bool {
        self.ending_sequence_number.is_some()
    }
}

/// A child of a shard that has been read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildShard {
    /// Its name.
    pub id: ShardId,
    /// All its parents: one after a split, two after a merge.
    pub parents: Vec<ShardId>,
    /// The hash keys that fall on it.
    pub hash_range: HashRange,
}
