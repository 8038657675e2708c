//! The SDK's shapes made ours. None of it copies what was put.

use std::fmt;

use aws_sdk_kinesis::{
    error::BuildError,
    operation::{
        get_records::GetRecordsOutput, list_shards::ListShardsOutput,
        list_stream_consumers::ListStreamConsumersOutput, put_records::PutRecordsOutput,
    },
    primitives::{Blob, DateTime},
    types,
};

use crate::{
    Aggregation, ApiError, ChildShard, ConsumerArn, ConsumerStatus, ConsumersPage, HashRange,
    NextToken, PutEntry, PutOutcome, Record, RecordsPage, Remedy, SequenceNumber, Shard, ShardId,
    ShardIterator, ShardsPage, StreamConsumer, StreamStatus, StreamSummary, SubscribeEvent,
    Timestamp,
};

/// Why an answer that arrived whole cannot be used. It never holds what was put.
#[derive(Debug)]
pub(super) struct Senseless(String);

impl Senseless {
    pub(super) fn new(why: impl fmt::Display) -> Self {
        Self(format!("the answer makes no sense: {why}"))
    }

    pub(super) fn in_answer_to(self, operation: &'static str) -> ApiError {
        ApiError::new(operation, Remedy::Retry).with_message(&self.0)
    }
}

/// The SDK counts in `i32`. The service refuses what is too large for it.
pub(super) fn count(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

pub(super) fn date_time(moment: Timestamp) -> DateTime {
    DateTime::from_millis(moment.as_millis())
}

/// To the nearest millisecond: the service sends seconds with a fraction, which the SDK reads as
/// a floating-point number a little off.
fn timestamp(moment: &DateTime) -> Timestamp {
    let millis = (moment.as_nanos() + 500_000).div_euclid(1_000_000);
    // An `i64` of seconds cannot be exceeded by much; the largest moment there is will do.
    Timestamp::from_millis(millis.try_into().unwrap_or(i64::MAX))
}

pub(super) fn summary(
    summary: types::StreamDescriptionSummary,
) -> Result<StreamSummary, Senseless> {
    let status = match summary.stream_status {
        types::StreamStatus::Creating => StreamStatus::Creating,
        types::StreamStatus::Deleting => StreamStatus::Deleting,
        types::StreamStatus::Active => StreamStatus::Active,
        types::StreamStatus::Updating => StreamStatus::Updating,
        _ => return Err(Senseless::new("it has a status that nobody knows")),
    };
    // The SDK puts the epoch where a server left the moment out.
    let created = timestamp(&summary.stream_creation_timestamp);
    Ok(StreamSummary {
        name: summary.stream_name,
        arn: summary.stream_arn,
        status,
        created: (created.as_millis() != 0).then_some(created),
        retention_hours: summary.retention_period_hours.try_into().unwrap_or(0),
        open_shards: summary.open_shard_count.try_into().unwrap_or(0),
    })
}

pub(super) fn shards(answer: ListShardsOutput) -> Result<ShardsPage, Senseless> {
    let shards = answer.shards.unwrap_or_default().into_iter().map(shard);
    Ok(ShardsPage {
        shards: shards.collect::<Result<_, _>>()?,
        next: answer.next_token.map(NextToken),
    })
}

fn shard(shard: types::Shard) -> Result<Shard, Senseless> {
    let Some(numbers) = shard.sequence_number_range else {
        return Err(Senseless::new("a shard has no sequence numbers"));
    };
    let ending = numbers.ending_sequence_number.as_deref();
    Ok(Shard {
        id: ShardId::new(shard.shard_id),
        parent: shard.parent_shard_id.map(ShardId::new),
        adjacent_parent: shard.adjacent_parent_shard_id.map(ShardId::new),
        hash_range: hash_range(shard.hash_key_range)?,
        starting_sequence_number: sequence_number(&numbers.starting_sequence_number)?,
        ending_sequence_number: ending.map(sequence_number).transpose()?,
    })
}

pub(super) fn records(shard: &ShardId, answer: GetRecordsOutput) -> Result<RecordsPage, Senseless> {
    let children = answer.child_shards.unwrap_or_default();
    Ok(RecordsPage {
        records: all_records(shard, answer.records)?,
        next: answer
            .next_shard_iterator
            .map(|text| ShardIterator::new(shard.clone(), text)),
        millis_behind_latest: answer
            .millis_behind_latest
            .and_then(|millis| millis.try_into().ok()),
        children: children.into_iter().map(child).collect::<Result<_, _>>()?,
    })
}

pub(super) fn event(
    shard: &ShardId,
    event: types::SubscribeToShardEvent,
) -> Result<SubscribeEvent, Senseless> {
    let children = event.child_shards.unwrap_or_default();
    // The SDK has an empty text where the service sent none.
    let continuation = Some(event.continuation_sequence_number).filter(|text| !text.is_empty());
    Ok(SubscribeEvent {
        records: all_records(shard, event.records)?,
        continuation_sequence_number: continuation.as_deref().map(sequence_number).transpose()?,
        millis_behind_latest: event.millis_behind_latest.try_into().ok(),
        children: children.into_iter().map(child).collect::<Result<_, _>>()?,
    })
}

pub(super) fn consumer(consumer: types::Consumer) -> Result<StreamConsumer, Senseless> {
    stream_consumer(
        consumer.consumer_name,
        consumer.consumer_arn,
        &consumer.consumer_status,
        &consumer.consumer_creation_timestamp,
    )
}

pub(super) fn described_consumer(
    consumer: types::ConsumerDescription,
) -> Result<StreamConsumer, Senseless> {
    stream_consumer(
        consumer.consumer_name,
        consumer.consumer_arn,
        &consumer.consumer_status,
        &consumer.consumer_creation_timestamp,
    )
}

pub(super) fn consumers(answer: ListStreamConsumersOutput) -> Result<ConsumersPage, Senseless> {
    let consumers = answer.consumers.unwrap_or_default().into_iter();
    Ok(ConsumersPage {
        consumers: consumers.map(consumer).collect::<Result<_, _>>()?,
        next: answer.next_token.map(NextToken),
    })
}

fn stream_consumer(
    name: String,
    arn: String,
    status: &types::ConsumerStatus,
    created: &DateTime,
) -> Result<StreamConsumer, Senseless> {
    // The SDK puts the epoch where a server left the moment out.
    let created = timestamp(created);
    Ok(StreamConsumer {
        name,
        arn: ConsumerArn::new(arn),
        status: consumer_status(status)?,
        created: (created.as_millis() != 0).then_some(created),
    })
}

fn consumer_status(status: &types::ConsumerStatus) -> Result<ConsumerStatus, Senseless> {
    match status {
        types::ConsumerStatus::Creating => Ok(ConsumerStatus::Creating),
        types::ConsumerStatus::Deleting => Ok(ConsumerStatus::Deleting),
        types::ConsumerStatus::Active => Ok(ConsumerStatus::Active),
        _ => Err(Senseless::new("it has a status that nobody knows")),
    }
}

/// In storage that is as large as it has to be, at once.
fn all_records(shard: &ShardId, from: Vec<types::Record>) -> Result<Vec<Record>, Senseless> {
    let mut records = Vec::with_capacity(from.len());
    for one in from {
        records.push(record(shard, one)?);
    }
    Ok(records)
}

fn record(shard: &ShardId, record: types::Record) -> Result<Record, Senseless> {
    Ok(Record {
        shard: shard.clone(),
        sequence_number: sequence_number(&record.sequence_number)?,
        partition_key: record.partition_key,
        data: record.data.into_bytes(),
        approximate_arrival: record.approximate_arrival_timestamp.as_ref().map(timestamp),
        aggregation: Aggregation::None,
    })
}

fn child(child: types::ChildShard) -> Result<ChildShard, Senseless> {
    Ok(ChildShard {
        id: ShardId::new(child.shard_id),
        parents: child.parent_shards.into_iter().map(ShardId::new).collect(),
        hash_range: hash_range(child.hash_key_range)?,
    })
}

fn hash_range(range: Option<types::HashKeyRange>) -> Result<HashRange, Senseless> {
    let senseless = || Senseless::new("a shard's hash keys are no numbers of 128 bits");
    let range = range.ok_or_else(senseless)?;
    let key = |text: &str| text.parse().map_err(|_| senseless());
    Ok(HashRange {
        start: key(&range.starting_hash_key)?,
        end: key(&range.ending_hash_key)?,
    })
}

fn sequence_number(text: &str) -> Result<SequenceNumber, Senseless> {
    text.parse().map_err(Senseless::new)
}

pub(super) fn entry(entry: &PutEntry) -> Result<types::PutRecordsRequestEntry, BuildError> {
    let key = Some(&entry.partition_key).filter(|key| !key.is_empty());
    types::PutRecordsRequestEntry::builder()
        .set_partition_key(key.cloned())
        .set_explicit_hash_key(entry.explicit_hash_key.map(|key| key.to_string()))
        .data(Blob::new(entry.data.as_ref()))
        .build()
}

pub(super) fn outcomes(answer: PutRecordsOutput, put: usize) -> Result<Vec<PutOutcome>, Senseless> {
    let answered = answer.records.len();
    if answered != put {
        let why = format!("it speaks of {answered} records, and {put} were put");
        return Err(Senseless::new(why));
    }
    answer.records.into_iter().map(outcome).collect()
}

fn outcome(entry: types::PutRecordsResultEntry) -> Result<PutOutcome, Senseless> {
    if let Some(code) = entry.error_code {
        let message = entry.error_message.unwrap_or_default();
        return Ok(PutOutcome::Refused { code, message });
    }
    let (Some(shard), Some(number)) = (entry.shard_id, entry.sequence_number) else {
        return Err(Senseless::new("a record is neither stored nor refused"));
    };
    Ok(PutOutcome::Stored {
        shard: ShardId::new(shard),
        sequence_number: sequence_number(&number)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_whole_milliseconds_again() {
        for millis in [0, 1, 1_700_000_000_123, 1_700_000_000_999, -1] {
            let moment = Timestamp::from_millis(millis);
            let sent = date_time(moment).as_secs_f64();
            assert_eq!(timestamp(&DateTime::from_secs_f64(sent)), moment);
        }
    }

    #[test]
    fn what_was_put_is_not_copied() {
        let data = vec![7; 1_000];
        let address = data.as_ptr();
        let sent = types::Record::builder()
            .sequence_number("1")
            .data(Blob::new(data))
            .build()
            .unwrap();
        let shard = ShardId::from("shardId-000000000000");
        assert_eq!(record(&shard, sent).unwrap().data.as_ptr(), address);
    }
}
