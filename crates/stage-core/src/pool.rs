use std::{fmt, marker::PhantomData, pin::pin, sync::Arc, thread};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tracing::{Instrument, warn};

use crate::{
    Batch, BoxError, Consumer, InHand, Receipt, Window,
    panic::without_panic,
    protocol::{Ask, ChildEnd, ChildId, Children, Pool, SubscriptionId},
    sync::{Mutex, MutexGuard, PoisonError},
    tasks::JoinSet,
};

/// A consumer that runs a task for each event. See [`pool`].
pub struct TaskPool<E, W> {
    shared: Arc<Shared<W>>,
    tasks: JoinSet<()>,
    events: PhantomData<fn(E)>,
}

/// A consumer that runs `work` for each event as a task of its own, at most `limit` at once.
///
/// An event is acked when its task succeeds, whenever that is: other than most consumers this one
/// takes the next events in while it works on the last ones, until `limit` tasks run. They end in any
/// order. Each counts as [in hand](Batch::keep_in_hand) until it has, so tasks that run and events that
/// are on their way are never more than the subscription's window: let that be larger than `limit`.
///
/// A task fails by an error or a panic. What becomes of its event is up to `children`:
///
/// - [`Children::Temporary`]: it is nacked, and the others go on.
/// - [`Children::Transient`]: the task is started again for it, in the same slot and after a wait.
///   After too many restarts, in all slots together, the pool fails with the last error.
///
/// This is GenStage's `ConsumerSupervisor`.
///
/// ```
/// use stage_core::{Children, Pipeline, Restart, Window, pool};
/// # use stage_core::{Batch, Demand, Flow, Producer};
/// # use std::convert::Infallible;
/// use std::{io, time::Duration};
/// # struct Pages;
/// # impl Producer for Pages {
/// #     type Event = String;
/// #     type Error = Infallible;
/// #     async fn produce(&mut self, _: Demand, batch: &mut Batch<String>) -> Result<Flow, Infallible> {
/// #         batch.push("/".into());
/// #         Ok(Flow::End)
/// #     }
/// # }
///
/// async fn fetch(page: String) -> io::Result<()> {
///     println!("fetching {page}");
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stage_core::PipelineError> {
/// let children = Children::Transient(Restart::new(10, Duration::from_secs(60)));
/// let mut pipeline = Pipeline::new();
/// let pages = pipeline.produce(Pages);
/// pipeline.consume(pool(8, children, fetch), pages.subscribe(Window::new(16)));
/// pipeline.run().await
/// # }
/// ```
///
/// # Errors
///
/// The last error of a task, after too many restarts. It is noticed at once; the other tasks are
/// stopped with the pool.
///
/// # Cancel safety
///
/// Dropping the pool stops its tasks and nacks their events. Dropping only a call nacks the events
/// that have no task yet.
///
/// # Panics
///
/// If `limit` is zero.
#[doc(alias = "ConsumerSupervisor")]
pub fn pool<E, W, F, X>(
    limit: usize,
    children: Children,
    work: W,
) -> impl Consumer<E, Error = BoxError>
where
    E: Clone + Send + 'static,
    W: Fn(E) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), X>> + Send + 'static,
    X: Into<BoxError> + Send + 'static,
{
    let mut pool = Pool::new(children);
    // A slot is free again as soon as its task has ended.
    let free = pool.subscribe(EVENTS, Window::new(limit).with_min(0));
    TaskPool {
        shared: Arc::new(Shared {
            state: Mutex::new(State {
                pool,
                free: free.get(),
                failure: None,
            }),
            changed: Notify::new(),
            origin: Instant::now(),
            work,
        }),
        tasks: JoinSet::new(),
        events: PhantomData,
    }
}

/// Whoever the events come from: to the machine it is one subscription, of free slots.
const EVENTS: SubscriptionId = SubscriptionId(0);

struct Shared<W> {
    state: Mutex<State>,
    /// Rung when a slot is free or the pool has failed.
    changed: Notify,
    /// The machine's time is what has gone by since.
    origin: Instant,
    work: W,
}

/// The slot of one child.
struct Slot<W> {
    shared: Arc<Shared<W>>,
    child: ChildId,
    is_free: bool,
}

struct State {
    pool: Pool,
    free: usize,
    failure: Option<BoxError>,
}

impl<E, W, F, X> Consumer<E> for TaskPool<E, W>
where
    E: Clone + Send + 'static,
    W: Fn(E) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), X>> + Send + 'static,
    X: Into<BoxError> + Send + 'static,
{
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<E>) -> Result<(), BoxError> {
        // They have left what there is to know; this frees their memory.
        while self.tasks.try_join_next().is_some() {}
        let mut in_hand = batch.keep_in_hand();
        for (event, receipt) in batch.drain_with_receipts() {
            let child = self.shared.slot().await?;
            let in_hand = in_hand.split(1);
            let slot = Slot {
                shared: Arc::clone(&self.shared),
                child,
                is_free: false,
            };
            self.tasks
                .spawn(slot.work(event, receipt, in_hand).in_current_span());
        }
        Ok(())
    }

    async fn while_idle(&mut self) -> Result<(), BoxError> {
        loop {
            let changed = self.shared.changed.notified();
            self.shared.check()?;
            while self.tasks.try_join_next().is_some() {}
            changed.await;
        }
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        while self.tasks.join_next().await.is_some() {
            self.shared.check()?;
        }
        Ok(())
    }
}

impl<W> Shared<W> {
    /// Waits for a slot and takes it.
    async fn slot(&self) -> Result<ChildId, BoxError> {
        loop {
            let changed = self.changed.notified();
            if let Some(child) = self.free_slot()? {
                return Ok(child);
            }
            changed.await;
        }
    }

    fn free_slot(&self) -> Result<Option<ChildId>, BoxError> {
        self.check()?;
        let mut state = self.lock();
        if state.free == 0 {
            return Ok(None);
        }
        state.free -= 1;
        Ok(Some(state.pool.start(EVENTS)))
    }

    /// Fails if a task has failed for good.
    fn check(&self) -> Result<(), BoxError> {
        match self.lock().failure.take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Takes note that the slots that could be asked for again are free.
    fn free(&self, ask: Option<Ask>, failure: Option<BoxError>) {
        let mut state = self.lock();
        state.free += ask.map_or(0, |(_, slots)| slots.get());
        if state.failure.is_none() {
            state.failure = failure;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Slot<W> {
    /// Does the work for one event, until it is finished. Then it is in hand no more.
    async fn work<E, F, X>(self, event: E, receipt: Receipt, in_hand: InHand)
    where
        E: Clone,
        W: Fn(E) -> F,
        F: Future<Output = Result<(), X>>,
        X: Into<BoxError>,
    {
        let Self { shared, child, .. } = &self;
        loop {
            let copy = event.clone();
            let work = async { (shared.work)(copy).await };
            let Err(error) = without_panic(pin!(work)).await else {
                receipt.ack();
                let ask = shared.lock().pool.finished(*child);
                return self.free(ask, None);
            };
            let now = shared.origin.elapsed();
            let end = shared.lock().pool.failed(*child, now);
            log(&error, end);
            match end {
                Some(ChildEnd::Restart { after }) => sleep(after).await,
                Some(ChildEnd::Escalate(ask)) => {
                    receipt.nack();
                    in_hand.fail();
                    return self.free(ask, Some(error));
                }
                Some(ChildEnd::Finished(ask)) => {
                    receipt.nack();
                    in_hand.fail();
                    return self.free(ask, None);
                }
                None => unreachable!("a child runs until it says that it does not"),
            }
        }
    }

    fn free(mut self, ask: Option<Ask>, failure: Option<BoxError>) {
        self.is_free = true;
        self.shared.free(ask, failure);
    }
}

/// If it was not freed, the task has been stopped, or code of the user's panicked where only tidying
/// up was left to do.
impl<W> Drop for Slot<W> {
    fn drop(&mut self) {
        if self.is_free {
            return;
        }
        let failure = thread::panicking().then(|| "a task panicked when it was over".into());
        let ask = self.shared.lock().pool.finished(self.child);
        self.shared.free(ask, failure);
    }
}

fn log(error: &BoxError, end: Option<ChildEnd>) {
    let error = &**error as &dyn std::error::Error;
    match end {
        Some(ChildEnd::Restart { after }) => {
            warn!(error, wait = ?after, "task failed; starting it again");
        }
        Some(ChildEnd::Escalate(_)) => warn!(error, "tasks failed too often; giving up"),
        _ => warn!(error, "task failed; its event is nacked"),
    }
}

impl<E, W> fmt::Debug for TaskPool<E, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("TaskPool")
            .field("running", &state.pool.running())
            .field("free", &state.free)
            .finish_non_exhaustive()
    }
}
