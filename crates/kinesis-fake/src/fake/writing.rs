use async_trait::async_trait;
use kinesis_source::{ApiError, KinesisWriteApi, PutEntry, PutOutcome, ShardId};

use super::Fake;
use crate::{faults::Subject, model::Operation};

#[async_trait]
impl KinesisWriteApi for Fake {
    async fn create_stream(&self, shards: u32) -> Result<(), ApiError> {
        let operation = Operation::CreateStream;
        self.call(Subject::whole(operation), |service, now| {
            service.create_stream(&self.stream, shards, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }

    async fn delete_stream(&self) -> Result<(), ApiError> {
        let operation = Operation::DeleteStream;
        self.call(Subject::whole(operation), |service, now| {
            service.delete_stream(&self.stream, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }

    async fn put_records(&self, records: &[PutEntry]) -> Result<Vec<PutOutcome>, ApiError> {
        let operation = Operation::PutRecords;
        self.call(Subject::whole(operation), |service, now| {
            service.put_records(&self.stream, records, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }

    async fn split_shard(
        &self,
        shard: &ShardId,
        new_starting_hash_key: u128,
    ) -> Result<(), ApiError> {
        let operation = Operation::SplitShard;
        self.call(Subject::on(operation, shard), |service, now| {
            service.split_shard(&self.stream, shard, new_starting_hash_key, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }

    async fn merge_shards(&self, shard: &ShardId, adjacent: &ShardId) -> Result<(), ApiError> {
        let operation = Operation::MergeShards;
        self.call(Subject::on(operation, shard), |service, now| {
            service.merge_shards(&self.stream, shard, adjacent, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }
}
