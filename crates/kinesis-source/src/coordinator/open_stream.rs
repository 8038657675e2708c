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
            } else if phase.is_end() && self.graph.finish(&shard) {
                self.graph.closed_after(&shard, progress.read_until());
                self.graph.closed_with(&shard, progress.ending());
                let children = progress.children();
                for child in &children {
                    self.graph.expect(child, &shard);
                }
                progress
                    .watch()
                    .report(|shard| SourceEvent::ShardRetired { shard, children });
                ended = true;
            }
        }
        if ended {
            self.is_stale = true;
            self.list_at = Instant::now();
        }
        ended
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
        self.active.retain(|_, progress| {
            let checkpoint = progress.checkpoint();
            let is_stored = checkpoint.is_none_or(|it| is_stored(stored, progress, &it));
            let is_over = progress.phase() == Phase::Complete && is_stored;
            if is_over {
                progress.watch().waits_for(WaitingFor::Nothing, None);
            }
            !is_over
        });
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
        self.is_settled() && self.restless.is_over(&self.active, Progress::is_at_rest)
    }

    /// The shards that have stopped, if there are any and all others are caught up or wait for those.
    pub(super) fn caught_up_without(&self) -> Option<Vec<ShardId>> {
        let stopped = self
            .stopped
            .iter()
            .filter_map(|shard| self.active.get(shard));
        let failed = stopped.filter(|progress| progress.has_failed());
        let stopped: BTreeSet<_> = failed.map(|it| it.shard().clone()).collect();
        let is_done = |progress: &Arc<Progress>| progress.has_failed() || progress.is_at_rest();
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

    /// Whether all shards are known that there are, and whether they are over.
    fn is_known(&self) -> bool {
        !self.is_stale
            && !self.list_lacks
            && !self.graph.lacks_expected()
            && !self.graph.doubts_ends()
    }

    /// Whether no shard is left to open, as far as is known.
    fn is_settled(&self) -> bool {
        self.is_known() && !self.graph.is_waiting()
    }
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
