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
    tasks: Vec<(Id, JoinHandle<T>)>,
    next: u64,
}

/// Which task of its set it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(u64);

/// A task was dropped where it stood. One that panics ends the test, so there is no other reason.
#[derive(Debug)]
pub(crate) struct JoinError(Id);

/// A task that was spawned.
pub(crate) struct Spawned(Id);

impl<T: Send + 'static> JoinSet<T> {
    pub(crate) fn new() -> Self {
        Self {
            tasks: Vec::new(),
            next: 0,
        }
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) -> Spawned {
        let id = Id(self.next);
        self.next += 1;
        self.tasks.push((id, spawn(task)));
        Spawned(id)
    }

    /// The next that has ended; `None` if there is none left.
    pub(crate) async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        poll_fn(|cx| match self.is_empty() {
            true => Poll::Ready(None),
            false => self.poll_ended(cx).map(Some),
        })
        .await
    }

    /// The same, without saying which.
    pub(crate) async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        let ended = self.join_next_with_id().await?;
        Some(ended.map(|(_, result)| result))
    }

    /// One that has ended, if there is one now.
    pub(crate) fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        match self.poll_ended(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => Some(ended.map(|(_, result)| result)),
            Poll::Pending => None,
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Id, T), JoinError>> {
        for (at, (id, task)) in self.tasks.iter_mut().enumerate() {
            if let Poll::Ready(ended) = Pin::new(task).poll(cx) {
                let id = *id;
                self.tasks.swap_remove(at);
                return Poll::Ready(match ended {
                    Ok(result) => Ok((id, result)),
                    Err(_) => Err(JoinError(id)),
                });
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
        for (_, task) in &self.tasks {
            task.abort();
        }
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
        for (_, task) in self.tasks.drain(..) {
            // Dropped, it would let the test end before the task has.
            mem::forget(task);
        }
    }
}

impl JoinError {
    pub(crate) fn id(&self) -> Id {
        self.0
    }

    pub(crate) fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        Err(self)
    }
}

impl Spawned {
    pub(crate) fn id(&self) -> Id {
        self.0
    }
}
