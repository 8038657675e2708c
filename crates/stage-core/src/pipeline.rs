use std::{any::type_name, fmt, future, sync::Arc, time::Duration};

use crate::{
    Consumer, DrainReport, Group, Intake, Lane, Outlet, PipelineError, PipelineHandle, Producer,
    StageBuilder, Subscription, Transform, crew::Crew, running::Running,
};

/// Stages and the subscriptions between them, run as one.
///
/// Adding a stage gives an [`Outlet`], and subscribing to that outlet lets another stage be added.
/// The bindings are the graph: an outlet exists only once its stage does, so there can be no cycle (one
/// by the handle of a pipeline that runs is [refused](crate::IntakeError::Cycle)), and events of the wrong
/// type do not compile:
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
    pub(crate) crew: Arc<Crew>,
    pub(crate) name_taken: Option<String>,
    drain_within: Option<Duration>,
    /// The same, unless it is told.
    drain_by_default: Option<Duration>,
}

impl Pipeline {
    /// A pipeline with no stages.
    pub fn new() -> Self {
        Self {
            crew: Arc::default(),
            name_taken: None,
            drain_within: None,
            drain_by_default: None,
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
    ) -> Intake<E>
    where
        E: Send + 'static,
        C: Consumer<E>,
    {
        self.stage_of::<C>().consume(consumer, subscriptions)
    }

    /// Starts a stage with a name of its own. It must be the only one of that name.
    pub fn stage(&mut self, name: impl Into<String>) -> StageBuilder<'_> {
        StageBuilder::new(self, name.into())
    }

    /// A group of producers that may be added while the pipeline runs, and where to subscribe to
    /// all of them.
    pub fn group<E: Send + 'static>(&mut self) -> (Group<E>, Outlet<E>) {
        let (group, members) = Group::new(&self.crew);
        (group, Outlet::of_group(members))
    }

    /// A group of producers that may be added while the pipeline runs, each of which divides its
    /// events into `lanes` lanes, as `lane_of` says (see
    /// [`Partition::by_fn`](crate::protocol::Partition::by_fn)), and the lanes in order. Who subscribes
    /// to a lane gets that lane of each producer.
    ///
    /// ```
    /// # use stage_core::{Pipeline, Window, for_each, from_iter, protocol::lane_for};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut pipeline = Pipeline::new();
    /// let (words, lanes) = pipeline.partitioned_group(4, |word: &&str| Some(lane_for(word, 4)));
    /// for lane in lanes {
    ///     let number = lane.number();
    ///     let print = for_each(move |word| println!("{word} on lane {number}"));
    ///     pipeline.consume(print, lane.subscribe(Window::new(10)));
    /// }
    /// words.add("words", from_iter(["to", "be", "or", "not", "to", "be"]))?;
    /// drop(words);
    /// pipeline.run().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If `lanes` is zero.
    pub fn partitioned_group<E: Send + 'static>(
        &mut self,
        lanes: usize,
        lane_of: impl Fn(&E) -> Option<usize> + Send + Sync + 'static,
    ) -> (Group<E>, Vec<Lane<E>>) {
        assert!(lanes > 0, "a group needs at least one lane");
        let (group, members) = Group::partitioned(&self.crew, lanes, lane_of);
        let outlet = Outlet::of_group(members);
        (
            group,
            (0..lanes).map(|number| outlet.lane(number)).collect(),
        )
    }

    /// Looks at the pipeline and changes it while it runs.
    pub fn handle(&self) -> PipelineHandle {
        PipelineHandle::new(&self.crew)
    }

    /// Gives the rest so long to drain once the pipeline has begun to stop, for whatever reason.
    /// What is not done by then is dropped, and so nacked, and the pipeline ends with
    /// [`PipelineError::DrainTimedOut`], unless it has failed before. Without this, it waits, if none of its
    /// sources has brought a [time of its own](Self::drain_by_default). [`Duration::MAX`] waits in any case.
    pub fn drain_within(mut self, time: Duration) -> Self {
        self.drain_within = Some(time);
        self
    }

    /// Gives the rest so long to drain unless [`drain_within`](Self::drain_within) says how long, before or
    /// after this. Where several say so, the longest counts.
    ///
    /// It is for sources that are added to a pipeline as a whole, and whose events come again if they were
    /// not acknowledged: to cut them off loses nothing, so a stop need not wait for a handler that never
    /// returns, though nobody has thought of that. A pipeline whose events exist nowhere else should wait.
    pub fn drain_by_default(&mut self, time: Duration) {
        self.drain_by_default = self.drain_by_default.max(Some(time));
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
    /// What has been produced by then still flows through to the end, for as long as
    /// [`drain_within`](Self::drain_within) allows.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and if the time for draining was up.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Result<(), PipelineError> {
        self.run_reporting(signal).await.result
    }

    /// Like [`run_until`](Self::run_until), and reports what became of each stage's events.
    pub async fn run_reporting(self, signal: impl Future<Output = ()>) -> DrainReport {
        if let Err(error) = self.check() {
            return DrainReport::refused(error);
        }
        let running = Running::new(self.crew, self.drain_within.or(self.drain_by_default));
        running.until(signal).await
    }

    fn check(&self) -> Result<(), PipelineError> {
        if let Some(stage) = &self.name_taken {
            let stage = stage.clone();
            return Err(PipelineError::NameTaken { stage });
        }
        match self.crew.deserted() {
            Some(stage) => Err(PipelineError::NoSubscriber { stage }),
            None => Ok(()),
        }
    }

    /// A stage named after its type, without the path.
    fn stage_of<S>(&mut self) -> StageBuilder<'_> {
        let name = self.crew.free_name(short_name(type_name::<S>()));
        self.stage(name)
    }
}

/// Of a type, without the path; with steps, of what they are put to.
fn short_name(path: &str) -> &str {
    let (outer, inner) = path.split_once('<').unwrap_or((path, ""));
    match outer {
        "stage_core::then::Then" | "stage_core::after::After" => short_name(inner),
        _ => {
            let short = outer.split(',').next().unwrap_or(outer);
            short.rsplit("::").next().unwrap_or(short)
        }
    }
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
