//! What `consume` prints: a JSON object a line.

use std::{fmt, str};

use base64::{Engine, engine::general_purpose::STANDARD};
use kinesis_source::{Record, SequenceNumber, ShardId};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::moment::Rfc3339Millis;

/// How a record's bytes become a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Decode {
    /// A string of base64, whatever the bytes are
    Base64,
    /// The bytes as a string
    Utf8,
    /// The bytes as the JSON value they are, digit for digit
    Json,
}

/// A record's bytes are not what they were said to be.
#[derive(Debug, thiserror::Error)]
#[error(
    "record {sequence_number} of {shard} is not {expected}: read it with --decode base64, which \
     takes any bytes"
)]
pub(crate) struct Undecodable {
    shard: ShardId,
    sequence_number: SequenceNumber,
    expected: &'static str,
}

/// Writes records as lines.
#[derive(Debug)]
pub(crate) struct LineFormat {
    decode: Decode,
    /// Kept for its storage.
    text: String,
}

/// One line; its fields are printed in this order.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "text")]
    shard_id: &'a ShardId,
    #[serde(serialize_with = "text")]
    sequence_number: &'a SequenceNumber,
    sub_sequence_number: Option<u64>,
    partition_key: Option<&'a str>,
    #[serde(serialize_with = "moment")]
    approximate_arrival: Option<Rfc3339Millis>,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Text(&'a str),
    Json(&'a RawValue),
}

impl LineFormat {
    pub(crate) fn new(decode: Decode) -> Self {
        Self {
            decode,
            text: String::new(),
        }
    }

    /// Adds the line of a record to `lines`; nothing if it cannot be decoded.
    pub(crate) fn write(
        &mut self,
        lines: &mut Vec<u8>,
        record: &Record,
    ) -> Result<(), Undecodable> {
        let undecodable = |expected| Undecodable {
            shard: record.shard.clone(),
            sequence_number: record.sequence_number.clone(),
            expected,
        };
        let line = Line {
            shard_id: &record.shard,
            sequence_number: &record.sequence_number,
            sub_sequence_number: record.sub_sequence_number(),
            partition_key: record.partition_key.as_deref(),
            approximate_arrival: record.approximate_arrival.and_then(Rfc3339Millis::new),
            data: self.decode(&record.data).map_err(undecodable)?,
        };
        serde_json::to_writer(&mut *lines, &line)
            .expect("a vector takes all that is written, and the line has string keys only");
        lines.push(b'\n');
        Ok(())
    }

    /// The value of these bytes, or what they should have been.
    fn decode<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Data<'a>, &'static str> {
        match self.decode {
            Decode::Base64 => {
                self.text.clear();
                STANDARD.encode_string(bytes, &mut self.text);
                Ok(Data::Text(&self.text))
            }
            Decode::Utf8 => {
                let text = str::from_utf8(bytes).map_err(|_| "UTF-8")?;
                Ok(Data::Text(text))
            }
            Decode::Json => {
                let text = str::from_utf8(bytes).map_err(|_| "JSON")?;
                let value: &RawValue = serde_json::from_str(text).map_err(|_| "JSON")?;
                if !value.get().contains(LINE_BREAKS) {
                    return Ok(Data::Json(value));
                }
                // JSON allows a line break only between tokens, where a space does as well.
                self.text = value.get().replace(LINE_BREAKS, " ");
                let value = serde_json::from_str(&self.text).map_err(|_| "JSON")?;
                Ok(Data::Json(value))
            }
        }
    }
}

const LINE_BREAKS: [char; 2] = ['\n', '\r'];

fn text<S: Serializer>(it: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(it)
}

fn moment<S: Serializer>(moment: &Option<Rfc3339Millis>, serializer: S) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => serializer.collect_str(moment),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kinesis_source::{Aggregation, Record, Timestamp};

    use super::*;

    fn event(data: &'static [u8]) -> Record {
        Record {
            shard: "shardId-000000000001".into(),
            sequence_number: 7.into(),
            partition_key: Some("a \"key\"".into()),
            data: Bytes::from_static(data),
            approximate_arrival: Some(Timestamp::from_millis(1_767_225_600_123)),
            aggregation: Aggregation::None,
        }
    }

    fn print(decode: Decode, event: &Record) -> Result<String, Undecodable> {
        let mut lines = Vec::new();
        LineFormat::new(decode).write(&mut lines, event)?;
        Ok(String::from_utf8(lines).unwrap())
    }

    fn line(decode: Decode, data: &'static [u8]) -> Result<String, Undecodable> {
        print(decode, &event(data))
    }

    #[test]
    fn a_line_has_these_keys_in_this_order() {
        assert_eq!(
            line(Decode::Utf8, "grün\n".as_bytes()).unwrap(),
            "{\"shard_id\":\"shardId-000000000001\",\"sequence_number\":\"7\",\
             \"sub_sequence_number\":null,\"partition_key\":\"a \\\"key\\\"\",\
             \"approximate_arrival\":\"2026-01-01T00:00:00.123Z\",\"data\":\"grün\\n\"}\n"
        );
    }

    #[test]
    fn what_is_absent_is_null() {
        let mut event = event(b"");
        event.partition_key = None;
        event.approximate_arrival = None;
        event.aggregation = Aggregation::user_record(3);
        assert_eq!(
            print(Decode::Base64, &event).unwrap(),
            "{\"shard_id\":\"shardId-000000000001\",\"sequence_number\":\"7\",\"sub_sequence_number\":3,\
             \"partition_key\":null,\"approximate_arrival\":null,\"data\":\"\"}\n"
        );
    }

    #[test]
    fn base64_takes_any_bytes() {
        assert!(
            line(Decode::Base64, b"\xff\x00")
                .unwrap()
                .ends_with("\"data\":\"/wA=\"}\n")
        );
    }

    #[test]
    fn json_stays_as_it_is_digit_for_digit_and_on_one_line() {
        let data = b" {\"z\": 123456789012345678901234567890,\r\n \"a\": 1.10, \"z\": \"\\n\"}\n";
        assert!(line(Decode::Json, data).unwrap().ends_with(
            "\"data\":{\"z\": 123456789012345678901234567890,   \"a\": 1.10, \"z\": \"\\n\"}}\n"
        ));
    }

    #[test]
    fn what_cannot_be_decoded_is_named_and_not_shown() {
        for (decode, data) in [
            (Decode::Utf8, &b"secret\xff"[..]),
            (Decode::Json, b"secret\xff"),
            (Decode::Json, b"{\"secret\":"),
            (Decode::Json, b"1 2"),
            (Decode::Json, b"\"secret\n\""),
            (Decode::Json, b""),
        ] {
            let error = line(decode, data).unwrap_err().to_string();
            assert!(
                error.starts_with("record 7 of shardId-000000000001 is not "),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
