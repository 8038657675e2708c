use std::{any::type_name, fmt, future, sync::Arc};

use crate::{
    AddError, Consumer, Group, Outlet, PipelineError, Producer, Subscription, Transform,
    crew::{Crew, Role, Task},
    desk::Desk,
    inbox::Inbox,
    outbox::Outbox,
    protocol::{ByDemand, Dispatcher},
    running::Running,
    stage,
};

/// Stages and the subscriptions between them, run as one.
///
/// Adding a stage gives an [`Outlet`], and subscribing to that outlet lets another stage be added.
/// The bindings are the graph: an outlet exists only once its stage does, so there can be no cycle,
/// and events of the wrong type do not compile:
///
/// ```compile_fail,E0308
/// # use stage_core::{Outlet, Window, Pipeline, Consumer};
/// fn wrong(mut pipeline: Pipeline, numbers: Outlet<u64>, strings: impl Consumer<String>) {
///     pipeline.consume::<String, _>(strings, numbers.subscribe(Window::new(10)));
/// }
/// ```
///
/// Nothing runs before [`run`](Self::run), and by then everybody has subscribed: no stage misses
/// the first events.
#[must_use = "a pipeline does nothing until it is run"]
pub struct Pipeline {
    crew: Arc<Crew>,
    name_taken: Option<String>,
}

/// Settings for the next stage. Made by [`Pipeline::stage`].
#[must_use = "settings do nothing until a stage is added"]
#[derive(Debug)]
pub struct StageBuilder<'p> {
    pipeline: &'p mut Pipeline,
    name: String,
}

impl Pipeline {
    /// A pipeline with no stages.
    pub fn new() -> Self {
        Self {
            crew: Arc::default(),
            name_taken: None,
        }
    }

    /// Adds a stage that makes events, named after its type.
    pub fn produce<P: Producer>(&mut self, producer: P) -> Outlet<P::Event> {
        self.stage_of::<P>().produce(producer)
    }

    /// Adds a stage that turns events into others, named after its type.
    pub fn transform<In, T>(
        &mut self,
        transform: T,
        subscriptions: impl IntoIterator<Item = Subscription<In>>,
    ) -> Outlet<T::Out>
    where
        In: Send + 'static,
        T: Transform<In>,
    {
        self.stage_of::<T>().transform(transform, subscriptions)
    }

    /// Adds a stage that takes events in, named after its type.
    pub fn consume<E, C>(
        &mut self,
        consumer: C,
        subscriptions: impl IntoIterator<Item = Subscription<E>>,
    ) where
        E: Send + 'static,
        C: Consumer<E>,
    {
        self.stage_of::<C>().consume(consumer, subscriptions);
    }

    /// Starts a stage with a name of its own. It must be the only one of that name.
    pub fn stage(&mut self, name: impl Into<String>) -> StageBuilder<'_> {
        StageBuilder {
            name: name.into(),
            pipeline: self,
        }
    }

    /// A group of producers that may be added while the pipeline runs, and where to subscribe to
    /// all of them.
    pub fn group<E: Send + 'static>(&mut self) -> (Group<E>, Outlet<E>) {
        let (group, members) = Group::new(&self.crew);
        (group, Outlet::of_group(members))
    }

    /// Runs until every producer has ended and every event has been taken in.
    ///
    /// # Errors
    ///
    /// The first failure of a stage. It stops the producers, and what they had produced by then is
    /// drained first.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops every stage where it stands and nacks what is on its way.
    pub async fn run(self) -> Result<(), PipelineError> {
        self.run_until(future::pending()).await
    }

    /// Like [`run`](Self::run), and stops the producers when `signal` completes.
    ///
    /// What has been produced by then still flows through to the end. To give up on that after a
    /// while, drop the future.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Result<(), PipelineError> {
        if let Some(stage) = self.name_taken {
            return Err(PipelineError::NameTaken { stage });
        }
        if let Some(stage) = self.crew.deserted() {
            return Err(PipelineError::NoSubscriber { stage });
        }
        Running::new(self.crew).until(signal).await
    }

    /// A stage named after its type, without the path.
    fn stage_of<S>(&mut self) -> StageBuilder<'_> {
        let path = type_name::<S>();
        let short = path
            .split('<')
            .next()
            .and_then(|path| path.rsplit("::").next());
        let name = self.crew.free_name(short.unwrap_or(path));
        self.stage(name)
    }

    fn add(&mut self, name: String, role: Role, task: Task) {
        // Nothing stops a pipeline that does not run, so the name is the only trouble.
        if self.crew.add(name.clone(), role, task).is_err() {
            self.name_taken.get_or_insert(name);
        }
    }
}

impl StageBuilder<'_> {
    /// Adds the stage, as one that makes events.
    pub fn produce<P: Producer>(self, producer: P) -> Outlet<P::Event> {
        let desk = Desk::new();
        let outlet = Outlet::of_stage(&desk);
        let task = stage::produce(producer, Outbox::new(Arc::clone(&desk), by_demand()));
        self.pipeline
            .add(self.name, Role::Producer(desk), Box::pin(task));
        outlet
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
    {
        let desk = Desk::new();
        let outlet = Outlet::of_stage(&desk);
        let outbox = Outbox::new(Arc::clone(&desk), by_demand());
        let task = stage::transform(transform, inbox(subscriptions), outbox);
        self.pipeline
            .add(self.name, Role::Transform(desk), Box::pin(task));
        outlet
    }

    /// Adds the stage, as a first member of a group.
    pub fn join<P: Producer>(self, group: &Group<P::Event>, producer: P) {
        if let Err(AddError::NameTaken { name }) = group.add(self.name, producer) {
            self.pipeline.name_taken.get_or_insert(name);
        }
    }

    /// Adds the stage, as one that takes events in.
    pub fn consume<E, C>(
        self,
        consumer: C,
        subscriptions: impl IntoIterator<Item = Subscription<E>>,
    ) where
        E: Send + 'static,
        C: Consumer<E>,
    {
        let task = stage::consume(consumer, inbox(subscriptions));
        self.pipeline.add(self.name, Role::Consumer, Box::pin(task));
    }
}

fn by_demand<E>() -> Box<dyn Dispatcher<E>> {
    Box::new(ByDemand::default())
}

fn inbox<E: Send + 'static>(subscriptions: impl IntoIterator<Item = Subscription<E>>) -> Inbox<E> {
    let desk = Desk::new();
    for subscription in subscriptions {
        subscription.open(&desk);
    }
    Inbox::new(desk)
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pipeline").field(&self.crew).finish()
    }
}
