use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use crate::BoxError;

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

/// Does `work`, or `otherwise` with what the panic said if it panics.
///
/// Whoever calls it decides what to do with the state that the panic may have left half done.
pub(crate) async fn catching<T>(
    work: impl Future<Output = T>,
    otherwise: impl Fn(String) -> T,
) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let poll = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        poll.unwrap_or_else(|payload| Poll::Ready(otherwise(panic_message(&*payload).to_owned())))
    })
    .await
}

/// Like [`catching`], with the panic as an error that says what it said.
pub(crate) async fn without_panic<T, E: Into<BoxError>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, BoxError> {
    let work = async { work.await.map_err(Into::into) };
    catching(work, |message| Err(format!("panicked: {message}").into())).await
}
