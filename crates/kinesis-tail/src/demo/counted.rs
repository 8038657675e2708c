use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use kinesis_source::{
    ApiError, AwsKinesis, KinesisApi, NextToken, Position, RecordsPage, ShardId, ShardIterator,
    ShardsPage, StreamSummary, Timestamp,
};

/// The API, with a count of the records that come out of it.
#[derive(Debug)]
pub(super) struct Counted {
    api: Arc<AwsKinesis>,
    in_flight: Arc<InFlight>,
}

/// How many records have been read and are not done with: counted where they enter the process and
/// where they leave it, so that nothing in between can hide any.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    now: AtomicU64,
    most: AtomicU64,
}

impl InFlight {
    pub(super) fn enter(&self, records: u64) {
        let now = self.now.fetch_add(records, Ordering::Relaxed) + records;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    pub(super) fn leave(&self, records: u64) {
        self.now.fetch_sub(records, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// The most there ever were.
    pub(super) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Counted {
    pub(super) fn new(api: Arc<AwsKinesis>, in_flight: Arc<InFlight>) -> Self {
        Self { api, in_flight }
    }
}

#[async_trait]
impl KinesisApi for Counted {
    fn now(&self) -> Timestamp {
        self.api.now()
    }

    async fn describe_stream_summary(&self) -> Result<StreamSummary, ApiError> {
        self.api.describe_stream_summary().await
    }

    async fn list_shards(&self, token: Option<NextToken>) -> Result<ShardsPage, ApiError> {
        self.api.list_shards(token).await
    }

    async fn get_shard_iterator(
        &self,
        shard: &ShardId,
        position: &Position,
    ) -> Result<ShardIterator, ApiError> {
        self.api.get_shard_iterator(shard, position).await
    }

    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: usize,
    ) -> Result<RecordsPage, ApiError> {
        let page = self.api.get_records(iterator, limit).await?;
        self.in_flight.enter(page.records.len() as u64);
        Ok(page)
    }
}
