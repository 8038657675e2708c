use std::{
    collections::{BTreeMap, VecDeque},
    fmt, mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tracing::{info, warn};

use super::SourceClosed;
use crate::{
    Batch, Demand, Flow,
    producer::MOST_AT_ONCE,
    protocol::Buffer,
    seat::Seat,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What a push source and its handles share.
pub(super) struct Queue<E>(Mutex<State<E>>);

struct State<E> {
    buffer: Buffer<E>,
    /// Nothing is to be pushed any more.
    closed: bool,
    /// The source has gone: how many events had left the buffer by then.
    gone: Option<u64>,
    /// What the source is asked for, while it waits.
    asked: usize,
    /// The stage that the source runs in.
    seat: Option<Arc<Seat>>,
    /// Events that ever got into the buffer.
    stored: u64,
    dropped: u64,
    /// Those of `dropped` that no meter knows of.
    untold: usize,
    /// For the log: how many were dropped when dropping began.
    dropping_since: Option<u64>,
    source: Option<Waker>,
    /// Who waits for room, by ticket, in turn. Without a waker it is their turn.
    line: VecDeque<(u64, Option<Waker>)>,
    /// So many at the front have been called and have not lined up again: they have no wakers.
    called: usize,
    next_ticket: u64,
    /// Who waits until events have left the buffer, by ticket.
    flushing: BTreeMap<u64, Waker>,
}

/// A place in the line of those who wait for room. Dropping it lets the others move up.
pub(super) struct Place<E> {
    queue: Arc<Queue<E>>,
    ticket: Option<u64>,
    /// Among those who wait until events have left.
    flushing: Option<u64>,
}

impl<E> Queue<E> {
    pub(super) const fn new(buffer: Buffer<E>) -> Self {
        Self(Mutex::new(State {
            buffer,
            closed: false,
            gone: None,
            asked: 0,
            seat: None,
            stored: 0,
            dropped: 0,
            untold: 0,
            dropping_since: None,
            source: None,
            line: VecDeque::new(),
            called: 0,
            next_ticket: 0,
            flushing: BTreeMap::new(),
        }))
    }

    /// Stores events, and says how many were dropped for it.
    pub(super) fn push(&self, events: Batch<E>) -> usize {
        if events.is_empty() {
            return 0;
        }
        let mut state = self.lock();
        let dropped = if state.closed {
            events
        } else {
            state.store(events)
        };
        let begins = state.note_dropped(dropped.len());
        let wakers = match dropped.is_empty() {
            true => Vec::new(),
            // Some may have waited for just those.
            false => mem::take(&mut state.flushing).into_values().collect(),
        };
        let source = state.source.take();
        drop(state);
        // From here on it is code of others: what is dropped may have receipts, and whoever keeps
        // the log may push it.
        wake(source.into_iter().chain(wakers));
        warn_of(begins);
        dropped.len()
    }

    /// Stores one event, and says how many were dropped for it.
    pub(super) fn push_one(&self, event: E) -> usize {
        let mut state = self.lock();
        if state.takes_one() {
            let source = state.store_one(event);
            drop(state);
            wake(source);
            return 0;
        }
        if !state.closed && state.buffer.keeps_last() {
            drop(state);
            return self.push(Batch::from_iter([event]));
        }
        let begins = state.note_dropped(1);
        drop(state);
        // From here on it is code of others.
        drop(event);
        warn_of(begins);
        1
    }

    /// Stores one event if that costs none, and nobody waits for room. Otherwise here it is back.
    pub(super) fn try_send(&self, event: E) -> Result<(), E> {
        let mut state = self.lock();
        if !state.takes_one() || !state.line.is_empty() {
            return Err(event);
        }
        let source = state.store_one(event);
        drop(state);
        wake(source);
        Ok(())
    }

    /// Takes events for the source, of which only the first is waited for.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        demand: Demand,
        batch: &mut Batch<E>,
    ) -> Poll<Flow> {
        let mut state = self.lock();
        let mut taken = state.buffer.front().take(demand.min(MOST_AT_ONCE).get());
        let is_last = state.closed && state.buffer.is_empty();
        if taken.is_empty() && !is_last {
            state.asked = demand.get();
            let old = state.source.replace(cx.waker().clone());
            drop(state);
            // Not under the lock: wakers are somebody else's code.
            drop(old);
            return Poll::Pending;
        }
        state.asked = 0;
        let over = state.note_room();
        let wakers = state.call_up();
        let flushing = mem::take(&mut state.flushing);
        if batch.is_empty() {
            batch.exchange(&mut taken);
            state.buffer.front().spares.give(taken.emptied());
        }
        drop(state);
        wake(wakers.into_iter().chain(flushing.into_values()));
        if let Some(dropped) = over {
            info!(dropped, "the buffer of a push source has room again");
        }
        batch.append(&mut taken);
        Poll::Ready(if is_last { Flow::End } else { Flow::More })
    }

    /// The source runs in this stage.
    pub(super) fn watch(&self, seat: Option<Arc<Seat>>) {
        let mut state = self.lock();
        state.seat = seat;
        state.tell_meter();
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let wakers = state.call_all();
        drop(state);
        wake(wakers);
    }

    /// The source has gone, and what is buffered goes with it.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.gone = Some(state.passed());
        state.asked = 0;
        let left = state.buffer.front().take(usize::MAX);
        state.dropped += left.len() as u64;
        let seat = state.seat.take();
        let wakers = state.call_all();
        drop(state);
        if let Some(seat) = seat {
            seat.meter.lost(left.len());
        }
        wake(wakers);
    }

    pub(super) fn wanted(&self) -> usize {
        let state = self.lock();
        let wanted = match &state.seat {
            Some(seat) => seat.meter.wanted(),
            None => state.asked,
        };
        wanted.saturating_sub(state.buffer.len())
    }

    pub(super) fn buffered(&self) -> usize {
        self.lock().buffer.len()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// How many events ever got into the buffer.
    pub(super) fn stored(&self) -> u64 {
        self.lock().stored
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> State<E> {
    /// Whether one event can be stored without dropping any.
    fn takes_one(&self) -> bool {
        !self.closed && self.buffer.room() > 0
    }

    /// Stores one event, which there is room for. Returns whom to wake.
    fn store_one(&mut self, event: E) -> Option<Waker> {
        self.buffer.store_one(event);
        self.stored += 1;
        self.source.take()
    }

    /// Stores events, and gives back those that there is no room for.
    fn store(&mut self, events: Batch<E>) -> Batch<E> {
        let (before, offered) = (self.buffer.len(), events.len());
        let displaced = self.buffer.displace(events);
        let displaced_before = match self.buffer.keeps_last() {
            true => displaced.len().min(before),
            false => 0,
        };
        self.stored += (offered + displaced_before - displaced.len()) as u64;
        displaced
    }

    /// If that is news, for the log: in which stage, if that is known.
    fn note_dropped(&mut self, events: usize) -> Option<Option<Arc<str>>> {
        if events == 0 {
            return None;
        }
        let begins = self.dropping_since.is_none() && !self.closed;
        if begins {
            self.dropping_since = Some(self.dropped);
        }
        self.dropped += events as u64;
        self.untold += events;
        self.tell_meter();
        let stage = self.seat.as_ref().map(|seat| Arc::clone(seat.stage()));
        begins.then_some(stage)
    }

    /// The source has taken events. If there is room again, for the log: how many were dropped while
    /// there was none.
    fn note_room(&mut self) -> Option<u64> {
        if self.buffer.room() < self.buffer.len() {
            return None;
        }
        Some(self.dropped - self.dropping_since.take()?)
    }

    fn tell_meter(&mut self) {
        if let Some(seat) = &self.seat {
            seat.meter.dropped(mem::take(&mut self.untold));
        }
    }

    /// How many events have left the buffer.
    fn passed(&self) -> u64 {
        self.stored - self.buffer.len() as u64
    }

    /// Where in the line whoever has this ticket is, or would be.
    fn place_of(&self, ticket: u64) -> Result<usize, usize> {
        self.line
            .binary_search_by_key(&ticket, |(ticket, _)| *ticket)
    }

    /// Whether whoever has this ticket may store an event, or one who comes without.
    fn is_turn_of(&self, ticket: Option<u64>) -> bool {
        let before = match ticket {
            Some(ticket) => self.place_of(ticket).unwrap_or_else(|place| place),
            None => self.line.len(),
        };
        before < self.buffer.room()
    }

    /// Has whoever has this ticket wait, or go on if there is no waker. Returns the waker it had.
    fn line_up(&mut self, ticket: u64, waker: Option<Waker>) -> Option<Waker> {
        let place = self.place_of(ticket);
        let (Ok(at) | Err(at)) = place;
        if waker.is_some() {
            self.called = self.called.min(at);
        }
        if place.is_ok() {
            return mem::replace(&mut self.line[at].1, waker);
        }
        self.line.insert(at, (ticket, waker));
        None
    }

    /// Returns the waker it had.
    fn leave_line(&mut self, ticket: u64) -> Option<Waker> {
        let place = self.place_of(ticket).ok()?;
        if place < self.called {
            self.called -= 1;
        }
        self.line.remove(place)?.1
    }

    /// Those for whom there is room now.
    fn call_up(&mut self) -> Vec<Waker> {
        let room = self.buffer.room().min(self.line.len());
        if room <= self.called {
            return Vec::new();
        }
        let called = self.line.range_mut(self.called..room);
        self.called = room;
        called.filter_map(|(_, waker)| waker.take()).collect()
    }

    /// Everybody who waits for anything.
    fn call_all(&mut self) -> Vec<Waker> {
        let line = self.line.iter_mut().filter_map(|(_, waker)| waker.take());
        let flushing = mem::take(&mut self.flushing).into_values();
        line.chain(flushing).chain(self.source.take()).collect()
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }
}

impl<E> Place<E> {
    pub(super) fn new(queue: &Arc<Queue<E>>) -> Self {
        Self {
            queue: Arc::clone(queue),
            ticket: None,
            flushing: None,
        }
    }

    pub(super) fn queue(&self) -> &Queue<E> {
        &self.queue
    }

    /// Waits until there is room for one event, and keeps the place in the line.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SourceClosed>> {
        let mut state = self.queue.lock();
        if state.closed {
            return Poll::Ready(Err(SourceClosed));
        }
        let is_turn = state.is_turn_of(self.ticket);
        let ticket = *self.ticket.get_or_insert_with(|| state.ticket());
        let waker = (!is_turn).then(|| cx.waker().clone());
        let old = state.line_up(ticket, waker);
        drop(state);
        drop(old);
        match is_turn {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// Waits until there is room for `event`, and stores it. If the source is closed, it stays.
    pub(super) fn poll_store(
        &mut self,
        cx: &mut Context<'_>,
        event: &mut Option<E>,
    ) -> Poll<Result<(), SourceClosed>> {
        loop {
            if self.poll_room(cx)?.is_pending() {
                return Poll::Pending;
            }
            if self.store(event)? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Stores `event` if there is room. Otherwise, or if the source is closed, it stays.
    pub(super) fn store(&mut self, event: &mut Option<E>) -> Result<bool, SourceClosed> {
        let mut state = self.queue.lock();
        if state.closed {
            return Err(SourceClosed);
        }
        if state.buffer.room() == 0 {
            return Ok(false);
        }
        let source = event.take().and_then(|event| state.store_one(event));
        let ticket = self.ticket.take();
        let old = ticket.and_then(|ticket| state.leave_line(ticket));
        drop(state);
        drop(old);
        wake(source);
        Ok(true)
    }

    /// Waits until so many events have left the buffer.
    pub(super) fn poll_passed(
        &mut self,
        cx: &mut Context<'_>,
        events: u64,
    ) -> Poll<Result<(), SourceClosed>> {
        let mut state = self.queue.lock();
        if state.gone.unwrap_or_else(|| state.passed()) >= events {
            return Poll::Ready(Ok(()));
        }
        if state.gone.is_some() {
            return Poll::Ready(Err(SourceClosed));
        }
        let ticket = *self.flushing.get_or_insert_with(|| state.ticket());
        let old = state.flushing.insert(ticket, cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<E> Drop for Place<E> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        let flushing = self.flushing.and_then(|it| state.flushing.remove(&it));
        let old = self.ticket.and_then(|ticket| state.leave_line(ticket));
        let wakers = match self.ticket {
            // All were called when it was closed.
            Some(_) if !state.closed => state.call_up(),
            _ => Vec::new(),
        };
        drop(state);
        drop((flushing, old));
        wake(wakers);
    }
}

/// If dropping begins: in which stage, if that is known.
fn warn_of(begins: Option<Option<Arc<str>>>) {
    if let Some(stage) = begins {
        warn!(
            stage = stage.as_deref(),
            "the buffer of a push source is full: events are dropped"
        );
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

impl<E> fmt::Debug for Queue<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Queue")
            .field("buffered", &state.buffer.len())
            .field("dropped", &state.dropped)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}
