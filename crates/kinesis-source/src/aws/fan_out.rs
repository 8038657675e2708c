use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use aws_sdk_kinesis::{
    primitives::event_stream::EventReceiver,
    types::{
        ShardIteratorType, StartingPosition, SubscribeToShardEventStream,
        error::SubscribeToShardEventStreamError,
    },
};
use futures_core::Stream;

use super::{
    AwsKinesis,
    convert::{self, Senseless},
    error,
};
use crate::{
    ApiError, ConsumerAddress, ConsumerArn, ConsumersPage, KinesisApi, KinesisFanOutApi, NextToken,
    Position, ShardId, ShardSubscription, StreamConsumer, SubscribeEvent,
};

/// What fan-out needs to know of a stream is its ARN: where it is addressed by its name,
/// DescribeStreamSummary is called for that, until it has answered once.
#[async_trait]
impl KinesisFanOutApi for AwsKinesis {
    async fn register_stream_consumer(&self, name: &str) -> Result<StreamConsumer, ApiError> {
        const OPERATION: &str = "RegisterStreamConsumer";
        let call = self
            .client
            .register_stream_consumer()
            .stream_arn(self.stream_arn().await?)
            .consumer_name(name);
        let answer = call
            .send()
            .await
            .map_err(|e| error::explain(OPERATION, &e))?;
        answer
            .consumer
            .ok_or_else(|| Senseless::new("it has no consumer"))
            .and_then(convert::consumer)
            .map_err(|senseless| senseless.in_answer_to(OPERATION))
    }

    async fn deregister_stream_consumer(&self, consumer: &ConsumerAddress) -> Result<(), ApiError> {
        let call = self.client.deregister_stream_consumer();
        let call = match consumer {
            ConsumerAddress::Arn(arn) => call.consumer_arn(arn.as_str()),
            ConsumerAddress::Name(name) => call
                .stream_arn(self.stream_arn().await?)
                .consumer_name(name),
        };
        let done = call.send().await.map(drop);
        done.map_err(|e| error::explain("DeregisterStreamConsumer", &e))
    }

    async fn describe_stream_consumer(
        &self,
        consumer: &ConsumerAddress,
    ) -> Result<StreamConsumer, ApiError> {
        const OPERATION: &str = "DescribeStreamConsumer";
        let call = self.client.describe_stream_consumer();
        let call = match consumer {
            ConsumerAddress::Arn(arn) => call.consumer_arn(arn.as_str()),
            ConsumerAddress::Name(name) => call
                .stream_arn(self.stream_arn().await?)
                .consumer_name(name),
        };
        let answer = call
            .send()
            .await
            .map_err(|e| error::explain(OPERATION, &e))?;
        answer
            .consumer_description
            .ok_or_else(|| Senseless::new("it describes no consumer"))
            .and_then(convert::described_consumer)
            .map_err(|senseless| senseless.in_answer_to(OPERATION))
    }

    async fn list_stream_consumers(
        &self,
        token: Option<NextToken>,
    ) -> Result<ConsumersPage, ApiError> {
        const OPERATION: &str = "ListStreamConsumers";
        let call = self
            .client
            .list_stream_consumers()
            .stream_arn(self.stream_arn().await?)
            .set_next_token(token.map(|token| token.0));
        let answer = call
            .send()
            .await
            .map_err(|e| error::explain(OPERATION, &e))?;
        convert::consumers(answer).map_err(|senseless| senseless.in_answer_to(OPERATION))
    }

    async fn subscribe_to_shard(
        &self,
        consumer: &ConsumerArn,
        shard: &ShardId,
        position: &Position,
    ) -> Result<ShardSubscription, ApiError> {
        let position = starting_position(position);
        let position = position.map_err(|_| error::unsendable(SUBSCRIBE))?;
        let call = self
            .client
            .subscribe_to_shard()
            .consumer_arn(consumer.as_str())
            .shard_id(shard.to_string())
            .starting_position(position);
        let answer = call
            .send()
            .await
            .map_err(|e| error::explain(SUBSCRIBE, &e))?;
        Ok(ShardSubscription::new(Events {
            shard: shard.clone(),
            state: State::Idle(Box::new(answer.event_stream)),
        }))
    }
}

impl AwsKinesis {
    async fn stream_arn(&self) -> Result<String, ApiError> {
        if let Some(arn) = self.stream.arn() {
            return Ok(arn);
        }
        let ask = async || Ok(self.describe_stream_summary().await?.arn);
        self.arn.get_or_try_init(ask).await.cloned()
    }
}

const SUBSCRIBE: &str = "SubscribeToShard";

fn starting_position(
    position: &Position,
) -> Result<StartingPosition, aws_sdk_kinesis::error::BuildError> {
    let builder = StartingPosition::builder();
    let builder = match position {
        Position::TrimHorizon => builder.r#type(ShardIteratorType::TrimHorizon),
        Position::Latest => builder.r#type(ShardIteratorType::Latest),
        Position::AtTimestamp(moment) => builder
            .r#type(ShardIteratorType::AtTimestamp)
            .timestamp(convert::date_time(*moment)),
        Position::AtSequenceNumber(number) => builder
            .r#type(ShardIteratorType::AtSequenceNumber)
            .sequence_number(number.to_string()),
        Position::AfterSequenceNumber(number) => builder
            .r#type(ShardIteratorType::AfterSequenceNumber)
            .sequence_number(number.to_string()),
    };
    builder.build()
}

type Receiver = EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>;
type Received = (Result<Option<SubscribeEvent>, ApiError>, Receiver);

/// The SDK's events, of a shard.
struct Events {
    shard: ShardId,
    state: State,
}

/// A frame that has half arrived is kept when the wait for it is dropped.
enum State {
    Idle(Box<Receiver>),
    Receiving(Pin<Box<dyn Future<Output = Received> + Send>>),
    Ended,
}

impl Stream for Events {
    type Item = Result<SubscribeEvent, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut receiving = match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => return Poll::Ready(None),
            State::Idle(receiver) => Box::pin(receive(self.shard.clone(), *receiver)),
            State::Receiving(receiving) => receiving,
        };
        let Poll::Ready((event, receiver)) = receiving.as_mut().poll(context) else {
            self.state = State::Receiving(receiving);
            return Poll::Pending;
        };
        if matches!(event, Ok(Some(_))) {
            self.state = State::Idle(Box::new(receiver));
        }
        Poll::Ready(event.transpose())
    }
}

/// The next event that is of any use.
async fn receive(shard: ShardId, mut receiver: Receiver) -> Received {
    loop {
        let event = match receiver.recv().await {
            Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => {
                let event = convert::event(&shard, event);
                event
                    .map(Some)
                    .map_err(|senseless| senseless.in_answer_to(SUBSCRIBE))
            }
            // What nobody knows yet says nothing about records.
            Ok(Some(_)) => continue,
            Ok(None) => Ok(None),
            Err(error) => Err(error::explain_event(SUBSCRIBE, &error)),
        };
        return (event, receiver);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
