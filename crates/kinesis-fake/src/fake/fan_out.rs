use std::{
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures_core::Stream;
use kinesis_source::{
    ApiError, ConsumerAddress, ConsumerArn, ConsumersPage, KinesisFanOutApi, NextToken, Position,
    ShardId, ShardSubscription, StreamConsumer, SubscribeEvent,
};

use super::{Fake, delivery::Delivery, subscription::Subscription};
use crate::{
    failure::Failure,
    faults::Subject,
    model::{Operation, SubscriptionRefusal},
};

#[async_trait]
impl KinesisFanOutApi for Fake {
    async fn register_stream_consumer(&self, name: &str) -> Result<StreamConsumer, ApiError> {
        let operation = Operation::RegisterStreamConsumer;
        self.call(Subject::whole(operation), |service, now| {
            service.register_stream_consumer(&self.stream, name, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }

    async fn deregister_stream_consumer(&self, consumer: &ConsumerAddress) -> Result<(), ApiError> {
        let operation = Operation::DeregisterStreamConsumer;
        self.call(Subject::whole(operation), |service, now| {
            service.deregister_stream_consumer(&self.stream, consumer, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }

    async fn describe_stream_consumer(
        &self,
        consumer: &ConsumerAddress,
    ) -> Result<StreamConsumer, ApiError> {
        let operation = Operation::DescribeStreamConsumer;
        self.call(Subject::whole(operation), |service, now| {
            service.describe_stream_consumer(&self.stream, consumer, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }

    async fn list_stream_consumers(
        &self,
        token: Option<NextToken>,
    ) -> Result<ConsumersPage, ApiError> {
        let operation = Operation::ListStreamConsumers;
        self.call(
            Subject::listing(operation, token.as_ref()),
            |service, now| service.list_stream_consumers(&self.stream, token.as_ref(), None, now),
        )
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }

    async fn subscribe_to_shard(
        &self,
        consumer: &ConsumerArn,
        shard: &ShardId,
        position: &Position,
    ) -> Result<ShardSubscription, ApiError> {
        match self.subscribe(consumer, shard, position).await {
            Ok(subscription) => Ok(ShardSubscription::new(Events(subscription))),
            Err(failure) => Err(failure.into_api_error(OPERATION)),
        }
    }
}

impl Fake {
    /// Subscribes a consumer to a shard: a call, and then its events.
    pub(crate) async fn subscribe(
        &self,
        consumer: &ConsumerArn,
        shard: &ShardId,
        position: &Position,
    ) -> Result<Delivery, Failure> {
        // Made within the call, so that a subscription has an owner from its first moment.
        let subscribed = self
            .call(Subject::on(OPERATION, shard), |service, now| {
                let id = service.subscribe_to_shard(consumer, shard, position, now);
                let said = service.settings().choices.subscription_refusal;
                match (id, said) {
                    (Err(refusal), SubscriptionRefusal::InStream) => Ok(Err(refusal)),
                    (id, _) => id.map(Ok),
                }
            })
            .await?;
        let subscription = match subscribed {
            Ok(id) => Subscription::new(self.clone(), id),
            Err(refusal) => Subscription::refused(self.clone(), refusal),
        };
        Ok(Delivery::new(subscription, self.clone(), shard.clone()))
    }

    /// The same call, only to be checked: it always fails.
    #[cfg(feature = "serve")]
    pub(crate) async fn rehearse(
        &self,
        consumer: &ConsumerArn,
        shard: &ShardId,
        position: &Position,
    ) -> Result<Delivery, Failure> {
        let call = crate::model::DryRun::SubscribeToShard {
            consumer,
            shard,
            position,
        };
        let subject = Subject::on(OPERATION, shard);
        let refused = self.exchange(
            subject,
            |service, now| Err::<(), _>(service.dry_run(call, now)),
            |nothing| nothing,
        );
        match refused.await {
            Err(refusal) => Err(Failure::Refused(refusal)),
            Ok(_) => Err(Failure::Lost),
        }
    }
}

const OPERATION: Operation = Operation::SubscribeToShard;

/// The same events with errors of the API. One that was spoiled on its way is one of them.
struct Events(Delivery);

impl Stream for Events {
    type Item = Result<SubscribeEvent, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = Pin::new(&mut self.0).poll_next(context);
        event.map(|event| {
            event.map(|event| {
                let whole = match event {
                    Ok((event, None)) => Ok(event),
                    Ok((_, Some(spoiling))) => Err(spoiling.into()),
                    Err(failure) => Err(failure),
                };
                whole.map_err(|failure: Failure| failure.into_api_error(OPERATION))
            })
        })
    }
}
