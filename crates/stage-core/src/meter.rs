use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use tokio::time::Instant;

use crate::{crew::Crew, host, seat::Seat};

/// What a stage has done so far, for those who look on.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) stage: Arc<str>,
    handled: AtomicU64,
    /// Handled as well, beside the stage's task.
    handled_beside: AtomicU64,
    nacked: AtomicU64,
    abandoned: AtomicU64,
    dropped: AtomicU64,
    restarts: AtomicU64,
    /// Events that wait for a taker.
    backlog: AtomicU64,
    /// Events that are asked for and that the stage does not have.
    wanted: AtomicU64,
    /// What is lost from now on is lost because nobody waits for it any more.
    abandoning: AtomicBool,
    state: Mutex<(StageState, Instant)>,
    /// Whom to tell that the stage has failed, or ended.
    crew: OnceLock<Weak<Crew>>,
    /// How often its task was polled.
    #[cfg(feature = "testkit")]
    polls: AtomicU64,
}

/// What a stage is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StageState {
    /// It has not been started yet.
    Waiting,
    /// It takes events in, or makes them, as they are asked for.
    Running,
    /// It is held back by a handle.
    Held,
    /// It makes no more events, and hands out those that it has.
    Draining,
    /// Everything has been handed out or taken in, and it is finishing.
    Finishing,
}

impl Meter {
    pub(crate) fn new(stage: &Arc<str>) -> Self {
        Self {
            stage: Arc::clone(stage),
            handled: AtomicU64::new(0),
            handled_beside: AtomicU64::new(0),
            nacked: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            backlog: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            abandoning: AtomicBool::new(false),
            state: Mutex::new((StageState::Waiting, Instant::now())),
            crew: OnceLock::new(),
            #[cfg(feature = "testkit")]
            polls: AtomicU64::new(0),
        }
    }

    /// The stage is one of this pipeline's.
    pub(crate) fn belongs_to(&self, crew: &Arc<Crew>) {
        // It is run once.
        let _ = self.crew.set(Arc::downgrade(crew));
    }

    /// The stage has failed, whatever it has still to hand out: the pipeline is to stop.
    #[cold]
    pub(crate) fn raise_alarm(&self) {
        if let Some(crew) = self.crew.get().and_then(Weak::upgrade) {
            crew.stop();
        }
    }

    /// The stage has ended, which its own task cannot tell.
    #[cold]
    pub(crate) fn has_ended(&self, seat: &Arc<Seat>) {
        if let Some(crew) = self.crew.get().and_then(Weak::upgrade) {
            crew.note_end(seat);
        }
    }

    /// The stage's task is polled.
    #[cfg(feature = "testkit")]
    pub(crate) fn polled(&self) {
        self.polls.fetch_add(1, Relaxed);
    }

    /// How often the stage's task was polled.
    #[cfg(feature = "testkit")]
    pub(crate) fn polls(&self) -> u64 {
        self.polls.load(Relaxed)
    }

    pub(crate) fn enter(&self, state: StageState) {
        let mut current = lock(&self.state);
        if current.0 != state {
            *current = (state, Instant::now());
        }
    }

    /// What the stage does, and since when.
    pub(crate) fn state(&self) -> (StageState, Instant) {
        *lock(&self.state)
    }

    /// Events were taken in, or made. For the stage's task only.
    #[inline(always)]
    pub(crate) fn handled(&self, events: usize) {
        let before = self.handled.load(Relaxed);
        self.handled.store(before + events as u64, Relaxed);
        // Of fewer, a task's budget allows no more than are little work together.
        if events >= host::WORTH_NOTING {
            host::note_work(events);
        }
    }

    /// Events were dealt with that somebody had kept in hand. For anybody.
    pub(crate) fn handled_beside(&self, events: usize) {
        self.handled_beside.fetch_add(events as u64, Relaxed);
    }

    /// Events went astray with the stage.
    pub(crate) fn lost(&self, events: usize) {
        if events > 0 {
            let counter = match self.abandoning.load(Relaxed) {
                true => &self.abandoned,
                false => &self.nacked,
            };
            counter.fetch_add(events as u64, Relaxed);
        }
    }

    /// From now on, what is lost is abandoned.
    pub(crate) fn abandon(&self) {
        self.abandoning.store(true, Relaxed);
    }

    pub(crate) fn dropped(&self, events: usize) {
        self.dropped.fetch_add(events as u64, Relaxed);
    }

    #[inline]
    pub(crate) fn waiting(&self, backlog: usize, wanted: usize) {
        self.backlog.store(backlog as u64, Relaxed);
        self.wanted.store(wanted as u64, Relaxed);
    }

    /// Events that are asked for and that the stage does not have.
    pub(crate) fn wanted(&self) -> usize {
        usize::try_from(self.wanted.load(Relaxed)).unwrap_or(usize::MAX)
    }

    pub(crate) fn counts(&self) -> MeterCounts {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        MeterCounts {
            handled: read(&self.handled) + read(&self.handled_beside),
            nacked: read(&self.nacked),
            abandoned: read(&self.abandoned),
            dropped: read(&self.dropped),
            restarts: read(&self.restarts),
            backlog: read(&self.backlog),
            wanted: read(&self.wanted),
        }
    }
}

/// The counters of a meter at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeterCounts {
    pub(crate) handled: u64,
    pub(crate) nacked: u64,
    pub(crate) abandoned: u64,
    pub(crate) dropped: u64,
    pub(crate) restarts: u64,
    pub(crate) backlog: u64,
    pub(crate) wanted: u64,
}

/// A wrapper has made what it wraps anew. Outside of a stage there is nobody to tell.
pub(crate) fn note_restart() {
    if let Some(seat) = host::current() {
        seat.meter.restarts.fetch_add(1, Relaxed);
    }
}

/// A wrapper has dropped events, as it was told to. Outside of a stage there is nobody to tell.
pub(crate) fn note_dropped(events: usize) {
    if let Some(seat) = host::current() {
        seat.meter.dropped(events);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
