use std::{
    error::Error,
    fmt,
    hash::Hash,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use crate::{
    AddError, Consumer, Intake, Lane, LaneBuilder, Outlet, PipelineStatus, Producer, Subscription,
    Transform,
    assemble::{self, Assembled},
    builder::{As, Dispatching, ToAll, ToOne},
    crew::{AnyDesk, Claim, Crew, Member},
    desk::Desk,
    link::{Carries, ReceiveEnd, SendEnd},
    protocol::{Dispatcher, Partition},
};

/// Looks at a pipeline and changes it while it runs. Made by
/// [`Pipeline::handle`](crate::Pipeline::handle).
///
/// It keeps nothing alive: once the pipeline has ended, there is nothing to be found by it.
///
/// ```
/// # use stage_core::{Batch, Consumer, Demand, Flow, Pipeline, Producer, Window};
/// # use std::convert::Infallible;
/// # struct Zeros;
/// # impl Producer for Zeros {
/// #     type Event = u64;
/// #     type Error = Infallible;
/// #     async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
/// #         tokio::time::sleep(std::time::Duration::from_millis(1)).await;
/// #         batch.push(0);
/// #         Ok(Flow::More)
/// #     }
/// # }
/// # struct Print;
/// # impl Consumer<u64> for Print {
/// #     type Error = Infallible;
/// #     async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
/// #         Ok(batch.drain().for_each(drop))
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut pipeline = Pipeline::new();
/// let numbers = pipeline.stage("numbers").produce(Zeros);
/// pipeline.stage("print").consume(Print, numbers.subscribe(Window::new(10)));
/// let handle = pipeline.handle();
/// let running = tokio::spawn(pipeline.run());
///
/// // A second consumer joins, and the first leaves.
/// let numbers = handle.outlet::<u64>("numbers")?;
/// handle.stage("print-2").consume(Print, numbers.subscribe(Window::new(10)))?;
/// handle.remove("print")?;
/// tokio::time::sleep(std::time::Duration::from_secs(1)).await;
/// let status = handle.status();
/// let names: Vec<&str> = status.stages.iter().map(|stage| &*stage.name).collect();
/// assert_eq!(names, ["numbers", "print-2"]);
/// # drop(numbers);
/// handle.stop();
/// running.await??;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PipelineHandle(Weak<Crew>);

/// What was looked for is not in the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupError {
    /// No stage of this name runs: it has ended, or never was.
    NoSuchStage {
        /// The name.
        name: String,
    },
    /// The stage is a consumer, and hands no events on that could be subscribed to.
    #[non_exhaustive]
    NoOutlet {
        /// The stage's name.
        name: String,
    },
    /// The stage is a producer, and takes no events in.
    #[non_exhaustive]
    NoIntake {
        /// The stage's name.
        name: String,
    },
    /// The stage is a consumer, which cannot be held back from without: it asks for events itself.
    #[non_exhaustive]
    NotHeldBack {
        /// The stage's name.
        name: String,
    },
    /// Events of the stage are of another type than was asked for.
    #[non_exhaustive]
    OtherEvents {
        /// The stage's name.
        name: String,
        /// The type that was asked for, as the compiler writes it.
        asked_for: &'static str,
        /// The type that they are of.
        actual: &'static str,
    },
}

impl PipelineHandle {
    pub(crate) fn new(crew: &Arc<Crew>) -> Self {
        Self(Arc::downgrade(crew))
    }

    /// Starts a stage that joins the running pipeline. Its name must be free.
    pub fn stage(&self, name: impl Into<String>) -> LateStage {
        LateStage {
            crew: Weak::clone(&self.0),
            name: name.into(),
            dispatching: ToOne,
        }
    }

    /// Where to subscribe to the stage of this name, whose events are of type `E`. As long as it is
    /// held, the stage waits for subscribers also when it has none.
    ///
    /// # Errors
    ///
    /// If there is no such stage, it is a consumer, or its events are of another type.
    pub fn outlet<E: Send + 'static>(&self, name: &str) -> Result<Outlet<E>, LookupError> {
        let desk = self.member(name)?.front.clone();
        let desk = desk.ok_or_else(|| LookupError::NoOutlet { name: name.into() })?;
        let desk = of_type::<SendEnd<E>>(name, desk)?;
        Ok(Outlet::expecting(&desk))
    }

    /// One lane of a stage that divides its events into lanes, for the successor of a subscriber
    /// that has gone. Whether it is free is seen when it is subscribed to: if not, the subscription
    /// is [refused](crate::protocol::Reason::Refused).
    ///
    /// # Errors
    ///
    /// As [`outlet`](Self::outlet).
    pub fn lane<E: Send + 'static>(
        &self,
        name: &str,
        number: usize,
    ) -> Result<Lane<E>, LookupError> {
        Ok(self.outlet(name)?.lane(number))
    }

    /// Where to give the stage of this name, which takes events of type `E`, more subscriptions.
    ///
    /// # Errors
    ///
    /// If there is no such stage, it is a producer, or it takes events of another type.
    pub fn intake<E: Send + 'static>(&self, name: &str) -> Result<Intake<E>, LookupError> {
        let desk = self.member(name)?.back.clone();
        let desk = desk.ok_or_else(|| LookupError::NoIntake { name: name.into() })?;
        let desk = of_type::<ReceiveEnd<E>>(name, desk)?;
        Ok(Intake::within(Weak::clone(&self.0), desk))
    }

    /// Takes one stage from the pipeline. A producer hands out what it has made first; another stage
    /// finishes what it has in hand, and what was on its way to it is nacked.
    ///
    /// # Errors
    ///
    /// If there is no such stage.
    pub fn remove(&self, name: &str) -> Result<(), LookupError> {
        self.member(name)?.stop();
        Ok(())
    }

    /// Holds a stage back: it makes no events, or takes none in, until [`resume`](Self::resume).
    /// What it is working on it finishes. Demand is remembered meanwhile. A pipeline that is told to
    /// stop lets it go on, and holds nobody back any more.
    ///
    /// # Errors
    ///
    /// If there is no such stage, or it is a consumer, which is held back by not asking.
    pub fn pause(&self, name: &str) -> Result<(), LookupError> {
        self.hold(name, true)
    }

    /// Lets a stage go on that was held back. One that was not stays as it is.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    pub fn resume(&self, name: &str) -> Result<(), LookupError> {
        self.hold(name, false)
    }

    fn hold(&self, name: &str, held: bool) -> Result<(), LookupError> {
        let member = self.member(name)?;
        let front = member.front.as_ref();
        let front = front.ok_or_else(|| LookupError::NotHeldBack { name: name.into() })?;
        if let Some(crew) = self.0.upgrade() {
            crew.hold(&**front, held);
        }
        Ok(())
    }

    /// Waits until the stage of this name has dealt with every event that it has, or has been sent,
    /// at the time of the call: a consumer has taken them in; a producer or transform has handed
    /// them out. At once if there is no such stage. Of events that are
    /// [kept in hand](crate::Batch::keep_in_hand) as many must be let go of, whichever they are.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing for the stage.
    pub async fn passed(&self, name: &str) {
        let Ok(member) = self.member(name) else {
            return;
        };
        for desk in member.back.iter().chain(&member.front) {
            let (notice, passed) = oneshot::channel();
            desk.notify(notice);
            // It is dropped untold if the stage goes down: then it has no events any more.
            let _ = passed.await;
        }
    }

    /// Tells the pipeline to stop: producers make no more, and what has been made is drained.
    pub fn stop(&self) {
        if let Some(crew) = self.0.upgrade() {
            crew.stop();
        }
    }

    /// How much is left of the [time for draining](crate::Pipeline::drain_within); `None` unless the pipeline
    /// stops, and there is such a time. For what a stage does last: what outlasts it is cut off, and that is an
    /// error of the pipeline.
    pub fn drain_left(&self) -> Option<Duration> {
        let until = self.0.upgrade()?.drain_until()?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// What runs in the pipeline, and how it stands. Empty once it has ended.
    ///
    /// Stages go on meanwhile, so counts of different stages need not be of the same instant.
    pub fn status(&self) -> PipelineStatus {
        match self.0.upgrade() {
            Some(crew) => PipelineStatus::of(&crew),
            None => PipelineStatus {
                stages: Vec::new(),
                stopping: true,
            },
        }
    }

    /// How often the tasks of all stages were polled.
    #[cfg(feature = "testkit")]
    pub(crate) fn polls(&self) -> u64 {
        let members = self.0.upgrade().map(|crew| crew.members());
        let members = members.unwrap_or_default();
        members.iter().map(|member| member.seat.meter.polls()).sum()
    }

    fn member(&self, name: &str) -> Result<Member, LookupError> {
        let member = self.0.upgrade().and_then(|crew| crew.member(name));
        member.ok_or_else(|| LookupError::NoSuchStage { name: name.into() })
    }
}

/// A desk, if it is one for events of the type that is asked for.
fn of_type<L: Carries>(name: &str, desk: Arc<dyn AnyDesk>) -> Result<Arc<Desk<L>>, LookupError> {
    let actual = desk.event_type();
    let desk = desk.into_any().downcast();
    desk.map_err(|_| LookupError::OtherEvents {
        name: name.into(),
        asked_for: L::event_type(),
        actual,
    })
}

/// Settings for a stage that joins a running pipeline. Made by [`PipelineHandle::stage`].
#[must_use = "settings do nothing until a stage is added"]
pub struct LateStage<D = ToOne> {
    crew: Weak<Crew>,
    name: String,
    dispatching: D,
}

impl LateStage {
    /// Gives every event to every subscriber, at the pace of the slowest.
    pub fn broadcast(self) -> LateStage<ToAll> {
        self.dispatching(ToAll)
    }

    /// Divides events into `lanes` lanes by key, as [`StageBuilder::partition`] does.
    ///
    /// # Panics
    ///
    /// If `lanes` is zero.
    ///
    /// [`StageBuilder::partition`]: crate::StageBuilder::partition
    pub fn partition<E: Send + 'static, K: Hash>(
        self,
        lanes: usize,
        key: impl Fn(&E) -> K + Send + 'static,
    ) -> LaneBuilder<LateStage<As<Partition<E>>>> {
        LaneBuilder::new(self.dispatch(Partition::by_key(lanes, key)), lanes)
    }

    /// Divides events into `lanes` lanes as `lane_of` says, as [`StageBuilder::partition_by`] does.
    ///
    /// # Panics
    ///
    /// If `lanes` is zero.
    ///
    /// [`StageBuilder::partition_by`]: crate::StageBuilder::partition_by
    pub fn partition_by<E: Send + 'static>(
        self,
        lanes: usize,
        lane_of: impl Fn(&E) -> Option<usize> + Send + 'static,
    ) -> LaneBuilder<LateStage<As<Partition<E>>>> {
        LaneBuilder::new(self.dispatch(Partition::by_fn(lanes, lane_of)), lanes)
    }

    /// Divides events as `dispatcher` does.
    pub fn dispatch<D>(self, dispatcher: D) -> LateStage<As<D>> {
        self.dispatching(As::new(dispatcher))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn dispatching<D>(self, dispatching: D) -> LateStage<D> {
        LateStage {
            crew: self.crew,
            name: self.name,
            dispatching,
        }
    }

    /// Adds the stage, as one that takes events in.
    ///
    /// # Errors
    ///
    /// If the name is taken, or the pipeline stops. The consumer is dropped.
    pub fn consume<E, C>(
        self,
        consumer: C,
        subscriptions: impl IntoIterator<Item = Subscription<E>>,
    ) -> Result<Intake<E>, AddError>
    where
        E: Send + 'static,
        C: Consumer<E>,
    {
        let claim = claim(&self.crew, self.name)?;
        let stage = assemble::consumer(claim.name(), consumer, subscriptions);
        Ok(Intake::new(stage.add_by(claim)?))
    }
}

impl<D> LateStage<D> {
    /// Adds the stage, as one that makes events. It waits for subscribers as long as its outlet is
    /// there.
    ///
    /// # Errors
    ///
    /// If the name is taken, or the pipeline stops. The producer is dropped.
    pub fn produce<P: Producer>(self, producer: P) -> Result<Outlet<P::Event>, AddError>
    where
        D: Dispatching<P::Event>,
    {
        let claim = claim(&self.crew, self.name)?;
        let dispatcher: Box<dyn Dispatcher<_>> = self.dispatching.into_dispatcher();
        let stage = assemble::producer(claim.name(), producer, dispatcher);
        add_expecting(claim, stage)
    }

    /// Adds the stage, as one that turns events into others. It waits for subscribers as long as its
    /// outlet is there.
    ///
    /// # Errors
    ///
    /// If the name is taken, or the pipeline stops. The transform is dropped.
    pub fn transform<In, T>(
        self,
        transform: T,
        subscriptions: impl IntoIterator<Item = Subscription<In>>,
    ) -> Result<Outlet<T::Out>, AddError>
    where
        In: Send + 'static,
        T: Transform<In>,
        D: Dispatching<T::Out>,
    {
        let claim = claim(&self.crew, self.name)?;
        let dispatcher = self.dispatching.into_dispatcher();
        let stage = assemble::transform(claim.name(), transform, subscriptions, dispatcher);
        add_expecting(claim, stage)
    }
}

/// The name, for a stage that is put together next.
fn claim(crew: &Weak<Crew>, name: String) -> Result<Claim, AddError> {
    let crew = crew.upgrade().ok_or(AddError::Stopping)?;
    crew.claim(&name.into())
}

fn add_expecting<E: Send + 'static>(
    claim: Claim,
    stage: Assembled<Desk<SendEnd<E>>>,
) -> Result<Outlet<E>, AddError> {
    // Before it runs, or it would end at once for lack of subscribers.
    let outlet = Outlet::expecting(&stage.desk);
    stage.add_by(claim)?;
    Ok(outlet)
}

impl fmt::Debug for PipelineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crew = self.0.upgrade();
        f.debug_tuple("PipelineHandle").field(&crew).finish()
    }
}

impl<D> fmt::Debug for LateStage<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateStage")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchStage { name } => write!(
                f,
                "no stage named `{name}` runs: it has ended, or its name is another"
            ),
            Self::NoOutlet { name } => write!(
                f,
                "stage `{name}` is a consumer and hands no events on: subscribe to a stage that it takes them \
                 from"
            ),
            Self::NoIntake { name } => write!(
                f,
                "stage `{name}` is a producer and takes no events in: have a transform or a consumer subscribe"
            ),
            Self::NotHeldBack { name } => write!(
                f,
                "stage `{name}` is a consumer, which is not paused: pause the stages that it takes events from, \
                 or subscribe it manually and do not ask"
            ),
            Self::OtherEvents {
                name,
                asked_for,
                actual,
            } => write!(
                f,
                "events of stage `{name}` are of type `{actual}`, not `{asked_for}`: ask for the type that it was \
                 added with"
            ),
        }
    }
}

impl Error for LookupError {}
