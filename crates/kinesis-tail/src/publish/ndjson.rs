use std::io;

use kinesis_source::PutEntry;
use serde::{Deserialize, Deserializer, de};
use stage_core::{Batch, Demand, Flow, Producer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use super::Numbered;

/// Produces the records that the lines of `R` describe. Empty lines are left out.
#[derive(Debug)]
pub(super) struct Ndjson<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    /// Of the line that is being read, counted from one.
    number: u64,
}

/// A line makes no record. It is not repeated: it may be nobody's business.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadLine {
    #[error("line {number} of standard input is not a record: {why}")]
    NoRecord { number: u64, why: String },
    #[error("line {number} of standard input is longer than {MAX_LINE} bytes")]
    TooLong { number: u64 },
    #[error("line {number} of standard input cannot be read")]
    Unreadable { number: u64, source: io::Error },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    partition_key: String,
    data: String,
    #[serde(default, deserialize_with = "decimal")]
    explicit_hash_key: Option<u128>,
}

/// A record may have 10 MiB, each byte of which JSON may write as six.
const MAX_LINE: usize = 64 * 1_024 * 1_024;
/// The most that any stream takes as a record, key included.
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>)
const MAX_RECORD: usize = 10 * 1_024 * 1_024;
/// In characters. (As above.)
const MAX_KEY: usize = 256;

impl<R: AsyncRead + Unpin> Ndjson<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
            line: Vec::new(),
            number: 1,
        }
    }

    /// The next record, or `None` at the end of the input.
    ///
    /// Cancel safe: what was read of a line stays in `self.line`.
    async fn next(&mut self) -> Result<Option<Numbered>, BadLine> {
        loop {
            let number = self.number;
            let room = (MAX_LINE + 1 - self.line.len()) as u64;
            let mut bounded = (&mut self.reader).take(room);
            let read = bounded.read_until(b'\n', &mut self.line).await;
            read.map_err(|source| BadLine::Unreadable { number, source })?;
            if self.line.len() > MAX_LINE {
                return Err(BadLine::TooLong { number });
            }
            if self.line.is_empty() {
                return Ok(None);
            }
            let entry = parse(&self.line);
            self.line.clear();
            self.number += 1;
            let entry = entry.map_err(|why| BadLine::NoRecord { number, why })?;
            if let Some(entry) = entry {
                return Ok(Some(Numbered { number, entry }));
            }
        }
    }

    /// Whether another line can be had without waiting.
    fn has_line(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }
}

impl<R: AsyncRead + Send + Unpin + 'static> Producer for Ndjson<R> {
    type Event = Numbered;
    type Error = BadLine;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<Numbered>,
    ) -> Result<Flow, BadLine> {
        loop {
            let Some(record) = self.next().await? else {
                return Ok(Flow::End);
            };
            batch.push(record);
            if batch.len() == demand.get() || !self.has_line() {
                return Ok(Flow::More);
            }
        }
    }
}

/// What a line puts; `None` for an empty one.
fn parse(line: &[u8]) -> Result<Option<PutEntry>, String> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let line: Line = serde_json::from_slice(line).map_err(|error| without_content(&error))?;
    if !(1..=MAX_KEY).contains(&line.partition_key.chars().count()) {
        return Err(format!(
            "its partition_key has not 1 to {MAX_KEY} characters"
        ));
    }
    if line.partition_key.len() + line.data.len() > MAX_RECORD {
        return Err(format!("it has more than {MAX_RECORD} bytes"));
    }
    Ok(Some(PutEntry {
        partition_key: line.partition_key,
        explicit_hash_key: line.explicit_hash_key,
        data: line.data.into(),
    }))
}

/// What is wrong, and where, without what serde quotes of the line.
fn without_content(error: &serde_json::Error) -> String {
    let at = error.column();
    match error.classify() {
        serde_json::error::Category::Data => format!(
            "it must be an object of strings: partition_key, data, and perhaps explicit_hash_key \
             (see column {at})"
        ),
        _ => format!("it is not JSON (see column {at})"),
    }
}

fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u128>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn records(input: &str) -> (Vec<(u64, PutEntry)>, Option<String>) {
        let mut ndjson = Ndjson::new(input.as_bytes());
        let mut records = Vec::new();
        loop {
            match ndjson.next().await {
                Ok(Some(record)) => records.push((record.number, record.entry)),
                Ok(None) => return (records, None),
                Err(error) => return (records, Some(error.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn a_line_is_a_record() {
        let input = "{\"partition_key\":\"a\",\"data\":\"grün\"}\r\n\n\
                     {\"data\":\"\",\"partition_key\":\"b\",\"explicit_hash_key\":\"340282366920938463463374607431768211455\"}";
        let (records, error) = records(input).await;
        assert_eq!(error, None);
        assert_eq!(records[0].1.data, "grün");
        assert_eq!(
            (records[1].0, records[1].1.partition_key.as_str()),
            (3, "b")
        );
        assert_eq!(records[1].1.explicit_hash_key, Some(u128::MAX));
    }

    #[tokio::test]
    async fn a_bad_line_is_named_and_not_shown() {
        for bad in [
            "secret",
            "{\"partition_key\":\"secret\"}",
            "{\"partition_key\":\"a\",\"data\":\"b\",\"secret\":1}",
            "{\"partition_key\":\"\",\"data\":\"secret\"}",
            "{\"partition_key\":\"a\",\"data\":\"b\",\"explicit_hash_key\":\"secret\"}",
            "\"secret\"",
        ] {
            let input = format!("{{\"partition_key\":\"a\",\"data\":\"b\"}}\n{bad}\n");
            let (records, error) = records(&input).await;
            let error = error.unwrap();
            assert_eq!(records.len(), 1);
            assert!(
                error.starts_with("line 2 of standard input is not a record: "),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
