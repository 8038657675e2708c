use tokio::time::Instant;

use crate::{Batch, BoxError, Step, SubscriptionInfo, Then, protocol::End};

/// Turns events into other events: a consumer of one kind and a producer of another.
///
/// One event may become none, one or many. It takes events in only while somebody downstream has
/// asked for more. The stage that runs it does this:
///
/// ```text
/// while something is wanted {
///     match next portion, or transform.due(), whichever comes first {
///         portion => transform.transform(&mut batch, &mut out).await?,
///         due => transform.elapsed(&mut out).await?,
///         end => break,
///     }
///     hand out
/// }
/// transform.finish(&mut out).await?
/// hand out
/// ```
///
/// ```
/// use stage_core::{Batch, Transform};
/// use std::num::ParseIntError;
///
/// /// Parses lines, and leaves out empty ones.
/// struct Parse;
///
/// impl Transform<String> for Parse {
///     type Out = u64;
///     type Error = ParseIntError;
///
///     async fn transform(
///         &mut self,
///         lines: &mut Batch<String>,
///         numbers: &mut Batch<u64>,
///     ) -> Result<(), ParseIntError> {
///         for line in lines.drain().filter(|line| !line.is_empty()) {
///             numbers.push(line.parse()?);
///         }
///         Ok(())
///     }
/// }
/// ```
///
/// # Receipts
///
/// Where events have [receipts](crate::Receipt), all that a call puts `out` stands for all that it
/// was given: the inputs are acked once the outputs are, at once if there are none, and nacked if
/// one of the outputs is or the call fails. [`Batch::map_into`] and [`Batch::flat_map_into`] are more
/// exact: there, an output stands only for the input that it was made of. A transform that keeps events back for a later call
/// takes them by [`drain_with_receipts`](Batch::drain_with_receipts) and puts them out by
/// [`push_with_receipt`](Batch::push_with_receipt); otherwise they would count as done when the
/// call that brought them returns.
#[doc(alias = "ProducerConsumer")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transform that takes `{In}`",
    label = "is to be a `Transform<{In}>`",
    note = "a `Step` is one as a tuple of one: `(step,)`"
)]
pub trait Transform<In>: Send + 'static {
    /// What it makes.
    type Out: Send + 'static;
    /// Why it may fail. A failed stage stops its pipeline; what the failing call has put out is
    /// dropped.
    type Error: Into<BoxError> + Send;

    /// Turns a portion of events, in order, into others, and adds them to `out`, which comes empty.
    fn transform(
        &mut self,
        batch: &mut Batch<In>,
        out: &mut Batch<Self::Out>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// A subscription is there: one that the stage has, or one that another stage has to it, as
    /// `subscription` says. Called once for each, before any event of it.
    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        let _ = subscription;
    }

    /// A subscription has ended. Called once for each, after the last event of it.
    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        let _ = (subscription, end);
    }

    /// When [`elapsed`](Self::elapsed) is to be called if no events come before: for a transform that
    /// keeps events back, but not for ever. Asked before each wait. A time in the past is now.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Puts out what has been kept back for long enough. Called when it is [due](Self::due), and
    /// something is wanted. Afterwards nothing is due, or something later; else it is called over
    /// and over.
    fn elapsed(
        &mut self,
        out: &mut Batch<Self::Out>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = out;
        async { Ok(()) }
    }

    /// Called once after the last event, to put out what was kept back.
    fn finish(
        &mut self,
        out: &mut Batch<Self::Out>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = out;
        async { Ok(()) }
    }

    /// The transform, and `step` with each event that it makes, in one task. See [`Producer::then`](crate::Producer::then).
    /// Steps alone that are to be one stage are a [tuple](Step).
    ///
    /// ```
    /// use stage_core::{KeyedBatch, Transform, batching, map};
    ///
    /// let sums = batching(|n: &u64| n % 3)
    ///     .then(map(|batch: KeyedBatch<u64, u64>| batch.events.iter().sum::<u64>()));
    /// # fn check(_: impl Transform<u64, Out = u64>) {}
    /// # check(sums);
    /// ```
    ///
    /// # Errors
    ///
    /// The first that the step returns fails the stage, as one of the transform's own.
    fn then<S: Step<Self::Out>>(self, step: S) -> Then<Self, S, Self::Out>
    where
        Self: Sized,
    {
        Then::new(self, step)
    }
}
