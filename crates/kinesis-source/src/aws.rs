//! The real Kinesis. Nothing outside of this module names the AWS SDK.

mod clock;
mod config;
mod convert;
mod error;
mod fan_out;
mod json;
mod protocol;
mod stream_address;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use aws_sdk_kinesis::{
    Client,
    types::{PutRecordsRequestEntry, ShardIteratorType},
};
use tokio::sync::OnceCell;

use self::{clock::ServiceClock, convert::Senseless, stream_address::StreamAddress};
pub use self::{
    config::{AwsConfigError, AwsKinesisBuilder},
    error::FailedBeneath,
};
use crate::{
    ApiError, KinesisApi, KinesisWriteApi, NextToken, Position, PutEntry, PutOutcome, RecordsPage,
    ShardId, ShardIterator, ShardsPage, StreamSummary, Timestamp,
};

/// A stream of the real Kinesis, or of any server that speaks as it does.
///
/// Each call is one attempt: the SDK's own retries are off, because they would spend the five
/// reads a second of a shard unseen. Each has a time limit, and so none waits for ever on a server
/// that does not answer. Its clock is the local one, put right by the service's answers when they
/// are more than two seconds apart.
///
/// No error and no `Debug` of this crate shows what was put, nor credentials. The SDK's own log at
/// the level `trace` does (target `aws_smithy_runtime`): keep it off where that matters.
///
/// ```no_run
/// use kinesis_source::{AwsKinesis, KinesisApi};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let api = AwsKinesis::builder("orders").region("eu-central-1").load().await?;
/// println!("{:?}", api.describe_stream_summary().await?.status);
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// Each call can be dropped. The service may have done it all the same.
#[derive(Clone)]
pub struct AwsKinesis {
    client: Client,
    stream: StreamAddress,
    clock: Arc<ServiceClock>,
    /// The stream's ARN, once the service was asked for it.
    arn: Arc<OnceCell<String>>,
}

/// The most shards that a page of a listing holds here. The service would give up to 10,000.
/// ([ListShards](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html))
const SHARDS_A_PAGE: i32 = 1_000;

#[async_trait]
impl KinesisApi for AwsKinesis {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn earliest_now(&self) -> Timestamp {
        self.clock.now().minus(clock::MOST_AHEAD)
    }

    async fn describe_stream_summary(&self) -> Result<StreamSummary, ApiError> {
        const OPERATION: &str = "DescribeStreamSummary";
        let call = self
            .client
            .describe_stream_summary()
            .set_stream_name(self.stream.name())
            .set_stream_arn(self.stream.arn());
        let answer = call
            .send()
            .await
            .map_err(|e| error::explain(OPERATION, &e))?;
        let summary = answer
            .stream_description_summary
            .ok_or_else(|| Senseless::new("it describes no stream"))
            .and_then(convert::summary);
        summary.map_err(|senseless| senseless.in_answer_to(OPERATION))
    }

    async fn list_shards(&self, token: Option<NextToken>) -> Result<ShardsPage, ApiError> {
        const OPERATION: &str = "ListShards";
        let call = self.client.list_shards().max_results(SHARDS_A_PAGE);
        let call = match token {
            // A token stands for the stream, and may not come with its name.
            Some(NextToken(token)) => call.next_token(token),
            None => call
                .set_stream_name(self.stream.name())
                .set_stream_arn(self.stream.arn()),
        };
        let answer = call
            .send()
            .await
            .map_err(|e| error::explain(OPERATION, &e))?;
        convert::shards(answer).map_err(|senseless| senseless.in_answer_to(OPERATION))
    }

    async fn get_shard_iterator(
        &self,
        shard: &ShardId,
        position: &Position,
    ) -> Result<ShardIterator, ApiError> {
        const OPERATION: &str = "GetShardIterator";
        let call = self
            .client
            .get_shard_iterator()
            .set_stream_name(self.stream.name())
            .set_stream_arn(self.stream.arn())
            .shard_id(shard.to_string());
        let call = match position {
            Position::TrimHorizon => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Position::Latest => call.shard_iterator_type(ShardIteratorType::Latest),
            Position::AtTimestamp(moment) => call
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(convert::date_time(*moment)),
            Position::AtSequenceNumber(number) => call
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(number.to_string()),
            Position::AfterSequenceNumber(number) => call
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(number.to_string()),
        };
        let answer = call
            .send()
            .await
            .map_err(|e| error::explain(OPERATION, &e))?;
        let iterator = answer
            .shard_iterator
            .map(|text| ShardIterator::new(shard.clone(), text));
        iterator.ok_or_else(|| Senseless::new("it has no iterator").in_answer_to(OPERATION))
    }

    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: usize,
    ) -> Result<RecordsPage, ApiError> {
        const OPERATION: &str = "GetRecords";
        let call = self
            .client
            .get_records()
            .set_stream_arn(self.stream.arn())
            .shard_iterator(iterator.as_str())
            .limit(convert::count(limit));
        let answer = call
            .send()
            .await
            .map_err(|e| error::explain(OPERATION, &e))?;
        convert::records(iterator.shard(), answer)
            .map_err(|senseless| senseless.in_answer_to(OPERATION))
    }
}

#[async_trait]
impl KinesisWriteApi for AwsKinesis {
    async fn create_stream(&self, shards: u32) -> Result<(), ApiError> {
        let call = self
            .client
            .create_stream()
            .stream_name(self.stream.own_name())
            .shard_count(convert::count(shards));
        let done = call.send().await.map(drop);
        done.map_err(|e| error::explain("CreateStream", &e))
    }

    async fn delete_stream(&self) -> Result<(), ApiError> {
        let call = self
            .client
            .delete_stream()
            .set_stream_name(self.stream.name())
            .set_stream_arn(self.stream.arn());
        let done = call.send().await.map(drop);
        done.map_err(|e| error::explain("DeleteStream", &e))
    }

    async fn put_records(&self, records: &[PutEntry]) -> Result<Vec<PutOutcome>, ApiError> {
        const OPERATION: &str = "PutRecords";
        let entries: Result<Vec<PutRecordsRequestEntry>, _> =
            records.iter().map(convert::entry).collect();
        let entries = entries.map_err(|_| error::unsendable(OPERATION))?;
        let call = self
            .client
            .put_records()
            .set_stream_name(self.stream.name())
            .set_stream_arn(self.stream.arn())
            .set_records(Some(entries));
        let answer = call.send().await.map_err(|e| {
            let keys = records.iter().map(|record| record.partition_key.as_str());
            error::explain_without(OPERATION, &e, keys)
        })?;
        convert::outcomes(answer, records.len())
            .map_err(|senseless| senseless.in_answer_to(OPERATION))
    }

    async fn split_shard(
        &self,
        shard: &ShardId,
        new_starting_hash_key: u128,
    ) -> Result<(), ApiError> {
        let call = self
            .client
            .split_shard()
            .set_stream_name(self.stream.name())
            .set_stream_arn(self.stream.arn())
            .shard_to_split(shard.to_string())
            .new_starting_hash_key(new_starting_hash_key.to_string());
        let done = call.send().await.map(drop);
        done.map_err(|e| error::explain("SplitShard", &e))
    }

    async fn merge_shards(&self, shard: &ShardId, adjacent: &ShardId) -> Result<(), ApiError> {
        let call = self
            .client
            .merge_shards()
            .set_stream_name(self.stream.name())
            .set_stream_arn(self.stream.arn())
            .shard_to_merge(shard.to_string())
            .adjacent_shard_to_merge(adjacent.to_string());
        let done = call.send().await.map(drop);
        done.map_err(|e| error::explain("MergeShards", &e))
    }
}

impl fmt::Debug for AwsKinesis {
    /// The stream only: the SDK's client would show its whole configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKinesis")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
