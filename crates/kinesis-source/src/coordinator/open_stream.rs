use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Instant;

use super::awaited::Awaited;
use crate::{
    Checkpoint, ShardId, SourceEvent, StreamError, StreamIdentity, Timestamp, WaitingFor,
    progress::{Offer, Phase, Progress},
    shard_calls::ShardCalls,
    shard_graph::ShardGraph,
};

/// A stream that has been found: its shards, how far each is, and what is due when.
#[derive(Debug)]
pub(super) struct OpenStream {
    pub(super) stream: Arc<StreamIdentity>,
    pub(super) graph: ShardGraph,
    /// The shards that are being read, or whose end is not stored yet.
    pub(super) active: BTreeMap<ShardId, Arc<Progress>>,
    /// The calls for shards that were made before these are read.
    pub(super) calls: BTreeMap<ShardId, Arc<ShardCalls>>,
    /// What was stored about shards when the stream was found, as long as this process has not stored more.
    stored: BTreeMap<ShardId, Checkpoint>,
    pub(super) list_at: Instant,
    pub(super) save_at: Instant,
    /// When its retention time is to be asked for again.
    pub(super) describe_at: Instant,
    /// Whether there may be shards that no listing has had so far: one has ended since the last,
    /// or the last lacks one that was announced.
    pub(super) is_stale: bool,
    /// How often in a row shards were not listed.
    pub(super) list_failures: u32,
    /// Whether the last listing lacks shards.
    pub(super) list_lacks: bool,
    /// Whether there is a shard that is not read, since its reader could not be added: as a rule, the pipeline stops.
    pub(super) is_cut_short: bool,
    /// At that moment, all shards were known that there were. A listing may be late by the slack of clocks.
    pub(super) complete_at: Option<Timestamp>,
    /// Shards whose readers have stopped, as they could not go on. They may have begun anew.
    stopped: BTreeSet<ShardId>,
    /// Shards that are not at rest since the last question.
    restless: Awaited,
    /// The last question whether everything has been read.
    pub(super) inquiry: u64,
}

/// Checkpoints that are to be stored.
#[derive(Debug, Default)]
pub(super) struct Unstored {
    pub(super) news: BTreeMap<ShardId, Checkpoint>,
    /// Of shards that were told to go on elsewhere: these may go back.
    pub(super) sought: BTreeMap<ShardId, Checkpoint>,
    /// The same: whose they are.
    offers: Vec<(Arc<Progress>, Offer, Checkpoint)>,
    /// Those of shards that are yet to be read.
    begins: Vec<(ShardId, Checkpoint)>,
}

impl Unstored {
    pub(super) fn is_empty(&self) -> bool {
        self.offers.is_empty()
    }
}

impl OpenStream {
    pub(super) fn new(
        stream: StreamIdentity,
        graph: ShardGraph,
        stored: BTreeMap<ShardId, Checkpoint>,
        list_at: Instant,
        save_at: Instant,
    ) -> Self {
        Self {
            stream: Arc::new(stream),
            graph,
            active: BTreeMap::new(),
            calls: BTreeMap::new(),
            stored,
            list_at,
            save_at,
            describe_at: list_at,
            is_stale: false,
            list_failures: 0,
            list_lacks: false,
            is_cut_short: false,
            complete_at: None,
            stopped: BTreeSet::new(),
            restless: Awaited::default(),
            inquiry: 0,
        }
    }

    /// Tells the graph of shards whose readers have ended; whether any of them is finished.
    pub(super) fn take_ended(&mut self, shards: Vec<ShardId>) -> bool {
        let mut ended = false;
        for shard in shards {
            let Some(progress) = self.active.get(&shard) else {
                continue;
            };
            let phase = progress.phase();
            if phase == Phase::Stopped {
                if progress.has_failed() {
                    self.stopped.insert(shard);
                }
            } else if phase.is_done() {
                let progress = Arc::clone(progress);
                ended |= self.retire(&progress);
            }
        }
        ended
    }

    /// Tells the graph of a shard that is finished. Whether that is news.
    ///
    /// Its reader, in another thread, says so at any moment: its end may be stored before that is heard.
    fn retire(&mut self, progress: &Progress) -> bool {
        let shard = progress.shard();
        if !self.graph.finish(shard) {
            return false;
        }
        self.graph.closed_after(shard, progress.read_until());
        self.graph.closed_with(shard, progress.ending());
        let children = progress.children();
        for child in &children {
            self.graph.expect(child, shard);
        }
        progress
            .watch()
            .report(|shard| SourceEvent::ShardRetired { shard, children });
        self.is_stale = true;
        self.list_at = Instant::now();
        true
    }

    /// The checkpoints that are not stored.
    pub(super) fn unstored(&self) -> Unstored {
        let (mut news, mut sought) = (Vec::new(), Vec::new());
        let (mut offers, mut begins) = (Vec::new(), Vec::new());
        for (shard, progress) in &self.active {
            let Some((checkpoint, offer)) = progress.offer_checkpoint() else {
                continue;
            };
            if is_stored(&self.stored, progress, &checkpoint) {
                continue;
            }
            if checkpoint.is_end() {
                let children = self.begins(progress);
                news.extend(children.iter().cloned());
                begins.extend(children);
            }
            let to = match offer.is_sought {
                true => &mut sought,
                false => &mut news,
            };
            to.push((shard.clone(), checkpoint.clone()));
            offers.push((Arc::clone(progress), offer, checkpoint));
        }
        // Made from all at once they are made faster.
        Unstored {
            news: news.into_iter().collect(),
            sought: sought.into_iter().collect(),
            offers,
            begins,
        }
    }

    /// Where the children begin of a shard that has ended, as far as that is not stored. It is stored with the
    /// shard's end: a process that dies then would leave nobody who knows since when they are.
    fn begins(&self, progress: &Progress) -> Vec<(ShardId, Checkpoint)> {
        let children = progress.children().into_iter();
        let begins = children.filter_map(|child| {
            let begin = self.graph.begin(&child, progress.read_until())?;
            Some((child, begin))
        });
        begins.collect()
    }

    pub(super) fn note_stored(&mut self, unstored: Unstored) {
        for (progress, _, checkpoint) in &unstored.offers {
            if checkpoint.is_end() {
                self.retire(progress);
            }
        }
        self.graph.note_stored(&unstored.news);
        self.graph.note_stored(&unstored.sought);
        self.stored.extend(unstored.begins);
        for (progress, offer, checkpoint) in unstored.offers {
            if checkpoint.is_end() {
                let shard = progress.shard();
                if self.active.remove(shard).is_some() {
                    progress.watch().waits_for(WaitingFor::Nothing, None);
                }
                self.stored.remove(shard);
            }
            progress.note_saved(offer, checkpoint);
        }
    }

    /// Forgets shards that are over.
    pub(super) fn forget(&mut self, shards: &BTreeSet<ShardId>) {
        self.graph.forget(shards);
        self.stored.retain(|shard, _| !shards.contains(shard));
        self.stopped.retain(|shard| !shards.contains(shard));
    }

    /// Lets go of shards that were read as far as they were to be, once that is stored.
    pub(super) fn retire_complete(&mut self) {
        let stored = &self.stored;
        let complete = self.active.extract_if(.., |_, progress| {
            // Its checkpoint is the last then.
            let is_complete = progress.phase() == Phase::Complete;
            let is_stored = |it: Checkpoint| is_stored(stored, progress, &it);
            is_complete && progress.checkpoint().is_none_or(is_stored)
        });
        for (_, progress) in complete.collect::<Vec<_>>() {
            self.retire(&progress);
            progress.watch().waits_for(WaitingFor::Nothing, None);
        }
    }

    /// Takes note of a new question: only what is found from now on answers it.
    pub(super) fn take_inquiry(&mut self, last: u64) {
        if self.inquiry < last {
            self.inquiry = last;
            self.is_stale = true;
            self.list_at = Instant::now();
            self.active
                .values()
                .for_each(|progress| progress.await_tip());
        }
    }

    pub(super) fn is_caught_up(&mut self) -> bool {
        let graph = &self.graph;
        let has_come = |progress: &Progress| is_at_rest(graph, progress);
        self.is_settled() && self.restless.is_over(&self.active, has_come)
    }

    /// The shards that have stopped, if there are any and all others are caught up or wait for those.
    pub(super) fn caught_up_without(&self) -> Option<Vec<ShardId>> {
        let stopped = self
            .stopped
            .iter()
            .filter_map(|shard| self.active.get(shard));
        let failed = stopped.filter(|progress| progress.has_failed());
        let stopped: BTreeSet<_> = failed.map(|it| it.shard().clone()).collect();
        let is_done =
            |progress: &Arc<Progress>| progress.has_failed() || is_at_rest(&self.graph, progress);
        let is_all = !stopped.is_empty()
            && self.is_known()
            && self.active.values().all(is_done)
            && self.graph.waits_only_for(&stopped);
        is_all.then(|| stopped.into_iter().collect())
    }

    /// Whether every shard is finished. It happens to a stream only when it is deleted, or read to an end.
    pub(super) fn is_complete(&self) -> bool {
        self.is_settled() && self.active.is_empty()
    }

    /// Whether shards are left, and none of them can go on: all others wait for those.
    pub(super) fn has_only_stopped(&self) -> bool {
        let mut active = self.active.values();
        self.is_known() && !self.active.is_empty() && active.all(|progress| progress.has_failed())
    }

    /// What to say of the shards that could not go on, if there are any.
    pub(super) fn stopped(&self, name: &str) -> Option<StreamError> {
        let failed = |progress: &&Arc<Progress>| progress.has_failed();
        let stopped: Vec<_> = self.active.values().filter(failed).collect();
        let source = stopped.first()?.take_failure()?;
        Some(StreamError::ShardsStopped {
            name: name.to_owned(),
            shards: stopped.iter().map(|it| it.shard().clone()).collect(),
            source,
        })
    }

    /// Whether all shards are known that there are, and whether they are over, and all are read that can be.
    fn is_known(&self) -> bool {
        !self.is_stale
            && !self.is_cut_short
            && !self.list_lacks
            && !self.graph.lacks_expected()
            && !self.graph.doubts_ends()
    }

    /// Whether no shard is left to open, as far as is known.
    fn is_settled(&self) -> bool {
        self.is_known() && !self.graph.is_waiting()
    }
}

/// Whether all is done of a shard that there was to do. If it is finished, its children are known, too.
fn is_at_rest(graph: &ShardGraph, progress: &Progress) -> bool {
    progress.is_at_rest() && (!progress.phase().is_done() || graph.is_finished(progress.shard()))
}

/// Whether that is what is stored of a shard, besides what was `stored` before this process stored anything of it.
fn is_stored(
    stored: &BTreeMap<ShardId, Checkpoint>,
    progress: &Progress,
    checkpoint: &Checkpoint,
) -> bool {
    let before = || stored.get(progress.shard()) == Some(checkpoint);
    progress.has_stored(checkpoint).unwrap_or_else(before)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        HashRange, PinnedPosition, Shard, StartPosition, news::News, shard_graph::FirstStart,
    };

    fn shard(id: &str, parent: Option<&str>) -> Shard {
        Shard {
            id: id.into(),
            parent: parent.map(ShardId::from),
            adjacent_parent: None,
            hash_range: HashRange::ALL,
            starting_sequence_number: 1.into(),
            ending_sequence_number: parent.is_none().then(|| 9.into()),
        }
    }

    /// A stream in which `parent` is read, its progress, and what it has told. There is a child, which no listing
    /// has had.
    fn reading() -> (OpenStream, Arc<Progress>, Arc<News>) {
        let first_start = FirstStart::decide(
            &StartPosition::TrimHorizon,
            &BTreeMap::new(),
            Timestamp::from_millis(1_000),
        );
        let mut graph = ShardGraph::new(first_start, BTreeMap::new());
        graph.discover(&[shard("parent", None)]);
        let started = graph.take_ready();
        assert_eq!(started[0].shard, "parent".into());
        let stream = StreamIdentity {
            name: "orders".to_owned(),
            created: None,
        };
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let mut opened = OpenStream::new(stream, graph, BTreeMap::new(), later, later);
        let news = Arc::new(News::default());
        let progress = Progress::new(
            "parent".into(),
            PinnedPosition::TrimHorizon,
            Arc::clone(&news),
        );
        progress.note_children(["child".into()].into_iter());
        opened.active.insert("parent".into(), Arc::clone(&progress));
        (opened, progress, news)
    }

    /// The child is known, and may be read.
    fn check_child(opened: &mut OpenStream) {
        assert!(opened.list_at <= Instant::now(), "it is listed at once");
        assert!(
            !opened.is_caught_up() && !opened.is_complete(),
            "before that nobody knows"
        );
        opened
            .graph
            .discover(&[shard("parent", None), shard("child", Some("parent"))]);
        opened.is_stale = false;
        let started = opened.graph.take_ready();
        assert_eq!(started.len(), 1);
        assert_eq!(started[0].shard, "child".into());
    }

    #[test]
    fn who_ends_just_before_its_end_is_stored_has_its_children_read() {
        let (mut opened, progress, news) = reading();
        // Nothing has ended so far, and checkpoints are due.
        assert!(!opened.take_ended(news.take_ended()));
        progress.enter(Phase::Finished);
        let unstored = opened.unstored();
        assert!(unstored.news[&"parent".into()].is_end());
        opened.note_stored(unstored);
        assert!(opened.active.is_empty());
        // What was stored for the child was, and is not stored again.
        assert!(!opened.take_ended(news.take_ended()), "it was told before");
        check_child(&mut opened);
        assert!(opened.graph.unstored().is_empty());
    }

    #[test]
    fn who_is_complete_just_before_it_is_let_go_has_its_children_known() {
        let (mut opened, progress, news) = reading();
        assert!(!opened.take_ended(news.take_ended()));
        progress.enter(Phase::Complete);
        opened.retire_complete();
        assert!(opened.active.is_empty());
        check_child(&mut opened);
    }

    #[test]
    fn nothing_is_caught_up_before_it_is_heard_who_has_ended() {
        let (mut opened, progress, news) = reading();
        assert!(!opened.take_ended(news.take_ended()));
        progress.enter(Phase::Finished);
        assert!(progress.is_at_rest());
        assert!(!opened.is_caught_up(), "it has a child");
        assert!(opened.take_ended(news.take_ended()));
        check_child(&mut opened);
    }
}
