use std::{
    any::Any,
    collections::{HashMap, hash_map::Entry},
    fmt, mem,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{sync::Notify, time::Instant};

use crate::{
    AddError,
    desk::{Desk, Notice},
    failure::Failure,
    link::{Carries, Control},
    meter::Meter,
    names::Names,
    seat::Seat,
    sync::{Mutex, MutexGuard, PoisonError},
    weaks::Weaks,
};

/// What one stage does, from its start to its end.
pub(crate) type Task = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// The stages of one pipeline by name: those that wait to be started and those that run.
#[derive(Default)]
pub(crate) struct Crew {
    state: Mutex<State>,
    /// Whose turn it is to subscribe a stage that runs.
    linking: Mutex<()>,
    /// Wakes whoever runs the pipeline: there are stages to start, or it is to stop.
    pub(crate) news: Notify,
}

#[derive(Default)]
struct State {
    /// Of those that are still being put together, only the names. Where there is an order to them, it is
    /// that of their names.
    stages: HashMap<Arc<str>, Option<Member>, RandomState>,
    /// For stages that are given none.
    names: Names,
    waiting: Vec<(Arc<Seat>, Task)>,
    /// Stages that have ended, which their own tasks cannot tell.
    ended_away: Vec<Arc<Seat>>,
    groups: Weaks<dyn Close>,
    stopping: bool,
    /// How long the rest may take from then on.
    drain_within: Option<Duration>,
    /// When that is up, once somebody has looked.
    drain_until: Option<Instant>,
    ended: bool,
}

/// A name that nobody else gets until this is dropped or used.
#[must_use = "dropping it gives the name up"]
pub(crate) struct Claim {
    crew: Arc<Crew>,
    name: Arc<str>,
    is_used: bool,
}

impl Claim {
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Adds the stage of that name, to be started.
    pub(crate) fn add(mut self, member: Member, task: Task) -> Result<(), AddError> {
        self.crew.add(member, task)?;
        self.is_used = true;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_used {
            self.crew.free(&self.name);
        }
    }
}

/// A stage, as its pipeline sees it.
#[derive(Clone)]
pub(crate) struct Member {
    /// Where others subscribe to it, unless it is a consumer.
    pub(crate) front: Option<Arc<dyn AnyDesk>>,
    /// Where it subscribes to others, unless it is a producer.
    pub(crate) back: Option<Arc<dyn AnyDesk>>,
    pub(crate) seat: Arc<Seat>,
}

/// A desk, whatever its events are.
pub(crate) trait AnyDesk: Send + Sync {
    fn stop(&self);
    fn expect_nobody(&self);
    fn leave(&self);
    fn hold(&self, held: bool);
    fn notify(&self, notice: Notice);
    fn is_in_use(&self) -> bool;
    fn links(&self) -> Vec<Arc<dyn Control>>;
    fn event_type(&self) -> &'static str;
    fn meter(&self) -> &Meter;
    fn ring(&self, slot: usize);
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Something that brings new stages until it is closed.
pub(crate) trait Close: Send + Sync {
    fn close(&self);
}

impl<L: Carries> AnyDesk for Desk<L> {
    fn stop(&self) {
        Self::stop(self);
    }

    fn expect_nobody(&self) {
        Self::expect_nobody(self);
    }

    fn leave(&self) {
        Self::leave(self);
    }

    fn hold(&self, held: bool) {
        Self::hold(self, held);
    }

    fn notify(&self, notice: Notice) {
        Self::notify(self, notice);
    }

    fn is_in_use(&self) -> bool {
        Self::is_in_use(self)
    }

    fn links(&self) -> Vec<Arc<dyn Control>> {
        Self::links(self)
    }

    fn event_type(&self) -> &'static str {
        L::event_type()
    }

    fn meter(&self) -> &Meter {
        &self.seat.meter
    }

    fn ring(&self, slot: usize) {
        self.bell.ring(slot);
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Crew {
    /// Keeps a name for a stage that is about to be put together: a stage that cannot be added is to
    /// leave no trace.
    pub(crate) fn claim(self: &Arc<Self>, name: &Arc<str>) -> Result<Claim, AddError> {
        let mut state = self.lock();
        if state.stopping || state.ended {
            return Err(AddError::Stopping);
        }
        match state.stages.entry(Arc::clone(name)) {
            Entry::Vacant(place) => {
                place.insert(None);
            }
            Entry::Occupied(_) => {
                let name = name.to_string();
                return Err(AddError::NameTaken { name });
            }
        }
        Ok(Claim {
            crew: Arc::clone(self),
            name: Arc::clone(name),
            is_used: false,
        })
    }

    /// Adds a stage, to be started.
    fn add(&self, member: Member, task: Task) -> Result<(), AddError> {
        let mut state = self.lock();
        if state.stopping || state.ended {
            return Err(AddError::Stopping);
        }
        let seat = Arc::clone(&member.seat);
        state.stages.insert(Arc::clone(seat.stage()), Some(member));
        state.waiting.push((seat, task));
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// A name like `wish` that no stage has.
    pub(crate) fn free_name(&self, wish: &str) -> String {
        let state = &mut *self.lock();
        let stages = &state.stages;
        let is_taken = |name: &str| stages.contains_key(name);
        state.names.find(wish, is_taken)
    }

    /// Takes the stages that wait to be started, and looks whether all are to stop.
    pub(crate) fn take_waiting(&self) -> (Vec<(Arc<Seat>, Task)>, bool) {
        let state = &mut *self.lock();
        (mem::take(&mut state.waiting), state.stopping)
    }

    /// A stage has ended while its own task could not poll it.
    pub(crate) fn note_end(&self, seat: &Arc<Seat>) {
        self.lock().ended_away.push(Arc::clone(seat));
        self.news.notify_one();
    }

    /// Takes the stages that have.
    pub(crate) fn take_ended(&self) -> Vec<Arc<Seat>> {
        mem::take(&mut self.lock().ended_away)
    }

    /// Frees the name of a stage that was never added.
    fn free(&self, name: &str) {
        self.lock().forget(name);
    }

    /// Frees the name of a stage that has ended, and returns whether all are to stop. Nothing, if that was done before.
    pub(crate) fn bury(&self, seat: &Arc<Seat>) -> Option<bool> {
        let mut state = self.lock();
        let member = state.stages.get(&**seat.stage())?.as_ref()?;
        if !Arc::ptr_eq(&member.seat, seat) {
            return None;
        }
        state.forget(seat.stage());
        Some(state.stopping)
    }

    /// Whether there is any stage that has not ended.
    pub(crate) fn has_stages(&self) -> bool {
        self.lock().members().next().is_some()
    }

    pub(crate) fn close_when_stopping(&self, group: Weak<dyn Close>) {
        self.lock().groups.add(group);
    }

    /// Tells every producer to make no more and every other stage to wait for no more, and lets no
    /// stage in from now on.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        // In the order in which they were made, which takes no look at thousands of names.
        let mut members: Vec<_> = state.members().cloned().collect();
        members.sort_by_cached_key(|member| member.seat.number());
        let groups = mem::take(&mut state.groups);
        drop(state);
        for member in members {
            if let Some(front) = &member.front {
                // What it has been given before is to be drained.
                front.hold(false);
                front.expect_nobody();
            }
            match &member.back {
                Some(back) => back.stop(),
                None => member.stop(),
            }
        }
        for group in groups.iter() {
            group.close();
        }
        self.news.notify_one();
    }

    /// Holds a stage back, or lets it go on. One of a pipeline that stops is not held back any more.
    pub(crate) fn hold(&self, front: &dyn AnyDesk, held: bool) {
        // Locked, so that a stop comes before or after it.
        let state = self.lock();
        front.hold(held && !state.stopping);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// How long the rest may take once it stops.
    pub(crate) fn drain_within(&self, time: Option<Duration>) {
        self.lock().drain_within = time;
    }

    /// When the time for draining is up, if it stops and there is such a time. It runs from when that is first
    /// seen: whoever stops it may be on another thread, with another clock.
    pub(crate) fn drain_until(&self) -> Option<Instant> {
        let state = &mut *self.lock();
        let within = state.drain_within.filter(|_| state.stopping)?;
        if state.drain_until.is_none() {
            // One that is too far off to be counted never comes.
            state.drain_until = Instant::now().checked_add(within);
        }
        state.drain_until
    }

    /// Lets no stage in any more: whoever ran the pipeline does so no longer. Those that are still there are dropped
    /// where they stand, though another's turn may keep their tasks from it.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let never_started = mem::take(&mut state.waiting);
        let seats: Vec<_> = state.members().map(|it| Arc::clone(&it.seat)).collect();
        drop(state);
        for seat in seats {
            seat.cancel();
        }
        // Last: it may panic.
        drop(never_started);
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.lock().in_order()
    }

    /// The first stage whose task has gone before the stage has ended.
    pub(crate) fn without_task(&self) -> Option<Arc<Seat>> {
        let state = self.lock();
        let seats = state.members().map(|member| &member.seat);
        let without = seats.filter(|seat| seat.is_without_task());
        without.min_by_key(|seat| seat.stage()).cloned()
    }

    pub(crate) fn member(&self, name: &str) -> Option<Member> {
        self.lock().stages.get(name).cloned().flatten()
    }

    /// Lets nobody else link stages that run as long as what it returns is held.
    pub(crate) fn turn_to_link(&self) -> MutexGuard<'_, ()> {
        self.linking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stage with an outlet that nobody has subscribed to.
    pub(crate) fn deserted(&self) -> Option<String> {
        let state = self.lock();
        let deserted = state.members().filter(|member| {
            let front = member.front.as_ref();
            front.is_some_and(|desk| !desk.is_in_use())
        });
        let names = deserted.map(|member| member.seat.stage());
        names.min().map(ToString::to_string)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The name is free again.
    fn forget(&mut self, name: &str) {
        self.stages.remove(name);
        self.names.free(name);
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        self.stages.values().flatten()
    }

    fn in_order(&self) -> Vec<Member> {
        let mut members: Vec<_> = self.members().cloned().collect();
        members.sort_unstable_by(|a, b| a.seat.stage().cmp(b.seat.stage()));
        members
    }
}

impl Member {
    /// Tells the stage to end, alone: a producer after it has handed out what it has, the others
    /// after what they have in hand.
    pub(crate) fn stop(&self) {
        match (&self.back, &self.front) {
            (Some(back), _) => back.leave(),
            (None, Some(front)) => front.stop(),
            (None, None) => {}
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.seat.stage().fmt(f)
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.members()).finish()
    }
}
