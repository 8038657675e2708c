//! A stage whose own task cannot poll it is polled by another.

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    thread,
};

#[cfg(not(shuttle))]
use tokio::runtime::Handle;

use crate::{
    host,
    seat::{Body, Seat},
    sync::atomic::{
        AtomicBool,
        Ordering::{AcqRel, Release},
    },
};

/// Where tasks are started that stand in for a stage's own, from whatever thread.
#[derive(Debug)]
pub(crate) struct StandIn {
    #[cfg(not(shuttle))]
    runtime: Handle,
    seat: Weak<Seat>,
    /// The stage's own task does not come to poll it: another's turn in it does not end.
    is_needed: AtomicBool,
    /// A task that stands in has not begun yet. However often the stage is woken meanwhile, it needs no other.
    is_sent: AtomicBool,
}

/// Polls a stage that was woken, once, and its guests, as the stage's own task would.
struct Once {
    seat: Arc<Seat>,
    has_begun: bool,
    waiting: VecDeque<Box<Body>>,
}

impl StandIn {
    /// For the stage whose task this is called in.
    pub(crate) fn new(seat: &Arc<Seat>) -> Self {
        Self {
            #[cfg(not(shuttle))]
            runtime: Handle::current(),
            seat: Arc::downgrade(seat),
            is_needed: AtomicBool::new(false),
            is_sent: AtomicBool::new(false),
        }
    }

    /// Tasks stand in from here on.
    pub(crate) fn begin(&self) {
        self.is_needed.swap(true, AcqRel);
        // The stage may have been woken before.
        self.send();
    }

    /// The stage's own task comes to poll it.
    pub(crate) fn end(&self) {
        self.is_needed.store(false, Release);
    }

    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn is_needed(&self) -> bool {
        self.is_needed.load(std::sync::atomic::Ordering::Acquire)
    }

    /// The stage was woken. Either this is seen by who begins, or that is seen here.
    pub(crate) fn call(&self) {
        if self.is_needed.fetch_or(false, AcqRel) {
            self.send();
        }
    }

    /// Has another task poll the stage, if it was woken, or drop it, if it is to be.
    #[cold]
    pub(crate) fn send(&self) {
        // Either who begins sees what the stage was woken for, or it is seen here that one has begun.
        if self.is_sent.swap(true, AcqRel) {
            return;
        }
        if let Some(seat) = self.seat.upgrade() {
            let once = Once {
                seat,
                has_begun: false,
                waiting: VecDeque::new(),
            };
            #[cfg(not(shuttle))]
            drop(self.runtime.spawn(once));
            #[cfg(shuttle)]
            drop(shuttle::future::spawn(once));
        }
    }

    /// The task that was sent has begun.
    fn has_begun(&self) {
        self.is_sent.swap(false, AcqRel);
    }

    /// The task that was sent has gone, since the runtime is at its end. The stage's own would drop it, if it came to
    /// that.
    ///
    /// It is dropped in a thread of its own, as if in the runtime: here, whoever woke it may hold locks, or others may
    /// wait to be relieved. Without such a thread it is dropped here.
    fn give_up(&self, seat: &Arc<Seat>) {
        self.has_begun();
        let there = Arc::clone(seat);
        #[cfg(not(shuttle))]
        let runtime = self.runtime.clone();
        let thread = thread::Builder::new().name("stage-core drop".into());
        let thread = thread.spawn(move || {
            #[cfg(not(shuttle))]
            let _entered = runtime.enter();
            there.abandon();
        });
        if thread.is_err() {
            seat.abandon();
        }
    }
}

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self {
            seat,
            has_begun,
            waiting,
        } = &mut *self;
        if let Some(home) = seat.home() {
            if !mem::replace(has_begun, true)
                && let Some(stand_in) = seat.stand_in()
            {
                stand_in.has_begun();
            }
            host::receive(home, None, seat.take_if_noted(), waiting, cx);
        }
        if seat.is_over() {
            // Its own task cannot tell.
            seat.meter.has_ended(seat);
        }
        match waiting.is_empty() {
            true => Poll::Ready(()),
            // They have had the task woken.
            false => Poll::Pending,
        }
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        if !self.has_begun
            && let Some(stand_in) = self.seat.stand_in()
        {
            stand_in.give_up(&self.seat);
        }
        host::dismiss(&mut self.waiting);
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{future::poll_fn, sync::mpsc, time::Duration};

    use tokio::{runtime::Builder, task::yield_now, time::timeout};

    use super::*;
    use crate::host::tests::lasting;

    const LONG: Duration = Duration::from_secs(60);

    /// A stage in its task, that says when it is polled.
    fn at_home() -> (Arc<Seat>, mpsc::Receiver<()>) {
        let (polled, is_polled) = mpsc::channel();
        let seat = Seat::new(&"at home".into());
        seat.sit_down(Box::pin(poll_fn(move |_| {
            polled.send(()).expect("the test looks");
            Poll::Pending
        })));
        seat.come_home(Context::from_waker(std::task::Waker::noop()).waker());
        (seat, is_polled)
    }

    fn with_another_thread(test: impl Future<Output = ()>) {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_time().build();
        runtime
            .expect("there can be threads")
            .block_on(async { timeout(LONG, test).await.expect("it goes on") });
    }

    #[test]
    fn what_it_was_woken_for_before_others_stand_in_is_not_lost() {
        with_another_thread(async {
            let (seat, is_polled) = at_home();
            seat.keep_from_home();
            let polled = tokio::task::spawn_blocking(move || is_polled.recv_timeout(LONG));
            assert_eq!(polled.await.unwrap(), Ok(()));
            let tasks = || Handle::current().metrics().num_alive_tasks();
            while tasks() > 0 {
                yield_now().await;
            }
            // From here on its own task does it.
            seat.let_home();
            seat.cancel();
            assert_eq!(tasks(), 0);
        });
    }

    #[test]
    fn however_often_it_is_woken_one_task_is_on_its_way() {
        with_another_thread(async {
            let (seat, is_polled) = at_home();
            let runtime = Handle::current();
            // Until then nobody has another task begin.
            let (goes_on, may_go_on) = mpsc::channel::<()>();
            let keeps = tokio::spawn(async move { may_go_on.recv() });
            seat.keep_from_home();
            for _ in 0..1_000 {
                seat.cancel();
            }
            assert!(runtime.metrics().num_alive_tasks() <= 2);
            goes_on.send(()).unwrap();
            keeps.await.unwrap().unwrap();
            while !seat.is_over() {
                yield_now().await;
            }
            assert!(is_polled.try_recv().is_err(), "it was dropped");
        });
    }

    #[test]
    fn guests_that_wait_are_waited_for_or_sent_home() {
        with_another_thread(async {
            let (seat, _polled) = at_home();
            // Each takes so long that others are to have their turn.
            let guests: Vec<_> = (0..100)
                .map(|_| lasting(Duration::from_millis(1)))
                .collect();
            let seats: Vec<_> = guests.iter().map(|it| Arc::clone(it.seat())).collect();
            let mut once = Once {
                seat,
                has_begun: false,
                waiting: guests.into(),
            };
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut once).poll(cx))).await;
            assert!(polled.is_pending() && !once.waiting.is_empty());
            drop(once);
            assert!(seats.iter().all(|seat| seat.take().is_some()));
        });
    }
}
