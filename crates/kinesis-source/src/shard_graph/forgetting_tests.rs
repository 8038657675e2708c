//! Any history of splits and merges, of shards that age out, of listings that are late, of ends that are none, of
//! crashes: no shard is read twice to its end unless it is read on, none is left out, no child before its parents; and
//! what is over is forgotten.

use std::time::Duration;

use proptest::{prelude::*, sample::Index};

use super::{forgetting::UNLISTED_FOR, tests::shard, *};

#[derive(Clone, Debug)]
enum Step {
    Split(Index),
    Merge(Index),
    /// One that is read and closed is finished, and that is stored.
    Finish(Index),
    /// One that is read and open seems to be finished, and has named a child that there is not.
    EndWrongly(Index),
    /// What a closed and finished one has ages out.
    AgeOut(Index),
    Pass(u64),
    /// A listing comes, and then what may be forgotten is.
    List,
    /// The same, and the listing is an earlier one.
    ListLate(Index),
    /// The process dies; when it was about to forget, after part of that was stored.
    Crash(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<Index>;
    let step = prop_oneof![
        2 => index().prop_map(Step::Split),
        2 => index().prop_map(Step::Merge),
        6 => index().prop_map(Step::Finish),
        2 => index().prop_map(Step::EndWrongly),
        4 => index().prop_map(Step::AgeOut),
        4 => (1u64..900).prop_map(Step::Pass),
        6 => Just(Step::List),
        2 => index().prop_map(Step::ListLate),
        1 => (0usize..4).prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..80)
}

/// The stream, the store, and the graph of whoever reads the one and writes the other.
struct World {
    /// All that were ever made, and the listing.
    made: Vec<Shard>,
    aged_out: BTreeSet<ShardId>,
    listings: Vec<(Instant, Vec<Shard>)>,
    stored: BTreeMap<ShardId, Checkpoint>,
    graph: ShardGraph,
    reading: BTreeSet<ShardId>,
    ended: BTreeSet<ShardId>,
    /// Those of them that had ended wrongly, as can be known.
    wrong: BTreeSet<ShardId>,
    /// Those of them that an earlier process had. With what number they seemed to have ended, nobody knows any more.
    wrong_before: BTreeSet<ShardId>,
    /// How many children wrong ends had that there never were.
    imagined: usize,
    /// Those that ever had.
    read_on: BTreeSet<ShardId>,
    now: Instant,
}

/// What a shard had by its wrong end, and its number by the listing that had it closed.
const WRONG_END: u128 = 5;

const RETENTION: Duration = Duration::from_secs(24 * 3_600);

impl World {
    fn new() -> Self {
        let range = |start, end| HashRange { start, end };
        let mut world = Self {
            made: Vec::new(),
            aged_out: BTreeSet::new(),
            listings: Vec::new(),
            stored: BTreeMap::new(),
            graph: ShardGraph::new(FirstStart::At(PinnedPosition::TrimHorizon), BTreeMap::new()),
            reading: BTreeSet::new(),
            ended: BTreeSet::new(),
            wrong: BTreeSet::new(),
            wrong_before: BTreeSet::new(),
            imagined: 0,
            read_on: BTreeSet::new(),
            now: Instant::now(),
        };
        world.make(range(0, 999), &[]);
        world.make(range(1_000, 1_999), &[]);
        world.list();
        world
    }

    fn make(&mut self, hash_range: HashRange, parents: &[ShardId]) {
        let id = ShardId::new(format!("shardId-{:012}", self.made.len()));
        self.made.push(Shard {
            id,
            parent: parents.first().cloned(),
            adjacent_parent: parents.get(1).cloned(),
            hash_range,
            starting_sequence_number: 1.into(),
            ending_sequence_number: None,
        });
    }

    fn close(&mut self, id: &ShardId) {
        // If it is closed before it was seen to be open for long enough, its end may have been that.
        if self.wrong_before.contains(id) {
            self.wrong.remove(id);
        }
        let shard = self.made.iter_mut().find(|it| it.id == *id);
        shard.unwrap().ending_sequence_number = Some(9.into());
    }

    fn open(&self) -> Vec<Shard> {
        let mut open: Vec<_> = self.made.iter().filter(|it| !it.is_closed()).collect();
        open.sort_by_key(|it| it.hash_range);
        open.into_iter().cloned().collect()
    }

    fn listing(&self) -> Vec<Shard> {
        let kept = |it: &&Shard| !self.aged_out.contains(&it.id);
        self.made.iter().filter(kept).cloned().collect()
    }

    fn list(&mut self) {
        let listing = self.listing();
        self.listings.push((self.now, listing.clone()));
        self.take_in(&listing);
    }

    /// As the coordinator does.
    fn take_in(&mut self, listing: &[Shard]) {
        self.graph.discover(listing);
        self.graph.note_absent(self.now, Timestamp::from_millis(0));
        for reopened in self.graph.reopen(listing, self.now) {
            self.reopen(reopened);
        }
        if !self.graph.lacks_expected() {
            self.graph.note_unlisted(listing, self.now);
        }
        let begins = self.graph.unstored().clone();
        self.save(&begins);
        self.graph.note_stored(&begins);
        self.start();
    }

    /// It is read on, and what is stored says so.
    fn reopen(&mut self, reopened: Reopened) {
        let Reopened {
            shard,
            from,
            imagined,
            ..
        } = reopened;
        assert!(self.ended.remove(&shard), "{shard} had not ended");
        self.wrong.remove(&shard);
        self.read_on.insert(shard.clone());
        for child in imagined {
            assert!(!self.made.iter().any(|it| it.id == child), "{child}");
            self.stored.remove(&child);
        }
        let checkpoint = match from {
            PinnedPosition::AfterSequenceNumber(number) => Checkpoint::after(number),
            position => Checkpoint::Start(position),
        };
        self.stored.insert(shard, checkpoint);
    }

    /// Nothing of what it has is known to be over.
    fn end_wrongly(&mut self, shard: &ShardId) {
        let child = ShardId::new(format!("imagined-{}", self.imagined));
        self.imagined += 1;
        self.graph.closed_with(shard, Some(WRONG_END.into()));
        self.graph.finish(shard);
        self.graph.expect(&child, shard);
        let begin = self.graph.begin(&child, None);
        let sequence_number = WRONG_END.into();
        let end = Checkpoint::EndAfter { sequence_number };
        let mut stored = BTreeMap::from([(shard.clone(), end)]);
        stored.extend(begin.map(|begin| (child, begin)));
        self.save(&stored);
        self.graph.note_stored(&stored);
        self.reading.remove(shard);
        self.ended.insert(shard.clone());
        self.wrong.insert(shard.clone());
        self.start();
    }

    fn save(&mut self, checkpoints: &BTreeMap<ShardId, Checkpoint>) {
        for (shard, checkpoint) in checkpoints {
            let old = self.stored.get(shard);
            if old.is_none_or(|old| old.is_behind(checkpoint)) {
                self.stored.insert(shard.clone(), checkpoint.clone());
            }
        }
    }

    fn start(&mut self) {
        for start in self.graph.take_ready() {
            let Some(shard) = self.made.iter().find(|it| it.id == start.shard) else {
                // Nobody knows any more that there is none: it is not found, and gone on without.
                self.graph.finish(&start.shard);
                let end = BTreeMap::from([(start.shard, Checkpoint::End)]);
                self.save(&end);
                self.graph.note_stored(&end);
                continue;
            };
            for parent in shard.parents() {
                let has_ended = self.ended.contains(parent) && !self.wrong.contains(parent);
                assert!(has_ended, "{parent} before {}", shard.id);
            }
            assert!(!self.ended.contains(&shard.id), "{} again", shard.id);
            let after = PinnedPosition::AfterSequenceNumber(WRONG_END.into());
            let is_after = self.read_on.contains(&shard.id) && start.from.position == after;
            assert!(is_after || start.from.position == PinnedPosition::TrimHorizon);
            assert!(self.reading.insert(shard.id.clone()), "{} twice", shard.id);
        }
    }

    fn finish(&mut self, shard: &ShardId) {
        self.reading.remove(shard);
        self.graph.finish(shard);
        let end = BTreeMap::from([(shard.clone(), Checkpoint::End)]);
        self.save(&end);
        self.graph.note_stored(&end);
        self.ended.insert(shard.clone());
        self.start();
    }

    /// Forgets what it may, or is interrupted after the store has forgotten so many.
    fn forget(&mut self, dies_after: Option<usize>) {
        let at = Timestamp::from_millis(0);
        let shards = self.graph.forgettable(self.now, at, RETENTION);
        for shard in shards.iter().take(dies_after.unwrap_or(usize::MAX)) {
            let is_made = self.made.iter().any(|it| it.id == *shard);
            assert!(
                !is_made || self.aged_out.contains(shard),
                "{shard} is listed"
            );
            let old = self.stored.remove(shard);
            assert!(old.is_some_and(|old| old.is_end()));
        }
        if dies_after.is_none() {
            self.graph.forget(&shards);
            assert!(shards.iter().all(|it| !self.graph.knows(it)));
        }
    }

    /// The next process goes on with what this one was reading, and with nothing else.
    fn crash(&mut self) {
        let mut before = mem::take(&mut self.reading);
        // One that is read on and has aged out is waited for, as any that is not finished. Children that had begun
        // before it was read on wait for it now.
        let is_first = |shard: &ShardId| {
            let made = self.made.iter().find(|it| it.id == *shard).unwrap();
            made.parents().all(|parent| self.ended.contains(parent))
        };
        before.retain(|shard| !self.aged_out.contains(shard) && is_first(shard));
        // With what number those had ended that are closed by now, nobody knows any more.
        let made = self.made.iter();
        let open: BTreeSet<_> = made.filter(|it| !it.is_closed()).map(|it| &it.id).collect();
        self.wrong.retain(|shard| open.contains(shard));
        self.wrong_before = self.wrong.clone();
        self.graph = ShardGraph::new(FirstStart::Resumed, self.stored.clone());
        let known: BTreeSet<_> = self.stored.keys().cloned().collect();
        self.list();
        self.now += Duration::from_secs(1);
        self.list();
        let after = self.reading.iter().filter(|it| known.contains(it));
        assert_eq!(after.cloned().collect::<BTreeSet<_>>(), before);
    }

    fn step(&mut self, step: &Step) {
        let open = self.open();
        match step {
            Step::Split(index) => {
                let shard = index.get(&open);
                let HashRange { start, end } = shard.hash_range;
                let middle = start + (end - start) / 2;
                if middle < end {
                    self.close(&shard.id);
                    let parents = [shard.id.clone()];
                    self.make(HashRange { start, end: middle }, &parents);
                    let start = middle + 1;
                    self.make(HashRange { start, end }, &parents);
                }
            }
            Step::Merge(index) if open.len() > 1 => {
                let first = index.index(open.len() - 1);
                let [a, b] = [&open[first], &open[first + 1]];
                self.close(&a.id);
                self.close(&b.id);
                let range = HashRange {
                    start: a.hash_range.start,
                    end: b.hash_range.end,
                };
                self.make(range, &[a.id.clone(), b.id.clone()]);
            }
            Step::Merge(_) => {}
            Step::Finish(index) => {
                let closed = self.made.iter().filter(|it| it.is_closed());
                let read = closed.filter(|it| self.reading.contains(&it.id));
                let read: Vec<_> = read.map(|it| it.id.clone()).collect();
                if !read.is_empty() {
                    self.finish(index.get(&read));
                }
            }
            Step::EndWrongly(index) => {
                let read = open.iter().filter(|it| self.reading.contains(&it.id));
                let once = read.filter(|it| !self.read_on.contains(&it.id));
                let once: Vec<_> = once.map(|it| it.id.clone()).collect();
                if !once.is_empty() {
                    self.end_wrongly(index.get(&once));
                }
            }
            Step::AgeOut(index) => {
                let kept = self.ended.difference(&self.aged_out);
                let is_over = |it: &&ShardId| !open.iter().any(|open| open.id == **it);
                let kept = kept.filter(|it| is_over(it) && !self.wrong.contains(*it));
                let kept: Vec<_> = kept.cloned().collect();
                if !kept.is_empty() {
                    self.aged_out.insert(index.get(&kept).clone());
                }
            }
            Step::Pass(seconds) => self.now += Duration::from_secs(*seconds),
            Step::List => {
                self.list();
                self.forget(None);
            }
            Step::ListLate(index) => {
                let late = |(at, _): &&(Instant, Vec<Shard>)| *at + UNLISTED_FOR > self.now;
                let late: Vec<_> = self.listings.iter().filter(late).cloned().collect();
                if !late.is_empty() {
                    self.take_in(&index.get(&late).1);
                    self.forget(None);
                }
            }
            Step::Crash(stored) => {
                // What was stored last may be found by a listing.
                self.list();
                self.forget(Some(*stored));
                self.crash();
            }
        }
    }
}

/// A graph in which a and b have been merged into c, c into d, and a, b and c are forgotten.
fn of_the_last() -> (ShardGraph, [Shard; 4]) {
    let mut graph = ShardGraph::new(FirstStart::At(PinnedPosition::TrimHorizon), BTreeMap::new());
    let lineage = [
        shard("a", &[], true),
        shard("b", &[], true),
        shard("c", &["a", "b"], true),
        shard("d", &["c"], false),
    ];
    graph.discover(&lineage);
    graph.note_stored(&graph.unstored().clone());
    for id in ["a", "b", "c"] {
        graph.take_ready();
        graph.finish(&id.into());
        graph.note_stored(&[(id.into(), Checkpoint::End)].into());
    }
    let now = Instant::now();
    graph.note_unlisted(&lineage[3..], now);
    let at = Timestamp::from_millis(0);
    let gone = graph.forgettable(now + UNLISTED_FOR, at, RETENTION);
    assert_eq!(gone.len(), 3);
    graph.forget(&gone);
    assert_eq!(graph.len(), 1);
    (graph, lineage)
}

#[test]
fn what_is_forgotten_and_shown_again_is_not_read_again() {
    let (mut graph, lineage) = of_the_last();
    assert_eq!(graph.take_ready().len(), 1, "d is read");
    for listing in [&lineage[..], &lineage[2..], &lineage[1..3]] {
        assert!(graph.discover_since(listing, None).is_empty());
        assert!(graph.take_ready().is_empty());
        assert_eq!(graph.len(), 1);
    }
}

#[test]
fn a_child_that_no_listing_had_is_read_though_its_parent_is_forgotten() {
    let (mut graph, mut lineage) = of_the_last();
    graph.take_ready();
    lineage[0] = shard("late", &["c"], false);
    let new = graph.discover_since(&lineage, None);
    assert_eq!(new.len(), 1);
    graph.note_absent(Instant::now(), Timestamp::from_millis(0));
    assert_eq!(graph.take_ready()[0].shard, "late".into());
}

#[test]
fn nothing_is_forgotten_before_its_time_and_not_before_what_comes_after_it_is_stored() {
    let start = Instant::now();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let moment = |after: Duration| Timestamp::from_millis(0).plus(after);
    let lineage = [shard("a", &[], true), shard("b", &["a"], false)];
    let mut graph = ShardGraph::new(FirstStart::At(PinnedPosition::TrimHorizon), BTreeMap::new());
    graph.discover(&lineage);
    graph.take_ready();
    graph.finish(&"a".into());
    graph.closed_after(&"a".into(), Some(moment(minutes(0))));
    let long_after = moment(2 * RETENTION);
    let forgettable =
        |graph: &ShardGraph, after, at| graph.forgettable(start + after, at, RETENTION);
    let stored = |graph: &mut ShardGraph, id: &str, checkpoint| {
        graph.note_stored(&[(id.into(), checkpoint)].into());
    };
    graph.note_unlisted(&lineage[1..], start);
    assert!(
        forgettable(&graph, minutes(60), long_after).is_empty(),
        "its end is not stored"
    );
    stored(&mut graph, "a", Checkpoint::End);
    graph.note_unlisted(&lineage[1..], start);
    assert!(
        forgettable(&graph, minutes(60), long_after).is_empty(),
        "b's begin is not stored"
    );
    stored(
        &mut graph,
        "b",
        Checkpoint::Start(PinnedPosition::TrimHorizon),
    );
    assert!(
        forgettable(&graph, minutes(9), long_after).is_empty(),
        "too soon"
    );
    let kept = moment(RETENTION);
    assert!(
        forgettable(&graph, minutes(60), kept).is_empty(),
        "it should be kept still"
    );
    assert_eq!(forgettable(&graph, minutes(60), long_after).len(), 1);
    graph.discover(&lineage);
    assert!(
        forgettable(&graph, minutes(60), long_after).is_empty(),
        "it was listed again"
    );
    graph.note_unlisted(&lineage[1..], start + minutes(55));
    assert!(forgettable(&graph, minutes(60), long_after).is_empty());
    assert_eq!(forgettable(&graph, minutes(65), long_after).len(), 1);
}

proptest! {
    #[test]
    fn what_is_over_is_forgotten_and_nothing_else(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        // Everything is read in the end, whatever had seemed to be over.
        for _ in 0..4 {
            world.list();
            world.now += Duration::from_secs(60);
        }
        world.list();
        prop_assert_eq!(&world.wrong, &BTreeSet::new());
        loop {
            let closed = world.made.iter().filter(|it| it.is_closed());
            let left: Vec<_> = closed.filter(|it| !world.ended.contains(&it.id)).collect();
            let Some(next) = left.iter().find(|it| world.reading.contains(&it.id)) else {
                prop_assert_eq!(left, Vec::<&Shard>::new());
                break;
            };
            let next = next.id.clone();
            world.finish(&next);
        }
        let open: BTreeSet<_> = world.open().into_iter().map(|it| it.id).collect();
        prop_assert_eq!(&world.reading, &open);
        // And once it has aged out, there is nothing left of it.
        world.aged_out = world.ended.clone();
        world.list();
        world.now += UNLISTED_FOR;
        world.list();
        world.forget(None);
        prop_assert_eq!(world.graph.len(), open.len());
        prop_assert_eq!(world.stored.into_keys().collect::<BTreeSet<_>>(), open);
    }
}
