use std::any::Any;

use kinesis_source::{PutEntry, PutOutcome};
use serde::{Deserialize, Serialize};

use super::{Call, reading::number_of};
use crate::{
    model::{DryRun, Moment, RecordDistribution, Refusal, Service},
    serve::{
        check::{Check, Pattern},
        wire::{Blob, Most, Object, check_stream, encryption_type, hash_key, stream_name},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecord {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    data: Option<Blob>,
    partition_key: Option<String>,
    explicit_hash_key: Option<String>,
    sequence_number_for_ordering: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutAnswer {
    shard_id: String,
    sequence_number: String,
    encryption_type: &'static str,
}

impl Call for PutRecord {
    type Outcome = PutAnswer;
    type Answer = PutAnswer;

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        let number = self.sequence_number_for_ordering.as_deref();
        let member = "sequenceNumberForOrdering";
        check.pattern(member, number, Pattern::SequenceNumber);
        self.entry().check(check, "");
    }

    fn keyless(&self, service: &mut Service, now: Moment) -> bool {
        let (name, arn) = (self.stream_name.as_deref(), self.stream_arn.as_deref());
        is_auto(service, stream_name(service, name, arn), now)
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<PutAnswer, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        let entry = self.entry().put()?;
        if self.dry_run == Some(true) {
            let call = DryRun::PutRecord {
                stream,
                entry: &entry,
            };
            return Err(service.dry_run(call, now));
        }
        let (shard, number) = match self.sequence_number_for_ordering.as_deref() {
            Some(number) => service.put_record_after(stream, &entry, &number_of(number)?, now)?,
            None => service.put_record(stream, &entry, now)?,
        };
        Ok(PutAnswer {
            shard_id: shard.to_string(),
            sequence_number: number.to_string(),
            encryption_type: encryption_type(service.encryption_key(stream, now)?.is_some()),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecords {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    records: Option<Most<Object<EntryIn>, MOST_ENTRIES>>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EntryIn {
    data: Option<Blob>,
    partition_key: Option<String>,
    explicit_hash_key: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutsAnswer {
    failed_record_count: usize,
    records: Vec<OutcomeOut>,
    encryption_type: &'static str,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct OutcomeOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
}

impl Call for PutRecords {
    type Outcome = Puts;
    type Answer = PutsAnswer;

    fn part(puts: &mut Puts) -> &mut dyn Any {
        &mut puts.outcomes
    }

    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        check.required("records", self.records.as_ref());
        if self.records.is_some() && self.entries().is_empty() {
            check.length_of("Value '[]'", "records", 0, 1..=usize::MAX);
        }
        for (record, position) in self.entries().iter().zip(1_u32..) {
            let place = format!("records.{position}.member.");
            record.0.entry().check(check, &place);
        }
    }

    fn keyless(&self, service: &mut Service, now: Moment) -> bool {
        let (name, arn) = (self.stream_name.as_deref(), self.stream_arn.as_deref());
        is_auto(service, stream_name(service, name, arn), now)
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Puts, Refusal> {
        let stream = stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )?;
        let entries = self.entries().iter().map(|record| record.0.entry().put());
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        if self.dry_run == Some(true) {
            let call = DryRun::PutRecords {
                stream,
                entries: &entries,
            };
            return Err(service.dry_run(call, now));
        }
        Ok(Puts {
            outcomes: service.put_records(stream, &entries, now)?,
            encrypted: service.encryption_key(stream, now)?.is_some(),
        })
    }
}

/// What became of the records of a PutRecords.
pub(super) struct Puts {
    outcomes: Vec<PutOutcome>,
    encrypted: bool,
}

impl From<Puts> for PutsAnswer {
    fn from(puts: Puts) -> Self {
        let records = puts.outcomes.into_iter().map(OutcomeOut::from);
        let records: Vec<_> = records.collect();
        let failed = records.iter().filter(|it| it.error_code.is_some());
        Self {
            failed_record_count: failed.count(),
            records,
            encryption_type: encryption_type(puts.encrypted),
        }
    }
}

impl From<PutOutcome> for OutcomeOut {
    fn from(outcome: PutOutcome) -> Self {
        match outcome {
            PutOutcome::Stored {
                shard,
                sequence_number,
            } => Self {
                sequence_number: Some(sequence_number.to_string()),
                shard_id: Some(shard.to_string()),
                ..Self::default()
            },
            PutOutcome::Refused { code, message } => Self {
                error_code: Some(code),
                error_message: Some(message),
                ..Self::default()
            },
        }
    }
}

impl PutRecord {
    fn entry(&self) -> Entry<'_> {
        Entry {
            data: self.data.as_ref(),
            partition_key: self.partition_key.as_deref(),
            explicit_hash_key: self.explicit_hash_key.as_deref(),
        }
    }
}

impl PutRecords {
    fn entries(&self) -> &[Object<EntryIn>] {
        self.records.as_ref().map_or(&[], |records| &records.0)
    }
}

impl EntryIn {
    fn entry(&self) -> Entry<'_> {
        Entry {
            data: self.data.as_ref(),
            partition_key: self.partition_key.as_deref(),
            explicit_hash_key: self.explicit_hash_key.as_deref(),
        }
    }
}

/// A record to put, alone or with others.
struct Entry<'a> {
    data: Option<&'a Blob>,
    partition_key: Option<&'a str>,
    explicit_hash_key: Option<&'a str>,
}

impl Entry<'_> {
    /// Its sizes are looked at by the model, which knows the limits.
    fn check(&self, check: &mut Check, place: &str) {
        check.key(format_args!("{place}partitionKey"), self.partition_key);
        check.required(format_args!("{place}data"), self.data);
        check.pattern(
            format_args!("{place}explicitHashKey"),
            self.explicit_hash_key,
            Pattern::HashKey,
        );
    }

    fn put(&self) -> Result<PutEntry, Refusal> {
        Ok(PutEntry {
            partition_key: self.partition_key.unwrap_or_default().to_owned(),
            explicit_hash_key: self.explicit_hash_key.map(hash_key).transpose()?,
            data: self.data.map(|data| data.0.clone()).unwrap_or_default(),
        })
    }
}

/// A stream that distributes its records by itself takes them without keys. Of one that is not there,
/// nothing is known.
fn is_auto(service: &mut Service, stream: Result<&str, Refusal>, now: Moment) -> bool {
    let capacity = stream.and_then(|stream| service.capacity(stream, now));
    capacity.is_ok_and(|it| it.distribution == RecordDistribution::Auto)
}

/// More are not even read: an entry of two bytes takes a hundred in memory. The service's own limit
/// is 500, and the model's to impose.
const MOST_ENTRIES: usize = 100_000;
