use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    CheckpointError, SourceEvent, StreamSummary, Timestamp, Waiting, WaitingFor,
    outage::Outage,
    reporter::Reporter,
    source_event::sentence,
    supervision::Supervision,
    unread::{LEAST_RETENTION, MARGIN},
};

/// What is told about a source as a whole, and what all of its shards know of it.
#[derive(Debug)]
pub(crate) struct SourceWatch {
    reporter: Reporter,
    supervision: Mutex<Supervision>,
    /// Whether any shard was read at all, since this process began.
    was_read: AtomicBool,
    /// How long the stream keeps records, once that is known.
    retention: Mutex<Option<Duration>>,
    /// When all checkpoints were stored, or found to be.
    stored_at: Mutex<Option<Instant>>,
    /// Whether they can be stored.
    outage: Mutex<Outage>,
}

impl SourceWatch {
    pub(crate) fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            supervision: Mutex::new(Supervision::new(Instant::now())),
            was_read: AtomicBool::new(false),
            retention: Mutex::default(),
            stored_at: Mutex::default(),
            outage: Mutex::default(),
        }
    }

    /// A watch over a reader without a source.
    pub(crate) fn alone() -> Self {
        Self::new(Reporter::alone())
    }

    pub(crate) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// The source waits for that, at most for so long if that is known.
    pub(crate) fn waits_for(&self, waiting_for: WaitingFor, within: impl Into<Option<Duration>>) {
        let within = within.into();
        let mut supervision = lock(&self.supervision);
        if let Some(Waiting {
            waiting_for, since, ..
        }) = supervision.enter(waiting_for, within, Instant::now())
        {
            let news = self.reporter.note([SourceEvent::SourceUnstuck {
                waiting_for,
                after: since,
            }]);
            drop(supervision);
            self.reporter.tell(news);
        }
    }

    /// Tells whether the source is stuck, if that is news.
    pub(crate) fn check(&self, now: Instant) {
        let mut supervision = lock(&self.supervision);
        if let Some(Waiting {
            waiting_for, since, ..
        }) = supervision.check(now)
        {
            let stuck = SourceEvent::SourceStuck { waiting_for, since };
            let news = self.reporter.note([stuck]);
            drop(supervision);
            self.reporter.tell(news);
        }
    }

    /// What the source waits for.
    pub(crate) fn look(&self, now: Instant) -> Waiting {
        lock(&self.supervision).look(now)
    }

    /// How long the stream keeps records, by what it says of itself now.
    pub(crate) fn note_retention(&self, summary: &StreamSummary) {
        let retention = Duration::from_secs(3_600 * u64::from(summary.retention_hours));
        *lock(&self.retention) = Some(retention);
    }

    pub(crate) fn retention(&self) -> Option<Duration> {
        *lock(&self.retention)
    }

    /// The same, or how long it is at least.
    pub(crate) fn least_retention(&self) -> Duration {
        self.retention().unwrap_or(LEAST_RETENTION)
    }

    /// What has come since then is kept at that moment, if clocks do not differ by much.
    pub(crate) fn kept_since(&self, at: Timestamp) -> Timestamp {
        at.minus(self.least_retention().saturating_sub(MARGIN))
    }

    /// All checkpoints are stored.
    pub(crate) fn note_stored(&self) {
        let now = Instant::now();
        *lock(&self.stored_at) = Some(now);
        let over = lock(&self.outage).succeeded(now);
        if let Some(failures) = over {
            let failures = u32::try_from(failures).unwrap_or(u32::MAX);
            self.reporter
                .report(SourceEvent::CheckpointsRecovered { failures });
        }
    }

    /// Checkpoints could not be stored.
    pub(crate) fn note_unstored(&self, error: &CheckpointError) {
        if lock(&self.outage).failed(Instant::now()) {
            let reason = sentence(error);
            self.reporter
                .report(SourceEvent::CheckpointsFailing { reason });
        }
    }

    /// How long ago that was.
    pub(crate) fn checkpoint_age(&self, now: Instant) -> Option<Duration> {
        let stored_at = *lock(&self.stored_at);
        stored_at.map(|stored_at| now.saturating_duration_since(stored_at))
    }

    /// A shard was read.
    pub(crate) fn note_read(&self) {
        self.was_read.store(true, Ordering::Relaxed);
    }

    pub(crate) fn was_read(&self) -> bool {
        self.was_read.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
