use std::{
    any::Any,
    future::{Future, poll_fn},
    iter,
    panic::resume_unwind,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, ready},
    time::Duration,
};

use kinesis_source::CheckpointStore;
use tokio::task::{JoinError, JoinSet, unconstrained};

use crate::Fake;

mod api;
mod checkpoints;
mod gate;

pub use api::WorkerApi;
pub use gate::Gate;

use checkpoints::WorkerCheckpoints;

/// A process that reads a stream, as a test sees it: it can stand still, die, lose its connections
/// and be wrong about the time.
///
/// Everything that it has of the outside goes through its [`Gate`]: the [`api`](Self::api), its
/// [`checkpoints`](Self::checkpoints), and whatever else the test lets [pass](Gate::pass) there.
///
/// ```
/// use kinesis_fake::{Fake, Worker};
/// use kinesis_source::{KinesisApi, Position};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let fake = Fake::new(1);
/// let worker = Worker::new(&fake);
/// let api = worker.api();
/// worker.run(async move {
///     let shard = "shardId-000000000000".into();
///     loop {
///         api.get_shard_iterator(&shard, &Position::Latest).await.ok();
///         tokio::time::sleep(std::time::Duration::from_secs(1)).await;
///     }
/// });
/// tokio::time::sleep(std::time::Duration::from_secs(10)).await;
///
/// // As with `kill -9`: whatever its tasks do while they are dropped, nobody hears of it.
/// worker.kill().await;
/// let calls = fake.calls();
/// tokio::time::sleep(std::time::Duration::from_secs(10)).await;
/// assert_eq!(fake.calls(), calls);
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    fake: Fake,
    gate: Gate,
    tasks: Mutex<JoinSet<()>>,
}

/// What a worker can be cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dependency {
    /// Kinesis: calls fail as if the connection were broken, and subscriptions end so.
    Kinesis,
    /// Its checkpoints: they are unavailable.
    Checkpoints,
}

impl Worker {
    /// A worker that runs, reads that stream, and knows what time it is.
    pub fn new(fake: &Fake) -> Self {
        Self {
            fake: fake.clone(),
            gate: Gate::new(),
            tasks: Mutex::default(),
        }
    }

    /// The stream, as this worker reaches it.
    pub fn api(&self) -> Arc<WorkerApi> {
        Arc::new(WorkerApi::new(self.fake.clone(), self.gate.clone()))
    }

    /// A store of checkpoints, as this worker reaches it.
    pub fn checkpoints(&self, store: Arc<dyn CheckpointStore>) -> Arc<dyn CheckpointStore> {
        Arc::new(WorkerCheckpoints::new(store, self.gate.clone()))
    }

    /// What everything outside of it is behind. A test lets its handler pass there, too.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Runs a task of this worker. While the worker is paused it stands still, whatever wakes it;
    /// tasks that it spawns by itself do so at the gate.
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio.
    pub fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let gate = self.gate.clone();
        self.tasks().spawn(frozen_while_paused(task, gate));
    }

    /// Lets it stand still, as a process that is suspended: its timers go on, and it finds out about
    /// them when it is resumed. Does nothing to one that was killed.
    pub fn pause(&self) {
        self.gate.pause();
    }

    /// Lets it go on. Does nothing to one that was killed.
    pub fn resume(&self) {
        self.gate.resume();
    }

    /// Kills it as `kill -9` does. First its gate closes for good, so that nothing its tasks do on
    /// their way out is seen outside; then they are dropped. Returns when they are.
    ///
    /// # Panics
    ///
    /// With the panic of a task that had ended so before: it was not killed, it failed by itself. What
    /// panics because it is dropped is nothing wrong.
    pub async fn kill(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        // All that there are, however much this task has done since it last waited.
        let failed = unconstrained(async { panic_of_ended(&mut tasks) }).await;
        self.gate.close();
        tasks.shutdown().await;
        if let Some(panic) = failed {
            resume_unwind(panic);
        }
    }

    /// Waits until all its tasks have ended by themselves.
    ///
    /// # Panics
    ///
    /// With the panic of a task that did.
    pub async fn finish(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        while let Some(task) = tasks.join_next().await {
            if let Some(panic) = panic_of(task) {
                resume_unwind(panic);
            }
        }
    }

    /// Breaks its connections to one dependency until it is [reconnected](Self::reconnect).
    pub fn cut_off(&self, from: Dependency) {
        self.gate.connect(from, false);
    }

    /// Mends its connections to one dependency.
    pub fn reconnect(&self, to: Dependency) {
        self.gate.connect(to, true);
    }

    /// Its clock is that far ahead of the service's.
    pub fn clock_ahead(&self, by: Duration) {
        self.gate.skew(by, true);
    }

    /// Its clock is that far behind the service's.
    pub fn clock_behind(&self, by: Duration) {
        self.gate.skew(by, false);
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first panic of the tasks that have ended, if there is one.
fn panic_of_ended(tasks: &mut JoinSet<()>) -> Option<Panic> {
    let ended = iter::from_fn(|| tasks.try_join_next());
    // To the last of them: each is taken out.
    ended
        .filter_map(panic_of)
        .fold(None, |first, it| first.or(Some(it)))
}

fn panic_of(task: Result<(), JoinError>) -> Option<Panic> {
    task.err()?.try_into_panic().ok()
}

type Panic = Box<dyn Any + Send>;

async fn frozen_while_paused(task: impl Future<Output = ()>, gate: Gate) {
    let mut task = pin!(task);
    loop {
        gate.pass().await;
        let mut paused = pin!(gate.paused());
        let ended = poll_fn(|context| {
            if paused.as_mut().poll(context).is_ready() {
                return Poll::Ready(false);
            }
            ready!(task.as_mut().poll(context));
            Poll::Ready(true)
        });
        if ended.await {
            return;
        }
    }
}
