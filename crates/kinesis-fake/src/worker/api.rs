use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use futures_core::Stream;
use kinesis_source::{
    ApiError, ConsumerAddress, ConsumerArn, ConsumersPage, KinesisApi, KinesisFanOutApi,
    KinesisWriteApi, NextToken, Position, PutEntry, PutOutcome, RecordsPage, Remedy, ShardId,
    ShardIterator, ShardSubscription, ShardsPage, StreamConsumer, StreamSummary, SubscribeEvent,
    Timestamp,
};

use super::{Dependency, Gate};
use crate::{Fake, Operation};

/// A [`Fake`] as a [`Worker`](super::Worker) reaches it.
///
/// While the worker is paused, calls wait at its gate: those that it has yet to make, and the
/// answers of those that are made. Once it is dead, they wait for ever.
#[derive(Debug)]
pub struct WorkerApi {
    fake: Fake,
    gate: Gate,
}

impl WorkerApi {
    pub(super) fn new(fake: Fake, gate: Gate) -> Self {
        Self { fake, gate }
    }

    async fn through<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        self.gate.pass().await;
        if !self.gate.reaches(Dependency::Kinesis) {
            return Err(cut_off(operation));
        }
        let answer = call.await;
        self.gate.pass().await;
        answer
    }
}

fn cut_off(operation: Operation) -> ApiError {
    let error = ApiError::new(operation.name(), Remedy::Retry);
    error.with_message("the worker is cut off from Kinesis")
}

#[async_trait]
impl KinesisApi for WorkerApi {
    fn now(&self) -> Timestamp {
        self.gate.skewed(self.fake.now())
    }

    async fn describe_stream_summary(&self) -> Result<StreamSummary, ApiError> {
        let call = self.fake.describe_stream_summary();
        self.through(Operation::DescribeStreamSummary, call).await
    }

    async fn list_shards(&self, token: Option<NextToken>) -> Result<ShardsPage, ApiError> {
        let call = self.fake.list_shards(token);
        self.through(Operation::ListShards, call).await
    }

    async fn get_shard_iterator(
        &self,
        shard: &ShardId,
        position: &Position,
    ) -> Result<ShardIterator, ApiError> {
        let call = self.fake.get_shard_iterator(shard, position);
        self.through(Operation::GetShardIterator, call).await
    }

    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: usize,
    ) -> Result<RecordsPage, ApiError> {
        let call = self.fake.get_records(iterator, limit);
        self.through(Operation::GetRecords, call).await
    }
}

#[async_trait]
impl KinesisWriteApi for WorkerApi {
    async fn create_stream(&self, shards: u32) -> Result<(), ApiError> {
        let call = self.fake.create_stream(shards);
        self.through(Operation::CreateStream, call).await
    }

    async fn delete_stream(&self) -> Result<(), ApiError> {
        let call = self.fake.delete_stream();
        self.through(Operation::DeleteStream, call).await
    }

    async fn put_records(&self, records: &[PutEntry]) -> Result<Vec<PutOutcome>, ApiError> {
        let call = self.fake.put_records(records);
        self.through(Operation::PutRecords, call).await
    }

    async fn split_shard(
        &self,
        shard: &ShardId,
        new_starting_hash_key: u128,
    ) -> Result<(), ApiError> {
        let call = self.fake.split_shard(shard, new_starting_hash_key);
        self.through(Operation::SplitShard, call).await
    }

    async fn merge_shards(&self, shard: &ShardId, adjacent: &ShardId) -> Result<(), ApiError> {
        let call = self.fake.merge_shards(shard, adjacent);
        self.through(Operation::MergeShards, call).await
    }
}

#[async_trait]
impl KinesisFanOutApi for WorkerApi {
    async fn register_stream_consumer(&self, name: &str) -> Result<StreamConsumer, ApiError> {
        let call = self.fake.register_stream_consumer(name);
        self.through(Operation::RegisterStreamConsumer, call).await
    }

    async fn deregister_stream_consumer(&self, consumer: &ConsumerAddress) -> Result<(), ApiError> {
        let call = self.fake.deregister_stream_consumer(consumer);
        self.through(Operation::DeregisterStreamConsumer, call)
            .await
    }

    async fn describe_stream_consumer(
        &self,
        consumer: &ConsumerAddress,
    ) -> Result<StreamConsumer, ApiError> {
        let call = self.fake.describe_stream_consumer(consumer);
        self.through(Operation::DescribeStreamConsumer, call).await
    }

    async fn list_stream_consumers(
        &self,
        token: Option<NextToken>,
    ) -> Result<ConsumersPage, ApiError> {
        let call = self.fake.list_stream_consumers(token);
        self.through(Operation::ListStreamConsumers, call).await
    }

    async fn subscribe_to_shard(
        &self,
        consumer: &ConsumerArn,
        shard: &ShardId,
        position: &Position,
    ) -> Result<ShardSubscription, ApiError> {
        let call = self.fake.subscribe_to_shard(consumer, shard, position);
        let events = self.through(Operation::SubscribeToShard, call).await?;
        Ok(ShardSubscription::new(GatedEvents::new(
            events,
            self.gate.clone(),
        )))
    }
}

/// A subscription's events behind a gate.
struct GatedEvents {
    events: Option<ShardSubscription>,
    gate: Gate,
    /// That it is let through to the next event.
    pass: Waiting,
    disconnected: Waiting,
}

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

impl GatedEvents {
    fn new(events: ShardSubscription, gate: Gate) -> Self {
        let lost = gate.clone();
        Self {
            events: Some(events),
            pass: passing(&gate),
            disconnected: Box::pin(async move { lost.disconnected().await }),
            gate,
        }
    }
}

fn passing(gate: &Gate) -> Waiting {
    let gate = gate.clone();
    Box::pin(async move { gate.pass().await })
}

impl Stream for GatedEvents {
    type Item = Result<SubscribeEvent, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(self.pass.as_mut().poll(context));
        let gate = self.gate.clone();
        self.pass = passing(&gate);
        let Some(events) = &mut self.events else {
            return Poll::Ready(None);
        };
        let event = Pin::new(events).poll_next(context);
        if event.is_pending() && self.disconnected.as_mut().poll(context).is_ready() {
            self.events = None;
            return Poll::Ready(Some(Err(cut_off(Operation::SubscribeToShard))));
        }
        event
    }
}

impl fmt::Debug for GatedEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatedEvents")
    }
}
