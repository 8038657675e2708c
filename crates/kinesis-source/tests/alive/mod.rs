//! A transport whose records are counted for as long as their data is alive, whoever has it.

#![allow(dead_code)] // Each test uses its own part.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use kinesis_fake::Fake;
use kinesis_source::{
    ApiError, ConsumerAddress, ConsumerArn, ConsumersPage, KinesisApi, KinesisFanOutApi, NextToken,
    Position, Record, RecordsPage, ShardId, ShardIterator, ShardSubscription, ShardsPage,
    StreamConsumer, StreamSummary, SubscribeEvent, Timestamp,
};

/// Bytes of data that somebody has now, and that somebody had at most.
#[derive(Debug, Default)]
pub(crate) struct Alive {
    now: AtomicU64,
    most: AtomicU64,
}

impl Alive {
    pub(crate) fn now(&self) -> u64 {
        self.now.load(SeqCst)
    }

    pub(crate) fn most(&self) -> u64 {
        self.most.load(SeqCst)
    }

    fn copies(self: &Arc<Self>, records: &mut [Record]) {
        for record in records {
            let bytes = record.data.len() as u64;
            let now = self.now.fetch_add(bytes, SeqCst) + bytes;
            self.most.fetch_max(now, SeqCst);
            record.data = Bytes::from_owner(Copied {
                data: record.data.to_vec(),
                alive: Arc::clone(self),
            });
        }
    }
}

struct Copied {
    data: Vec<u8>,
    alive: Arc<Alive>,
}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.alive.now.fetch_sub(self.data.len() as u64, SeqCst);
    }
}

/// The fake, and each record's data is a copy of its own, as it is when it comes from a network.
#[derive(Clone, Debug)]
pub(crate) struct Copying {
    fake: Fake,
    pub(crate) alive: Arc<Alive>,
}

impl Copying {
    pub(crate) fn new(fake: &Fake) -> Self {
        Self {
            fake: fake.clone(),
            alive: Arc::default(),
        }
    }
}

#[async_trait]
impl KinesisApi for Copying {
    fn now(&self) -> Timestamp {
        self.fake.now()
    }

    async fn describe_stream_summary(&self) -> Result<StreamSummary, ApiError> {
        self.fake.describe_stream_summary().await
    }

    async fn list_shards(&self, token: Option<NextToken>) -> Result<ShardsPage, ApiError> {
        self.fake.list_shards(token).await
    }

    async fn get_shard_iterator(
        &self,
        shard: &ShardId,
        position: &Position,
    ) -> Result<ShardIterator, ApiError> {
        self.fake.get_shard_iterator(shard, position).await
    }

    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: usize,
    ) -> Result<RecordsPage, ApiError> {
        let mut page = self.fake.get_records(iterator, limit).await?;
        self.alive.copies(&mut page.records);
        Ok(page)
    }
}

#[async_trait]
impl KinesisFanOutApi for Copying {
    async fn register_stream_consumer(&self, name: &str) -> Result<StreamConsumer, ApiError> {
        self.fake.register_stream_consumer(name).await
    }

    async fn deregister_stream_consumer(&self, consumer: &ConsumerAddress) -> Result<(), ApiError> {
        self.fake.deregister_stream_consumer(consumer).await
    }

    async fn describe_stream_consumer(
        &self,
        consumer: &ConsumerAddress,
    ) -> Result<StreamConsumer, ApiError> {
        self.fake.describe_stream_consumer(consumer).await
    }

    async fn list_stream_consumers(
        &self,
        token: Option<NextToken>,
    ) -> Result<ConsumersPage, ApiError> {
        self.fake.list_stream_consumers(token).await
    }

    async fn subscribe_to_shard(
        &self,
        consumer: &ConsumerArn,
        shard: &ShardId,
        position: &Position,
    ) -> Result<ShardSubscription, ApiError> {
        let inner = self.fake.subscribe_to_shard(consumer, shard, position);
        let alive = Arc::clone(&self.alive);
        Ok(ShardSubscription::new(CopyingEvents {
            inner: inner.await?,
            alive,
        }))
    }
}

struct CopyingEvents {
    inner: ShardSubscription,
    alive: Arc<Alive>,
}

impl Stream for CopyingEvents {
    type Item = Result<SubscribeEvent, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let said = Pin::new(&mut self.inner).poll_next(context);
        said.map_ok(|mut event| {
            self.alive.copies(&mut event.records);
            event
        })
    }
}
