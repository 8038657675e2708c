use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures_core::Stream;

use crate::{
    ApiError, ChildShard, NextToken, Position, Record, SequenceNumber, ShardId, Timestamp,
};

/// The calls of enhanced fan-out: a consumer is registered with a stream and subscribes to its
/// shards, which then send it their records, each at 2 MiB a second of its own.
///
/// As with [`KinesisApi`](crate::KinesisApi), one value stands for one stream, methods carry AWS's
/// operation names, each makes one attempt without retries, and the error's
/// [`Remedy`](crate::Remedy) says what can be done. All are safe to cancel.
///
/// This is the life of a subscription: it ends every five minutes, and is made anew where the last
/// event says.
///
/// ```
/// # use kinesis_source::*;
/// # async fn read(api: &dyn KinesisFanOutApi, consumer: &ConsumerArn, shard: &ShardId)
/// #     -> Result<(), ApiError> {
/// let mut position = Position::TrimHorizon;
/// loop {
///     let mut subscription = api.subscribe_to_shard(consumer, shard, &position).await?;
///     while let Some(event) = subscription.next().await {
///         let event = event?; // one that says `Retry`, `Wait` or `AwaitActive` ends it here alone
///         println!("{} records", event.records.len());
///         match event.continuation_sequence_number {
///             Some(number) => position = Position::AfterSequenceNumber(number),
///             None => return Ok(()), // closed and read to its end: on to `event.children`
///         }
///     }
/// }
/// # }
/// ```
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait KinesisFanOutApi: fmt::Debug + Send + Sync + 'static {
    /// Registers a consumer of that name with the stream. It can subscribe once it is
    /// [active](ConsumerStatus::Active), which takes a while.
    /// ([RegisterStreamConsumer](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_RegisterStreamConsumer.html))
    ///
    /// # Errors
    ///
    /// [`AwaitActive`](crate::Remedy::AwaitActive) if there is one of that name (`ResourceInUse`),
    /// [`Wait`](crate::Remedy::Wait) if the stream has 20 consumers, or five that are being
    /// registered, or above 5 calls a second.
    async fn register_stream_consumer(&self, name: &str) -> Result<StreamConsumer, ApiError>;

    /// Takes a consumer away from the stream. Its subscriptions end.
    /// ([DeregisterStreamConsumer](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DeregisterStreamConsumer.html))
    async fn deregister_stream_consumer(&self, consumer: &ConsumerAddress) -> Result<(), ApiError>;

    /// What a consumer is and whether it can subscribe.
    /// ([DescribeStreamConsumer](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamConsumer.html))
    ///
    /// # Errors
    ///
    /// [`Verify`](crate::Remedy::Verify) if there is none (`ResourceNotFound`),
    /// [`Wait`](crate::Remedy::Wait) above 20 calls a second.
    async fn describe_stream_consumer(
        &self,
        consumer: &ConsumerAddress,
    ) -> Result<StreamConsumer, ApiError>;

    /// One page of the stream's consumers: the first, or the one that `token` stands for.
    /// ([ListStreamConsumers](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListStreamConsumers.html))
    async fn list_stream_consumers(
        &self,
        token: Option<NextToken>,
    ) -> Result<ConsumersPage, ApiError>;

    /// Has `shard` send its records to `consumer`, from `position` on, for up to five minutes.
    /// ([SubscribeToShard](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html))
    ///
    /// Five seconds after it succeeded, another call for the same consumer and shard takes the
    /// subscription over: the former then fails with `ResourceInUse`, or just ends.
    ///
    /// # Errors
    ///
    /// [`AwaitActive`](crate::Remedy::AwaitActive) if the consumer is not active, or within five
    /// seconds of a call for the same consumer and shard that succeeded (`ResourceInUse`);
    /// [`Wait`](crate::Remedy::Wait) above one call a second for the same consumer and shard;
    /// [`Verify`](crate::Remedy::Verify) if consumer, shard or stream is not there;
    /// [`Correct`](crate::Remedy::Correct) for a position that is none of the shard's.
    async fn subscribe_to_shard(
        &self,
        consumer: &ConsumerArn,
        shard: &ShardId,
        position: &Position,
    ) -> Result<ShardSubscription, ApiError>;
}

/// Names a consumer to the service: its ARN, which ends in the moment of its registration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerArn(Arc<str>);

impl ConsumerArn {
    /// The consumer of this ARN.
    pub fn new(arn: impl Into<Arc<str>>) -> Self {
        Self(arn.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ConsumerArn {
    fn from(arn: &str) -> Self {
        Self::new(arn)
    }
}

impl fmt::Display for ConsumerArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ConsumerArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which consumer of the stream is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConsumerAddress {
    /// The one of that name.
    Name(String),
    /// The one of that ARN.
    Arn(ConsumerArn),
}

/// A consumer that is registered with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConsumer {
    /// Its name, unique within the stream.
    pub name: String,
    /// Its ARN.
    pub arn: ConsumerArn,
    /// Whether it can subscribe.
    pub status: ConsumerStatus,
    /// When it was registered. It tells a consumer from a former one of its name.
    pub created: Option<Timestamp>,
}

/// Whether a consumer can subscribe to shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConsumerStatus {
    /// It is being registered.
    Creating,
    /// It is being taken away.
    Deleting,
    /// It can subscribe.
    Active,
}

/// One page of a listing of consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumersPage {
    /// The consumers.
    pub consumers: Vec<StreamConsumer>,
    /// Where the listing goes on; `None` at its end.
    pub next: Option<NextToken>,
}

/// What a shard sends to a subscriber at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeEvent {
    /// The records, in order, each of which says that it is of the shard.
    /// None while nothing comes: the service sends such events too, about
    /// every five seconds, and one that stays away is a sign that the connection is dead.
    pub records: Vec<Record>,
    /// Where to subscribe anew: after this number, also when there are no records. `None` once a
    /// closed shard has been sent to its end.
    pub continuation_sequence_number: Option<SequenceNumber>,
    /// How far this event is behind the shard's tip, in milliseconds; zero when caught up.
    pub millis_behind_latest: Option<u64>,
    /// The shard's children, in the event that reaches its end.
    pub children: Vec<ChildShard>,
}

/// The events that a shard sends to one subscriber: a [`Stream`] of them.
///
/// After an error, or `None`, nothing more comes. `None` says that the five minutes are over, or,
/// after an event without a continuation, that the shard is at its end.
///
/// # Backpressure
///
/// The service has none: it sends at up to 2 MiB a second. Whoever does not ask for the next event
/// leaves it to the windows of the connection, which are bounded, and to the service, which breaks
/// off a connection that stands still for too long. Nothing is lost by that: subscribe anew after
/// the last continuation.
///
/// [`AwsKinesis`](crate::AwsKinesis) reads from the connection only while the next event is waited
/// for: not asking stops the growth. Beside the part of one event, a subscription that is not read
/// holds 2 MiB of an HTTP/2 connection at most, and takes them from the 5 MiB that all subscriptions
/// on that connection have together. So let go of one that is not read for long, or the others
/// starve: [`StreamSource::fan_out`](crate::StreamSource::fan_out) does.
///
/// # Cancel safety
///
/// [`next`](Self::next) can be dropped: no event is lost. Dropping the value ends the subscription.
#[must_use = "a subscription that is dropped ends"]
pub struct ShardSubscription(Pin<Box<dyn Stream<Item = Result<SubscribeEvent, ApiError>> + Send>>);

impl ShardSubscription {
    /// The subscription that sends these events.
    pub fn new(
        events: impl Stream<Item = Result<SubscribeEvent, ApiError>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(events))
    }

    /// Waits for the next event; `None` when the subscription has ended.
    pub async fn next(&mut self) -> Option<Result<SubscribeEvent, ApiError>> {
        poll_fn(|context| self.0.as_mut().poll_next(context)).await
    }
}

impl Stream for ShardSubscription {
    type Item = Result<SubscribeEvent, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl fmt::Debug for ShardSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShardSubscription")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Remedy;

    /// Sends what it has, an event for each poll, then ends.
    struct Canned(Vec<Result<SubscribeEvent, ApiError>>);

    impl Stream for Canned {
        type Item = Result<SubscribeEvent, ApiError>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop())
        }
    }

    #[tokio::test]
    async fn a_mock_subscription_is_read_through_the_object() {
        let mut mock = MockKinesisFanOutApi::new();
        mock.expect_subscribe_to_shard().returning(|_, _, _| {
            let refused = ApiError::new("SubscribeToShard", Remedy::AwaitActive);
            let event = SubscribeEvent {
                continuation_sequence_number: Some(7.into()),
                ..SubscribeEvent::default()
            };
            Ok(ShardSubscription::new(Canned(vec![
                Err(refused),
                Ok(event),
            ])))
        });
        let api: Arc<dyn KinesisFanOutApi> = Arc::new(mock);
        let shard = "shardId-000000000000".into();
        let consumer = ConsumerArn::from("arn");
        let subscription = api.subscribe_to_shard(&consumer, &shard, &Position::Latest);
        let mut subscription = subscription.await.unwrap();
        let event = subscription.next().await.unwrap().unwrap();
        assert_eq!(event.continuation_sequence_number, Some(7.into()));
        let error = subscription.next().await.unwrap().unwrap_err();
        assert_eq!(error.remedy(), Remedy::AwaitActive);
        assert!(subscription.next().await.is_none());
    }
}
