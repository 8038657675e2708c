use async_trait::async_trait;
use kinesis_source::{
    ApiError, KinesisApi, NextToken, Position, RecordsPage, ShardId, ShardIterator, ShardsPage,
    StreamSummary, Timestamp,
};

use super::Fake;
use crate::{
    faults::Subject,
    model::{Listing, Operation, ShardFilter},
};

#[async_trait]
impl KinesisApi for Fake {
    fn now(&self) -> Timestamp {
        self.moment().timestamp()
    }

    async fn describe_stream_summary(&self) -> Result<StreamSummary, ApiError> {
        let operation = Operation::DescribeStreamSummary;
        self.call(Subject::whole(operation), |service, now| {
            service.describe_stream_summary(&self.stream, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }

    async fn list_shards(&self, token: Option<NextToken>) -> Result<ShardsPage, ApiError> {
        let listing = match &token {
            Some(token) => Listing::Next {
                stream: None,
                token,
                max_results: None,
            },
            None => Listing::First {
                stream: &self.stream,
                filter: ShardFilter::default(),
                max_results: None,
            },
        };
        let operation = Operation::ListShards;
        self.call(
            Subject::listing(operation, token.as_ref()),
            |service, now| service.list_shards(&listing, now),
        )
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }

    async fn get_shard_iterator(
        &self,
        shard: &ShardId,
        position: &Position,
    ) -> Result<ShardIterator, ApiError> {
        let operation = Operation::GetShardIterator;
        self.call(Subject::on(operation, shard), |service, now| {
            service.get_shard_iterator(&self.stream, shard, position, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }

    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: usize,
    ) -> Result<RecordsPage, ApiError> {
        let operation = Operation::GetRecords;
        self.call(Subject::reading(operation, iterator), |service, now| {
            service.get_records(iterator.as_str(), limit, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }
}
