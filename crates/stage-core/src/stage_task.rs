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
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { seat, waiting, .. } = &mut *self;
        let home = seat.come_home(cx.waker());
        host::receive(home, Some(seat), seat.take_if_noted(), waiting, cx);
        let Some(outcome) = seat.outcome() else {
            return Poll::Pending;
        };
        let seat = Arc::clone(seat);
        self.has_ended = true;
        Poll::Ready(Ended { seat, outcome })
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
