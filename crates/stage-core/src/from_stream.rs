use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

use crate::{Batch, BoxError, Demand, Flow, Producer};

/// Makes the events of a stream.
///
/// It waits for one event, and takes those that are there then, up to what is wanted, and 256 at
/// once. The stream may go on for ever.
///
/// ```
/// use futures_util::stream;
/// use stage_core::{from_stream, testing};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// testing::producer(|| from_stream(stream::iter(1..=10))).await;
/// # }
/// ```
///
/// # Cancel safety
///
/// Nothing that the stream has given is lost.
pub fn from_stream<S>(stream: S) -> impl Producer<Event = S::Item, Error = Infallible>
where
    S: Stream<Item: Send + 'static> + Send + 'static,
{
    FromStream(Box::pin(stream))
}

/// Makes the events of a stream that may fail. It is [`from_stream`] for items that are results.
///
/// ```
/// use futures_util::stream;
/// use stage_core::{Producer, from_try_stream};
/// use std::io;
///
/// let source = from_try_stream(stream::iter([Ok("a line"), Err(io::Error::other("torn off"))]));
/// # fn check(_: impl Producer<Event = &'static str, Error = io::Error>) {}
/// # check(source);
/// ```
///
/// # Errors
///
/// The first that the stream gives fails the stage, after the events that came before it.
pub fn from_try_stream<Event, Error>(
    stream: impl Stream<Item = Result<Event, Error>> + Send + 'static,
) -> impl Producer<Event = Event, Error = Error>
where
    Event: Send + 'static,
    Error: Into<BoxError> + Send,
{
    FromTryStream(Box::pin(stream))
}

struct FromStream<S>(Pin<Box<S>>);

impl<S> Producer for FromStream<S>
where
    S: Stream<Item: Send + 'static> + Send + 'static,
{
    type Event = S::Item;
    type Error = Infallible;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<S::Item>,
    ) -> Result<Flow, Infallible> {
        poll_fn(|cx| {
            poll_some(self.0.as_mut(), cx, demand, |event| {
                batch.push(event);
                Ok(())
            })
        })
        .await
    }
}

struct FromTryStream<S>(Pin<Box<S>>);

impl<S, Event, Error> Producer for FromTryStream<S>
where
    S: Stream<Item = Result<Event, Error>> + Send + 'static,
    Event: Send + 'static,
    Error: Into<BoxError> + Send,
{
    type Event = Event;
    type Error = Error;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<Event>) -> Result<Flow, Error> {
        poll_fn(|cx| {
            poll_some(self.0.as_mut(), cx, demand, |event| {
                batch.push(event?);
                Ok(())
            })
        })
        .await
    }
}

/// The most items that are taken at once. Most streams do not look whether it is another task's turn.
const MOST: Demand = Demand::new(256).expect("it is not zero");

/// Takes up to `demand` items, of which only the first is waited for.
fn poll_some<S: Stream, Error>(
    mut stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    demand: Demand,
    mut take: impl FnMut(S::Item) -> Result<(), Error>,
) -> Poll<Result<Flow, Error>> {
    for taken in 0..demand.min(MOST).get() {
        match stream.as_mut().poll_next(cx) {
            Poll::Ready(Some(item)) => take(item)?,
            Poll::Ready(None) => return Poll::Ready(Ok(Flow::End)),
            Poll::Pending if taken == 0 => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(Ok(Flow::More))
}
