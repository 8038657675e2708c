//! What holds whatever happens, on the log of all that did.

use std::collections::{BTreeMap, BTreeSet};

use kinesis_source::{Checkpoint, Shard, ShardId};

use crate::log::{Entry, Log, Place};

/// Which events a sink is given in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Those of a shard.
    Shard,
    /// Those of a shard with the same key.
    Key,
    /// None, as several sinks share them.
    None,
}

#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) order: Order,
    /// Sinks that have to ack each event.
    pub(crate) sinks: usize,
    /// Events come again within a life.
    pub(crate) goes_back: bool,
}

/// One of those that come in order: of a sink, a shard and perhaps a key.
type Line = (usize, ShardId, Option<String>);

#[derive(Debug, Default)]
struct Course {
    places: Vec<Place>,
    index: BTreeMap<Place, usize>,
    keys: Vec<String>,
    /// Where each stands among those with its key.
    nth_of_key: Vec<usize>,
    acked_by: Vec<BTreeSet<usize>>,
    /// How many at the beginning are acked by all who have to.
    done: usize,
    /// How many are acked by all who have to.
    acked: usize,
    /// How many are done by what is stored.
    stored: usize,
    /// The same when the present life began.
    loaded: usize,
    /// Those that are acked in it.
    acked_in_life: BTreeSet<(usize, usize)>,
    /// How many at the beginning are stored or acked by all who have to, in it.
    done_in_life: usize,
}

pub(crate) struct Judge<'a> {
    terms: &'a Terms,
    courses: BTreeMap<ShardId, Course>,
    parents: BTreeMap<ShardId, Vec<ShardId>>,
    life: usize,
    lines: BTreeMap<Line, usize>,
    sought: BTreeSet<ShardId>,
    pub(crate) repeated: usize,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(log: &Log, shards: &[Shard], terms: &'a Terms) -> Self {
        let course = |(shard, events): (ShardId, Vec<(Place, String)>)| {
            let mut course = Course::default();
            let mut of_key = BTreeMap::<String, usize>::new();
            for (at, (place, key)) in events.into_iter().enumerate() {
                let nth = of_key.entry(key.clone()).or_default();
                course.nth_of_key.push(*nth);
                *nth += 1;
                course.index.insert(place.clone(), at);
                course.places.push(place);
                course.keys.push(key);
                course.acked_by.push(BTreeSet::new());
            }
            (shard, course)
        };
        let parents = |shard: &Shard| (shard.id.clone(), shard.parents().cloned().collect());
        Self {
            terms,
            courses: log.everything().into_iter().map(course).collect(),
            parents: shards.iter().map(parents).collect(),
            life: 0,
            lines: BTreeMap::new(),
            sought: BTreeSet::new(),
            repeated: 0,
        }
    }

    pub(crate) fn hear_all(&mut self, entries: &[Entry]) -> Result<(), String> {
        for (at, entry) in entries.iter().enumerate() {
            self.hear(entry).map_err(|wrong| {
                let before = &entries[at.saturating_sub(30)..=at];
                format!("{wrong}\nafter {before:#?}")
            })?;
        }
        Ok(())
    }

    fn hear(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Loaded(life, stored) => {
                self.life = *life;
                self.lines.clear();
                self.sought.clear();
                for (shard, course) in &mut self.courses {
                    let covered = stored.get(shard).map_or(0, |it| course.covered_by(it));
                    course.loaded = covered;
                    course.stored = covered;
                    course.done_in_life = covered;
                    course.acked_in_life.clear();
                    if covered > course.done {
                        return Err(format!("{shard} begins after events that are not done"));
                    }
                }
                Ok(())
            }
            Entry::Delivered(life, sink, shard, place) if *life == self.life => {
                self.delivered(*sink, shard, place)
            }
            Entry::Acked(life, sink, shard, place) => {
                self.acked(*life, *sink, shard, place);
                Ok(())
            }
            Entry::Saving(_, shard, checkpoint) => {
                let Some(course) = self.courses.get(shard) else {
                    return Ok(());
                };
                let covered = course.covered_by(checkpoint);
                if covered > course.done {
                    return Err(format!(
                        "{checkpoint:?} of {shard} passes event {}, {:?}, which is not acked",
                        course.done, course.places[course.done]
                    ));
                }
                Ok(())
            }
            Entry::Saved(_, shard, checkpoint) => {
                if let Some(course) = self.courses.get_mut(shard) {
                    course.stored = course.covered_by(checkpoint);
                }
                Ok(())
            }
            Entry::Sought(_, shard) => {
                self.sought.insert(shard.clone());
                Ok(())
            }
            // What was acked before a reader was made anew does not count any more.
            Entry::EndedWell(life) if *life == self.life && !self.terms.goes_back => {
                for (shard, course) in &self.courses {
                    let (done, stored) = (course.done_in_life, course.stored);
                    if stored < done && !self.sought.contains(shard) {
                        return Err(format!(
                            "life {life} has ended well, and of {shard} {stored} events are stored where {done} \
                             are done"
                        ));
                    }
                }
                Ok(())
            }
            Entry::Delivered(..) | Entry::Nacked(..) | Entry::EndedWell(_) => Ok(()),
        }
    }

    fn acked(&mut self, life: usize, sink: usize, shard: &ShardId, place: &Place) {
        let Some(course) = self.courses.get_mut(shard) else {
            return;
        };
        let Some(&at) = course.index.get(place) else {
            return;
        };
        // Which of several that share them it was is all the same.
        let sink = if self.terms.sinks == 1 { 0 } else { sink };
        let by = &mut course.acked_by[at];
        if by.insert(sink) && by.len() == self.terms.sinks {
            course.acked += 1;
        }
        if life == self.life {
            let sinks = self.terms.sinks;
            course.acked_in_life.insert((at, sink));
            let is_done = |at| {
                let from = (at, 0)..(at + 1, 0);
                course.acked_in_life.range(from).count() == sinks
            };
            while is_done(course.done_in_life) {
                course.done_in_life += 1;
            }
        }
        while course.acked_by.get(course.done).map(BTreeSet::len) == Some(self.terms.sinks) {
            course.done += 1;
        }
    }

    fn delivered(&mut self, sink: usize, shard: &ShardId, place: &Place) -> Result<(), String> {
        for parent in self.parents.get(shard).into_iter().flatten() {
            if let Some(course) = self.courses.get(parent)
                && course.acked < course.places.len()
            {
                let (done, of) = (course.acked, course.places.len());
                return Err(format!(
                    "{place:?} of {shard} came when {done} of {of} of its parent {parent} were acked"
                ));
            }
        }
        let unknown = || format!("{place:?} of {shard} was never put there");
        let course = self.courses.get(shard).ok_or_else(unknown)?;
        let at = *course.index.get(place).ok_or_else(unknown)?;
        let was_sought = self.sought.contains(shard);
        if at < course.loaded && !was_sought {
            return Err(format!(
                "event {at} of {shard} came in life {}, which began at {}",
                self.life, course.loaded
            ));
        }
        if at < course.stored && !was_sought {
            return Err(format!(
                "event {at} of {shard} came when {} were stored",
                course.stored
            ));
        }
        self.repeated += usize::from(!course.acked_by[at].is_empty());
        let (line, nth) = match self.terms.order {
            Order::None => return Ok(()),
            Order::Shard => ((sink, shard.clone(), None), at),
            Order::Key => {
                let key = Some(course.keys[at].clone());
                ((sink, shard.clone(), key), course.nth_of_key[at])
            }
        };
        let loaded = || match &line.2 {
            None => course.loaded,
            Some(key) => {
                let before = course.keys[..course.loaded].iter();
                before.filter(|it| *it == key).count()
            }
        };
        let expected = self.lines.get(&line).copied().unwrap_or_else(loaded);
        let goes_back = (self.terms.goes_back || was_sought) && nth < expected;
        if nth != expected && !goes_back {
            return Err(format!(
                "event {nth} of {line:?} came in life {} where {expected} was next",
                self.life
            ));
        }
        self.lines.insert(line, nth + 1);
        Ok(())
    }

    /// All that was put is done.
    pub(crate) fn check_complete(&self) -> Result<(), String> {
        self.check_acked(|_, _| true)
    }

    /// All of those are acked.
    pub(crate) fn check_acked(
        &self,
        wanted: impl Fn(&ShardId, &Place) -> bool,
    ) -> Result<(), String> {
        for (shard, course) in &self.courses {
            for (at, by) in course.acked_by.iter().enumerate() {
                let place = &course.places[at];
                if by.len() < self.terms.sinks && wanted(shard, place) {
                    let missing = course.places.len() - course.acked;
                    return Err(format!(
                        "event {at} of {shard}, {place:?}, is not acked, nor are {missing} of {} in all",
                        course.places.len()
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Course {
    fn covered_by(&self, checkpoint: &Checkpoint) -> usize {
        let up_to = |last: Place| self.places.partition_point(|place| *place <= last);
        match checkpoint {
            Checkpoint::After {
                sequence_number,
                sub_sequence_number,
            } => up_to((
                sequence_number.clone(),
                sub_sequence_number.unwrap_or(u64::MAX),
            )),
            Checkpoint::Quiet {
                sequence_number, ..
            } => up_to((sequence_number.clone(), u64::MAX)),
            end if end.is_end() => self.places.len(),
            _ => 0,
        }
    }
}
