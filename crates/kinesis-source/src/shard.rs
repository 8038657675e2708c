use std::{cmp::Ordering, fmt, sync::Arc};

use crate::SequenceNumber;

/// Names a shard within its stream, as `shardId-000000000003`.
///
/// Names of that form, which the service gives to all, are kept as the number in them: each record has one, and what
/// is kept of thousands of shards is kept in their order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ShardId(Name);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    /// Of the usual form.
    Numbered(u64),
    /// Of any other.
    Other(Arc<str>),
}

const PREFIX: &str = "shardId-";

/// How many digits the usual form has.
const DIGITS: usize = 12;

impl ShardId {
    /// The shard of this name.
    pub fn new(id: impl AsRef<str>) -> Self {
        let id = id.as_ref();
        Self(match number(id) {
            Some(number) => Name::Numbered(number),
            None => Name::Other(id.into()),
        })
    }

    /// The number in a name of the usual form: 3 of `shardId-000000000003`.
    pub fn number(&self) -> Option<u64> {
        match self.0 {
            Name::Numbered(number) => Some(number),
            Name::Other(_) => None,
        }
    }

    #[cold]
    fn cmp_as_text(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Name::Other(one), Name::Other(other)) => one.cmp(other),
            _ => self.to_string().cmp(&other.to_string()),
        }
    }
}

/// The number in a name of the usual form.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let is_usual = digits.len() == DIGITS && digits.bytes().all(|it| it.is_ascii_digit());
    is_usual.then(|| digits.parse().ok())?
}

/// The usual form of a number.
fn text(mut number: u64) -> [u8; PREFIX.len() + DIGITS] {
    let mut text = *b"shardId-000000000000";
    for digit in text[PREFIX.len()..].iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    text
}

/// In the order of their names, as text.
impl Ord for ShardId {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            // As all have as many digits.
            (Name::Numbered(one), Name::Numbered(other)) => one.cmp(other),
            _ => self.cmp_as_text(other),
        }
    }
}

impl PartialOrd for ShardId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<&str> for ShardId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Numbered(number) => {
                let text = text(*number);
                f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
            Name::Other(name) => f.write_str(name),
        }
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_two_words_and_has_a_number_if_it_is_of_the_usual_form() {
        assert_eq!(size_of::<ShardId>(), 16);
        assert_eq!(ShardId::from("shardId-000000000003").number(), Some(3));
        for other in [
            "",
            "3",
            "shardId-3",
            "shardId-00000000000x",
            "shardId-0000000000003",
        ] {
            assert_eq!(ShardId::from(other).number(), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn it_is_written_as_it_was_read(name in "shardId-[0-9]{11,13}|[a-zA-Z0-9_.-]{0,30}") {
            prop_assert_eq!(&ShardId::new(&name).to_string(), &name);
            prop_assert_eq!(format!("{:?}", ShardId::new(&name)), name);
        }

        #[test]
        fn shards_are_in_the_order_of_their_names(
            a in "shardId-0000000000[0-9]{1,3}|shardIe|shard|[ab]{0,3}",
            b in "shardId-0000000000[0-9]{1,3}|shardIe|shard|[ab]{0,3}",
        ) {
            prop_assert_eq!(ShardId::new(&a).cmp(&ShardId::new(&b)), a.cmp(&b));
        }
    }
}
