use kinesis_source::{ChildShard, HashRange, Record, SequenceNumber, Shard};
use serde::Serialize;

use super::check::{Check, Pattern};
use crate::model::{EncryptedRecords, Refusal, Service};

mod blob;
mod most;
mod object;
mod time;

pub(super) use blob::Blob;
pub(super) use most::{Most, MostByKey};
pub(super) use object::{Object, object};
pub(super) use time::Time;

/// The stream that a request means, by name, by ARN or by both.
pub(super) fn stream_name<'a>(
    service: &Service,
    name: Option<&'a str>,
    arn: Option<&'a str>,
) -> Result<&'a str, Refusal> {
    let by_arn = arn.map(|arn| service.stream_of(arn));
    match (name, by_arn.transpose()?) {
        (Some(name), Some(by_arn)) if name != by_arn => Err(Refusal::invalid_argument(
            "StreamName and StreamARN do not mean the same stream.",
        )),
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => Err(Refusal::invalid_argument(
            "Either StreamName or StreamARN is needed.",
        )),
    }
}

/// What is wrong with how a request names its stream.
pub(super) fn check_stream(check: &mut Check, name: Option<&str>, arn: Option<&str>) {
    check.name("streamName", name);
    check.pattern("streamARN", arn, Pattern::StreamArn);
    check.length("streamARN", arn, 1..=2_048);
}

/// A hash key, which is written in decimal digits.
pub(super) fn hash_key(text: &str) -> Result<u128, Refusal> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| {
        Refusal::invalid_argument(format!(
            "{text:.60} is not a hash key, which is a number below 2^128."
        ))
    })
}

/// A number that the request gives, as far as it can be one.
pub(super) fn count(number: Option<i64>) -> Option<usize> {
    // What is negative becomes zero, which is refused wherever counts are.
    number.map(|number| usize::try_from(number.max(0)).unwrap_or(usize::MAX))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RecordOut {
    sequence_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_arrival_timestamp: Option<Time>,
    data: Blob,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<&'static str>,
}

impl From<Record> for RecordOut {
    fn from(record: Record) -> Self {
        Self {
            sequence_number: record.sequence_number.to_string(),
            approximate_arrival_timestamp: record.approximate_arrival.map(Time::from),
            data: Blob(record.data),
            partition_key: record.partition_key,
            encryption_type: None,
        }
    }
}

impl RecordOut {
    /// The same, with its encryption if it is one of those.
    pub(super) fn among(record: Record, encrypted: &EncryptedRecords) -> Self {
        let is_encrypted = encrypted.has(&record.sequence_number);
        Self {
            encryption_type: is_encrypted.then(|| encryption_type(true)),
            ..Self::from(record)
        }
    }
}

/// API StreamDescription, Record, PutRecords: EncryptionType.
pub(super) fn encryption_type(encrypted: bool) -> &'static str {
    match encrypted {
        true => "KMS",
        false => "NONE",
    }
}

/// About how many bytes records have when they are written.
pub(super) fn records_size(records: &[Record]) -> usize {
    let size = |record: &Record| {
        let key = record.partition_key.as_ref().map_or(0, String::len);
        // Base64 makes three bytes four, JSON at worst one byte six.
        record.data.len().div_ceil(3) * 4 + 6 * key + RECORD_FRAME
    };
    records.iter().map(size).sum()
}

/// What a record has beside its data and key: names, a number of 56 digits and a time.
const RECORD_FRAME: usize = 192;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardOut {
    shard_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_shard_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adjacent_parent_shard_id: Option<String>,
    hash_key_range: HashKeyRange,
    sequence_number_range: SequenceNumberRange,
}

impl From<Shard> for ShardOut {
    fn from(shard: Shard) -> Self {
        let number = |number: SequenceNumber| number.to_string();
        Self {
            shard_id: shard.id.to_string(),
            parent_shard_id: shard.parent.map(|id| id.to_string()),
            adjacent_parent_shard_id: shard.adjacent_parent.map(|id| id.to_string()),
            hash_key_range: shard.hash_range.into(),
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: number(shard.starting_sequence_number),
                ending_sequence_number: shard.ending_sequence_number.map(number),
            },
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    starting_sequence_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending_sequence_number: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HashKeyRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

impl From<HashRange> for HashKeyRange {
    fn from(range: HashRange) -> Self {
        Self {
            starting_hash_key: range.start.to_string(),
            ending_hash_key: range.end.to_string(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChildOut {
    shard_id: String,
    parent_shards: Vec<String>,
    hash_key_range: HashKeyRange,
}

impl From<ChildShard> for ChildOut {
    fn from(child: ChildShard) -> Self {
        Self {
            shard_id: child.id.to_string(),
            parent_shards: child.parents.iter().map(ToString::to_string).collect(),
            hash_key_range: child.hash_range.into(),
        }
    }
}

/// What an operation without an answer answers.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}
