use std::collections::{BTreeMap, BTreeSet};

use kinesis_source::{SequenceNumber, ShardId};

/// Which shards each shard was split or merged from, those that have expired among them.
pub(super) type Parents = BTreeMap<ShardId, Vec<ShardId>>;

/// What was delivered of one key.
///
/// On each shard, records come for the first time in the order of their numbers, and after all of the
/// shards that it descends from. One that comes again begins a *replay*, as after a restart: from there
/// on each comes again that came before, one after another, until the newest has. Meanwhile nothing else
/// of the key may come there, nor on a shard that descends from it; but the replay may begin anew, no
/// earlier than it began.
#[derive(Debug, Default)]
pub(super) struct KeyOrder<'a> {
    shards: BTreeMap<&'a ShardId, Progress<'a>>,
    /// Shards whose records come before one that was delivered, and which that is.
    overtaken: BTreeMap<&'a ShardId, &'a SequenceNumber>,
    replaying: BTreeSet<&'a ShardId>,
}

/// The records of one key on one shard.
#[derive(Debug, Default)]
struct Progress<'a> {
    /// Those that have come, in the order of their numbers.
    numbers: Vec<&'a SequenceNumber>,
    /// The place of the last one that came.
    last: usize,
    /// Where the replay began that is going on: its place.
    replay: Option<usize>,
}

/// What a record that was delivered was not to come before.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Disorder<'a> {
    /// That one, which is later and had come.
    Late(&'a SequenceNumber),
    /// That one of that shard, which had come and was to come again.
    Replay(&'a ShardId, &'a SequenceNumber),
}

/// What is known of a stream.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) parents: Parents,
    /// What retention took: it cannot come again.
    pub(super) expired: BTreeSet<SequenceNumber>,
}

impl<'a> KeyOrder<'a> {
    /// A record was delivered.
    pub(super) fn note(
        &mut self,
        shard: &'a ShardId,
        number: &'a SequenceNumber,
        known: &'a Known,
    ) -> Result<(), Disorder<'a>> {
        self.check_ancestors(shard, known)?;
        let is_new_shard = !self.shards.contains_key(shard);
        let progress = self.shards.entry(shard).or_default();
        match progress.numbers.binary_search(&number) {
            Ok(place) => progress.again(shard, place, known)?,
            Err(_) => {
                if let Some(later) = self.overtaken.get(shard) {
                    return Err(Disorder::Late(later));
                }
                progress.first(shard, number, known)?;
            }
        }
        match progress.replay {
            Some(_) => self.replaying.insert(shard),
            None => self.replaying.remove(shard),
        };
        if is_new_shard {
            self.overtake_ancestors(shard, number, &known.parents);
        }
        Ok(())
    }

    /// Nothing comes on a shard while one is replayed that it descends from.
    fn check_ancestors(&self, shard: &ShardId, known: &'a Known) -> Result<(), Disorder<'a>> {
        if self.replaying.iter().all(|it| *it == shard) {
            return Ok(());
        }
        let mut above: Vec<_> = parents_of(shard, &known.parents).collect();
        let mut seen = BTreeSet::new();
        while let Some(ancestor) = above.pop() {
            if !seen.insert(ancestor) {
                continue;
            }
            let progress = self.shards.get(ancestor);
            if let Some(expected) = progress.and_then(|it| it.expected(known)) {
                return Err(Disorder::Replay(ancestor, expected));
            }
            above.extend(parents_of(ancestor, &known.parents));
        }
        Ok(())
    }

    fn overtake_ancestors(
        &mut self,
        shard: &'a ShardId,
        number: &'a SequenceNumber,
        parents: &'a Parents,
    ) {
        let mut above: Vec<_> = parents_of(shard, parents).collect();
        while let Some(ancestor) = above.pop() {
            // Where it was, its own ancestors were, too.
            if self.overtaken.insert(ancestor, number).is_none() {
                above.extend(parents_of(ancestor, parents));
            }
        }
    }
}

impl<'a> Progress<'a> {
    /// What comes next of a replay, if one is going on: the first that can still come.
    fn expected(&self, known: &Known) -> Option<&'a SequenceNumber> {
        self.replay?;
        let rest = self.numbers.iter().skip(self.last + 1);
        rest.copied().find(|it| !known.expired.contains(*it))
    }

    fn first(
        &mut self,
        shard: &'a ShardId,
        number: &'a SequenceNumber,
        known: &Known,
    ) -> Result<(), Disorder<'a>> {
        if let Some(newest) = self.numbers.last().filter(|newest| **newest > number) {
            return Err(Disorder::Late(newest));
        }
        if let Some(expected) = self.expected(known) {
            return Err(Disorder::Replay(shard, expected));
        }
        self.last = self.numbers.len();
        self.numbers.push(number);
        self.replay = None;
        Ok(())
    }

    /// The record at that place comes once more.
    fn again(
        &mut self,
        shard: &'a ShardId,
        place: usize,
        known: &Known,
    ) -> Result<(), Disorder<'a>> {
        match (self.replay, self.expected(known)) {
            // It goes on, or is made anew.
            (Some(from), Some(expected)) => {
                if self.numbers[place] > expected || place < from {
                    return Err(Disorder::Replay(shard, expected));
                }
            }
            _ => self.replay = Some(place),
        }
        self.last = place;
        if place + 1 == self.numbers.len() {
            self.replay = None;
        }
        Ok(())
    }
}

fn parents_of<'a>(shard: &ShardId, parents: &'a Parents) -> impl Iterator<Item = &'a ShardId> {
    parents.get(shard).into_iter().flatten()
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
