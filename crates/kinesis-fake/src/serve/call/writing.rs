use kinesis_source::{PutEntry, PutOutcome};
use serde::{Deserialize, Serialize};

use super::Call;
use crate::{
    model::{Moment, Refusal, Service},
    serve::wire::{Blob, hash_key, stream_name},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecord {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    data: Blob,
    partition_key: String,
    explicit_hash_key: Option<String>,
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

    fn act(&self, service: &mut Service, now: Moment) -> Result<PutAnswer, Refusal> {
        let stream = stream_name(self.stream_name.as_deref(), self.stream_arn.as_deref())?;
        let explicit = self.explicit_hash_key.as_deref();
        let entry = entry(&self.partition_key, explicit, &self.data)?;
        let (shard, number) = service.put_record(stream, &entry, now)?;
        Ok(PutAnswer {
            shard_id: shard.to_string(),
            sequence_number: number.to_string(),
            encryption_type: "NONE",
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecords {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    records: Vec<EntryIn>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EntryIn {
    data: Blob,
    partition_key: String,
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
    type Outcome = PutsAnswer;
    type Answer = PutsAnswer;

    fn act(&self, service: &mut Service, now: Moment) -> Result<PutsAnswer, Refusal> {
        let stream = stream_name(self.stream_name.as_deref(), self.stream_arn.as_deref())?;
        let entries = self.records.iter().map(|record| {
            let explicit = record.explicit_hash_key.as_deref();
            entry(&record.partition_key, explicit, &record.data)
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let outcomes = service.put_records(stream, &entries, now)?;
        let records: Vec<_> = outcomes.into_iter().map(OutcomeOut::from).collect();
        let failed = records.iter().filter(|it| it.error_code.is_some());
        Ok(PutsAnswer {
            failed_record_count: failed.count(),
            records,
            encryption_type: "NONE",
        })
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

fn entry(key: &str, explicit_hash_key: Option<&str>, data: &Blob) -> Result<PutEntry, Refusal> {
    Ok(PutEntry {
        partition_key: key.to_owned(),
        explicit_hash_key: explicit_hash_key.map(hash_key).transpose()?,
        data: data.0.clone(),
    })
}
