//! Whoever is checked may do anything: block its thread, wake itself for ever, panic. Here a check
//! comes to an end all the same.

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use super::Broken;
use crate::panic::panic_message;

/// Watches a check from another thread.
pub(crate) struct Watch {
    began: Instant,
    /// Since when a call of the stage has had the thread, in nanoseconds. Zero: none has.
    since: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Why the check is given up.
    cut: Option<Cut>,
    /// Whoever looks for that.
    waits: Option<Waker>,
    /// Of each call, how long it had the thread at a time. `None`: nobody wants to know.
    calls: Option<Vec<Duration>>,
}

/// Why a check did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The stage was polled over and over while no time passed.
    Spins,
    /// A call does not give its thread back, which is lost.
    Blocks,
    /// Something else goes on and on.
    Restless,
    Panicked(String),
    /// The system lacks something.
    Impossible(String),
}

/// As often as a stage may be polled while no time passes. The rules give it some dozens of events.
pub(crate) const MOST_POLLS: u32 = 30_000;

/// Nobody is kept from his thread so long by others who work: who has one so long blocks.
const BLOCKED: Duration = Duration::from_secs(10);

/// As long as a check may take.
const RESTLESS: Duration = Duration::from_secs(100);

/// So many calls show whether they keep their thread.
pub(crate) const ENOUGH_CALLS: usize = 16;

/// How often it is looked whether one of these is over.
const LOOK: Duration = Duration::from_millis(100);

thread_local! {
    static HERE: RefCell<Option<Arc<Watch>>> = const { RefCell::new(None) };
}

/// Does `work` on such a thread, on a runtime of its own whose clock is paused.
pub(crate) fn watched<T, W>(
    thread: thread::Builder,
    work: impl FnOnce() -> W + Send + 'static,
) -> Result<T, Cut>
where
    T: Send + 'static,
    W: Future<Output = T>,
{
    let watch = Watch::new();
    let (done, result) = mpsc::channel();
    let here = Arc::clone(&watch);
    let thread = thread.spawn(move || {
        HERE.set(Some(Arc::clone(&here)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        let result = match runtime {
            Ok(ref runtime) => runtime.block_on(here.unless_cut(async move { work().await })),
            Err(ref error) => Err(Cut::Impossible(format!("no runtime: {error}"))),
        };
        // If it took too long, nobody waits any more.
        let _ = done.send(result);
    });
    let thread = thread.map_err(|error| Cut::Impossible(format!("no thread: {error}")))?;
    loop {
        match result.recv_timeout(LOOK) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let late = if watch.blocked_for() > BLOCKED {
            Cut::Blocks
        } else if watch.began.elapsed() > RESTLESS {
            Cut::Restless
        } else {
            continue;
        };
        // Whatever can be ended still is.
        watch.cut(late.clone());
        return Err(late);
    }
    let message = match thread.join() {
        Err(payload) => panic_message(&*payload).to_owned(),
        Ok(()) => "(nothing)".to_owned(),
    };
    Err(Cut::Panicked(message))
}

/// What to say of these calls if they keep their thread, by the real clock, since that is what others
/// wait by.
///
/// That others use the processor makes a few calls long: as many as there are interruptions in the next
/// to nothing of time that all take together. It does not make one in four long.
pub(crate) fn keep_their_thread(calls: &[Duration], limit: Duration) -> Option<String> {
    let long = calls.iter().filter(|took| **took >= limit).count();
    (long >= 4 && long >= calls.len() / 4).then(|| {
        format!(
            "others have no turn: {long} of {} calls kept their thread for {limit:?} or longer by the \
             real clock. What blocks, or works long, belongs into `tokio::task::spawn_blocking`",
            calls.len()
        )
    })
}

impl Watch {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            began: now(),
            since: AtomicU64::new(0),
            seen: Mutex::default(),
        })
    }

    /// The watch over this thread.
    pub(crate) fn here() -> Option<Arc<Self>> {
        HERE.with_borrow(Clone::clone)
    }

    /// From now on, how long calls have the thread is of interest.
    pub(crate) fn measure(&self) {
        self.seen().calls = Some(Vec::new());
    }

    /// How long each call has had the thread at a time, at most, since [`measure`](Self::measure).
    pub(crate) fn measured(&self) -> Vec<Duration> {
        self.seen().calls.clone().unwrap_or_default()
    }

    /// A call is over that had the thread so long at a time.
    pub(crate) fn took(&self, longest: Duration) {
        if let Some(calls) = &mut self.seen().calls {
            calls.push(longest);
        }
    }

    /// The thread is the stage's until what this returns is dropped.
    pub(crate) fn enter(&self) -> Entered<'_> {
        let at = now();
        let since = at.duration_since(self.began).as_nanos();
        self.since.store(since.max(1) as u64, Relaxed);
        Entered { watch: self, at }
    }

    /// Gives the check up.
    pub(crate) fn cut(&self, why: Cut) {
        let mut seen = self.seen();
        seen.cut.get_or_insert(why);
        let waits = seen.waits.take();
        drop(seen);
        if let Some(waits) = waits {
            waits.wake();
        }
    }

    fn blocked_for(&self) -> Duration {
        match self.since.load(Relaxed) {
            0 => Duration::ZERO,
            since => (self.began.elapsed()).saturating_sub(Duration::from_nanos(since)),
        }
    }

    async fn unless_cut<T>(&self, work: impl Future<Output = T>) -> Result<T, Cut> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            let mut seen = self.seen();
            if let Some(cut) = &seen.cut {
                return Poll::Ready(Err(cut.clone()));
            }
            seen.waits = Some(cx.waker().clone());
            polled.map(Ok)
        })
        .await
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread is the stage's.
pub(crate) struct Entered<'a> {
    watch: &'a Watch,
    at: Instant,
}

impl Entered<'_> {
    pub(crate) fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.watch.since.store(0, Relaxed);
    }
}

impl From<Cut> for Broken {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Impossible(why) => Self::Skipped(why),
            cut => Self::Failed(cut.to_string()),
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spins => write!(
                f,
                "it was polled {MOST_POLLS} times while no time passed: it wakes itself, or is called \
                 again for nothing, and does not come to rest"
            ),
            Self::Blocks => write!(
                f,
                "a call has kept its thread for {BLOCKED:?}: it blocks, or never ends. What blocks \
                 belongs into `tokio::task::spawn_blocking`"
            ),
            Self::Restless => write!(f, "it never came to rest, for {RESTLESS:?}"),
            Self::Panicked(message) => write!(f, "something panicked that must not: {message}"),
            Self::Impossible(why) => f.write_str(why),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a paused clock says nothing of a thread in use"
)]
fn now() -> Instant {
    Instant::now()
}
