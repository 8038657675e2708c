use std::{
    any::Any,
    future::poll_fn,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use shuttle::future::{JoinHandle, spawn};

/// Stands in for tokio's.
#[derive(Debug)]
pub(crate) struct JoinSet<T> {
    tasks: Vec<JoinHandle<T>>,
}

/// A task was dropped where it stood. One that panics ends the test, so there is no other reason.
#[derive(Debug)]
pub(crate) struct JoinError;

impl<T: Send + 'static> JoinSet<T> {
    pub(crate) fn new() -> Self {
        Self { tasks: Vec::new() }
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) {
        self.tasks.push(spawn(task));
    }

    /// The next that has ended; `None` if there is none left.
    pub(crate) async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| match self.is_empty() {
            true => Poll::Ready(None),
            false => self.poll_ended(cx).map(Some),
        })
        .await
    }

    /// One that has ended, if there is one now.
    pub(crate) fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        match self.poll_ended(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        for (at, task) in self.tasks.iter_mut().enumerate() {
            if let Poll::Ready(ended) = Pin::new(task).poll(cx) {
                self.tasks.swap_remove(at);
                return Poll::Ready(ended.map_err(|_| JoinError));
            }
        }
        Poll::Pending
    }
}

impl<T> JoinSet<T> {
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(crate) fn abort_all(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
        for task in self.tasks.drain(..) {
            // Dropped, it would let the test end before the task has.
            mem::forget(task);
        }
    }
}

impl JoinError {
    pub(crate) fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        Err(self)
    }
}
