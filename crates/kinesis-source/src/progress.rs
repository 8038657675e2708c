use std::{
    fmt, mem,
    ops::Range,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use stage_core::{Acknowledge, Outcome, protocol::Watermark};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use crate::{
    Checkpoint, DataLoss, ParkReason, PinnedPosition, Position, SequenceNumber, ShardDrainReport,
    ShardError, ShardId, SourceEvent, Timestamp, Waiting, WaitingFor,
    byte_budget::Charge,
    doubt::Doubt,
    headway::News,
    place::{Mark, Place},
    saving::Saving,
    seek::{SeekError, SeekRequest},
    shard_graph::Resumed,
    shard_watch::ShardWatch,
    unpacker::Findings,
    unread::{CLOCK_SLACK, LEAST_RETENTION, Unread},
    unsettled::{InHand, Unsettled},
};

/// How far one shard is: read, handed out, acknowledged. Its reader writes it; whoever watches the
/// shard or stores its checkpoint reads it.
pub(crate) struct Progress {
    shard: ShardId,
    state: Mutex<State>,
    /// Rung when something changed that a watcher may wait for.
    watcher: Arc<Notify>,
    /// Rung when nothing is on its way any more.
    settled: Notify,
    /// Rung when the oldest record in hand is settled, or refused.
    advanced: Notify,
    /// Whether that takes too long.
    unsettled: Mutex<Unsettled>,
    watch: ShardWatch,
    /// How its checkpoints are stored, if somebody does.
    saving: OnceLock<Arc<Saving>>,
    /// Where to read on, if that is elsewhere.
    seek: Mutex<Option<SeekRequest>>,
    /// Rung when there is such a wish.
    sought: Notify,
}

struct State {
    /// Where reading began, in this process.
    start: Place,
    /// Where reading goes on: after what was handed out last.
    next: Place,
    /// Counts lives of the reader in which records were nacked. What an earlier one handed out
    /// does not count any more.
    generation: u64,
    watermark: Watermark<Mark>,
    /// How many of these numbers the stored checkpoint covers.
    saved: u64,
    stored: Option<Checkpoint>,
    /// Whether reading was told to go on elsewhere since the stored checkpoint, which may then go back.
    is_sought: bool,
    /// Everything up to this is acknowledged.
    done: Option<Mark>,
    /// Up to this there is nothing to hand out, since what was handed out last.
    passed: Option<Mark>,
    in_flight: u64,
    nacked: u64,
    /// Whether what is done is still kept.
    doubt: Option<Doubt>,
    /// How old what comes after the last read may be, once something was read.
    unread: Option<Unread>,
    /// The same of what comes after that which is done: at least since then.
    undone: Option<Unread>,
    loss: Option<DataLoss>,
    quiet: Quiet,
    phase: Phase,
    /// How many records were handed out when a read found the tip, the first since somebody asked.
    tip: Option<u64>,
    /// How often somebody has asked for that.
    asked: u64,
    figures: Figures,
    /// What the shard's last answer named.
    children: Vec<ShardId>,
    halt: Option<Halt>,
    /// Why it is not read any more.
    failure: Option<ShardError>,
}

/// It was read again and again to no avail, and is now tried only once in a while. What ends that:
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Records were nacked: one more is done.
    UntilDone,
    /// Its reader failed: there is something to hand out, or nothing left for now.
    UntilRead,
}

/// How long there has been nothing after what was handed out.
#[derive(Clone, Copy, Debug, Default)]
struct Quiet {
    /// How many records had been handed out.
    handed_out: u64,
    since: Option<Timestamp>,
    /// What the checkpoint says.
    until: Option<Timestamp>,
}

/// How often the checkpoint of a quiet shard says that it is. The service keeps records for 24 hours
/// at least.
const QUIET_EVERY: Duration = Duration::from_secs(3_600);

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
}

/// A picture of a shard's progress.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) phase: Phase,
    pub(crate) in_flight: u64,
    pub(crate) figures: Figures,
}

/// Settles what one life of a reader handed out.
struct Generation {
    progress: Arc<Progress>,
    number: u64,
    /// What it handed out takes of the budget. It goes with the last receipt of that, whatever becomes
    /// of it.
    _charge: Option<Arc<Charge>>,
}

impl Progress {
    pub(crate) fn new(shard: ShardId, start: impl Into<Place>, watcher: Arc<Notify>) -> Arc<Self> {
        let start = start.into();
        Arc::new(Self {
            watch: ShardWatch::new(shard.clone()),
            shard,
            state: Mutex::new(State {
                next: start.clone(),
                start,
                generation: 0,
                watermark: Watermark::new(),
                saved: 0,
                stored: None,
                is_sought: false,
                done: None,
                passed: None,
                in_flight: 0,
                nacked: 0,
                doubt: None,
                unread: None,
                undone: None,
                loss: None,
                quiet: Quiet::default(),
                phase: Phase::Reading,
                tip: None,
                asked: 0,
                figures: Figures::default(),
                children: Vec::new(),
                halt: None,
                failure: None,
            }),
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
        watcher: Arc<Notify>,
    ) -> Arc<Self> {
        let progress = Self::new(shard, from, watcher);
        let mut state = progress.lock();
        let now = Instant::now();
        state.unread = since.map(|since| Unread::of_start(since, now));
        state.quiet.until = none_until;
        drop(state);
        progress
    }

    /// The progress of a shard that was done so far.
    pub(crate) fn resumed(shard: ShardId, resumed: Resumed, watcher: Arc<Notify>) -> Arc<Self> {
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

    /// What is in doubt, if anything is.
    pub(crate) fn doubt(&self) -> Option<Doubt> {
        self.lock().doubt.clone()
    }

    /// Whether what comes next may not be kept any more, by what clocks say, and nobody looks after
    /// that yet. `now` is the service's clock, and is asked for if it matters.
    pub(crate) fn may_be_trimmed(&self, margin: Duration, now: impl FnOnce() -> Timestamp) -> bool {
        let state = self.lock();
        let is_open = state.doubt.is_none() && state.last_read().is_some();
        let Some(unread) = state.unread.filter(|_| is_open) else {
            return false;
        };
        drop(state);
        unread.may_be_trimmed(self.retention(), margin, now, Instant::now())
    }

    /// How long records are kept, or at least for so long.
    pub(crate) fn retention(&self) -> Duration {
        self.watch.retention().unwrap_or(LEAST_RETENTION)
    }

    /// What comes next may not be kept any more: the last record that was read is to be looked for.
    /// Whether there is one, and that is new.
    pub(crate) fn begin_doubt(&self) -> bool {
        let mut state = self.lock();
        let (Some(unread), None) = (state.unread, &state.doubt) else {
            return false;
        };
        let last = state.last_read().cloned();
        state.doubt = last.map(|number| Doubt::about(number, unread.none_until()));
        state.doubt.is_some()
    }

    /// Whether nothing of the shard was read, or all of that is to be read again, and what comes first may
    /// not be kept any more, by what clocks say. There is no record then that could be looked for.
    pub(crate) fn begins_too_late(&self, now: impl FnOnce() -> Timestamp) -> bool {
        let state = self.lock();
        let unread = state.unread.filter(|_| state.last_read().is_none());
        drop(state);
        let since = unread.and_then(|unread| unread.since());
        since.is_some_and(|since| now().since(since) >= self.retention())
    }

    /// Whether it was read so far behind, and what has come now leaves out so much, that all in between may
    /// have been trimmed just now, though the stream was to keep it.
    pub(crate) fn leaps_to(
        &self,
        arrival: Option<Timestamp>,
        now: impl FnOnce() -> Timestamp,
    ) -> bool {
        let state = self.lock();
        let is_open = state.doubt.is_none() && state.last_read().is_some();
        let unread = state.unread.filter(|_| is_open);
        drop(state);
        unread.is_some_and(|unread| unread.leaps_to(arrival, now))
    }

    /// When the last record arrived that was read, or when there was none, whichever is later.
    pub(crate) fn read_until(&self) -> Option<Timestamp> {
        self.lock().unread.and_then(|unread| unread.since())
    }

    /// Records were read, after all those before had been handed out. The first and the last one
    /// arrived at these moments, as far as that is known.
    pub(crate) fn note_arrivals(&self, first: Option<Timestamp>, last: Option<Timestamp>) {
        let (now, mut state) = (Instant::now(), self.lock());
        if state.last_read().is_none() {
            // There is nothing before it that is kept.
            state.unread = None;
        }
        let unread = *state.unread.get_or_insert(Unread::after(first, now));
        if state.watermark.is_complete() {
            state.undone = Some(unread);
        }
        if let Some(unread) = &mut state.unread {
            unread.advance(last, now);
        }
    }

    /// The record in doubt is refused.
    pub(crate) fn refuse_doubt(&self) {
        if let Some(doubt) = &mut self.lock().doubt {
            doubt.is_refused = true;
        }
    }

    /// What was in doubt is so, or does not matter.
    pub(crate) fn end_doubt(&self) {
        self.lock().doubt = None;
    }

    /// Takes note of a loss. Whether it is news.
    pub(crate) fn note_loss(&self, loss: DataLoss) -> bool {
        let mut state = self.lock();
        let is_news = state.loss.as_ref() != Some(&loss);
        state.loss = Some(loss);
        is_news
    }

    /// The last loss that was noticed.
    pub(crate) fn loss(&self) -> Option<DataLoss> {
        self.lock().loss.clone()
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
        // Tries of a parked shard are not worth an event each.
        if state.halt.is_none() {
            self.watch.report(|shard| SourceEvent::ShardRestarted {
                shard,
                restarts,
                nacked,
            });
        }
        // What was read and not handed out is read again, too.
        state.unread = state.undone.or(state.unread);
        if state.nacked == 0 {
            return;
        }
        let acked = state.done.clone().map(Place::from);
        state.next = acked.unwrap_or_else(|| state.start.clone());
        // By the time that a halt is over, what comes next may not be kept any more.
        if (state.loss.is_some() || state.halt.is_some())
            && let Some(done) = &state.done
        {
            // That may be the record that is not kept.
            state.doubt = Some(Doubt::about(done.sequence_number.clone(), None));
        }
        state.begin_generation();
    }

    /// Takes note that events are handed out, in order, and how far the shard is with each. Returns
    /// whom to tell what becomes of them, and the first one's number. `charge` is kept until all of
    /// them are settled.
    pub(crate) fn hand_out(
        self: &Arc<Self>,
        marks: impl Iterator<Item = Mark>,
        charge: Option<Arc<Charge>>,
    ) -> (Arc<dyn Acknowledge>, u64) {
        let mut state = self.lock();
        let first = state.watermark.next();
        let mut last = None;
        for mark in marks {
            last = Some(mark.clone());
            state.watermark.issue(mark);
        }
        if let Some(last) = last {
            state.next = last.into();
            // What is handed out now covers it.
            state.passed = None;
        }
        state.in_flight += state.watermark.next() - first;
        let generation = Generation {
            progress: Arc::clone(self),
            number: state.generation,
            _charge: charge,
        };
        let goes_on = state.end_halt(Halt::UntilRead);
        drop(state);
        self.tell(goes_on);
        (Arc::new(generation), first)
    }

    /// It is tried only about so often from now on, for that reason.
    pub(crate) fn halt(&self, until: Halt, reason: ParkReason, probe_every: Duration) {
        self.lock().halt = Some(until);
        self.watch.halted(reason, probe_every);
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
        self.lock().failure = Some(error);
    }

    /// Whether that is so, and nothing of it is on its way any more.
    pub(crate) fn has_failed(&self) -> bool {
        let state = self.lock();
        state.phase == Phase::Stopped && state.failure.is_some()
    }

    /// Why it is not read any more, once.
    pub(crate) fn take_failure(&self) -> Option<ShardError> {
        self.lock().failure.take()
    }

    fn tell(&self, goes_on: bool) {
        if goes_on {
            self.watch.went_on();
        }
    }

    /// Takes note that up to `mark`, there is nothing to hand out after what was. It is done as soon
    /// as that is. Only the last such mark is kept: there may be any number of them meanwhile.
    pub(crate) fn pass(&self, mark: Mark) {
        let mut state = self.lock();
        state.next = mark.clone().into();
        let is_done = state.watermark.is_complete();
        if is_done {
            state.done = Some(mark);
        } else {
            state.passed = Some(mark);
        }
        let goes_on = is_done && state.end_any_halt();
        drop(state);
        self.tell(goes_on);
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
            if state.watermark.is_complete() {
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
            state.tip = Some(state.watermark.next());
        }
        let was_elsewhere = mem::replace(&mut state.phase, phase) != phase;
        let goes_on = state.end_halt(Halt::UntilRead);
        drop(state);
        self.tell(goes_on);
        self.watch.reached_tip();
        if is_news || was_elsewhere {
            self.watcher.notify_one();
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
            let is_done = matches!(phase, Phase::Finished | Phase::Complete);
            let goes_on = is_done && state.end_any_halt();
            drop(state);
            self.tell(goes_on);
            if phase == Phase::Draining {
                self.watch
                    .report(|shard| SourceEvent::ShardDrained { shard });
            }
            self.watcher.notify_one();
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

    /// The children that the shard's last answer named.
    pub(crate) fn children(&self) -> Vec<ShardId> {
        self.lock().children.clone()
    }

    /// Whether nothing will be read any more.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(
            self.phase(),
            Phase::Finished | Phase::Complete | Phase::Stopped
        )
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

    /// What to store about the shard; `None` while there is nothing to add to its start.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        let state = self.lock();
        if state.phase == Phase::Finished {
            return Some(Checkpoint::End);
        }
        let Some(done) = state.done.clone() else {
            return state.quiet_start();
        };
        Some(match state.quiet_until() {
            Some(until) if done.sub_sequence_number.is_none() => Checkpoint::Quiet {
                sequence_number: done.sequence_number,
                until,
            },
            _ => done.into(),
        })
    }

    /// The checkpoint, to be stored, and what to [note](Self::note_saved) once it is.
    pub(crate) fn offer_checkpoint(&self) -> Option<(Checkpoint, Offer)> {
        let state = self.lock();
        let offer = Offer {
            generation: state.generation,
            settled: state.settled(),
            is_sought: state.is_sought,
        };
        drop(state);
        Some((self.checkpoint()?, offer))
    }

    /// What was offered is stored.
    pub(crate) fn note_saved(&self, offer: Offer, checkpoint: Checkpoint) {
        let mut state = self.lock();
        state.stored = Some(checkpoint);
        if state.generation == offer.generation {
            state.saved = offer.settled;
            state.is_sought = false;
        }
    }

    /// Has the reader go on elsewhere, and says when it does.
    pub(crate) fn request_seek(
        &self,
        position: PinnedPosition,
    ) -> oneshot::Receiver<Result<(), SeekError>> {
        let (reply, replied) = oneshot::channel();
        let mut seek = self.seek.lock().unwrap_or_else(PoisonError::into_inner);
        let former = seek.replace(SeekRequest { position, reply });
        drop(seek);
        if let Some(former) = former {
            let shard = self.shard.clone();
            // Perhaps nobody waits for it.
            let _ = former.reply.send(Err(SeekError::Superseded { shard }));
        }
        self.sought.notify_one();
        replied
    }

    /// The wish to go on elsewhere, if there is one.
    pub(crate) fn take_seek(&self) -> Option<SeekRequest> {
        let mut seek = self.seek.lock().unwrap_or_else(PoisonError::into_inner);
        seek.take()
    }

    /// Waits until there is a wish to go on elsewhere, or there was one.
    pub(crate) async fn sought(&self) {
        self.sought.notified().await;
    }

    /// Reading goes on there. What was handed out by now counts no more; the checkpoint stays until
    /// something is acknowledged that is handed out from now on.
    pub(crate) fn seek(&self, position: PinnedPosition) {
        let mut state = self.lock();
        state.begin_generation();
        state.next = position.into();
        state.start = state.next.clone();
        state.is_sought = true;
        state.done = None;
        state.doubt = None;
        state.unread = None;
        state.undone = None;
        state.quiet = Quiet::default();
        state.phase = Phase::Reading;
        let goes_on = state.end_any_halt();
        drop(state);
        self.tell(goes_on);
        self.settled.notify_waiters();
        self.watcher.notify_one();
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

    /// Has its checkpoints stored, as told.
    pub(crate) fn save_by(&self, saving: Arc<Saving>) {
        // It is told once, before it is read.
        let _ = self.saving.set(saving);
    }

    /// How many records were handed out after those that the stored checkpoint covers.
    fn unsaved(&self) -> u64 {
        let state = self.lock();
        state.watermark.next().saturating_sub(state.saved)
    }

    /// Waits until more may be handed out: at once, unless checkpoints cannot be stored, or too much is
    /// acknowledged beyond a record that is not.
    pub(crate) async fn may_hand_out(&self) {
        if let Some(saving) = self.saving.get() {
            self.may_go_beyond(saving).await;
            let unsaved = self.unsaved();
            if saving.must_wait(unsaved) {
                // That the store fails is told already.
                self.watch.waits_for(WaitingFor::CheckpointStore, None);
                saving.may_hand_out(unsaved).await;
            }
        }
    }

    /// Waits while too much is acknowledged beyond the oldest record in hand.
    async fn may_go_beyond(&self, saving: &Saving) {
        let mut is_told = false;
        loop {
            let mut advanced = pin!(self.advanced.notified());
            // What is settled from here on is noticed.
            advanced.as_mut().enable();
            let in_hand = self.lock().in_hand();
            let Some(InHand { beyond, .. }) = in_hand.filter(|it| saving.is_too_far(it.beyond))
            else {
                return;
            };
            if !mem::replace(&mut is_told, true) {
                // That it takes too long is told from outside.
                self.watch.waits_for(WaitingFor::Receipts { beyond }, None);
            }
            advanced.await;
        }
    }

    /// What is to be told by now, as its oldest record in hand is not settled in time.
    pub(crate) fn check_unsettled(&self, within: Duration, now: Instant) -> Option<SourceEvent> {
        let (in_hand, phase) = {
            let state = self.lock();
            (state.in_hand(), state.phase)
        };
        let mut unsettled = self.unsettled();
        let before = unsettled.late(now);
        let news = unsettled.check(in_hand, within, now)?;
        let shard = self.shard.clone();
        let of = |it: Option<InHand>| WaitingFor::Receipts {
            beyond: it.map_or(0, |it| it.beyond),
        };
        Some(match news {
            News::Stopped(since) => SourceEvent::Stuck {
                shard,
                state: phase.into(),
                waiting_for: of(in_hand),
                since,
            },
            News::Again(after) => SourceEvent::Unstuck {
                shard,
                waiting_for: of(before.map(|(_, it)| it)),
                after,
            },
        })
    }

    /// What it waits for: its reader, unless its oldest record in hand is late.
    pub(crate) fn look(&self, now: Instant) -> Waiting {
        let late = self.unsettled().late(now);
        match late.zip(self.lock().in_hand()) {
            Some(((since, late), in_hand)) if late.oldest == in_hand.oldest => Waiting {
                waiting_for: WaitingFor::Receipts {
                    beyond: in_hand.beyond,
                },
                since,
                is_stuck: true,
            },
            _ => self.watch.look(now),
        }
    }

    fn unsettled(&self) -> MutexGuard<'_, Unsettled> {
        let lock = self.unsettled.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
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

impl State {
    /// What was handed out by now counts no more.
    fn begin_generation(&mut self) {
        self.generation += 1;
        self.watermark = Watermark::new();
        self.saved = 0;
        self.passed = None;
        self.in_flight = 0;
        self.nacked = 0;
        self.tip = None;
    }

    /// Takes note that there is nothing after what was handed out.
    fn note_quiet(&mut self, now: Timestamp) {
        let now = now.minus(CLOCK_SLACK);
        let handed_out = self.watermark.next();
        if self.quiet.handed_out != handed_out {
            self.quiet = Quiet {
                handed_out,
                ..Quiet::default()
            };
        }
        let since = *self.quiet.since.get_or_insert(now);
        if now.since(self.quiet.until.unwrap_or(since)) >= QUIET_EVERY {
            self.quiet.until = Some(now);
        }
    }

    /// Since when, at least, there is nothing after what is done.
    fn quiet_until(&self) -> Option<Timestamp> {
        let is_all = self.quiet.handed_out == self.watermark.next() && self.watermark.is_complete();
        self.quiet.until.filter(|_| is_all)
    }

    /// The last record that was read, if the next is the one after it or that one.
    fn last_read(&self) -> Option<&SequenceNumber> {
        match &self.next.position {
            PinnedPosition::AfterSequenceNumber(number)
            | PinnedPosition::AtSequenceNumber(number) => Some(number),
            PinnedPosition::TrimHorizon | PinnedPosition::AtTimestamp(_) => None,
        }
    }

    /// What to store of a shard that nothing has come to. After a seek, the stored checkpoint stays.
    fn quiet_start(&self) -> Option<Checkpoint> {
        let until = self.quiet_until().filter(|_| !self.is_sought)?;
        let position = self.start.position.clone();
        Some(Checkpoint::QuietStart { position, until })
    }

    /// Ends a halt that waits for this. Whether there was one.
    fn end_halt(&mut self, by: Halt) -> bool {
        self.halt.take_if(|halt| *halt == by).is_some()
    }

    fn end_any_halt(&mut self) -> bool {
        self.halt.take().is_some()
    }

    fn is_at_rest(&self) -> bool {
        if matches!(self.phase, Phase::Finished | Phase::Complete) {
            return self.in_flight == 0;
        }
        self.tip.is_some_and(|tip| self.settled() >= tip)
    }

    /// What was handed out and is not settled. Once records were nacked, all are read again, and nothing is
    /// beyond them.
    fn in_hand(&self) -> Option<InHand> {
        let beyond = match self.nacked {
            0 => (self.watermark.open() as u64).saturating_sub(self.in_flight),
            _ => 0,
        };
        let oldest = (self.generation, self.settled());
        (self.in_flight > 0).then_some(InHand { oldest, beyond })
    }

    /// How many records are acknowledged without a gap.
    fn settled(&self) -> u64 {
        self.watermark.next() - self.watermark.open() as u64
    }
}

impl Acknowledge for Generation {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        let mut state = self.progress.lock();
        if state.generation != self.number {
            return;
        }
        let was_at_rest = state.is_at_rest();
        let settled = numbers.end - numbers.start;
        state.in_flight = state.in_flight.saturating_sub(settled);
        if outcome == Outcome::Acked {
            state.figures.acked += settled;
        }
        let mut is_further = false;
        match outcome {
            Outcome::Nacked => state.nacked += settled,
            // A number cannot be settled twice: its receipt is gone.
            Outcome::Acked => {
                if let Ok(Some(done)) = state.watermark.settle(numbers) {
                    state.done = Some(done);
                    is_further = true;
                    if state.watermark.is_complete() && state.passed.is_some() {
                        state.done = state.passed.take();
                    }
                }
            }
        }
        let goes_on = is_further && state.end_any_halt();
        let is_empty = state.in_flight == 0;
        let is_waited_for =
            (is_empty && state.phase != Phase::Reading) || (!was_at_rest && state.is_at_rest());
        drop(state);
        self.progress.tell(goes_on);
        let saving = self.progress.saving.get();
        let is_due = outcome == Outcome::Acked && saving.is_some_and(|it| it.note_acked(settled));
        if is_empty {
            self.progress.settled.notify_waiters();
        }
        if is_further || outcome == Outcome::Nacked {
            self.progress.advanced.notify_waiters();
        }
        if is_waited_for || is_due {
            self.progress.watcher.notify_one();
        }
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
mod tests {
    use super::*;

    fn progress() -> Arc<Progress> {
        Progress::new("s".into(), PinnedPosition::TrimHorizon, Arc::default())
    }

    fn hand_out(progress: &Arc<Progress>, numbers: Range<u128>) -> (Arc<dyn Acknowledge>, u64) {
        progress.hand_out(numbers.map(|number| Mark::whole(number.into())), None)
    }

    #[test]
    fn a_checkpoint_is_the_end_of_what_is_acked_without_a_gap() {
        let progress = progress();
        assert_eq!(progress.checkpoint(), None);
        let (book, first) = hand_out(&progress, 10..20);
        book.settle(first + 5..first + 10, Outcome::Acked);
        assert_eq!(progress.checkpoint(), None);
        book.settle(first..first + 2, Outcome::Acked);
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(11.into())));
        book.settle(first + 2..first + 5, Outcome::Acked);
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(19.into())));
        assert_eq!(progress.snapshot().in_flight, 0);
    }

    #[test]
    fn a_nack_takes_the_next_life_back_to_the_gap_and_the_old_one_counts_no_more() {
        let progress = progress();
        let (old, first) = hand_out(&progress, 10..20);
        old.settle(first..first + 3, Outcome::Acked);
        old.settle(first + 3..first + 4, Outcome::Nacked);
        assert_eq!(progress.nacked(), 1);
        progress.resume();
        assert_eq!(
            progress.next(),
            PinnedPosition::AfterSequenceNumber(12.into())
        );
        assert_eq!(progress.nacked(), 0);
        old.settle(first + 4..first + 10, Outcome::Acked);
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(12.into())));
        let (new, first) = hand_out(&progress, 13..15);
        assert_eq!(progress.snapshot().in_flight, 2);
        new.settle(first..first + 2, Outcome::Acked);
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(14.into())));
    }

    /// By the end of a halt what it goes on with may not be kept any more; a nack is read again at once.
    #[test]
    fn after_a_halt_what_was_done_last_is_looked_for() {
        for halts in [false, true] {
            let progress = progress();
            let (book, first) = hand_out(&progress, 10..20);
            book.settle(first..first + 3, Outcome::Acked);
            book.settle(first + 3..first + 10, Outcome::Nacked);
            if halts {
                let (records, after) = (7, progress.done());
                let reason = ParkReason::Nacked { records, after };
                progress.halt(Halt::UntilDone, reason, Duration::from_secs(60));
            }
            progress.resume();
            assert_eq!(progress.doubt().is_some(), halts);
            let position = progress.position();
            assert_eq!(
                position,
                match halts {
                    true => Position::AtSequenceNumber(12.into()),
                    false => Position::AfterSequenceNumber(12.into()),
                }
            );
        }
    }

    /// The numbers of its receipts are those of others by now.
    #[test]
    fn receipts_of_a_former_life_settle_nothing_of_this_one() {
        let progress = progress();
        let (old, first) = hand_out(&progress, 10..20);
        old.settle(first..first + 1, Outcome::Nacked);
        progress.resume();
        let (_new, _) = hand_out(&progress, 10..20);
        old.settle(first + 1..first + 5, Outcome::Acked);
        old.settle(first + 5..first + 10, Outcome::Nacked);
        let snapshot = progress.snapshot();
        assert_eq!((snapshot.in_flight, snapshot.figures.acked), (10, 0));
        assert_eq!(progress.nacked(), 0);
        // Nor do those from before a seek.
        progress.seek(PinnedPosition::TrimHorizon);
        let (new, first) = hand_out(&progress, 10..20);
        old.settle(first..first + 10, Outcome::Acked);
        assert_eq!(progress.checkpoint(), None);
        new.settle(first..first + 1, Outcome::Acked);
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(10.into())));
    }

    /// What is stored late says nothing of what has been handed out since.
    #[test]
    fn what_was_offered_by_a_former_life_is_not_this_ones() {
        let progress = progress();
        let (book, first) = hand_out(&progress, 10..20);
        book.settle(first..first + 9, Outcome::Acked);
        let (checkpoint, offer) = progress.offer_checkpoint().unwrap();
        assert_eq!(progress.unsaved(), 10);
        progress.seek(PinnedPosition::TrimHorizon);
        let (book, first) = hand_out(&progress, 1..4);
        progress.note_saved(offer, checkpoint);
        assert_eq!(progress.unsaved(), 3, "none of these is stored");
        book.settle(first..first + 1, Outcome::Acked);
        let (checkpoint, offer) = progress.offer_checkpoint().unwrap();
        assert_eq!(checkpoint, Checkpoint::after(1.into()));
        assert!(offer.is_sought, "the stored one is to go back");
        progress.note_saved(offer, checkpoint);
        assert_eq!(progress.unsaved(), 2);
        assert!(!progress.offer_checkpoint().unwrap().1.is_sought);
    }

    /// Nor is what was found or stored before of any use after it.
    #[test]
    fn a_new_life_knows_no_tip_and_has_nothing_stored() {
        let progress = progress();
        let (book, first) = hand_out(&progress, 10..20);
        progress.came_to_tip(progress.asked());
        book.settle(first..first + 9, Outcome::Acked);
        let (checkpoint, offer) = progress.offer_checkpoint().unwrap();
        progress.note_saved(offer, checkpoint);
        assert_eq!(progress.unsaved(), 1);
        book.settle(first + 9..first + 10, Outcome::Nacked);
        progress.resume();
        let (book, first) = hand_out(&progress, 19..39);
        assert_eq!(progress.unsaved(), 20);
        book.settle(first..first + 20, Outcome::Acked);
        assert!(!progress.is_at_rest(), "the tip has yet to be found");
        progress.found_tip(None, progress.asked());
        assert!(progress.is_at_rest());
    }

    #[test]
    fn a_read_from_before_a_question_does_not_answer_it() {
        let progress = progress();
        let before = progress.asked();
        progress.await_tip();
        progress.found_tip(None, before);
        assert!(!progress.is_at_rest());
        progress.found_tip(None, progress.asked());
        assert!(progress.is_at_rest());
    }

    /// It came before the moment at which there was nothing more, and may be lost yet.
    #[test]
    fn a_shard_is_not_quiet_while_records_are_open() {
        let progress = progress();
        let hour = |hours| Timestamp::from_millis(0).plus(Duration::from_secs(3_600) * hours);
        let (book, first) = hand_out(&progress, 10..15);
        book.settle(first..first + 2, Outcome::Acked);
        for hours in [0, 2] {
            progress.found_tip(Some(hour(hours)), progress.asked());
        }
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(11.into())));
        book.settle(first + 2..first + 5, Outcome::Acked);
        let quiet = Checkpoint::Quiet {
            sequence_number: 14.into(),
            until: hour(2).minus(CLOCK_SLACK),
        };
        assert_eq!(progress.checkpoint(), Some(quiet));
        let _open = hand_out(&progress, 15..16);
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(14.into())));
    }

    /// Its start is quiet until something comes, and is not stored anew after a seek.
    #[test]
    fn a_shard_that_nothing_has_come_to_says_so() {
        let hour = |hours| Timestamp::from_millis(0).plus(Duration::from_secs(3_600) * hours);
        let from = PinnedPosition::AtTimestamp(hour(1));
        let (since, none) = (Some(hour(1)), None);
        let progress =
            Progress::beginning("s".into(), from.clone().into(), since, none, Arc::default());
        assert_eq!(progress.checkpoint(), None);
        for hours in [2, 4] {
            progress.found_tip(Some(hour(hours)), progress.asked());
        }
        let quiet = Checkpoint::QuietStart {
            position: from.clone(),
            until: hour(4).minus(CLOCK_SLACK),
        };
        assert_eq!(progress.checkpoint(), Some(quiet));
        assert!(!progress.begins_too_late(|| hour(27)));
        assert!(progress.begins_too_late(|| hour(28)));
        let (_open, _) = hand_out(&progress, 10..11);
        assert_eq!(progress.checkpoint(), None);
        assert!(
            !progress.begins_too_late(|| hour(28)),
            "there is a record to look for"
        );
        progress.seek(from);
        for hours in [5, 7] {
            progress.found_tip(Some(hour(hours)), progress.asked());
        }
        assert_eq!(progress.checkpoint(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_seek_lets_go_who_waits_for_what_was_handed_out() {
        let progress = progress();
        let (_book, _) = hand_out(&progress, 10..12);
        let waiting = {
            let progress = Arc::clone(&progress);
            tokio::spawn(async move { progress.settled().await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        progress.seek(PinnedPosition::TrimHorizon);
        let hour = Duration::from_secs(3_600);
        let waited = tokio::time::timeout(hour, waiting).await;
        waited.expect("it is let go").unwrap();
    }

    #[test]
    fn a_nack_right_after_a_seek_goes_back_to_where_that_was_to() {
        let progress = progress();
        let there = PinnedPosition::AfterSequenceNumber(99.into());
        progress.seek(there.clone());
        let (book, first) = hand_out(&progress, 100..102);
        book.settle(first..first + 1, Outcome::Nacked);
        progress.resume();
        assert_eq!(progress.next(), there);
    }

    #[test]
    fn without_a_nack_the_next_life_goes_on_after_what_was_read() {
        let progress = progress();
        let (book, first) = hand_out(&progress, 10..12);
        progress.resume();
        assert_eq!(
            progress.next(),
            PinnedPosition::AfterSequenceNumber(11.into())
        );
        book.settle(first..first + 2, Outcome::Acked);
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(11.into())));
    }

    #[test]
    fn what_is_passed_is_done_once_all_before_it_is() {
        let progress = progress();
        progress.pass(Mark::whole(9.into()));
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(9.into())));
        let (book, first) = hand_out(&progress, 10..12);
        progress.pass(Mark::whole(12.into()));
        progress.pass(Mark::whole(13.into()));
        assert_eq!(
            progress.next(),
            PinnedPosition::AfterSequenceNumber(13.into())
        );
        book.settle(first..first + 1, Outcome::Acked);
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(10.into())));
        book.settle(first + 1..first + 2, Outcome::Acked);
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(13.into())));
    }

    #[test]
    fn what_is_passed_does_not_take_back_what_is_handed_out_after_it() {
        let progress = progress();
        let (book, first) = hand_out(&progress, 10..11);
        progress.pass(Mark::whole(11.into()));
        let (_, second) = hand_out(&progress, 12..13);
        book.settle(first..second + 1, Outcome::Acked);
        assert_eq!(progress.checkpoint(), Some(Checkpoint::after(12.into())));
    }
}
