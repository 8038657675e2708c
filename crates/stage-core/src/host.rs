//! Stages that wake each other go on in one task.
//!
//! What a stage does for another is mostly to wake it: to hand a task over costs the runtime as much as
//! all else that happens to a small batch. So the task of a stage polls the stages that this has woken,
//! too, one after the other, and those that they wake. As long as their turns are short nobody waits for
//! another thread, and no other thread is woken for next to nothing.
//!
//! A stage whose turns are long is no guest, and takes none: it and whom it wakes have their own tasks,
//! on whatever threads there are. See [`Seat::is_slow`].

use std::{
    cell::Cell,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::task::yield_now;

use crate::{
    runtime::Runtime,
    sampler::now,
    seat::{Body, Ended, Home, Outcome, Seat},
};

mod allowance;
mod guests;

pub(crate) use allowance::Allowance;
use guests::Guests;

/// The stages that wait for a turn in this thread.
struct Host {
    /// The runtime of the task that takes guests just now, if one does.
    open: Cell<Option<Runtime>>,
    /// Which stage has its turn.
    current: Cell<Option<Arc<Seat>>>,
    /// By number, stages that had one since the task was polled: to count those who have a seat, up
    /// and down again, would cost a turn as much as all else that is done for it.
    recent: [Cell<Option<Arc<Seat>>>; RECENT],
    /// It has long turns.
    is_slow: Cell<bool>,
    /// How many events may still be made or taken in until others of the runtime have their turn. Each turn costs
    /// some, too.
    credit: Cell<usize>,
    /// When a turn was first measured since the task was polled.
    began: Cell<Option<Instant>>,
    /// That is too long ago.
    is_late: Cell<bool>,
    /// How many turns there were since the task was polled, where they are measured.
    turns: Cell<u32>,
    /// How often guests were put off.
    returns: Cell<u32>,
    guests: Guests,
}

/// How many stages wake each other in a small circle.
const RECENT: usize = 16;

/// What a turn costs besides, in events: after 128 turns, others of the runtime have theirs.
const TURN: usize = 62;

/// The same where turns are measured: after 1,000 turns it is seen whether they have taken long. So long at most.
const TURN_MEASURED: usize = 1;
const LONG_ENOUGH: Duration = Duration::from_micros(100);

/// Who has had so many turns in that time is better off in one thread: what they look at lies in its caches.
const MANY_TURNS: u32 = 100;

/// Of those for whom it took too long, so many stay in the task.
const STAY: usize = 32;

/// After so many events it is seen, where turns are measured, whether that took long, and if not, they go on.
const ENOUGH_MEASURED: usize = 1_000;

/// Guests come back so often before whoever yields has a turn: an eighth of tokio's own number.
const PAST: u32 = 8;

/// Fewer at a time need not be noted: whoever goes on with the next batch at once takes one of the 128
/// of the task's budget for it, and whoever waits for it has had a turn, which costs more.
pub(crate) const WORTH_NOTING: usize = 8;

#[cfg(not(shuttle))]
thread_local! {
    static HOST: Host = const { Host::new() };
}

#[cfg(shuttle)]
shuttle::thread_local! {
    static HOST: Host = Host::new();
}

/// Has the stage, which was woken, polled in this thread. Returns whether that can be.
#[inline]
pub(crate) fn invite(seat: &Seat) -> bool {
    HOST.try_with(|host| host.invite(seat)).unwrap_or(false)
}

/// Whose turn it is in this thread, if it is anybody's.
pub(crate) fn current() -> Option<Arc<Seat>> {
    let look = |host: &Host| {
        let current = host.current.take();
        host.current.set(current.clone());
        current
    };
    HOST.try_with(look).ok().flatten()
}

/// The stage that has its turn has made events, or taken them in.
#[inline]
pub(crate) fn note_work(events: usize) {
    // When the thread ends, nobody counts.
    let _ = HOST.try_with(|host| {
        host.credit.set(host.credit.get().saturating_sub(events));
    });
}

/// Polls a stage in its own task, and then those that wait and those that are woken by it. Those for
/// whom it is too much at once wait until the task is polled again, which is seen to. `seat` is the stage's whose
/// task it is, if it is one's own.
pub(crate) fn receive(
    home: &Home,
    seat: Option<&Arc<Seat>>,
    stage: Option<Box<Body>>,
    waiting: &mut VecDeque<Box<Body>>,
    cx: &mut Context<'_>,
) {
    HOST.with(|host| match host.open.get() {
        None => {
            if home.runtime.has_other_threads() {
                host.receive(home.runtime, ENOUGH_MEASURED, seat, stage, waiting);
            } else {
                host.receive_alone(home, seat, stage, waiting);
            }
            if !waiting.is_empty() {
                host.come_back(cx);
            }
        }
        Some(_) => {
            // A runtime in a stage: it does not meddle with the outer one's guests.
            let outer = (host.open.take(), host.current.take());
            let is_slow = host.is_slow.get();
            let mut at_work = stage;
            host.is_caught(&mut at_work, |it| host.give_turn(it, home.runtime));
            host.open.set(outer.0);
            host.current.set(outer.1);
            host.is_slow.set(is_slow);
            dismiss(waiting);
        }
    });
}

/// Has those who wait polled by their own tasks.
pub(crate) fn dismiss(waiting: &mut VecDeque<Box<Body>>) {
    for body in waiting.drain(..) {
        body.go_home();
    }
}

impl Host {
    const fn new() -> Self {
        Self {
            open: Cell::new(None),
            current: Cell::new(None),
            recent: [const { Cell::new(None) }; RECENT],
            is_slow: Cell::new(false),
            credit: Cell::new(0),
            began: Cell::new(None),
            is_late: Cell::new(false),
            turns: Cell::new(0),
            returns: Cell::new(0),
            guests: Guests::new(),
        }
    }

    #[inline(always)]
    fn invite(&self, seat: &Seat) -> bool {
        let Some(runtime) = self.open.get() else {
            return false;
        };
        let is_welcome =
            !self.is_slow.get() && seat.is_quick_in(runtime) && self.guests.have_room(runtime);
        if is_welcome && let Some(body) = seat.take() {
            self.guests.add(body, runtime);
        }
        is_welcome
    }

    /// On a runtime with one thread.
    fn receive_alone(
        &self,
        home: &Home,
        seat: Option<&Arc<Seat>>,
        stage: Option<Box<Body>>,
        waiting: &mut VecDeque<Box<Body>>,
    ) {
        let (start, enough) = (home.allowance.begin(), home.allowance.events());
        self.receive(home.runtime, enough, seat, stage, waiting);
        if let Some(start) = start {
            home.allowance
                .end(start.elapsed(), enough - self.credit.get());
        }
    }

    /// Until so many events were made or taken in, each turn costing some.
    fn receive(
        &self,
        runtime: Runtime,
        enough: usize,
        seat: Option<&Arc<Seat>>,
        stage: Option<Box<Body>>,
        waiting: &mut VecDeque<Box<Body>>,
    ) {
        if !self.guests.are_looked_after(runtime) {
            // Nobody would look after guests.
            dismiss(waiting);
        } else {
            self.open.set(Some(runtime));
        }
        if !waiting.is_empty() {
            self.guests.admit(waiting, runtime);
        }
        self.began.set(None);
        self.is_late.set(false);
        self.turns.set(0);
        let turn = match runtime.has_other_threads() {
            true => TURN_MEASURED,
            false => TURN,
        };
        self.credit.set(enough);
        let mut at_work = stage;
        // If one panics, the others go on.
        while !self.is_caught(&mut at_work, |at_work| {
            if at_work.is_some() {
                self.give_turn(at_work, runtime);
            }
            while let Some(body) = self.guests.next(runtime) {
                self.guests.begin(seat, runtime);
                if !self.has_credit(turn, runtime) || !has_budget() {
                    return self.put_off(body, waiting, runtime);
                }
                self.credit.set(self.credit.get() - turn);
                *at_work = Some(body);
                self.give_turn(at_work, runtime);
            }
        }) {}
        self.guests.end(runtime);
        self.open.set(None);
        // Or they would keep what they are of, as a runtime that is dropped next.
        for recent in &self.recent {
            drop(recent.take());
        }
    }

    /// Whether a turn may cost so much, where the clock is looked at if it is too much.
    #[inline(always)]
    fn has_credit(&self, turn: usize, runtime: Runtime) -> bool {
        self.credit.get() >= turn || (runtime.has_other_threads() && self.is_early())
    }

    /// Whether what was done since the task was polled has not taken long. Then as much may be done again.
    #[cold]
    fn is_early(&self) -> bool {
        if self.is_late.get() {
            return false;
        }
        let now = now();
        let began = self.began.get().unwrap_or(now);
        self.note_time(began, now);
        let is_early = !self.is_late.get();
        if is_early {
            self.credit.set(ENOUGH_MEASURED);
        }
        is_early
    }

    /// The task was polled at the one time at the latest, and the other is now.
    #[inline]
    fn note_time(&self, began: Instant, now: Instant) {
        self.began.set(Some(began));
        if now - began > LONG_ENOUGH {
            self.is_late.set(true);
            self.credit.set(0);
        }
    }

    /// Has this one and all other guests wait until the task is polled again.
    #[cold]
    fn put_off(&self, body: Box<Body>, waiting: &mut VecDeque<Box<Body>>, runtime: Runtime) {
        self.guests.put_off(body, waiting, runtime);
        if self.is_late.get() && self.turns.get() < MANY_TURNS {
            // Other threads may find them there.
            let others = waiting.drain(STAY.min(waiting.len())..);
            others.for_each(Body::go_home);
        }
    }

    /// Gives turns to those that are put to work. If one panics, its stage has ended, and it is not said
    /// that all is done.
    fn is_caught(
        &self,
        at_work: &mut Option<Box<Body>>,
        give_turns: impl FnOnce(&mut Option<Box<Body>>),
    ) -> bool {
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| give_turns(at_work))) else {
            return true;
        };
        if let Some(body) = at_work.take() {
            body.end(Outcome::Panicked(panic));
        }
        drop(self.current.take());
        self.guests.forget_turn();
        false
    }

    /// Whose turn it is stays at work while it lasts.
    #[inline(always)]
    fn give_turn(&self, at_work: &mut Option<Box<Body>>, runtime: Runtime) {
        let Some(body) = at_work else {
            return;
        };
        self.current.set(Some(self.seat_of(body)));
        let polled = match runtime.has_other_threads() {
            true => self.poll_measuring(body),
            false => body.poll(),
        };
        let (Some(seat), Some(body)) = (self.current.take(), at_work.take()) else {
            return;
        };
        match polled {
            Poll::Pending => {
                if let Some(body) = seat.put_back(body) {
                    self.give_another(body);
                }
                self.recent(&seat).set(Some(seat));
            }
            Poll::Ready(ended) => body.end(ended.into()),
        }
    }

    #[inline(always)]
    fn seat_of(&self, body: &Body) -> Arc<Seat> {
        let seat = body.seat();
        let recent = self.recent(seat).take();
        recent
            .filter(|recent| Arc::ptr_eq(recent, seat))
            .unwrap_or_else(|| Arc::clone(seat))
    }

    #[inline(always)]
    fn recent(&self, seat: &Seat) -> &Cell<Option<Arc<Seat>>> {
        &self.recent[seat.number() % RECENT]
    }

    #[inline]
    fn poll_measuring(&self, body: &mut Body) -> Poll<Ended> {
        self.is_slow.set(body.seat().is_slow());
        self.turns.set(self.turns.get() + 1);
        let start = body.start();
        let polled = body.poll();
        if let Some(start) = start {
            let end = now();
            body.stop(end - start);
            self.note_time(self.began.get().unwrap_or(start), end);
        }
        if let Some(blocked) = self.guests.end_turn() {
            body.seat().has_lasted(blocked.others);
        }
        polled
    }

    /// Has the task polled again once others had their turn; if it has done too much, all others.
    fn come_back(&self, cx: &mut Context<'_>) {
        #[cfg(not(shuttle))]
        if tokio::task::coop::poll_proceed(cx).is_pending() {
            return;
        }
        let returns = self.returns.get().wrapping_add(1);
        self.returns.set(returns);
        // The waker is the cheaper way, past whoever yields and what comes from outside. These have to have their
        // turn, too.
        if returns.is_multiple_of(PAST) {
            let is_ready = pin!(yield_now()).poll(cx).is_ready();
            debug_assert!(!is_ready, "it is woken for that");
        } else {
            cx.waker().wake_by_ref();
        }
    }

    #[cold]
    fn give_another(&self, body: Box<Body>) {
        match self.open.get() {
            Some(runtime) if !body.seat().is_slow() => self.guests.add(body, runtime),
            _ => body.go_home(),
        }
    }
}

/// Whether the task may go on, for all that it has done.
#[cfg(not(shuttle))]
fn has_budget() -> bool {
    tokio::task::coop::has_budget_remaining()
}

#[cfg(shuttle)]
fn has_budget() -> bool {
    true
}

#[cfg(all(test, not(shuttle)))]
pub(crate) mod tests;
