use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt, future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{select, sync::watch, time::Instant};

use crate::{
    BudgetLevel, ByteBudget, DataLoss, Explanation, NotCaughtUp, PinnedPosition, SeekError,
    ShardDrainReport, ShardExplanation, ShardId, SourceEvents, Totals, Waiting, WaitingFor,
    news::News,
    progress::{Phase, Progress, Snapshot},
    reporter::Untold,
    source_watch::SourceWatch,
};

/// Tells how a stream is being read, from outside its pipeline.
#[derive(Clone, Debug)]
pub struct StreamHandle {
    pub(crate) board: Arc<Board>,
    pub(crate) inquiries: Arc<Inquiries>,
    pub(crate) watch: Arc<SourceWatch>,
    pub(crate) budget: ByteBudget,
}

/// Questions whether everything has been read, and the last one that can be answered with yes.
#[derive(Debug)]
pub(crate) struct Inquiries {
    asked: AtomicU64,
    answered: watch::Sender<u64>,
    /// The last one that can be answered with no, not without these shards, which have stopped.
    left_out: watch::Sender<(u64, Vec<ShardId>)>,
    /// Wakes whoever answers.
    pub(crate) news: Arc<News>,
}

/// What is known of the shards of a stream that is being read.
#[derive(Default)]
pub(crate) struct Board {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reading: BTreeMap<ShardId, Arc<Progress>>,
    /// Since when each has.
    waiting: BTreeMap<ShardId, Instant>,
    /// The last losses of shards that are forgotten.
    losses: VecDeque<DataLoss>,
    /// What was counted of these.
    forgotten: Totals,
}

/// How many losses of forgotten shards are told.
const LOSSES: usize = 1_000;

/// How one shard is being read. Numbers count from the start of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardStatus {
    /// The shard.
    pub shard: ShardId,
    /// What it is doing.
    pub state: ShardState,
    /// GetRecords calls that were answered, or events that subscriptions sent.
    pub reads: u64,
    /// Records that were read.
    pub records_read: u64,
    /// Their size in bytes, keys and data.
    pub bytes_read: u64,
    /// Records that were acknowledged, each time that they were. User records, where records are taken
    /// apart.
    pub acked: u64,
    /// Records that were handed out and are not settled.
    pub in_flight: u64,
    /// How far the last answer was behind the shard's tip, in milliseconds.
    pub millis_behind_latest: Option<u64>,
    /// Calls that were refused because somebody exceeded the shard's throughput.
    pub throttled: u64,
    /// Calls that failed otherwise and were made again.
    pub retries: u64,
    /// Records that came although they had been read, and were dropped.
    pub repeated: u64,
    /// How often its reader was made anew.
    pub restarts: u64,
    /// Subscriptions that were made to it, by [fan-out](crate::FanOut): one about every five minutes,
    /// if all is well.
    pub subscriptions: u64,
    /// Subscriptions that were given up because they had fallen silent.
    pub silences: u64,
    /// Subscriptions that another subscriber of the same consumer has taken over, by all that is known.
    pub takeovers: u64,
    /// User records that were handed out, of [aggregated](crate::Deaggregation) records.
    pub user_records: u64,
    /// How many of these belong on other shards, by their hash keys.
    pub outside_range: u64,
    /// User records that were dropped, with all that were put together with them, because one
    /// belongs on another shard.
    pub dropped: u64,
    /// Records that were handed out as they are, because they begin as aggregated ones and are none.
    pub damaged: u64,
}

/// What a shard is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShardState {
    /// Its parents are not finished.
    WaitingForParents,
    /// It is being read.
    Reading,
    /// It is being read; the last answer was empty and at its tip.
    AtTip,
    /// It is closed and has been read; records are still on their way.
    Draining,
    /// It is closed, and all of it is acknowledged.
    Finished,
    /// It has been read as far as it [was to be](crate::StreamSource::until), and all of that is
    /// acknowledged.
    Complete,
    /// Its reader has ended before the shard did: as the pipeline was stopped, or as the
    /// [shard was](crate::SourceEvent::ShardStopped).
    Stopped,
}

impl StreamHandle {
    /// Every shard that is read, waits, or has been read, by name; not those that have been
    /// [forgotten](crate::SourceEvent::ShardForgotten).
    pub fn status(&self) -> Vec<ShardStatus> {
        self.board.status()
    }

    /// What each shard waits for, and for how long it has.
    ///
    /// That looks at every shard: a few milliseconds, where there are ten thousand.
    pub fn explain(&self) -> Explanation {
        let now = Instant::now();
        let (shards, totals) = self.board.explain(self.watch.retention(), now);
        Explanation {
            source: self.watch.reporter().name().to_owned(),
            waiting: self.watch.look(now),
            totals,
            budget: BudgetLevel::of(&self.budget),
            checkpoint_age: self.watch.checkpoint_age(now),
            shards,
        }
    }

    /// How far each shard came that was read, for when the pipeline has ended: in good order, or because
    /// the [time for draining](stage_core::Pipeline::drain_within) was up. What of its stages became is
    /// in the pipeline's own [report](stage_core::DrainReport).
    pub fn drain_report(&self) -> Vec<ShardDrainReport> {
        let state = self.board.lock();
        let reading = state.reading.values();
        reading.map(|progress| progress.drain_report()).collect()
    }

    /// What of the stream was lost before it was read, as far as it has been noticed. Empty, if all is
    /// well; and at most one for each shard that is read, its last. Of shards that are
    /// [forgotten](crate::SourceEvent::ShardForgotten), the last thousand.
    pub fn data_losses(&self) -> Vec<DataLoss> {
        self.board.data_losses()
    }

    /// What changes from now on, each change once. To have all of it, ask before the pipeline runs.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use kinesis_source::{SourceEvent, StreamHandle};
    /// # async fn watch(handle: StreamHandle) {
    /// let mut events = handle.events();
    /// while let Some(event) = events.next().await {
    ///     if let SourceEvent::DataLost { loss } = &event {
    ///         eprintln!("call somebody: {loss}");
    ///     }
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> SourceEvents {
        self.watch.reporter().events()
    }

    /// Has a shard that is being read go on from another place, before or after where it is, and waits
    /// until it does.
    ///
    /// That is when the shard would be read next: at once, if there is demand. Kinesis is asked first
    /// whether it has the place; if not, the shard is read on from where it was.
    ///
    /// If it is accepted and not kept, or not any more when the shard is read there, that is a
    /// [loss](crate::DataLoss): the shard stops, or goes on at what is kept, as
    /// [`on_data_loss`](crate::StreamSource::on_data_loss) says.
    ///
    /// What was handed out before and is still on its way is delivered, but its receipts do not count
    /// any more. The shard's checkpoint is how far it was acknowledged before, which is stored as ever, until
    /// the first record from the new place is acknowledged; then it is there, also if that is
    /// [further back](crate::CheckpointStore::rewind). So after a crash or a stop in between, the next process
    /// goes on where the shard was before the seek: what is to hold for it, too, is best sought there again.
    ///
    /// Other shards, the shard's children among them, are read as they were: going back over a split
    /// means to start another source.
    ///
    /// # Errors
    ///
    /// See [`SeekError`]. Nothing has changed then.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the shard is going to go on there, whether somebody waits for that or not.
    pub async fn seek(&self, shard: &ShardId, position: PinnedPosition) -> Result<(), SeekError> {
        let progress = self.board.find(shard)?;
        let replied = progress.request_seek(position);
        let not_read = || SeekError::NotRead {
            shard: shard.clone(),
        };
        if progress.has_ended() {
            drop(progress.take_seek());
            return Err(not_read());
        }
        replied.await.map_err(|_| not_read())?
    }

    /// Waits until there is nothing left to read for now: since this call, every shard was found at
    /// its tip or is finished, what it had by then is acknowledged, and no shard is left to open.
    /// A tip is found by an answer with records, or by two without any, a second apart: one alone may be empty
    /// although there are some. A shard of which nobody knows whether it still has what comes next is not
    /// there before that is settled: see [`DataLoss`](crate::DataLoss).
    ///
    /// What is put meanwhile may be read or not, so it ends also while the stream is written to. Never
    /// returns if the stream's source ends before, nor while a shard is
    /// [parked or stopped](crate::OnShardFailure): whoever waits for this in order to end is better off
    /// with [`try_caught_up`](Self::try_caught_up), or a pipeline that fails. Cancel safe.
    pub async fn caught_up(&self) {
        let number = self.inquiries.ask();
        let mut answered = self.inquiries.answered.subscribe();
        if answered
            .wait_for(|&answered| answered >= number)
            .await
            .is_err()
        {
            future::pending::<()>().await;
        }
    }

    /// Waits as [`caught_up`](Self::caught_up) does, but not for shards that have
    /// [stopped](crate::SourceEvent::ShardStopped): those do not go on in this process. One that is
    /// [parked](crate::SourceEvent::ShardParked) may go on at any time, and is waited for.
    ///
    /// Whoever stops the pipeline then has the same shards named by its end, as
    /// [`StreamError::ShardsStopped`](crate::StreamError::ShardsStopped).
    ///
    /// # Errors
    ///
    /// [`NotCaughtUp`] once all other shards are caught up, or wait for those.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn try_caught_up(&self) -> Result<(), NotCaughtUp> {
        let mut left_out = self.inquiries.left_out.subscribe();
        let number = self.inquiries.ask();
        let mut answered = self.inquiries.answered.subscribe();
        select! {
            biased;
            Ok(_) = answered.wait_for(|&answered| answered >= number) => Ok(()),
            Ok(last) = left_out.wait_for(|(answered, _)| *answered >= number) => {
                Err(NotCaughtUp { stopped: last.1.clone() })
            }
            // The source has ended.
            else => future::pending().await,
        }
    }
}

impl Inquiries {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            asked: AtomicU64::new(0),
            answered: watch::Sender::new(0),
            left_out: watch::Sender::new((0, Vec::new())),
            news: Arc::default(),
        })
    }

    fn ask(&self) -> u64 {
        let number = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.news.ring();
        number
    }

    /// The number of the last question, or of none.
    pub(crate) fn last(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether somebody may still wait for what is answered to this question.
    pub(crate) fn is_open(&self, number: u64) -> bool {
        *self.answered.borrow() < number
    }

    /// Answers this question and all before it.
    pub(crate) fn answer(&self, number: u64) {
        self.answered.send_if_modified(|answered| {
            let is_news = *answered < number;
            *answered = number.max(*answered);
            is_news
        });
    }
}

impl Inquiries {
    /// Answers this question and all before it with no: these shards have stopped.
    pub(crate) fn answer_without(&self, number: u64, stopped: Vec<ShardId>) {
        self.left_out.send_if_modified(|answered| {
            let is_news = answered.0 < number;
            if is_news {
                *answered = (number, stopped);
            }
            is_news
        });
    }
}

impl Board {
    pub(crate) fn add(&self, progress: Arc<Progress>) {
        let mut state = self.lock();
        state.waiting.remove(progress.shard());
        state.reading.insert(progress.shard().clone(), progress);
    }

    /// These are over, and are not told of any more.
    pub(crate) fn forget(&self, shards: &BTreeSet<ShardId>) {
        let mut state = self.lock();
        let over = |shard: &ShardId, _: &mut Arc<Progress>| shards.contains(shard);
        let over: Vec<_> = state.reading.extract_if(.., over).collect();
        let losses = over.iter().filter_map(|(_, progress)| progress.loss());
        state.losses.extend(losses);
        for (shard, progress) in &over {
            state.forgotten.add(&status(shard, &progress.snapshot()));
        }
        let too_many = state.losses.len().saturating_sub(LOSSES);
        state.losses.drain(..too_many);
    }

    pub(crate) fn set_waiting(&self, waiting: Vec<ShardId>) {
        let now = Instant::now();
        let mut state = self.lock();
        let before = std::mem::take(&mut state.waiting);
        let since = |shard: &ShardId| before.get(shard).copied().unwrap_or(now);
        let waiting = waiting.into_iter();
        state.waiting = waiting.map(|it| (it.clone(), since(&it))).collect();
    }

    fn status(&self) -> Vec<ShardStatus> {
        let state = self.lock();
        let reading = state.reading.values();
        let reading = reading.map(|progress| status(progress.shard(), &progress.snapshot()));
        let waiting = state.waiting.keys().map(waiting);
        reading.chain(waiting).collect()
    }

    /// How every shard is, and what was counted of all that there ever were.
    pub(crate) fn explain(
        &self,
        retention: Option<Duration>,
        now: Instant,
    ) -> (Vec<ShardExplanation>, Totals) {
        let state = self.lock();
        let reading = state.reading.values().map(|progress| {
            let status = status(progress.shard(), &progress.snapshot());
            let behind = progress.watch().behind(now);
            ShardExplanation::new(status, progress.look(now), behind, retention)
        });
        let waiting = state.waiting.iter().map(|(shard, &since)| {
            let waiting_for = Waiting {
                waiting_for: WaitingFor::Parents,
                since: now.saturating_duration_since(since),
                is_stuck: false,
            };
            ShardExplanation::new(waiting(shard), waiting_for, None, retention)
        });
        let shards: Vec<_> = reading.chain(waiting).collect();
        let mut totals = state.forgotten;
        for shard in &shards {
            totals.add(&shard.status);
        }
        (shards, totals)
    }

    /// What is to be told of the shards by now, under no lock. Each record in hand is to be settled within that time.
    pub(crate) fn check(&self, settle_within: Duration, now: Instant) -> Untold {
        let state = self.lock();
        let reading = state.reading.values();
        reading.fold(Untold::default(), |news, progress| {
            let watch = progress.watch();
            let of_reader = watch.check(progress.phase().into(), now);
            let of_receipts = progress.check_unsettled(settle_within, now);
            news.and(of_reader).and(watch.note(of_receipts))
        })
    }

    /// The shard, if it is being read.
    fn find(&self, shard: &ShardId) -> Result<Arc<Progress>, SeekError> {
        let state = self.lock();
        let (progress, shard) = (state.reading.get(shard), shard.clone());
        match progress {
            Some(progress) => Ok(Arc::clone(progress)),
            None if state.waiting.contains_key(&shard) => Err(SeekError::NotRead { shard }),
            None => Err(SeekError::NoSuchShard { shard }),
        }
    }

    fn data_losses(&self) -> Vec<DataLoss> {
        let state = self.lock();
        let reading = state.reading.values();
        let losses = reading.filter_map(|progress| progress.loss());
        state.losses.iter().cloned().chain(losses).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status(shard: &ShardId, snapshot: &Snapshot) -> ShardStatus {
    let figures = &snapshot.figures;
    ShardStatus {
        shard: shard.clone(),
        state: snapshot.phase.into(),
        reads: figures.reads,
        records_read: figures.records,
        bytes_read: figures.bytes,
        acked: figures.acked,
        in_flight: snapshot.in_flight,
        millis_behind_latest: figures.millis_behind_latest,
        throttled: figures.throttled,
        retries: figures.retries,
        repeated: figures.repeated,
        restarts: figures.restarts,
        subscriptions: figures.subscriptions,
        silences: figures.silences,
        takeovers: figures.takeovers,
        user_records: figures.findings.user_records,
        outside_range: figures.findings.outside_range,
        dropped: figures.findings.dropped,
        damaged: figures.findings.damaged,
    }
}

fn waiting(shard: &ShardId) -> ShardStatus {
    ShardStatus {
        shard: shard.clone(),
        state: ShardState::WaitingForParents,
        reads: 0,
        records_read: 0,
        bytes_read: 0,
        acked: 0,
        in_flight: 0,
        millis_behind_latest: None,
        throttled: 0,
        retries: 0,
        repeated: 0,
        restarts: 0,
        subscriptions: 0,
        silences: 0,
        takeovers: 0,
        user_records: 0,
        outside_range: 0,
        dropped: 0,
        damaged: 0,
    }
}

impl fmt::Display for ShardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WaitingForParents => "waits for its parents",
            Self::Reading => "reading",
            Self::AtTip => "at its tip",
            Self::Draining => "closed, draining",
            Self::Finished => "finished",
            Self::Complete => "complete",
            Self::Stopped => "stopped",
        })
    }
}

impl From<Phase> for ShardState {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Reading => Self::Reading,
            Phase::AtTip => Self::AtTip,
            Phase::Draining => Self::Draining,
            Phase::Finished => Self::Finished,
            Phase::Complete => Self::Complete,
            Phase::Stopped => Self::Stopped,
        }
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Board")
            .field("reading", &state.reading.len())
            .field("waiting", &state.waiting.len())
            .finish()
    }
}
