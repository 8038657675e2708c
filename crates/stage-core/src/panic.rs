use std::{
    any::Any,
    future::poll_fn,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use crate::BoxError;

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

/// The same, of a panic that nobody else wants.
pub(crate) fn into_message(payload: Box<dyn Any + Send>) -> String {
    let message = panic_message(&*payload).to_owned();
    dispose(payload);
    message
}

/// Drops what a panic carries, which may panic in its turn: then it stays.
pub(crate) fn dispose(payload: Box<dyn Any + Send>) {
    if let Err(worse) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(worse);
    }
}

/// Polls `work`; fails with what the panic said if it panics.
///
/// Whoever calls it decides what to do with the state that the panic may have left half done.
#[inline]
pub(crate) fn poll_catching<T>(
    work: Pin<&mut impl Future<Output = T>>,
    cx: &mut Context<'_>,
) -> Result<Poll<T>, String> {
    // Past the catch, through which results go by memory: most polls have none.
    let mut done = Poll::Pending;
    let polled = catch_unwind(AssertUnwindSafe(|| {
        if let Poll::Ready(result) = work.poll(cx) {
            done = Poll::Ready(result);
        }
    }));
    match polled {
        Ok(()) if done.is_pending() => Ok(Poll::Pending),
        Ok(()) => Ok(done),
        Err(payload) => Err(into_message(payload)),
    }
}

/// Does `work`, with a panic as an error that says what it said.
///
/// Pinned by the caller, or the future would have room for the work twice. Likewise elsewhere.
pub(crate) fn without_panic<T, E: Into<BoxError>>(
    mut work: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> impl Future<Output = Result<T, BoxError>> {
    poll_fn(move |cx| match poll_catching(work.as_mut(), cx) {
        Ok(poll) => poll.map_err(Into::into),
        Err(message) => Poll::Ready(Err(format!("panicked: {message}").into())),
    })
}
