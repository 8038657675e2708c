use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    crew::Task,
    host,
    seat::{Body, Outcome, Seat},
};

/// The task that a stage is given. It polls the stage when nobody else does, and ends when it has ended.
pub(crate) struct StageTask {
    seat: Arc<Seat>,
    /// Other stages, which were woken here and have not had their turn.
    waiting: VecDeque<Box<Body>>,
    has_ended: bool,
}

/// A stage that has ended, and how.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) seat: Arc<Seat>,
    pub(crate) outcome: Outcome,
}

impl Ended {
    /// A stage that is over, for the first who asks.
    pub(crate) fn of(seat: &Arc<Seat>) -> Option<Self> {
        let outcome = seat.outcome()?;
        let seat = Arc::clone(seat);
        Some(Self { seat, outcome })
    }
}

impl StageTask {
    pub(crate) fn new(seat: Arc<Seat>, task: Task) -> Self {
        seat.sit_down(task);
        Self {
            seat,
            waiting: VecDeque::new(),
            has_ended: false,
        }
    }
}

impl Future for StageTask {
    /// Nothing, if it was told meanwhile how the stage has ended.
    type Output = Option<Ended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { seat, waiting, .. } = &mut *self;
        let home = seat.come_home(cx.waker());
        host::receive(home, Some(seat), seat.take_if_noted(), waiting, cx);
        if !seat.is_over() {
            return Poll::Pending;
        }
        let ended = Ended::of(seat);
        self.has_ended = true;
        Poll::Ready(ended)
    }
}

impl Drop for StageTask {
    fn drop(&mut self) {
        if !self.has_ended {
            self.seat.abandon();
        }
        host::dismiss(&mut self.waiting);
    }
}
