//! What holds whatever goes wrong: I1 to I6 of `faults.md`, checked on the log of all that happened.

use std::collections::{BTreeMap, BTreeSet};

use kinesis_source::{Checkpoint, Shard, ShardId};

use crate::log::{Entry, Log, Place};

/// What a scenario lets happen that is wrong otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed {
    /// I1: events that need not be delivered, because the stream has lost them or they are skipped.
    pub(crate) lost: BTreeSet<(ShardId, Place)>,
    /// I3: a process may go back to the first event that is not acknowledged: its reader was made
    /// anew.
    pub(crate) restarts: bool,
    /// I4: the most events of a shard that a process may have on their way.
    pub(crate) window: usize,
}

/// The first of the invariants that does not hold, and where.
pub(crate) fn broken(log: &Log, shards: &[Shard], allowed: &Allowed) -> Option<String> {
    let mut judge = Judge::new(log, shards, allowed);
    let entries = log.entries();
    let found = entries.iter().find_map(|entry| judge.hear(entry).err());
    found.or_else(|| judge.at_the_end().err())
}

/// Follows one shard.
#[derive(Debug, Default)]
struct Course {
    order: Vec<Place>,
    index: BTreeMap<Place, usize>,
    acked: Vec<bool>,
    delivered: Vec<u32>,
    /// How many events at the beginning are acknowledged without a gap.
    done: usize,
    /// How many are, by what is stored.
    stored: usize,
    checkpoint: Option<Checkpoint>,
    /// The life in which something was last delivered, and what would come next.
    next: Option<(usize, usize)>,
    /// What was stored when the present life began.
    from: usize,
}

struct Judge<'a> {
    courses: BTreeMap<ShardId, Course>,
    parents: BTreeMap<ShardId, Vec<ShardId>>,
    allowed: &'a Allowed,
}

impl<'a> Judge<'a> {
    fn new(log: &Log, shards: &[Shard], allowed: &'a Allowed) -> Self {
        let course = |(shard, order): (ShardId, Vec<Place>)| {
            let index = order.iter().cloned().enumerate();
            let index = index.map(|(at, place)| (place, at)).collect();
            let (acked, delivered) = (vec![false; order.len()], vec![0; order.len()]);
            let mut course = Course {
                order,
                index,
                acked,
                delivered,
                ..Course::default()
            };
            for (lost_shard, place) in &allowed.lost {
                if let Some(&at) = course.index.get(place).filter(|_| *lost_shard == shard) {
                    course.acked[at] = true;
                }
            }
            course.advance();
            (shard, course)
        };
        let parents = |shard: &Shard| (shard.id.clone(), shard.parents().cloned().collect());
        Self {
            courses: log.everything().into_iter().map(course).collect(),
            parents: shards.iter().map(parents).collect(),
            allowed,
        }
    }

    fn hear(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Began => {
                for course in self.courses.values_mut() {
                    course.from = course.stored;
                }
                Ok(())
            }
            Entry::Delivered(life, shard, place) => self.delivered(*life, shard, place),
            Entry::Acked(shard, place) => {
                if let Some(course) = self.courses.get_mut(shard)
                    && let Some(&at) = course.index.get(place)
                {
                    course.acked[at] = true;
                    course.advance();
                }
                Ok(())
            }
            Entry::Stored(shard, checkpoint) => self.stored(shard, checkpoint),
        }
    }

    fn delivered(&mut self, life: usize, shard: &ShardId, place: &Place) -> Result<(), String> {
        for parent in self.parents.get(shard).into_iter().flatten() {
            if let Some(parent_course) = self.courses.get(parent)
                && parent_course.done < parent_course.order.len()
            {
                let (done, of) = (parent_course.done, parent_course.order.len());
                return Err(format!(
                    "I6: {place:?} of {shard} came when {done} of {of} of its parent {parent} were done"
                ));
            }
        }
        let unknown = || format!("I3: {place:?} of {shard} was never put there");
        let course = self.courses.get_mut(shard).ok_or_else(unknown)?;
        let at = *course.index.get(place).ok_or_else(unknown)?;
        let expected = match course.next {
            Some((last, next)) if last == life => next,
            // A new life begins right after what is stored.
            _ => course.skip_lost(course.from, self.allowed, shard),
        };
        let goes_back = self.allowed.restarts && at == course.done && at < expected;
        if at != expected && !goes_back {
            return Err(format!(
                "I3: in life {life}, event {at} of {shard} came where {expected} was next \
                 ({} are done, {} stored)",
                course.done, course.stored
            ));
        }
        course.delivered[at] += 1;
        course.next = Some((life, course.skip_lost(at + 1, self.allowed, shard)));
        let open = at + 1 - course.done.min(at + 1);
        if self.allowed.window > 0 && open > self.allowed.window {
            return Err(format!(
                "I7: {open} events of {shard} are on their way, {} may be",
                self.allowed.window
            ));
        }
        Ok(())
    }

    fn stored(&mut self, shard: &ShardId, checkpoint: &Checkpoint) -> Result<(), String> {
        let course = self.courses.entry(shard.clone()).or_default();
        if let Some(before) = &course.checkpoint
            && checkpoint.is_behind(before)
        {
            return Err(format!(
                "I5: {shard} goes back from {before:?} to {checkpoint:?}"
            ));
        }
        let covers = |number, part: Option<u64>| {
            let last = (number, part.unwrap_or(u64::MAX));
            course.order.iter().filter(|place| **place <= last).count()
        };
        let covered = match checkpoint {
            Checkpoint::After {
                sequence_number,
                sub_sequence_number,
            } => covers(sequence_number.clone(), *sub_sequence_number),
            Checkpoint::Quiet {
                sequence_number, ..
            } => covers(sequence_number.clone(), None),
            end if end.is_end() => course.order.len(),
            _ => 0,
        };
        if let Some(at) = course.acked[..covered].iter().position(|acked| !acked) {
            return Err(format!(
                "I2: {checkpoint:?} of {shard} passes event {at}, {:?}, which is not done",
                course.order[at]
            ));
        }
        course.stored = covered;
        course.checkpoint = Some(checkpoint.clone());
        Ok(())
    }

    fn at_the_end(&self) -> Result<(), String> {
        for (shard, course) in &self.courses {
            if let Some(at) = course.acked.iter().position(|acked| !acked) {
                let missing = course.acked.iter().filter(|acked| !**acked).count();
                return Err(format!(
                    "I1: {missing} of {} events of {shard} are not done, first event {at}, {:?}",
                    course.order.len(),
                    course.order[at]
                ));
            }
        }
        Ok(())
    }
}

impl Course {
    fn advance(&mut self) {
        while self.acked.get(self.done) == Some(&true) {
            self.done += 1;
        }
    }

    fn skip_lost(&self, mut at: usize, allowed: &Allowed, shard: &ShardId) -> usize {
        while let Some(place) = self.order.get(at)
            && allowed.lost.contains(&(shard.clone(), place.clone()))
        {
            at += 1;
        }
        at
    }
}

/// How many deliveries were of events that had been delivered before.
pub(crate) fn duplicates(log: &Log) -> usize {
    let mut seen = BTreeSet::new();
    let entries = log.entries();
    let delivered = entries.iter().filter_map(|entry| match entry {
        Entry::Delivered(_, shard, place) => Some((shard, place)),
        _ => None,
    });
    delivered.filter(|it| !seen.insert(*it)).count()
}
