use std::any::Any;

use kinesis_source::ApiError;

use super::Fake;
use crate::{
    faults::Subject,
    model::{
        AccountLimits, Moment, Operation, RecordDistribution, Refusal, Resize, Service, StreamMode,
    },
};

/// Operations that change a stream, beyond those of
/// [`KinesisWriteApi`](kinesis_source::KinesisWriteApi). They bear AWS's names. What refuses them is
/// said at those of the same names of [`Service`].
impl Fake {
    /// Makes the stream, on demand: it begins with four shards and grows by itself
    /// (`CreateStream` with `ON_DEMAND`).
    ///
    /// # Errors
    ///
    /// As [`Service::create_on_demand_stream`].
    pub async fn create_on_demand_stream(&self) -> Result<(), ApiError> {
        self.change(Operation::CreateStream, |service, now| {
            service.create_on_demand_stream(&self.stream, now)
        })
        .await
    }

    /// Removes the stream and with it its consumers (`DeleteStream` with
    /// `EnforceConsumerDeletion`).
    ///
    /// # Errors
    ///
    /// As [`Service::delete_stream_and_consumers`].
    pub async fn delete_stream_and_consumers(&self) -> Result<(), ApiError> {
        self.change(Operation::DeleteStream, |service, now| {
            service.delete_stream_and_consumers(&self.stream, now)
        })
        .await
    }

    /// Changes how many shards the stream has, by splits and merges in rounds.
    ///
    /// # Errors
    ///
    /// As [`Service::update_shard_count`].
    pub async fn update_shard_count(&self, target: u32) -> Result<Resize, ApiError> {
        self.change(Operation::UpdateShardCount, |service, now| {
            service.update_shard_count(&self.stream, target, now)
        })
        .await
    }

    /// Changes who decides how many shards the stream has.
    ///
    /// # Errors
    ///
    /// As [`Service::update_stream_mode`].
    pub async fn update_stream_mode(&self, mode: StreamMode) -> Result<(), ApiError> {
        self.change(Operation::UpdateStreamMode, |service, now| {
            service.update_stream_mode(&self.stream, mode, now)
        })
        .await
    }

    /// Changes how large the stream's records may be, in KiB.
    ///
    /// # Errors
    ///
    /// As [`Service::update_max_record_size`].
    pub async fn update_max_record_size(&self, kib: u32) -> Result<(), ApiError> {
        self.change(Operation::UpdateMaxRecordSize, |service, now| {
            service.update_max_record_size(&self.stream, kib, now)
        })
        .await
    }

    /// Changes who decides which shard a record falls on.
    ///
    /// # Errors
    ///
    /// As [`Service::update_stream_record_distribution_strategy`].
    pub async fn update_stream_record_distribution_strategy(
        &self,
        distribution: RecordDistribution,
    ) -> Result<(), ApiError> {
        let operation = Operation::UpdateStreamRecordDistributionStrategy;
        self.change(operation, |service, now| {
            service.update_stream_record_distribution_strategy(&self.stream, distribution, now)
        })
        .await
    }

    /// Keeps the stream's records longer.
    ///
    /// # Errors
    ///
    /// As [`Service::increase_retention`].
    pub async fn increase_stream_retention_period(&self, hours: u32) -> Result<(), ApiError> {
        self.change(Operation::IncreaseStreamRetentionPeriod, |service, now| {
            service.increase_retention(&self.stream, hours, now)
        })
        .await
    }

    /// Keeps the stream's records for a shorter time.
    ///
    /// # Errors
    ///
    /// As [`Service::decrease_retention`].
    pub async fn decrease_stream_retention_period(&self, hours: u32) -> Result<(), ApiError> {
        self.change(Operation::DecreaseStreamRetentionPeriod, |service, now| {
            service.decrease_retention(&self.stream, hours, now)
        })
        .await
    }

    /// What the account may have, and has.
    ///
    /// # Errors
    ///
    /// As [`Service::describe_limits`].
    pub async fn describe_limits(&self) -> Result<AccountLimits, ApiError> {
        self.change(Operation::DescribeLimits, Service::describe_limits)
            .await
    }

    async fn change<T: Any>(
        &self,
        operation: Operation,
        act: impl FnOnce(&mut Service, Moment) -> Result<T, Refusal>,
    ) -> Result<T, ApiError> {
        let answer = self.call(Subject::whole(operation), act).await;
        answer.map_err(|failure| failure.into_api_error(operation))
    }
}
