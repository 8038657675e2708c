use std::{
    collections::VecDeque,
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    crew::Task,
    failure::Failure,
    host,
    seat::{Body, Outcome, Seat},
};

/// The task that a stage is given. It polls the stage when nobody else does, and ends when it has ended.
pub(crate) struct StageTask {
    seat: Arc<Seat>,
    /// Other stages, which were woken here and have not had their turn.
    waiting: VecDeque<Box<Body>>,
}

/// The stage was dropped where it stood, since that was wanted.
#[derive(Debug)]
pub(crate) struct Cancelled;

impl StageTask {
    pub(crate) fn new(task: Task) -> Self {
        Self {
            seat: Seat::new(task),
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    fn outcome(&self) -> Option<Result<Result<(), Failure>, Cancelled>> {
        match self.seat.outcome()? {
            Outcome::Done(result) => Some(Ok(result)),
            Outcome::Cancelled => Some(Err(Cancelled)),
            Outcome::Panicked(panic) => resume_unwind(panic),
        }
    }
}

impl Future for StageTask {
    type Output = Result<Result<(), Failure>, Cancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { seat, waiting } = &mut *self;
        let home = seat.come_home(cx.waker());
        host::receive(home, seat.take_if_noted(), waiting, cx);
        match self.outcome() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl Drop for StageTask {
    fn drop(&mut self) {
        self.seat.abandon();
        host::dismiss(&mut self.waiting);
    }
}
