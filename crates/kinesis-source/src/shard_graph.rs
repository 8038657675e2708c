mod absence;
mod first_start;
mod forgetting;
mod reopening;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use tokio::time::Instant;

pub(crate) use self::{
    absence::ABSENT_FOR,
    first_start::{FirstStart, Opened},
    reopening::Reopened,
};
use self::{absence::Absence, reopening::Shown};
use crate::{
    Checkpoint, HashRange, PinnedPosition, SequenceNumber, Shard, ShardId, Timestamp,
    place::{Mark, Place},
};

/// Which shards of a stream there are, how far each is, and which may be read now.
///
/// Pure: it is told what was listed and what is finished, and says what to start. A shard may be
/// read once all its parents are finished, so that the records of a key stay in order over splits
/// and merges. A parent that is no longer listed has aged out, and holds nobody up; but one listing
/// without it is no proof of that.
#[derive(Debug)]
pub(crate) struct ShardGraph {
    first_start: FirstStart,
    shards: BTreeMap<ShardId, Node>,
    /// Those that are to be read and are not yet.
    waiting: BTreeSet<ShardId>,
    /// Whether others wait than at the last [`take_waiting`](Self::take_waiting).
    waiting_changed: bool,
    /// Stored checkpoints of shards that no listing has had.
    checkpoints: BTreeMap<ShardId, Checkpoint>,
    /// Children that were announced and not listed yet, and by whom.
    expected: BTreeMap<ShardId, BTreeSet<ShardId>>,
    /// Those of them whose begin is stored already.
    begun: BTreeSet<ShardId>,
    /// Parents of shards that wait, which no listing has had, and since when.
    absent: BTreeMap<ShardId, Absence>,
    /// Where shards begin of which that is not stored yet.
    unstored: BTreeMap<ShardId, Checkpoint>,
    /// Shards whose end is stored and that complete listings have lacked, since then.
    unlisted: BTreeMap<ShardId, Instant>,
    /// Shards whose end is stored and that listings have shown as open since.
    shown_open: BTreeMap<ShardId, Shown>,
    /// Shards that led to where reading began, and that the first listing lacked.
    left_behind: BTreeSet<ShardId>,
    /// If only these are wanted, and those that lead to them.
    only: Option<BTreeSet<ShardId>>,
    /// When the stream was opened for the first time, if that is now.
    opened: Option<Opened>,
}

/// A shard that may be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) shard: ShardId,
    /// The hash keys that fall on it.
    pub(crate) hash_range: HashRange,
    /// Where. It stays good, whatever happens.
    pub(crate) from: Place,
    /// How far it was done before.
    pub(crate) resumed: Option<Resumed>,
    /// What is to be read of it arrived at that moment or later, if that is known.
    pub(crate) since: Option<Timestamp>,
    /// There was nothing to be read of it at that moment, if that is known.
    pub(crate) none_until: Option<Timestamp>,
    /// Whether it was over by what is stored.
    pub(crate) is_reopened: bool,
}

/// How far a shard was done by its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resumed {
    pub(crate) done: Mark,
    /// When there was nothing after that.
    pub(crate) quiet_until: Option<Timestamp>,
    /// Whether such a record can be one of the shard's.
    pub(crate) is_plausible: bool,
}

#[derive(Debug)]
struct Node {
    parents: Vec<ShardId>,
    /// Those of its parents that are finished and forgotten.
    outlived: Vec<ShardId>,
    hash_range: HashRange,
    state: State,
    /// As in [`Start`].
    since: Option<Timestamp>,
    none_until: Option<Timestamp>,
    /// Once it is finished: its children were not made before that moment, if that is known.
    closed_after: Option<Timestamp>,
    /// What is stored of it, if that is its end.
    end: Option<Checkpoint>,
    /// The number that it ends with, by the listing that its end was believed by, or the first after it that has it
    /// closed.
    ending: Option<SequenceNumber>,
    /// From where it was read, or would have been.
    began: Place,
    starting_sequence_number: SequenceNumber,
    /// Whether it was read on after its end was stored.
    is_reopened: bool,
    /// When it was made, if that can be guessed.
    made_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// To be read, once its parents are finished.
    Waiting {
        from: Place,
        resumed: Option<Resumed>,
    },
    Reading,
    Finished,
}

impl State {
    /// Of a shard that is done so far, and begins with that number.
    fn resumed(
        done: Mark,
        quiet_until: Option<Timestamp>,
        starting_number: &SequenceNumber,
    ) -> Self {
        let is_plausible = done.sequence_number >= *starting_number;
        Self::Waiting {
            from: done.clone().into(),
            resumed: Some(Resumed {
                done,
                quiet_until,
                is_plausible,
            }),
        }
    }
}

impl Node {
    /// What to store of it before it is read.
    fn begin(&self) -> Checkpoint {
        match (&self.state, self.none_until) {
            (State::Waiting { from, .. }, Some(until)) => Checkpoint::QuietStart {
                position: from.position.clone(),
                until,
            },
            (State::Waiting { from, .. }, None) => Checkpoint::Start(from.position.clone()),
            _ => Checkpoint::end_from(&self.began.position),
        }
    }
}

impl ShardGraph {
    /// A graph without shards, for a stream with these checkpoints.
    pub(crate) fn new(first_start: FirstStart, checkpoints: BTreeMap<ShardId, Checkpoint>) -> Self {
        Self {
            first_start,
            shards: BTreeMap::new(),
            waiting: BTreeSet::new(),
            waiting_changed: false,
            checkpoints,
            expected: BTreeMap::new(),
            begun: BTreeSet::new(),
            absent: BTreeMap::new(),
            unstored: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            shown_open: BTreeMap::new(),
            left_behind: BTreeSet::new(),
            only: None,
            opened: None,
        }
    }

    /// It is read for the first time.
    pub(crate) fn opened(self, opened: Opened) -> Self {
        Self {
            opened: Some(opened),
            ..self
        }
    }

    /// Only these shards are wanted, and those that lead to them. Nothing is stored about others.
    pub(crate) fn read_only(&mut self, shards: impl Iterator<Item = ShardId>) {
        self.only = Some(shards.collect());
    }

    /// Takes note of a listing of all pages. Shards that are known stay as they are.
    pub(crate) fn discover(&mut self, listing: &[Shard]) {
        self.discover_since(listing, None);
    }

    /// The same, and all shards were known that there were at that moment. Returns those that are new.
    pub(crate) fn discover_since<'a>(
        &mut self,
        listing: &'a [Shard],
        complete_at: Option<Timestamp>,
    ) -> Vec<&'a Shard> {
        self.leave_behind(listing);
        let left_out = self.left_out(listing);
        let wanted = self.only.as_ref().map(|only| {
            let mut wanted = ancestors(listing, only);
            wanted.extend(only.iter().cloned());
            wanted
        });
        if !self.unlisted.is_empty() {
            for shard in listing {
                self.unlisted.remove(&shard.id);
            }
        }
        let past = self.past(listing);
        let new = listing
            .iter()
            .filter(|it| !self.knows(&it.id) && !past.contains(&it.id));
        let new: Vec<&Shard> = new.collect();
        let (mut nodes, mut unstored) = (Vec::with_capacity(new.len()), Vec::new());
        for shard in &new {
            let is_wanted = wanted.as_ref().is_none_or(|it| it.contains(&shard.id));
            let state = if left_out.contains(&shard.id) || !is_wanted {
                State::Finished
            } else {
                self.initial_state(shard)
            };
            let node = self.node(shard, state, &past, complete_at);
            let is_begun = self.begun.remove(&shard.id);
            if is_wanted && !is_begun && !self.checkpoints.contains_key(&shard.id) {
                unstored.push((shard.id.clone(), node.begin()));
            }
            self.expected.remove(&shard.id);
            if matches!(node.state, State::Waiting { .. }) {
                self.waiting.insert(shard.id.clone());
                self.waiting_changed = true;
            }
            self.checkpoints.remove(&shard.id);
            nodes.push((shard.id.clone(), node));
        }
        add_all(&mut self.unstored, unstored);
        add_all(&mut self.shards, nodes);
        // What is decided for the first listing is not for later ones.
        if !listing.is_empty() && !matches!(self.first_start, FirstStart::At(_)) {
            self.first_start = FirstStart::Resumed;
        }
        if !listing.is_empty() {
            self.opened = None;
        }
        new
    }

    fn node(
        &self,
        shard: &Shard,
        state: State,
        past: &BTreeSet<ShardId>,
        complete_at: Option<Timestamp>,
    ) -> Node {
        let stored = self.checkpoints.get(&shard.id);
        let was_quiet = match stored {
            Some(Checkpoint::QuietStart { until, .. }) => Some(*until),
            _ => None,
        };
        let parents = shard.parents().cloned();
        let (outlived, parents) = parents.partition(|it| past.contains(it));
        Node {
            parents,
            outlived,
            hash_range: shard.hash_range,
            since: self.since(&state, stored.is_some()),
            none_until: was_quiet.max(complete_at),
            closed_after: match stored {
                Some(Checkpoint::Quiet { until, .. }) => Some(*until),
                _ => None,
            },
            end: stored.filter(|it| it.is_end()).cloned(),
            ending: shard.ending_sequence_number.clone(),
            began: self.first_place(shard),
            starting_sequence_number: shard.starting_sequence_number.clone(),
            is_reopened: false,
            made_at: shard.starting_sequence_number.shard_made_at(),
            state,
        }
    }

    /// Since when there may be records that are to be read of a new shard in that state.
    fn since(&self, state: &State, is_stored: bool) -> Option<Timestamp> {
        let State::Waiting { from, .. } = state else {
            return None;
        };
        match (&from.position, self.opened.filter(|_| !is_stored)) {
            // Who asks for more than is kept has what is kept.
            (PinnedPosition::AtTimestamp(moment), Some(Opened { at, retention }))
                if at.since(*moment) >= retention =>
            {
                Some(at)
            }
            (PinnedPosition::AtTimestamp(moment), _) => Some(*moment),
            (PinnedPosition::TrimHorizon, Some(Opened { at, .. })) => Some(at),
            _ => None,
        }
    }

    /// A parent's last answer named this child: a listing without it is not complete.
    ///
    /// The child is not read before it is listed. A listing also has its other parent, if that is
    /// kept at all; the answer cannot tell a parent that has aged out from one that is new.
    pub(crate) fn expect(&mut self, child: &ShardId, parent: &ShardId) {
        if !self.shards.contains_key(child) {
            let parents = self.expected.entry(child.clone()).or_default();
            parents.insert(parent.clone());
        }
    }

    /// Whether it is wanted by itself, and not only if it leads to one that is.
    fn wants(&self, shard: &ShardId) -> bool {
        self.only.as_ref().is_none_or(|it| it.contains(shard))
    }

    /// Whether a listing has had this shard.
    pub(crate) fn knows(&self, shard: &ShardId) -> bool {
        self.shards.contains_key(shard)
    }

    /// What to store before anything is read: where each shard begins, of those that have no checkpoint.
    pub(crate) fn unstored(&self) -> &BTreeMap<ShardId, Checkpoint> {
        &self.unstored
    }

    /// The same, which will be [noted](Self::note_stored) before the graph is used.
    pub(crate) fn take_unstored(&mut self) -> BTreeMap<ShardId, Checkpoint> {
        mem::take(&mut self.unstored)
    }

    /// Where a child begins, if that is not stored. It was not made before that moment, if that is known.
    pub(crate) fn begin(
        &self,
        child: &ShardId,
        made_after: Option<Timestamp>,
    ) -> Option<Checkpoint> {
        if self.knows(child) || self.checkpoints.contains_key(child) || !self.wants(child) {
            return self.unstored.get(child).cloned();
        }
        let position = PinnedPosition::TrimHorizon;
        Some(match made_after {
            Some(until) => Checkpoint::QuietStart { position, until },
            None => Checkpoint::Start(position),
        })
    }

    /// These checkpoints are stored.
    pub(crate) fn note_stored(&mut self, stored: &BTreeMap<ShardId, Checkpoint>) {
        for (shard, checkpoint) in stored {
            self.unstored.remove(shard);
            if self.expected.contains_key(shard) {
                self.begun.insert(shard.clone());
            }
            if checkpoint.is_end()
                && let Some(node) = self.shards.get_mut(shard)
            {
                node.end = Some(checkpoint.clone());
            }
        }
    }

    /// A finished shard was not closed before that moment, so its children were not made before it.
    pub(crate) fn closed_after(&mut self, shard: &ShardId, moment: Option<Timestamp>) {
        if let Some(node) = self.shards.get_mut(shard) {
            node.closed_after = node.closed_after.max(moment);
        }
    }

    /// A listing had a finished shard as closed with that number, before its end was believed.
    pub(crate) fn closed_with(&mut self, shard: &ShardId, ending: Option<SequenceNumber>) {
        if let Some(node) = self.shards.get_mut(shard) {
            node.ending = ending;
        }
    }

    /// A shard has been read to its end, and all of it is acknowledged. Returns whether that is
    /// news.
    pub(crate) fn finish(&mut self, shard: &ShardId) -> bool {
        let Some(node) = self.shards.get_mut(shard) else {
            return false;
        };
        self.waiting_changed |= self.waiting.remove(shard);
        mem::replace(&mut node.state, State::Finished) != State::Finished
    }

    /// Whether it is known that a shard has been read to its end. Of one that is forgotten it was.
    pub(crate) fn is_finished(&self, shard: &ShardId) -> bool {
        let node = self.shards.get(shard);
        node.is_none_or(|node| node.state == State::Finished)
    }

    /// The shards that may be read now and are not. They count as being read from now on.
    pub(crate) fn take_ready(&mut self) -> Vec<Start> {
        let waiting = self.waiting.iter();
        let ready: Vec<ShardId> = waiting.filter(|id| self.is_ready(id)).cloned().collect();
        self.waiting_changed |= !ready.is_empty();
        if ready.len() == self.waiting.len() {
            self.waiting.clear();
        }
        let mut starts = Vec::with_capacity(ready.len());
        for shard in ready {
            self.waiting.remove(&shard);
            starts.extend(self.start(shard));
        }
        starts
    }

    /// Whether any shard waits for its parents.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether all that wait do so for these shards, or for one that does.
    pub(crate) fn waits_only_for(&self, shards: &BTreeSet<ShardId>) -> bool {
        let mut held_up = shards.clone();
        loop {
            let before = held_up.len();
            let parents = |shard| {
                self.shards
                    .get(shard)
                    .into_iter()
                    .flat_map(|it| &it.parents)
            };
            let waiting = self.waiting.iter();
            let more = waiting.filter(|&it| parents(it).any(|parent| held_up.contains(parent)));
            let more: Vec<_> = more.cloned().collect();
            held_up.extend(more);
            if held_up.len() == before {
                return self.waiting.iter().all(|it| held_up.contains(it));
            }
        }
    }

    /// The shards that wait for their parents, if they are not the same as at the last call. With
    /// thousands of shards, it matters not to list them each time that one of them stirs.
    pub(crate) fn take_waiting(&mut self) -> Option<Vec<ShardId>> {
        mem::take(&mut self.waiting_changed).then(|| self.waiting.iter().cloned().collect())
    }

    fn is_ready(&self, shard: &ShardId) -> bool {
        let done = |parent| match self.shards.get(parent) {
            Some(node) => node.state == State::Finished,
            None => !matches!(self.absent.get(parent), Some(Absence::Doubtful(_))),
        };
        let node = self.shards.get(shard);
        node.is_some_and(|node| node.parents.iter().all(done))
    }

    fn start(&mut self, shard: ShardId) -> Option<Start> {
        let mut node = self.shards.get_mut(&shard)?;
        let mut made_after = None;
        if !node.parents.is_empty() {
            let parents = node.parents.clone().into_iter();
            let closed = parents.filter_map(|it| self.shards.get(&it)?.closed_after);
            made_after = closed.max();
            node = self.shards.get_mut(&shard)?;
        }
        let State::Waiting { from, resumed } = mem::replace(&mut node.state, State::Reading) else {
            return None;
        };
        let none_until = node.none_until.max(made_after);
        let since = node.since.max(none_until);
        let (hash_range, is_reopened) = (node.hash_range, node.is_reopened);
        Some(Start {
            shard,
            hash_range,
            from,
            resumed,
            since,
            none_until,
            is_reopened,
        })
    }

    fn initial_state(&self, shard: &Shard) -> State {
        if let Some(stored) = self.stored(shard) {
            return stored;
        }
        if shard.is_closed() && matches!(self.first_start, FirstStart::Tip { .. }) {
            return State::Finished;
        }
        State::Waiting {
            from: self.first_place(shard),
            resumed: None,
        }
    }

    /// Where a shard stands by its stored checkpoint.
    fn stored(&self, shard: &Shard) -> Option<State> {
        let (done, quiet_until) = match self.checkpoints.get(&shard.id)? {
            Checkpoint::End | Checkpoint::EndFrom { .. } | Checkpoint::EndAfter { .. } => {
                return Some(State::Finished);
            }
            Checkpoint::Start(position) | Checkpoint::QuietStart { position, .. } => {
                return Some(State::Waiting {
                    from: position.clone().into(),
                    resumed: None,
                });
            }
            Checkpoint::After {
                sequence_number,
                sub_sequence_number,
            } => {
                let done = Mark {
                    sequence_number: sequence_number.clone(),
                    sub_sequence_number: *sub_sequence_number,
                };
                (done, None)
            }
            Checkpoint::Quiet {
                sequence_number,
                until,
            } => (Mark::whole(sequence_number.clone()), Some(*until)),
        };
        let starting_number = &shard.starting_sequence_number;
        Some(State::resumed(done, quiet_until, starting_number))
    }
}

/// Adds to a map. One that is empty is made from all at once, which takes less time.
fn add_all<T>(map: &mut BTreeMap<ShardId, T>, items: Vec<(ShardId, T)>) {
    match map.is_empty() {
        true => *map = items.into_iter().collect(),
        false => map.extend(items),
    }
}

/// The shards that led to these.
fn ancestors<'a>(
    listing: &'a [Shard],
    of: impl IntoIterator<Item = &'a ShardId>,
) -> BTreeSet<ShardId> {
    let mut ancestors = BTreeSet::new();
    let by_id: BTreeMap<&ShardId, &Shard> = listing.iter().map(|s| (&s.id, s)).collect();
    let mut descendants: Vec<&ShardId> = of.into_iter().collect();
    while let Some(shard) = descendants.pop() {
        let parents = by_id
            .get(shard)
            .into_iter()
            .flat_map(|shard| shard.parents());
        for parent in parents.filter(|id| by_id.contains_key(id)) {
            if ancestors.insert(parent.clone()) {
                descendants.push(parent);
            }
        }
    }
    ancestors
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod forgetting_tests;
