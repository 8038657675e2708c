use std::{hash::Hash, sync::Arc};

use crate::{
    AddError, Consumer, Group, Intake, LaneBuilder, Outlet, Pipeline, Producer, Subscription,
    Transform,
    assemble::{self, Assembled},
    crew::Claim,
    desk::Desk,
    link::SendEnd,
    protocol::{Broadcast, ByDemand, Dispatcher, Partition},
};

/// Settings for the next stage. Made by [`Pipeline::stage`].
///
/// `D` says how the stage's events are divided among its subscribers. [By demand](ByDemand), unless
/// one of [`broadcast`](Self::broadcast), [`partition`](Self::partition),
/// [`partition_by`](Self::partition_by) or [`dispatch`](Self::dispatch) says otherwise.
#[must_use = "settings do nothing until a stage is added"]
#[derive(Debug)]
pub struct StageBuilder<'p, D = ToOne> {
    pipeline: &'p mut Pipeline,
    name: String,
    dispatching: D,
}

/// Divides events [by demand](ByDemand).
#[derive(Clone, Copy, Debug)]
pub struct ToOne;

/// Gives every event to [everybody](Broadcast).
#[derive(Clone, Copy, Debug)]
pub struct ToAll;

/// Divides events as a dispatcher of the user's does.
#[derive(Clone, Copy, Debug)]
pub struct As<D>(D);

impl<D> As<D> {
    pub(crate) fn new(dispatcher: D) -> Self {
        Self(dispatcher)
    }
}

/// A way to divide events of type `E`.
pub trait Dispatching<E> {
    #[doc(hidden)]
    fn into_dispatcher(self) -> Box<dyn Dispatcher<E>>;
}

impl<E> Dispatching<E> for ToOne {
    fn into_dispatcher(self) -> Box<dyn Dispatcher<E>> {
        Box::new(ByDemand::default())
    }
}

impl<E: Clone + Send + Sync + 'static> Dispatching<E> for ToAll {
    fn into_dispatcher(self) -> Box<dyn Dispatcher<E>> {
        Box::new(Broadcast::default())
    }
}

impl<E, D: Dispatcher<E>> Dispatching<E> for As<D> {
    fn into_dispatcher(self) -> Box<dyn Dispatcher<E>> {
        Box::new(self.0)
    }
}

impl<'p> StageBuilder<'p> {
    pub(crate) fn new(pipeline: &'p mut Pipeline, name: String) -> Self {
        Self {
            pipeline,
            name,
            dispatching: ToOne,
        }
    }

    /// Gives every event to every subscriber that [selects](Subscription::selecting) it, at the pace
    /// of the slowest.
    pub fn broadcast(self) -> StageBuilder<'p, ToAll> {
        self.dispatching(ToAll)
    }

    /// Divides events into `lanes` lanes, so that those with equal keys share a lane and stay in
    /// order.
    ///
    /// # Panics
    ///
    /// If `lanes` is zero.
    pub fn partition<E: Send + 'static, K: Hash>(
        self,
        lanes: usize,
        key: impl Fn(&E) -> K + Send + 'static,
    ) -> LaneBuilder<StageBuilder<'p, As<Partition<E>>>> {
        LaneBuilder::new(self.dispatch(Partition::by_key(lanes, key)), lanes)
    }

    /// Divides events into `lanes` lanes, as `lane_of` says. Events for which it gives `None` belong
    /// nowhere: they are dropped, counted, and count as taken in. Those for which it gives a lane
    /// that is not there are nacked.
    ///
    /// # Panics
    ///
    /// If `lanes` is zero.
    pub fn partition_by<E: Send + 'static>(
        self,
        lanes: usize,
        lane_of: impl Fn(&E) -> Option<usize> + Send + 'static,
    ) -> LaneBuilder<StageBuilder<'p, As<Partition<E>>>> {
        LaneBuilder::new(self.dispatch(Partition::by_fn(lanes, lane_of)), lanes)
    }

    /// Divides events as `dispatcher` does.
    pub fn dispatch<D>(self, dispatcher: D) -> StageBuilder<'p, As<D>> {
        self.dispatching(As(dispatcher))
    }

    fn dispatching<D>(self, dispatching: D) -> StageBuilder<'p, D> {
        StageBuilder {
            pipeline: self.pipeline,
            name: self.name,
            dispatching,
        }
    }

    /// Adds the stage, as a first member of a group.
    pub fn join<P: Producer>(self, group: &Group<P::Event>, producer: P) {
        if let Err(AddError::NameTaken { name }) = group.add(self.name, producer) {
            self.pipeline.name_taken.get_or_insert(name);
        }
    }

    /// Adds the stage, as one that takes events in. What it returns lets it be given more
    /// subscriptions while it runs.
    pub fn consume<E, C>(
        self,
        consumer: C,
        subscriptions: impl IntoIterator<Item = Subscription<E>>,
    ) -> Intake<E>
    where
        E: Send + 'static,
        C: Consumer<E>,
    {
        let (name, claim) = self.pipeline.claim(self.name);
        let stage = assemble::consumer(&name, consumer, subscriptions);
        Intake::new(add(stage, claim))
    }
}

impl<D> StageBuilder<'_, D> {
    /// Adds the stage, as one that makes events.
    pub fn produce<P: Producer>(self, producer: P) -> Outlet<P::Event>
    where
        D: Dispatching<P::Event>,
    {
        let (name, claim) = self.pipeline.claim(self.name);
        let dispatcher = self.dispatching.into_dispatcher();
        let stage = assemble::producer(&name, producer, dispatcher);
        add_with_outlet(stage, claim)
    }

    /// Adds the stage, as one that turns events into others.
    pub fn transform<In, T>(
        self,
        transform: T,
        subscriptions: impl IntoIterator<Item = Subscription<In>>,
    ) -> Outlet<T::Out>
    where
        In: Send + 'static,
        T: Transform<In>,
        D: Dispatching<T::Out>,
    {
        let (name, claim) = self.pipeline.claim(self.name);
        let dispatcher = self.dispatching.into_dispatcher();
        let stage = assemble::transform(&name, transform, subscriptions, dispatcher);
        add_with_outlet(stage, claim)
    }
}

impl Pipeline {
    /// The name for a stage. If it is taken, that is told when the pipeline is run.
    fn claim(&mut self, name: String) -> (Arc<str>, Option<Claim>) {
        let name = name.into();
        let claim = self.crew.claim(&name);
        // Nothing stops a pipeline that does not run, so the name is the only trouble.
        if let Err(AddError::NameTaken { name }) = &claim {
            self.name_taken.get_or_insert_with(|| name.clone());
        }
        (name, claim.ok())
    }
}

fn add_with_outlet<E: Send + 'static>(
    stage: Assembled<Desk<SendEnd<E>>>,
    claim: Option<Claim>,
) -> Outlet<E> {
    Outlet::of_stage(add(stage, claim))
}

/// Returns where its subscriptions go.
fn add<D>(stage: Assembled<D>, claim: Option<Claim>) -> Arc<D> {
    let Assembled { desk, member, task } = stage;
    if let Some(claim) = claim {
        // It does not run yet, and so does not stop.
        let _ = claim.add(member, task);
    }
    desk
}
