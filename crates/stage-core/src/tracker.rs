use std::{fmt, ops::Range, sync::Arc};

use tokio::sync::Notify;

use crate::{
    Acknowledge, Batch, Outcome,
    protocol::{Generation, Refusals, Tracking},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What a source knows about the events it has handed out: how far everything is done, what is on
/// its way, and whether something was nacked. Clones are the same tracker, so that `make` of
/// [`restarting`](crate::restarting) can give it to each life of the source.
///
/// `P` is a position in the source: an offset, a sequence number, a line. Everything up to and with
/// [`done`](Self::done) has been acked, and that is what may be stored. A report that is not to be
/// believed, such as one of an earlier [`Generation`], is counted and changes nothing: see
/// [`Tracking`], which decides.
///
/// ```
/// use stage_core::{Batch, Demand, Flow, Producer, Resume, Tracker};
/// use std::convert::Infallible;
///
/// /// Counts, and goes back to what was nacked when it is made anew.
/// struct Numbers { next: u64, tracker: Tracker<u64> }
///
/// impl Numbers {
///     /// To be called when `next` was the next number that the last life would have made.
///     fn resume(next: u64, tracker: Tracker<u64>) -> Self {
///         let next = match tracker.resume() {
///             Resume::Onward => next,
///             Resume::Back(done) => done.map_or(0, |done| done + 1),
///         };
///         Self { next, tracker }
///     }
/// }
///
/// impl Producer for Numbers {
///     type Event = u64;
///     type Error = Infallible;
///
///     async fn produce(&mut self, demand: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
///         let numbers = self.next..self.next + demand.get() as u64;
///         self.next = numbers.end;
///         batch.extend(numbers.clone());
///         self.tracker.track(batch, numbers);
///         Ok(Flow::More)
///     }
///
///     async fn finish(&mut self) -> Result<(), Infallible> {
///         self.tracker.settled().await;
///         println!("done up to {:?}", self.tracker.done());
///         Ok(())
///     }
/// }
/// ```
pub struct Tracker<P>(Arc<Shared<P>>);

/// Where a source goes on in its next life. See [`Tracker::resume`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Resume<P> {
    /// After what was handed out last. What is on its way still counts.
    Onward,
    /// After this position, or at the beginning: something behind it was nacked. What was handed
    /// out before counts no more.
    Back(Option<P>),
}

struct Shared<P> {
    tracking: Mutex<Tracking<P>>,
    /// Rung when nothing is on its way any more.
    settled: Notify,
    /// Called at each report.
    on_report: Option<Box<dyn Fn() + Send + Sync>>,
}

/// Whom the receipts of one generation report to.
struct Reports<P> {
    shared: Arc<Shared<P>>,
    generation: Generation,
}

impl<P: Send + 'static> Tracker<P> {
    /// A tracker in its first generation, with nothing handed out.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// The same, calling `on_report` whenever a report has changed something. It is called from
    /// whatever stage reports: do little, and do not block.
    pub fn reporting(on_report: impl Fn() + Send + Sync + 'static) -> Self {
        Self::with(Some(Box::new(on_report)))
    }

    fn with(on_report: Option<Box<dyn Fn() + Send + Sync>>) -> Self {
        Self(Arc::new(Shared {
            tracking: Mutex::new(Tracking::new()),
            settled: Notify::new(),
            on_report,
        }))
    }

    /// Tracks the events of `batch` that are not tracked yet. `positions` are theirs, in order.
    ///
    /// # Panics
    ///
    /// If there are fewer positions than events, or more: then neither would a report be about the
    /// event that it is meant for.
    pub fn track<E>(&self, batch: &mut Batch<E>, positions: impl IntoIterator<Item = P>) {
        let positions: Vec<P> = positions.into_iter().collect();
        assert_eq!(
            positions.len(),
            batch.untracked(),
            "each event that is not tracked yet needs a position"
        );
        let (reports, numbers) = self.hand_out(positions);
        batch.track(reports, numbers.start);
    }

    /// Takes note that these positions are handed out, in order. Returns whom to tell what becomes
    /// of them, and by which numbers: for [`Batch::track`].
    pub fn hand_out(
        &self,
        positions: impl IntoIterator<Item = P>,
    ) -> (Arc<dyn Acknowledge>, Range<u64>) {
        // Not under the lock: it is somebody else's code.
        let positions: Vec<P> = positions.into_iter().collect();
        let mut tracking = self.0.lock();
        let first = tracking.next();
        for position in positions {
            tracking.issue(position);
        }
        let numbers = first..tracking.next();
        let reports = Reports {
            shared: Arc::clone(&self.0),
            generation: tracking.generation(),
        };
        (Arc::new(reports), numbers)
    }

    /// How many positions are not settled.
    pub fn in_flight(&self) -> u64 {
        self.0.lock().in_flight()
    }

    /// How many positions of the present generation were nacked. If any were, the mark cannot move
    /// past the first until they are handed out again: [`resume`](Self::resume).
    pub fn nacked(&self) -> u64 {
        self.0.lock().nacked()
    }

    /// How many reports were refused, position by position.
    pub fn refused(&self) -> Refusals {
        self.0.lock().refused()
    }

    /// The present generation.
    pub fn generation(&self) -> Generation {
        self.0.lock().generation()
    }

    /// Waits until nothing is on its way: everything that was handed out is acked or nacked.
    ///
    /// Cancel safe.
    pub async fn settled(&self) {
        loop {
            let settled = self.0.settled.notified();
            if self.in_flight() == 0 {
                return;
            }
            settled.await;
        }
    }
}

impl<P: Clone + Send + 'static> Tracker<P> {
    /// The last position up to which everything is acked.
    pub fn done(&self) -> Option<P> {
        self.0.lock().done().cloned()
    }

    /// Begins another life of the source, and says where.
    pub fn resume(&self) -> Resume<P> {
        let mut tracking = self.0.lock();
        let resume = match tracking.resume() {
            None => Resume::Onward,
            Some(_) => Resume::Back(tracking.done().cloned()),
        };
        drop(tracking);
        self.0.ring_if_settled();
        resume
    }

    /// Begins a new generation, whether something was nacked or not. Returns the position after
    /// which to go on: what is on its way counts no more, and has to be handed out again.
    pub fn restart(&self) -> Option<P> {
        let mut tracking = self.0.lock();
        tracking.restart();
        let done = tracking.done().cloned();
        drop(tracking);
        self.0.ring_if_settled();
        done
    }
}

impl<P> Shared<P> {
    fn lock(&self) -> MutexGuard<'_, Tracking<P>> {
        self.tracking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_if_settled(&self) {
        if self.lock().in_flight() == 0 {
            self.settled.notify_waiters();
        }
    }
}

impl<P: Send + 'static> Acknowledge for Reports<P> {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        let settled = self.shared.lock().settle(self.generation, numbers, outcome);
        // A refused one has been counted.
        let Ok(settled) = settled else { return };
        if settled.at_rest {
            self.shared.settled.notify_waiters();
        }
        if let Some(on_report) = &self.shared.on_report {
            on_report();
        }
    }
}

impl<P: Send + 'static> Default for Tracker<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> Clone for Tracker<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P> fmt::Debug for Tracker<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tracking = self.0.lock();
        f.debug_struct("Tracker")
            .field("generation", &tracking.generation())
            .field("in_flight", &tracking.in_flight())
            .field("nacked", &tracking.nacked())
            .field("refused", &tracking.refused())
            .finish_non_exhaustive()
    }
}
