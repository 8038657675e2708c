use std::{
    error::Error,
    fmt, mem,
    sync::{Arc, Weak},
};

use crate::{
    Producer, assemble,
    crew::{Close, Crew},
    desk::Desk,
    link::{ReceiveEnd, SendEnd, connect},
    protocol::{ByDemand, Dispatcher, Partition},
    subscription::{Leave, Wish},
    sync::{Mutex, MutexGuard, PoisonError},
    weaks::Weaks,
};

/// Producers that come and go while their pipeline runs, behind one [`Outlet`](crate::Outlet).
///
/// A stage that subscribes to the group's outlet subscribes to each producer that is added, with
/// the same window for each. The group is open as long as any clone of this handle is: only when
/// all are dropped, or the pipeline stops, do its subscribers see its end.
///
/// ```
/// # use stage_core::{Batch, Consumer, Demand, Flow, Pipeline, Producer, Window};
/// # use std::convert::Infallible;
/// # struct Once(Option<u64>);
/// # impl Producer for Once {
/// #     type Event = u64;
/// #     type Error = Infallible;
/// #     async fn produce(&mut self, _: Demand, batch: &mut Batch<u64>) -> Result<Flow, Infallible> {
/// #         batch.extend(self.0.take());
/// #         Ok(Flow::End)
/// #     }
/// # }
/// # struct Print;
/// # impl Consumer<u64> for Print {
/// #     type Error = Infallible;
/// #     async fn consume(&mut self, batch: &mut Batch<u64>) -> Result<(), Infallible> {
/// #         println!("{batch:?}");
/// #         Ok(())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut pipeline = Pipeline::new();
/// let (group, numbers) = pipeline.group();
/// pipeline.consume(Print, numbers.subscribe(Window::new(10)));
/// tokio::spawn(async move {
///     for n in 0..3 {
///         group.add(format!("numbers/{n}"), Once(Some(n)))?;
///     }
///     Ok::<(), stage_core::AddError>(())
/// });
/// pipeline.run().await?;
/// # Ok(())
/// # }
/// ```
pub struct Group<E>(Arc<Open<E>>);

/// Closes the group when the last handle is dropped.
struct Open<E> {
    members: Arc<Members<E>>,
    crew: Weak<Crew>,
    /// How a member's events are divided among its subscribers.
    dispatching: Box<dyn Fn() -> Box<dyn Dispatcher<E>> + Send + Sync>,
}

/// What a group's handles and its outlets share.
pub(crate) struct Members<E>(Mutex<State<E>>);

struct State<E> {
    desks: Weaks<Desk<SendEnd<E>>>,
    subscribers: Vec<Subscriber<E>>,
    closed: bool,
}

/// Who is linked with every member, and how.
type Subscriber<E> = (Arc<Desk<ReceiveEnd<E>>>, Wish<E>);

/// A producer could not be added to a running pipeline. It has been dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddError {
    /// Another stage has this name: choose one that is not taken.
    NameTaken {
        /// The name.
        name: String,
    },
    /// The pipeline stops or has ended: there is nothing more to do.
    Stopping,
}

impl<E: Send + 'static> Group<E> {
    /// One whose members give each event to whoever has asked for most.
    pub(crate) fn new(crew: &Arc<Crew>) -> (Self, Arc<Members<E>>) {
        Self::dispatching(crew, || Box::new(ByDemand::default()))
    }

    /// One whose members divide their events into lanes.
    pub(crate) fn partitioned(
        crew: &Arc<Crew>,
        lanes: usize,
        lane_of: impl Fn(&E) -> Option<usize> + Send + Sync + 'static,
    ) -> (Self, Arc<Members<E>>) {
        let lane_of = Arc::new(lane_of);
        Self::dispatching(crew, move || {
            let lane_of = Arc::clone(&lane_of);
            Box::new(Partition::by_fn(lanes, move |event| lane_of(event)))
        })
    }

    fn dispatching(
        crew: &Arc<Crew>,
        dispatching: impl Fn() -> Box<dyn Dispatcher<E>> + Send + Sync + 'static,
    ) -> (Self, Arc<Members<E>>) {
        let members = Arc::new(Members(Mutex::new(State {
            desks: Weaks::new(),
            subscribers: Vec::new(),
            closed: false,
        })));
        crew.close_when_stopping(Arc::downgrade(&members) as Weak<dyn Close>);
        let open = Open {
            members: Arc::clone(&members),
            crew: Arc::downgrade(crew),
            dispatching: Box::new(dispatching),
        };
        (Self(Arc::new(open)), members)
    }

    /// Adds a producer as a stage of this name, which must be free. It runs at once if the pipeline
    /// does.
    ///
    /// # Errors
    ///
    /// If the name is taken, or the pipeline stops.
    pub fn add<P>(&self, name: impl Into<String>, producer: P) -> Result<(), AddError>
    where
        P: Producer<Event = E>,
    {
        let crew = self.0.crew.upgrade().ok_or(AddError::Stopping)?;
        let claim = crew.claim(&name.into().into())?;
        let stage = assemble::producer(claim.name(), producer, (self.0.dispatching)());
        self.0.members.join(&stage.desk)?;
        stage.add_by(claim)?;
        Ok(())
    }

    /// Whether nobody can be added any more: the pipeline is told to stop, or has ended.
    pub fn is_closed(&self) -> bool {
        let crew = self.0.crew.upgrade();
        crew.is_none_or(|crew| crew.is_stopping())
    }
}

impl<E: Send + 'static> Members<E> {
    /// Links a new member with every subscriber.
    fn join(&self, desk: &Arc<Desk<SendEnd<E>>>) -> Result<(), AddError> {
        let mut state = self.lock();
        if state.closed {
            return Err(AddError::Stopping);
        }
        state.desks.add(Arc::downgrade(desk));
        state.forget_who_left();
        for (subscriber, wish) in &state.subscribers {
            connect(desk, subscriber, wish.clone());
        }
        Ok(())
    }

    /// Links a new subscriber with every member.
    pub(crate) fn subscribe(self: &Arc<Self>, desk: &Arc<Desk<ReceiveEnd<E>>>, wish: Wish<E>) {
        if let Some(handle) = &wish.handle {
            let group: Weak<Self> = Arc::downgrade(self);
            handle.join(group);
        }
        let mut state = self.lock();
        state.forget_who_left();
        if state.closed || wish.is_cancelled() {
            return;
        }
        desk.expect();
        for member in state.desks.iter() {
            connect(&member, desk, wish.clone());
        }
        state.subscribers.push((Arc::clone(desk), wish));
    }
}

impl<E> Members<E> {
    /// Lets no member in from now on, and tells the subscribers so.
    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let subscribers = mem::take(&mut state.subscribers);
        drop(state);
        for (desk, _) in subscribers {
            desk.expect_no_more();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> State<E> {
    /// Forgets the subscribers that have ended, and those whose subscriptions were cancelled: these
    /// are told that the group brings them nobody more.
    fn forget_who_left(&mut self) {
        let has_left = |(desk, wish): &mut Subscriber<E>| desk.is_closed() || wish.is_cancelled();
        for (desk, _) in self.subscribers.extract_if(.., has_left) {
            desk.expect_no_more();
        }
    }
}

impl<E: Send> Leave for Members<E> {
    fn forget_who_left(&self) {
        self.lock().forget_who_left();
    }
}

impl<E: Send> Close for Members<E> {
    fn close(&self) {
        Self::close(self);
    }
}

impl<E> Drop for Open<E> {
    fn drop(&mut self) {
        self.members.close();
    }
}

impl<E> Clone for Group<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for Group<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.members.lock();
        f.debug_struct("Group")
            .field("subscribers", &state.subscribers.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTaken { name } => {
                write!(
                    f,
                    "another stage is named `{name}`: give this one a name of its own"
                )
            }
            Self::Stopping => f.write_str("the pipeline is stopping: no stage can be added to it"),
        }
    }
}

impl Error for AddError {}
