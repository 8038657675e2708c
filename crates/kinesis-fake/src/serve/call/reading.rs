use std::any::Any;

use kinesis_source::{Position, RecordsPage, SequenceNumber, ShardId};
use serde::{Deserialize, Serialize};

use super::Call;
use crate::{
    faults::About,
    model::{
        DryRun, EncryptedRecords, MOST_BYTES_AT_ONCE, MOST_RECORDS_AT_ONCE, Moment, Refusal,
        Service,
    },
    serve::{
        check::{Check, Pattern},
        wire::{ChildOut, RecordOut, Time, check_stream, count, records_size, stream_name},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetShardIterator {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_id: Option<String>,
    shard_iterator_type: Option<String>,
    starting_sequence_number: Option<String>,
    timestamp: Option<Time>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IteratorAnswer {
    shard_iterator: String,
}

impl Call for GetShardIterator {
    type Outcome = IteratorAnswer;
    type Answer = IteratorAnswer;

    fn about(&self) -> About {
        About::Shard(self.shard())
    }

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        check.required("shardId", self.shard_id.as_ref());
        check.name("shardId", self.shard_id.as_deref());
        let kind = self.shard_iterator_type.as_deref();
        check.required("shardIteratorType", kind);
        check.one_of("shardIteratorType", kind, &POSITIONS);
        let number = self.starting_sequence_number.as_deref();
        check.pattern("startingSequenceNumber", number, Pattern::SequenceNumber);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<IteratorAnswer, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        let shard = self.shard();
        let position = position(
            self.shard_iterator_type.as_deref().unwrap_or_default(),
            self.starting_sequence_number.as_deref(),
            self.timestamp,
        )?;
        if self.dry_run == Some(true) {
            let call = DryRun::GetShardIterator {
                stream,
                shard: &shard,
                position: &position,
            };
            return Err(service.dry_run(call, now));
        }
        let iterator = service.get_shard_iterator(stream, &shard, &position, now)?;
        Ok(IteratorAnswer {
            shard_iterator: iterator.as_str().to_owned(),
        })
    }
}

impl GetShardIterator {
    fn shard(&self) -> ShardId {
        ShardId::new(self.shard_id.as_deref().unwrap_or_default())
    }
}

/// Where to begin, of what a request says about that. A time that is not asked for says nothing.
pub(super) fn position(
    kind: &str,
    number: Option<&str>,
    time: Option<Time>,
) -> Result<Position, Refusal> {
    match (kind, number, time) {
        ("TRIM_HORIZON", None, _) => Ok(Position::TrimHorizon),
        ("LATEST", None, _) => Ok(Position::Latest),
        ("AT_TIMESTAMP", None, Some(time)) => Ok(Position::AtTimestamp(time.into())),
        ("AT_TIMESTAMP", None, None) => Err(Refusal::invalid_argument(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current \
             request has no timestamp parameter.",
        )),
        ("AT_SEQUENCE_NUMBER", Some(text), _) => Ok(Position::AtSequenceNumber(number_of(text)?)),
        ("AFTER_SEQUENCE_NUMBER", Some(text), _) => {
            Ok(Position::AfterSequenceNumber(number_of(text)?))
        }
        (_, number, _) => {
            let given = match number {
                Some(_) => "also a StartingSequenceNumber",
                None => "no StartingSequenceNumber",
            };
            Err(Refusal::invalid_argument(format!(
                "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
                 StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no \
                 StartingSequenceNumber. Request specified {kind} and {given}."
            )))
        }
    }
}

/// A sequence number that a request gives.
pub(super) fn number_of(text: &str) -> Result<SequenceNumber, Refusal> {
    text.parse()
        .map_err(|error: kinesis_source::InvalidSequenceNumber| {
            Refusal::invalid_argument(format!("A sequence number is {error}"))
        })
}

/// API GetShardIterator: ShardIteratorType; StartingPosition: Type.
pub(super) const POSITIONS: [&str; 5] = [
    "AFTER_SEQUENCE_NUMBER",
    "LATEST",
    "AT_TIMESTAMP",
    "AT_SEQUENCE_NUMBER",
    "TRIM_HORIZON",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetRecords {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_iterator: Option<String>,
    limit: Option<i64>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RecordsAnswer {
    records: Vec<RecordOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_shard_iterator: Option<String>,
    millis_behind_latest: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<ChildOut>,
}

impl Call for GetRecords {
    type Outcome = Reading;
    type Answer = RecordsAnswer;

    fn part(reading: &mut Reading) -> &mut dyn Any {
        &mut reading.page
    }

    fn about(&self) -> About {
        About::Iterator(self.iterator().to_owned())
    }

    fn check(&self, check: &mut Check) {
        check_stream(check, None, self.stream_arn.as_deref());
        let iterator = self.shard_iterator.as_deref();
        check.required("shardIterator", iterator);
        check.length("shardIterator", iterator, 1..=512);
    }

    fn size(Reading { page, .. }: &Reading) -> usize {
        records_size(&page.records)
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Reading, Refusal> {
        let iterator = self.iterator();
        let most = service.settings().limits.records_per_answer;
        if let Some(limit) = self.limit.filter(|limit| *limit < 0) {
            return Err(service.limit_refused(limit, false));
        }
        let limit = count(self.limit).unwrap_or(most);
        let arn = self.stream_arn.as_deref();
        let stream = arn
            .map(|arn| stream_name(service, None, Some(arn)))
            .transpose()?;
        if self.dry_run == Some(true) {
            let call = DryRun::GetRecords {
                stream,
                iterator,
                limit,
            };
            return Err(service.dry_run(call, now));
        }
        // Fewer are always legal; more than the service allows have been asked for in vain.
        let limit = match limit > most {
            true => limit,
            false => limit.min(MOST_RECORDS_AT_ONCE),
        };
        let most = (limit, MOST_BYTES_AT_ONCE);
        Ok(Reading {
            page: service.get_records_within(stream, iterator, most, now)?,
            encrypted: service.encrypted_by(iterator, now),
        })
    }
}

/// A page of records, and which of them are said to be encrypted.
pub(super) struct Reading {
    page: RecordsPage,
    encrypted: EncryptedRecords,
}

impl GetRecords {
    fn iterator(&self) -> &str {
        self.shard_iterator.as_deref().unwrap_or_default()
    }
}

impl From<Reading> for RecordsAnswer {
    fn from(Reading { page, encrypted }: Reading) -> Self {
        let records = page.records.into_iter();
        let records = records.map(|record| RecordOut::among(record, &encrypted));
        Self {
            records: records.collect(),
            next_shard_iterator: page.next.map(|next| next.as_str().to_owned()),
            millis_behind_latest: page.millis_behind_latest,
            child_shards: page.children.into_iter().map(ChildOut::from).collect(),
        }
    }
}
