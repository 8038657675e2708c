use crate::{HashRange, Shard};

/// The hash keys that fall on no open shard of a listing. Whatever splits and merges there were, the
/// open shards of a stream have all of them: a listing that lacks some is not complete.
///
/// Pure. Nothing is lacking in a listing without open shards: the stream is being deleted.
pub(crate) fn holes(listing: &[Shard]) -> Vec<HashRange> {
    let mut open: Vec<HashRange> = listing
        .iter()
        .filter(|shard| !shard.is_closed())
        .map(|shard| shard.hash_range)
        .collect();
    if open.is_empty() {
        return Vec::new();
    }
    open.sort_unstable();
    let mut holes = Vec::new();
    // The first key that is not covered yet; none once all are.
    let mut next = Some(0);
    for HashRange { start, end } in open {
        let Some(key) = next else {
            break;
        };
        if start > key {
            let end = start - 1;
            holes.push(HashRange { start: key, end });
        }
        next = end.checked_add(1).map(|after| after.max(key));
    }
    if let Some(start) = next {
        let end = u128::MAX;
        holes.push(HashRange { start, end });
    }
    holes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn shard(range: HashRange) -> Shard {
        Shard {
            id: format!("shard-{}", range.start).as_str().into(),
            parent: None,
            adjacent_parent: None,
            hash_range: range,
            starting_sequence_number: 0.into(),
            ending_sequence_number: None,
        }
    }

    /// Open shards that cover everything, cut at these keys.
    fn cut(at: &BTreeSet<u128>) -> Vec<Shard> {
        let starts: Vec<u128> = std::iter::once(0).chain(at.iter().copied()).collect();
        let ends = at.iter().map(|key| key - 1).chain([u128::MAX]);
        let ranges = starts.iter().zip(ends);
        let shards = ranges.map(|(&start, end)| shard(HashRange { start, end }));
        shards.collect()
    }

    #[test]
    fn a_stream_that_is_being_deleted_lacks_nothing() {
        let mut closed = shard(HashRange { start: 5, end: 9 });
        closed.ending_sequence_number = Some(9.into());
        assert_eq!(holes(&[closed]), []);
        assert_eq!(holes(&[]), []);
    }

    proptest! {
        /// What is taken out is what is missing, in whatever order it is listed.
        #[test]
        fn what_is_missing_is_found(
            at in prop::collection::btree_set(1..=u128::MAX, 1..12),
            out in 0..12usize,
            turn in 0..12usize,
        ) {
            let mut listing = cut(&at);
            prop_assert_eq!(holes(&listing), []);
            let missing = listing.remove(out % listing.len());
            let length = listing.len();
            listing.rotate_left(turn % length);
            prop_assert_eq!(holes(&listing), [missing.hash_range]);
        }
    }
}
