//! A stage whose own task cannot poll it is polled by another.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
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
}

/// Polls a stage that was woken, once, and its guests, as the stage's own task would.
struct Once {
    seat: Arc<Seat>,
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

    /// The stage was woken. Either this is seen by who begins, or that is seen here.
    pub(crate) fn call(&self) {
        if self.is_needed.fetch_or(false, AcqRel) {
            self.send();
        }
    }

    /// Has the stage polled by a task of its own, if it was woken.
    #[cold]
    fn send(&self) {
        if let Some(seat) = self.seat.upgrade() {
            let once = Once {
                seat,
                waiting: VecDeque::new(),
            };
            #[cfg(not(shuttle))]
            drop(self.runtime.spawn(once));
            #[cfg(shuttle)]
            drop(shuttle::future::spawn(once));
        }
    }
}

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { seat, waiting } = &mut *self;
        if let Some(home) = seat.home() {
            host::receive(home, None, seat.take_if_noted(), waiting, cx);
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
        host::dismiss(&mut self.waiting);
    }
}
