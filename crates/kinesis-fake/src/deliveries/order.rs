use std::collections::BTreeMap;

use kinesis_source::{SequenceNumber, ShardId};

/// Which shards each shard was split or merged from, those that have expired among them.
pub(super) type Parents = BTreeMap<ShardId, Vec<ShardId>>;

/// What was delivered of one key.
#[derive(Debug, Default)]
pub(super) struct KeyOrder<'a> {
    newest: BTreeMap<&'a ShardId, &'a SequenceNumber>,
    /// Shards whose records come before one that was delivered, and which that is.
    overtaken: BTreeMap<&'a ShardId, &'a SequenceNumber>,
}

impl<'a> KeyOrder<'a> {
    /// A record was delivered for the first time; one that comes after it, if that was before.
    pub(super) fn note(
        &mut self,
        shard: &'a ShardId,
        number: &'a SequenceNumber,
        parents: &'a Parents,
    ) -> Option<&'a SequenceNumber> {
        if let Some(later) = self.overtaken.get(shard) {
            return Some(later);
        }
        match self.newest.insert(shard, number) {
            Some(newest) => (newest > number).then_some(newest),
            None => {
                self.overtake_ancestors(shard, number, parents);
                None
            }
        }
    }

    fn overtake_ancestors(
        &mut self,
        shard: &'a ShardId,
        number: &'a SequenceNumber,
        parents: &'a Parents,
    ) {
        let mut above: Vec<_> = parents.get(shard).into_iter().flatten().collect();
        while let Some(ancestor) = above.pop() {
            // Where it was, its own ancestors were, too.
            if self.overtaken.insert(ancestor, number).is_none() {
                above.extend(parents.get(ancestor).into_iter().flatten());
            }
        }
    }
}

/// The records of one shard as they are delivered: counts those that are not before a given one, in
/// the logarithm of their number (a Fenwick tree over all that will ever come).
#[derive(Debug, Default)]
pub(super) struct Arrivals<'a> {
    /// All that will come, in their order.
    numbers: Vec<&'a SequenceNumber>,
    arrived: Vec<bool>,
    /// At place `i` from 1 on: how many have arrived among the `i & -i` places up to it.
    counts: Vec<usize>,
    total: usize,
}

impl<'a> Arrivals<'a> {
    /// It will come.
    pub(super) fn expect(&mut self, number: &'a SequenceNumber) {
        self.numbers.push(number);
    }

    /// All that will come have been told.
    pub(super) fn begin(&mut self) {
        self.numbers.sort_unstable();
        self.numbers.dedup();
        self.arrived = vec![false; self.numbers.len()];
        self.counts = vec![0; self.numbers.len() + 1];
    }

    /// It comes: if it had come before, how many have come by now that are not before it.
    pub(super) fn arrive(&mut self, number: &SequenceNumber) -> Option<usize> {
        let place = self.numbers.binary_search(&number).ok()?;
        if !self.arrived[place] {
            self.arrived[place] = true;
            self.count(place + 1);
            return None;
        }
        Some(self.total - self.up_to(place))
    }

    fn count(&mut self, mut place: usize) {
        self.total += 1;
        while let Some(count) = self.counts.get_mut(place) {
            *count += 1;
            place += place & place.wrapping_neg();
        }
    }

    /// How many have arrived among the first `places`.
    fn up_to(&self, mut places: usize) -> usize {
        let mut sum = 0;
        while places > 0 {
            sum += self.counts[places];
            places &= places - 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn number(n: u8) -> SequenceNumber {
        n.to_string().parse().unwrap()
    }

    proptest! {
        #[test]
        fn what_has_arrived_is_counted(log in prop::collection::vec(0..40_u8, 0..80)) {
            let log: Vec<_> = log.into_iter().map(number).collect();
            let mut arrivals = Arrivals::default();
            log.iter().for_each(|number| arrivals.expect(number));
            arrivals.begin();
            let mut seen = BTreeSet::new();
            for number in &log {
                let again = !seen.insert(number);
                let behind = again.then(|| seen.iter().filter(|it| **it >= number).count());
                prop_assert_eq!(arrivals.arrive(number), behind);
            }
        }
    }
}
