use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use stage_core::Acknowledge;
use tokio::{sync::Notify, time::Instant};

use crate::{
    ParkReason, PinnedPosition, Position, SequenceNumber, ShardDrainReport, ShardError, ShardId,
    SourceEvent, Timestamp,
    backoff::seed_of,
    doubt::Doubt,
    news::News,
    place::{Mark, Place},
    saving::Saving,
    seek::SeekRequest,
    shard_calls::ShardCalls,
    shard_graph::Resumed,
    shard_watch::ShardWatch,
    unpacker::Findings,
    unread::Unread,
    unsettled::Unsettled,
};

mod keeping;
mod marks;
mod receipts;
mod seeking;
mod state;
mod storing;

pub(crate) use marks::Marked;
use receipts::Generation;
use state::State;

/// How far one shard is: read, handed out, acknowledged. Its reader writes it; whoever watches the
/// shard or stores its checkpoint reads it.
pub(crate) struct Progress {
    shard: ShardId,
    /// Made of its name.
    seed: u64,
    state: Mutex<State>,
    /// Rung when something changed that a watcher may wait for.
    watcher: Arc<News>,
    /// Rung when nothing is on its way any more.
    settled: Notify,
    /// Rung when the oldest record in hand is settled, or refused.
    advanced: Notify,
    /// Whether that takes too long.
    unsettled: Mutex<Unsettled>,
    watch: ShardWatch,
    /// When its readers may make their calls.
    calls: OnceLock<Arc<ShardCalls>>,
    /// How its checkpoints are stored, if somebody does.
    saving: OnceLock<Arc<Saving>>,
    /// Where to read on, if that is elsewhere.
    seek: Mutex<Option<SeekRequest>>,
    /// Rung when there is such a wish.
    sought: Notify,
}

/// Events that are handed out together.
#[derive(Debug)]
pub(crate) struct Issued {
    /// The number of the first.
    pub(crate) first: u64,
    generation: u64,
}

/// It was read again and again to no avail, and is now tried only once in a while. What ends that:
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Records were nacked: one more is done.
    UntilDone,
    /// Its reader failed: there is something to hand out, or nothing left for now.
    UntilRead,
}

/// What a reader is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Reading,
    /// The last answer was empty, and at the shard's tip.
    AtTip,
    /// The shard is closed and has been read; records are still on their way.
    Draining,
    /// The shard is closed, and all of it is acknowledged.
    Finished,
    /// It has been read as far as it was to be, and all of that is acknowledged.
    Complete,
    /// The reader has been stopped, or has failed for good.
    Stopped,
}

impl Phase {
    /// Whether the reader has ended.
    pub(crate) fn is_end(self) -> bool {
        self.is_done() || self == Self::Stopped
    }

    /// Whether nothing is left to read.
    pub(crate) fn is_done(self) -> bool {
        matches!(self, Self::Finished | Self::Complete)
    }
}

/// What a reader counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) reads: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) throttled: u64,
    pub(crate) retries: u64,
    pub(crate) repeated: u64,
    pub(crate) restarts: u64,
    pub(crate) acked: u64,
    pub(crate) subscriptions: u64,
    pub(crate) silences: u64,
    pub(crate) takeovers: u64,
    pub(crate) findings: Findings,
    pub(crate) millis_behind_latest: Option<u64>,
}

/// A checkpoint that is being stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    generation: u64,
    /// How many numbers it covers.
    settled: u64,
    /// Whether it may go back.
    pub(crate) is_sought: bool,
    /// Whether it is of before the shard went on elsewhere.
    is_left: bool,
}

/// A picture of a shard's progress.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) phase: Phase,
    pub(crate) in_flight: u64,
    pub(crate) figures: Figures,
}

impl Progress {
    pub(crate) fn new(shard: ShardId, start: impl Into<Place>, watcher: Arc<News>) -> Arc<Self> {
        let start = start.into();
        Arc::new(Self {
            watch: ShardWatch::new(shard.clone()),
            calls: OnceLock::new(),
            seed: seed_of(&shard),
            shard,
            state: Mutex::new(State::new(start)),
            watcher,
            settled: Notify::new(),
            advanced: Notify::new(),
            unsettled: Mutex::default(),
            saving: OnceLock::new(),
            seek: Mutex::default(),
            sought: Notify::new(),
        })
    }

    /// The progress of a shard of which nothing was read before. What is to be read arrived at `since` or
    /// later, and at `none_until` there was none of it, as far as that is known.
    pub(crate) fn beginning(
        shard: ShardId,
        from: Place,
        since: Option<Timestamp>,
        none_until: Option<Timestamp>,
        watcher: Arc<News>,
    ) -> Arc<Self> {
        let progress = Self::new(shard, from, watcher);
        let mut state = progress.lock();
        let now = Instant::now();
        state.unread = since.map(|since| Unread::of_start(since, now));
        state.quiet.until = none_until;
        state.doubt_place(none_until);
        drop(state);
        progress
    }

    /// The progress of a shard that was done so far.
    pub(crate) fn resumed(shard: ShardId, resumed: Resumed, watcher: Arc<News>) -> Arc<Self> {
        let Resumed {
            done,
            quiet_until,
            is_plausible,
        } = resumed;
        let progress = Self::new(shard, done.clone(), watcher);
        let mut state = progress.lock();
        let number = done.sequence_number.clone();
        state.doubt = is_plausible.then(|| Doubt::about(number, quiet_until));
        state.done = Some(done);
        state.quiet.until = quiet_until;
        drop(state);
        progress
    }

    pub(crate) fn shard(&self) -> &ShardId {
        &self.shard
    }

    /// What is told about it.
    pub(crate) fn watch(&self) -> &ShardWatch {
        &self.watch
    }

    /// The calls for it that the service counts.
    pub(crate) fn calls(&self) -> &ShardCalls {
        let none_before = || Arc::new(ShardCalls::new(self.seed));
        self.calls.get_or_init(none_before)
    }

    /// Calls for it were made before it was read.
    pub(crate) fn call_on(&self, calls: Arc<ShardCalls>) {
        // It is told once, before it is read.
        let _ = self.calls.set(calls);
    }

    /// Where the next read goes on.
    pub(crate) fn next(&self) -> PinnedPosition {
        self.lock().next.position.clone()
    }

    /// Where to go on reading, in the service's own terms.
    pub(crate) fn position(&self) -> Position {
        let state = self.lock();
        match &state.doubt {
            Some(doubt) => doubt.position(),
            None => Position::from(&state.next.position),
        }
    }

    /// Where the next read goes on, and what of the record there is done.
    pub(crate) fn next_place(&self) -> Place {
        self.lock().next.clone()
    }

    /// Begins another life of the reader: after what was read last or, when records were nacked,
    /// after what is acknowledged without a gap.
    pub(crate) fn resume(&self) {
        let mut state = self.lock();
        state.figures.restarts += 1;
        let (restarts, nacked) = (state.figures.restarts, state.nacked);
        let is_halted = state.halt.is_some();
        state.resume();
        drop(state);
        // Tries of a parked shard are not worth an event each.
        if !is_halted {
            self.watch.report(|shard| SourceEvent::ShardRestarted {
                shard,
                restarts,
                nacked,
            });
        }
    }

    /// Takes note that events are handed out, in order, and how far the shard is with each. Returns
    /// whom to tell what becomes of them, and the first one's number. `charge` is kept until all of
    /// them are settled.
    pub(crate) fn hand_out(
        self: &Arc<Self>,
        of: Marked,
        charge: impl Send + Sync + 'static,
    ) -> (Arc<dyn Acknowledge>, u64) {
        let issued = self.issue(of);
        (self.book(&issued, charge), issued.first)
    }

    /// Whom to tell what becomes of some of the events that were issued together. `charge` is kept until all of these
    /// are settled.
    pub(crate) fn book(
        self: &Arc<Self>,
        issued: &Issued,
        charge: impl Send + Sync + 'static,
    ) -> Arc<dyn Acknowledge> {
        Arc::new(Generation {
            progress: Arc::clone(self),
            number: issued.generation,
            _charge: charge,
        })
    }

    /// Takes note that events are handed out, in order, and how far the shard is with each.
    pub(crate) fn issue(&self, of: Marked) -> Issued {
        let mut state = self.lock();
        state.in_flight += of.len() as u64;
        let (first, last) = state.marks.issue(of);
        if let Some(last) = last {
            state.next = last.into();
            // What is handed out now covers it.
            state.passed = None;
        }
        let generation = state.generation;
        let goes_on = state.end_halt(Halt::UntilRead);
        self.release(state, goes_on);
        Issued { first, generation }
    }

    /// It is tried only about so often from now on, for that reason.
    pub(crate) fn halt(&self, until: Halt, reason: ParkReason, probe_every: Duration) {
        let mut state = self.lock();
        state.halt = Some(until);
        let news = self.watch.halted(reason, probe_every);
        drop(state);
        self.watch.tell(news);
    }

    /// Whether nothing has become better since it was halted.
    pub(crate) fn is_halted(&self) -> bool {
        self.lock().halt.is_some()
    }

    /// The last record that is done, and all before it.
    pub(crate) fn done(&self) -> Option<SequenceNumber> {
        let state = self.lock();
        state.done.as_ref().map(|mark| mark.sequence_number.clone())
    }

    /// It is not read any more, for that reason.
    pub(crate) fn fail(&self, error: ShardError) {
        self.lock().failure = Some(Box::new(error));
    }

    /// Whether that is so, and nothing of it is on its way any more.
    pub(crate) fn has_failed(&self) -> bool {
        let state = self.lock();
        state.phase == Phase::Stopped && state.failure.is_some()
    }

    /// Why it is not read any more, once.
    pub(crate) fn take_failure(&self) -> Option<ShardError> {
        self.lock().failure.take().map(|error| *error)
    }

    /// Lets go of its state, and then tells that it goes on, if it does. What is told is decided before, or a halt that
    /// begins meanwhile would seem to be over.
    fn release(&self, state: MutexGuard<'_, State>, goes_on: bool) {
        let news = goes_on.then(|| self.watch.went_on());
        drop(state);
        if let Some(news) = news {
            self.watch.tell(news);
        }
    }

    /// Takes note that up to `mark`, there is nothing to hand out after what was. It is done as soon
    /// as that is. Only the last such mark is kept: there may be any number of them meanwhile.
    pub(crate) fn pass(&self, mark: Mark) {
        let mut state = self.lock();
        state.next = mark.clone().into();
        let is_done = state.marks.is_complete();
        if is_done {
            state.done = Some(mark);
        } else {
            state.passed = Some(mark);
        }
        let goes_on = is_done && state.end_any_halt();
        self.release(state, goes_on);
    }

    /// Counts.
    pub(crate) fn note(&self, note: impl FnOnce(&mut Figures)) {
        note(&mut self.lock().figures);
    }

    /// Takes note of a read that found nothing, at the shard's tip: at that moment, if the service
    /// itself has said so.
    /// `asked` is what [`asked`](Self::asked) was before the read.
    pub(crate) fn found_tip(&self, now: Option<Timestamp>, asked: u64) {
        if let Some(now) = now {
            let mut state = self.lock();
            state.note_quiet(now);
            let read_at = Instant::now();
            let none = || Unread::after(None, read_at);
            state
                .unread
                .get_or_insert_with(none)
                .found_none(now, read_at);
            if state.marks.is_complete() {
                state.undone = state.unread;
            }
        }
        self.reach_tip(Phase::AtTip, asked);
    }

    /// Takes note of a read that has brought the shard to its tip, and found records; they have been
    /// handed out.
    pub(crate) fn came_to_tip(&self, asked: u64) {
        self.reach_tip(Phase::Reading, asked);
    }

    fn reach_tip(&self, phase: Phase, asked: u64) {
        let mut state = self.lock();
        let is_news = state.tip.is_none() && state.asked == asked;
        if is_news {
            state.tip = Some(state.marks.next());
        }
        let was_elsewhere = mem::replace(&mut state.phase, phase) != phase;
        let goes_on = state.end_halt(Halt::UntilRead);
        self.release(state, goes_on);
        self.watch.reached_tip();
        if is_news || was_elsewhere {
            self.watcher.ring();
        }
    }

    /// Forgets that the tip was found: only a read from now on counts.
    pub(crate) fn await_tip(&self) {
        let mut state = self.lock();
        state.tip = None;
        state.asked += 1;
    }

    /// How often [`await_tip`](Self::await_tip) was called. A read that began before the last time tells
    /// nothing of what has been put until then.
    pub(crate) fn asked(&self) -> u64 {
        self.lock().asked
    }

    /// Whether all is done that there was to do: it is finished, or a read since the last
    /// [`await_tip`](Self::await_tip) found the tip, and all that was handed out by then is
    /// acknowledged. What was read after that does not count, or a shard that is written to all the
    /// time would never be.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.lock().is_at_rest()
    }

    /// Takes note of what the reader does now.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase != phase {
            state.phase = phase;
            let is_stopped = phase == Phase::Stopped && state.failure.is_none();
            let goes_on = phase.is_done() && state.end_any_halt();
            self.release(state, goes_on);
            if phase == Phase::Draining {
                self.watch
                    .report(|shard| SourceEvent::ShardDrained { shard });
            }
            match phase.is_end() {
                true if is_stopped => self.watcher.note_stopped(self.shard().clone()),
                true => self.watcher.note_ended(self.shard().clone()),
                false => self.watcher.ring(),
            }
        }
    }

    /// Takes note of the children that the shard's last answer named.
    pub(crate) fn note_children(&self, children: impl Iterator<Item = ShardId>) {
        let mut state = self.lock();
        for child in children {
            // It may come again, if records are read again.
            if !state.children.contains(&child) {
                state.children.push(child);
            }
        }
    }

    /// The answer that named them was not the last.
    pub(crate) fn forget_children(&self) {
        self.lock().children.clear();
    }

    /// The children that the shard's last answer named.
    pub(crate) fn children(&self) -> Vec<ShardId> {
        self.lock().children.clone()
    }

    /// A listing has the shard as closed with that number.
    pub(crate) fn note_ending(&self, ending: &SequenceNumber) {
        self.lock().ending = Some(ending.clone());
    }

    /// The number that it ends with, if a listing has had it as closed.
    pub(crate) fn ending(&self) -> Option<SequenceNumber> {
        self.lock().ending.clone()
    }

    /// It is read within a stream from now on, until its [reader ends](Self::reader_ends).
    pub(crate) fn reader_begins(&self) {
        self.watcher.reader_begins();
    }

    /// Its reader has ended, and the phase says so.
    pub(crate) fn reader_ends(&self) {
        self.watcher.reader_ends();
    }

    /// Of its own for each shard.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether nothing will be read any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.phase().is_end()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// How many records were nacked since the reader last began.
    pub(crate) fn nacked(&self) -> u64 {
        self.lock().nacked
    }

    /// Waits until nothing is on its way any more.
    pub(crate) async fn settled(&self) {
        loop {
            let changed = self.settled.notified();
            if self.lock().in_flight == 0 {
                return;
            }
            changed.await;
        }
    }

    /// How far it came.
    pub(crate) fn drain_report(&self) -> ShardDrainReport {
        let state = self.lock();
        ShardDrainReport {
            shard: self.shard.clone(),
            state: state.phase.into(),
            acked: state.figures.acked,
            unacked: state.in_flight + state.nacked,
            checkpoint: state.stored.clone(),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        Snapshot {
            phase: state.phase,
            in_flight: state.in_flight,
            figures: state.figures.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Progress")
            .field("shard", &self.shard)
            .field("phase", &state.phase)
            .field("in_flight", &state.in_flight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
