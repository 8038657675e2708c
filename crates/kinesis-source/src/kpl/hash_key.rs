use md5::{Digest, Md5};

use super::UserRecord;
use crate::HashRange;

impl UserRecord<'_> {
    /// Whether its hash key falls on `range`: the explicit one or, without it, the MD5 of its
    /// partition key. An explicit hash key that is no number of 128 bits falls nowhere.
    pub fn is_within(&self, range: HashRange) -> bool {
        // Nothing need be computed for a stream of one shard.
        if range == HashRange::ALL && self.explicit_hash_key.is_none() {
            return true;
        }
        hash_key(self).is_some_and(|key| range.contains(key))
    }
}

fn hash_key(record: &UserRecord<'_>) -> Option<u128> {
    match record.explicit_hash_key {
        Some(key) => key.parse().ok(),
        None => Some(u128::from_be_bytes(
            Md5::digest(record.partition_key).into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record<'a>(partition_key: &'a str, explicit_hash_key: Option<&'a str>) -> UserRecord<'a> {
        UserRecord {
            sub_sequence_number: 0,
            partition_key,
            explicit_hash_key,
            data: Bytes::new(),
        }
    }

    #[test]
    fn a_partition_key_falls_where_its_digest_says() {
        // MD5("a"), as everybody knows it.
        let key = 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661;
        let just = HashRange {
            start: key,
            end: key,
        };
        assert!(record("a", None).is_within(just));
        assert!(!record("b", None).is_within(just));
        assert!(record("b", None).is_within(HashRange::ALL));
    }

    #[test]
    fn an_explicit_hash_key_takes_its_place() {
        let range = HashRange { start: 5, end: 7 };
        for (key, expected) in [("4", false), ("5", true), ("007", true), ("8", false)] {
            assert_eq!(record("a", Some(key)).is_within(range), expected, "{key}");
        }
        let too_large = "340282366920938463463374607431768211456";
        for key in ["", "x", "-1", too_large] {
            assert!(!record("a", Some(key)).is_within(HashRange::ALL), "{key}");
        }
    }
}
