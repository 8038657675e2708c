use std::{fmt, ops::Deref};

use crate::kpl::Damage;

/// What [de-aggregation](crate::Deaggregation) found a record to be.
///
/// Each record has one, and is moved with it: so it is two words.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aggregation {
    /// A record as it was put; or nobody looked.
    #[default]
    None,
    /// A user record of an aggregated record.
    #[non_exhaustive]
    UserRecord {
        /// Which of them, counted from zero.
        sub_sequence_number: u32,
        /// The hash key it was put under, if it was given one.
        explicit_hash_key: Option<ExplicitHashKey>,
        /// Whether its hash key falls on the shard that it was read from.
        is_in_range: bool,
    },
    /// A record as it was put, which begins as an aggregated one and is none.
    Damaged(Damage),
}

/// The hash key that a user record was put under, as it was given: decimal digits, if it was put by one who keeps to
/// the rules.
// Few user records have one: it is boxed twice so that it is one word in each record.
#[derive(Clone, PartialEq, Eq)]
pub struct ExplicitHashKey(Box<Box<str>>);

impl Aggregation {
    /// Of the user record of that number, of one that falls on its shard: for tests of what takes records in.
    pub fn user_record(sub_sequence_number: u32) -> Self {
        Self::UserRecord {
            sub_sequence_number,
            explicit_hash_key: None,
            is_in_range: true,
        }
    }

    /// Which user record it is, if it is one.
    pub fn sub_sequence_number(&self) -> Option<u64> {
        match self {
            Self::UserRecord {
                sub_sequence_number,
                ..
            } => Some(u64::from(*sub_sequence_number)),
            Self::None | Self::Damaged(_) => None,
        }
    }
}

impl From<&str> for ExplicitHashKey {
    fn from(key: &str) -> Self {
        Self(Box::new(key.into()))
    }
}

impl Deref for ExplicitHashKey {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ExplicitHashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} B)", self.len())
    }
}

impl fmt::Debug for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::UserRecord {
                sub_sequence_number,
                explicit_hash_key,
                is_in_range,
            } => f
                .debug_struct("UserRecord")
                .field("sub_sequence_number", sub_sequence_number)
                .field("has_explicit_hash_key", &explicit_hash_key.is_some())
                .field("is_in_range", is_in_range)
                .finish(),
            Self::Damaged(damage) => f.debug_tuple("Damaged").field(damage).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_two_words() {
        assert_eq!(size_of::<Aggregation>(), 16);
    }

    #[test]
    fn an_explicit_hash_key_is_what_was_given_and_debug_does_not_show_it() {
        let aggregation = Aggregation::UserRecord {
            sub_sequence_number: 3,
            explicit_hash_key: Some("0042".into()),
            is_in_range: true,
        };
        let Aggregation::UserRecord {
            explicit_hash_key: Some(key),
            ..
        } = &aggregation
        else {
            panic!("it has one");
        };
        assert_eq!(&**key, "0042");
        assert_eq!(format!("{key:?}"), "(4 B)");
        assert_eq!(
            format!("{aggregation:?}"),
            "UserRecord { sub_sequence_number: 3, has_explicit_hash_key: true, is_in_range: true }"
        );
        assert_eq!(aggregation.sub_sequence_number(), Some(3));
        assert_eq!(Aggregation::None.sub_sequence_number(), None);
        assert_eq!(Aggregation::user_record(4).sub_sequence_number(), Some(4));
    }
}
