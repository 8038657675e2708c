use crate::{
    Batch, BoxError, Consumer, FailurePolicy, LastResort, SubscriptionInfo,
    protocol::End,
    salvage::{Attempt, salvage},
    trial,
};

/// A consumer with a policy for what it fails on. See [`resilient`].
#[derive(Debug)]
pub struct Resilient<C, L> {
    consumer: C,
    policy: FailurePolicy<L>,
}

/// Wraps a consumer so that events that it fails on, by an error or a panic, are not simply nacked:
/// [`OnFailure`](crate::OnFailure) says what is tried, and what becomes of those that nothing helps.
///
/// The consumer is given copies; the originals and their receipts are kept until it succeeds. Each
/// receipt is settled once, as its event fares: the good part of a batch is acked though another is
/// not. What the consumer acked one by one before it failed is done, and not given again.
///
/// After a failure, and after a panic too, the *same* consumer is called again. If what it then
/// holds cannot be trusted, wrap one that is
/// [made anew](crate::restarting_consumer): `resilient(restarting_consumer(…), …)`. A batch that
/// no fresh consumer can take either uses the restarts up, and then this policy has its say.
///
/// ```
/// use stage_core::{Batch, Consumer, OnFailure, Pipeline, Window, resilient};
/// # use stage_core::{Demand, Flow, Producer};
/// # use std::convert::Infallible;
/// use std::num::ParseIntError;
///
/// /// Sums up numbers; fails on anything else.
/// struct Sum(u64);
///
/// impl Consumer<String> for Sum {
///     type Error = ParseIntError;
///
///     async fn consume(&mut self, lines: &mut Batch<String>) -> Result<(), ParseIntError> {
///         let numbers: Vec<u64> = lines.iter().map(|line| line.parse()).collect::<Result<_, _>>()?;
///         self.0 += numbers.iter().sum::<u64>();
///         Ok(())
///     }
/// }
/// # struct Lines(Vec<&'static str>);
/// # impl Producer for Lines {
/// #     type Event = String;
/// #     type Error = Infallible;
/// #     async fn produce(&mut self, _: Demand, batch: &mut Batch<String>) -> Result<Flow, Infallible> {
/// #         batch.extend(self.0.drain(..).map(String::from));
/// #         Ok(Flow::End)
/// #     }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stage_core::PipelineError> {
/// # let source = Lines(vec!["1", "2", "three", "4"]);
/// let policy = OnFailure::no_retry().bisecting().then_skip();
/// let skipped = policy.skipped();
/// let mut pipeline = Pipeline::new();
/// let lines = pipeline.produce(source);
/// pipeline.consume(resilient(Sum(0), policy), lines.subscribe(Window::new(10)));
/// pipeline.run().await?;
/// assert_eq!(skipped.get(), 1);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// What the last resort fails with; with [`then_stop`](crate::OnFailure::then_stop) the consumer's
/// error. What is not done is nacked. What the consumer fails with when it has nothing in hand, while
/// it is idle or when it finishes, is not tried again: there are no events to try it on.
///
/// # Cancel safety
///
/// Dropping a call, be it in a wait, nacks what is not done.
pub fn resilient<E, C, L>(
    consumer: C,
    policy: FailurePolicy<L>,
) -> impl Consumer<E, Error = BoxError>
where
    E: Clone + Send + 'static,
    C: Consumer<E>,
    L: LastResort<E>,
{
    Resilient { consumer, policy }
}

impl<E, C, L> Consumer<E> for Resilient<C, L>
where
    E: Clone + Send + 'static,
    C: Consumer<E>,
    L: LastResort<E>,
{
    type Error = BoxError;

    async fn consume(&mut self, batch: &mut Batch<E>) -> Result<(), BoxError> {
        let mut consumer = Consuming(&mut self.consumer);
        salvage(&mut self.policy, &mut consumer, batch).await
    }

    async fn while_idle(&mut self) -> Result<(), BoxError> {
        self.consumer.while_idle().await.map_err(Into::into)
    }

    fn subscribed(&mut self, subscription: &SubscriptionInfo) {
        self.consumer.subscribed(subscription);
    }

    fn unsubscribed(&mut self, subscription: &SubscriptionInfo, end: &End) {
        self.consumer.unsubscribed(subscription, end);
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        self.consumer.finish().await.map_err(Into::into)?;
        self.policy.last_resort.finish().await
    }
}

struct Consuming<'a, C>(&'a mut C);

impl<E, C> Attempt<E> for Consuming<'_, C>
where
    E: Clone + Send + 'static,
    C: Consumer<E>,
{
    async fn attempt(&mut self, events: &mut Batch<E>) -> Result<(), BoxError> {
        trial::consume(self.0, events).await
    }
}
