use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock, atomic::AtomicUsize},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use crate::{
    crew::Task,
    failure::Failure,
    host::{self, Allowance},
    meter::Meter,
    panic::dispose,
    runtime::Runtime,
    sampler::Sampler,
    slot::Slot,
    stand_in::StandIn,
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU8, AtomicU32,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
};

/// Where a stage's future waits until it is woken. Whoever takes it out polls it, and nobody else.
///
/// So a stage that is woken by another can go on in the task that has woken it: see [`host`].
pub(crate) struct Seat {
    pub(crate) meter: Meter,
    number: usize,
    body: Slot<Body>,
    /// What whoever has it out is to know: [`WOKEN`], [`CANCELLED`], [`WITHOUT_TASK`].
    notes: AtomicU8,
    haste: AtomicU8,
    /// How many more turns have to be short until it is trusted again. Only whoever has it out changes that.
    to_be_trusted: AtomicU32,
    /// How often it has blocked its thread.
    blocks: AtomicU32,
    /// The task that it was given, known once that has begun.
    home: OnceLock<Home>,
    is_over: AtomicBool,
    outcome: Mutex<Option<Outcome>>,
}

/// What is polled of a stage.
pub(crate) struct Body {
    seat: Arc<Seat>,
    waker: Waker,
    sampler: Sampler,
    task: Task,
}

/// The task that a stage was given, to which it returns from everywhere.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) waker: Waker,
    pub(crate) runtime: Runtime,
    /// Where there are other threads, which a turn in it may keep waiting.
    stand_in: Option<StandIn>,
    pub(crate) allowance: Allowance,
}

/// How a stage's future has ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done(Result<(), Failure>),
    Panicked(Box<dyn Any + Send>),
    /// It was dropped where it stood.
    Cancelled,
}

/// The same: how it has ended, if not well.
pub(crate) type Ended = Result<(), Box<Outcome>>;

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Self {
        ended.map_or_else(|outcome| *outcome, |()| Self::Done(Ok(())))
    }
}

/// The stage is to be polled by whoever has it out, or else by its own task.
const WOKEN: u8 = 1;
/// It is to be dropped where it stands.
const CANCELLED: u8 = 2;
/// It has not ended, and its task has gone.
const WITHOUT_TASK: u8 = 4;

/// Whether the stage's turns are short enough for others to wait for them.
const QUICK: u8 = 0;
/// They are not, or that is not known yet.
const SLOW: u8 = 1;
/// One has blocked its thread for so long that others had to be taken out: it is not trusted for long.
const BLOCKING: u8 = 2;

/// It is trusted again once so many turns that were measured were short, and twice as many each time.
const TO_BE_TRUSTED: u32 = 64;

/// That is doubled so often.
const MOST_DOUBLED: u32 = 10;

/// How many were made in this process.
static SEATS: AtomicUsize = AtomicUsize::new(0);

impl Seat {
    /// For the stage of this name, which is to [sit down](Self::sit_down).
    pub(crate) fn new(stage: &Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            meter: Meter::new(stage),
            number: SEATS.fetch_add(1, Relaxed),
            body: Slot::default(),
            // To begin with.
            notes: AtomicU8::new(WOKEN),
            haste: AtomicU8::new(SLOW),
            to_be_trusted: AtomicU32::new(0),
            blocks: AtomicU32::new(0),
            home: OnceLock::new(),
            is_over: AtomicBool::new(false),
            outcome: Mutex::new(None),
        })
    }

    /// What the stage does from now on, once it is woken.
    pub(crate) fn sit_down(self: &Arc<Self>, task: Task) {
        let body = Body {
            seat: Arc::clone(self),
            waker: Waker::from(Arc::clone(self)),
            sampler: Sampler::default(),
            task,
        };
        self.body.put(Box::new(body));
    }

    /// The name of the stage.
    pub(crate) fn stage(&self) -> &Arc<str> {
        &self.meter.stage
    }

    /// A stage's task, which is counted each time that it is polled if somebody wants to know.
    #[cfg(not(feature = "testkit"))]
    pub(crate) fn watch<F: Future>(self: Arc<Self>, task: F) -> F {
        drop(self);
        task
    }

    /// A stage's task, which is counted each time that it is polled.
    #[cfg(feature = "testkit")]
    pub(crate) async fn watch<F: Future>(self: Arc<Self>, task: F) -> F::Output {
        let mut task = std::pin::pin!(task);
        let counted = std::future::poll_fn(|cx| {
            self.meter.polled();
            task.as_mut().poll(cx)
        });
        counted.await
    }

    /// Seats that are made one after the other have numbers that follow each other.
    #[inline]
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// The stage has come to the task that it was given.
    pub(crate) fn come_home(self: &Arc<Self>, waker: &Waker) -> &Home {
        self.home.get_or_init(|| {
            let runtime = Runtime::current();
            if !runtime.has_other_threads() {
                // Nobody else could go on meanwhile anyway.
                self.haste.store(QUICK, Relaxed);
            }
            Home {
                waker: waker.clone(),
                runtime,
                stand_in: runtime.has_other_threads().then(|| StandIn::new(self)),
                allowance: Allowance::new(),
            }
        })
    }

    /// The task that it was given, if it has come there.
    pub(crate) fn home(&self) -> Option<&Home> {
        self.home.get()
    }

    /// The stage's own task does not come to poll it. Until it [does](Self::let_home), others stand in.
    pub(crate) fn keep_from_home(&self) {
        if let Some(stand_in) = self.stand_in() {
            stand_in.begin();
        }
    }

    /// The stage's own task comes to poll it.
    pub(crate) fn let_home(&self) {
        if let Some(stand_in) = self.stand_in() {
            stand_in.end();
        }
    }

    /// Who stands in, on a runtime with other threads.
    pub(crate) fn stand_in(&self) -> Option<&StandIn> {
        self.home.get()?.stand_in.as_ref()
    }

    /// Takes the stage out if it is to be polled, or dropped, by whoever looks at it now.
    #[inline]
    pub(crate) fn take_if_noted(&self) -> Option<Box<Body>> {
        match self.notes.load(Acquire) {
            0 => None,
            _ => self.body.take(),
        }
    }

    /// Takes the stage out to poll it, since it was woken. If it is out, it will be polled once more.
    #[inline]
    pub(crate) fn take(&self) -> Option<Box<Body>> {
        self.body.take().or_else(|| {
            // Either this is seen by whoever puts it back, or it is back by now.
            self.notes.fetch_or(WOKEN, AcqRel);
            self.body.take()
        })
    }

    /// Puts the stage back. If it was woken meanwhile, it comes out again.
    #[inline]
    pub(crate) fn put_back(&self, body: Box<Body>) -> Option<Box<Body>> {
        self.body.put(body);
        self.take_if_noted()
    }

    /// Puts the stage back, for its own task to take.
    pub(crate) fn send_home(&self, body: Box<Body>) {
        let mut body = body;
        while let Some(again) = self.put_back(body) {
            if self.read_notes() {
                return again.end(Outcome::Cancelled);
            }
            body = again;
        }
        self.wake_at_home();
    }

    /// Puts the stage back for its own task to take, from a thread that is not to drop it. If it is to be dropped,
    /// another task does that: its own may have gone, or not come to it.
    pub(crate) fn hand_home(&self, body: Box<Body>) {
        self.body.put(body);
        // Whoever cancels it later drops it, or has it dropped.
        if self.wake_at_home() & CANCELLED != 0
            && let Some(stand_in) = self.stand_in()
        {
            stand_in.send();
        }
    }

    /// Whether the stage, which is out, is to be dropped. What it was woken for is seen from here on.
    #[inline]
    fn read_notes(&self) -> bool {
        self.notes.load(Relaxed) != 0 && self.notes.fetch_and(!WOKEN, AcqRel) & CANCELLED != 0
    }

    /// Has its own task poll the stage, unless somebody has it out who does so. Returns what was noted before.
    fn wake_at_home(&self) -> u8 {
        let notes = self.notes.fetch_or(WOKEN, AcqRel);
        self.call_home();
        notes
    }

    /// Has its own task look at it.
    fn call_home(&self) {
        if let Some(home) = self.home.get() {
            home.waker.wake_by_ref();
            if let Some(stand_in) = &home.stand_in {
                stand_in.call();
            }
        }
    }

    /// Whether the stage is of this runtime, and its turns are short.
    #[inline]
    pub(crate) fn is_quick_in(&self, runtime: Runtime) -> bool {
        let home = self.home.get();
        !self.is_slow() && home.is_some_and(|home| home.runtime == runtime)
    }

    /// Whether others must not wait for the stage's turns.
    #[inline]
    pub(crate) fn is_slow(&self) -> bool {
        self.haste.load(Relaxed) != QUICK
    }

    /// A turn of the stage has lasted for so long that others had to be taken out, if there were any.
    pub(crate) fn has_lasted(&self, has_blocked_others: bool) {
        if !has_blocked_others {
            return self.note_turn(true);
        }
        let blocks = self.blocks.load(Relaxed);
        self.blocks.store(blocks + 1, Relaxed);
        let to_be_trusted = TO_BE_TRUSTED << blocks.min(MOST_DOUBLED);
        self.to_be_trusted.store(to_be_trusted, Relaxed);
        self.haste.store(BLOCKING, Relaxed);
    }

    /// Has the stage dropped where it stands. Its task ends once that is done.
    pub(crate) fn cancel(&self) {
        self.notes.fetch_or(CANCELLED, AcqRel);
        self.call_home();
    }

    /// Drops the stage where it stands, at once if it is not at work just now: its task has gone.
    pub(crate) fn abandon(&self) {
        self.notes.fetch_or(CANCELLED | WITHOUT_TASK, AcqRel);
        drop(self.body.take());
    }

    /// Whether its task has gone before the stage has ended.
    pub(crate) fn is_without_task(&self) -> bool {
        self.notes.load(Acquire) & WITHOUT_TASK != 0
    }

    /// Whether the stage has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Acquire)
    }

    /// How the stage that is over has ended, for the first who asks.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.take()
    }

    pub(crate) fn end(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.is_over.store(true, Release);
        self.call_home();
    }

    fn note_turn(&self, is_long: bool) {
        if self.haste.load(Relaxed) == BLOCKING {
            let left = self.to_be_trusted.load(Relaxed);
            if is_long || left > 1 {
                let left = if is_long { left } else { left - 1 };
                return self.to_be_trusted.store(left, Relaxed);
            }
        }
        let haste = if is_long { SLOW } else { QUICK };
        self.haste.store(haste, Relaxed);
    }
}

impl Wake for Seat {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    #[inline]
    fn wake_by_ref(self: &Arc<Self>) {
        if !host::invite(self) {
            self.wake_at_home();
        }
    }
}

impl Body {
    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    pub(crate) fn go_home(self: Box<Self>) {
        let seat = Arc::clone(&self.seat);
        seat.send_home(self);
    }

    /// The same, from a thread that is not to drop it.
    pub(crate) fn be_handed_home(self: Box<Self>) {
        let seat = Arc::clone(&self.seat);
        seat.hand_home(self);
    }

    /// A turn begins. When, if it is to be measured.
    #[inline]
    pub(crate) fn start(&mut self) -> Option<Instant> {
        self.sampler.start()
    }

    /// The turn that was measured is over.
    pub(crate) fn stop(&mut self, took: Duration) {
        self.seat.note_turn(self.sampler.is_long(took));
    }

    /// Polls the stage; ready as well if it is to be dropped where it stands. What it returns, each turn
    /// but the last for nothing, is small enough for registers.
    #[inline]
    pub(crate) fn poll(&mut self) -> Poll<Ended> {
        if self.seat.read_notes() {
            return Poll::Ready(Err(Box::new(Outcome::Cancelled)));
        }
        let cx = &mut Context::from_waker(&self.waker);
        let polled = self.task.as_mut().poll(cx);
        polled.map_err(|failure| Box::new(Outcome::Done(Err(failure))))
    }

    /// Drops the stage before it is said that it has ended.
    #[cold]
    pub(crate) fn end(self: Box<Self>, outcome: Outcome) {
        let seat = Arc::clone(&self.seat);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(self)));
        seat.end(match (dropped, outcome) {
            (Err(panic), Outcome::Done(Ok(()))) => Outcome::Panicked(panic),
            (Err(panic), outcome) => {
                dispose(panic);
                outcome
            }
            (Ok(()), outcome) => outcome,
        });
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("stage", self.stage())
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::future::pending;

    use super::*;

    #[test]
    fn who_has_blocked_is_trusted_again_after_many_short_turns_and_twice_as_many_each_time() {
        let seat = Seat::new(&"blocks".into());
        seat.sit_down(Box::pin(pending()));
        let mut body = seat.take().expect("it is there");
        body.stop(Duration::ZERO);
        assert!(!seat.is_slow());
        for turns in [TO_BE_TRUSTED, 2 * TO_BE_TRUSTED, 4 * TO_BE_TRUSTED] {
            seat.has_lasted(true);
            for _ in 1..turns {
                body.stop(Duration::ZERO);
                assert!(seat.is_slow());
                body.stop(Duration::from_secs(1));
            }
            body.stop(Duration::ZERO);
            assert!(!seat.is_slow(), "after {turns}");
        }
    }
}
