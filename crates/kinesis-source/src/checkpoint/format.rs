//! How checkpoints are written in a file: JSON, so that people can read it and it can grow.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use stage_core::BoxError;

use super::{Checkpoint, StreamIdentity};
use crate::{PinnedPosition, Timestamp};

/// The format written here. Raise it with any change that this code would misread.
pub(super) const VERSION: u64 = 1;

/// The most bytes of a value that are parsed. Those written here are far shorter.
const MAX_VALUE: usize = 16 * 1024;

/// Why a value cannot be used.
#[derive(Debug)]
pub(super) enum Unreadable {
    Newer { version: u64 },
    Damaged(BoxError),
}

impl From<BoxError> for Unreadable {
    fn from(error: BoxError) -> Self {
        Self::Damaged(error)
    }
}

/// What any version has: read first, and by itself.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    version: u64,
    stream: String,
    created_millis: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Stored {
    Start(Pinned),
    QuietStart {
        position: Pinned,
        until_millis: i64,
    },
    After {
        sequence_number: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sub_sequence_number: Option<u64>,
    },
    Quiet {
        sequence_number: String,
        until_millis: i64,
    },
    End,
    EndFrom(Pinned),
    EndAfter {
        sequence_number: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pinned {
    TrimHorizon,
    AtTimestampMillis(i64),
    AtSequenceNumber(String),
    AfterSequenceNumber(String),
}

pub(super) fn write_owner(stream: &StreamIdentity) -> Result<Vec<u8>, BoxError> {
    Ok(serde_json::to_vec(&Owner {
        version: VERSION,
        stream: stream.name.clone(),
        created_millis: stream.created.map(Timestamp::as_millis),
    })?)
}

pub(super) fn read_owner(value: &[u8]) -> Result<StreamIdentity, Unreadable> {
    let Versioned { version } = parse(value)?;
    match version {
        VERSION => {}
        0 => return Err(Unreadable::Damaged("there is no format 0".into())),
        _ => return Err(Unreadable::Newer { version }),
    }
    let owner: Owner = parse(value)?;
    Ok(StreamIdentity {
        name: owner.stream,
        created: owner.created_millis.map(Timestamp::from_millis),
    })
}

pub(super) fn write_checkpoint(checkpoint: &Checkpoint) -> Result<Vec<u8>, BoxError> {
    Ok(serde_json::to_vec(&match checkpoint {
        Checkpoint::Start(position) => Stored::Start(position.into()),
        Checkpoint::QuietStart { position, until } => Stored::QuietStart {
            position: position.into(),
            until_millis: until.as_millis(),
        },
        Checkpoint::After {
            sequence_number,
            sub_sequence_number,
        } => Stored::After {
            sequence_number: sequence_number.to_string(),
            sub_sequence_number: *sub_sequence_number,
        },
        Checkpoint::Quiet {
            sequence_number,
            until,
        } => Stored::Quiet {
            sequence_number: sequence_number.to_string(),
            until_millis: until.as_millis(),
        },
        Checkpoint::End => Stored::End,
        Checkpoint::EndFrom { position } => Stored::EndFrom(position.into()),
        Checkpoint::EndAfter { sequence_number } => Stored::EndAfter {
            sequence_number: sequence_number.to_string(),
        },
    })?)
}

pub(super) fn read_checkpoint(value: &[u8]) -> Result<Checkpoint, BoxError> {
    Ok(match parse(value)? {
        Stored::Start(pinned) => Checkpoint::Start(pinned.try_into()?),
        Stored::QuietStart {
            position,
            until_millis,
        } => Checkpoint::QuietStart {
            position: position.try_into()?,
            until: Timestamp::from_millis(until_millis),
        },
        Stored::After {
            sequence_number,
            sub_sequence_number,
        } => Checkpoint::After {
            sequence_number: sequence_number.parse()?,
            sub_sequence_number,
        },
        Stored::Quiet {
            sequence_number,
            until_millis,
        } => Checkpoint::Quiet {
            sequence_number: sequence_number.parse()?,
            until: Timestamp::from_millis(until_millis),
        },
        Stored::End => Checkpoint::End,
        Stored::EndFrom(position) => Checkpoint::EndFrom {
            position: position.try_into()?,
        },
        Stored::EndAfter { sequence_number } => Checkpoint::EndAfter {
            sequence_number: sequence_number.parse()?,
        },
    })
}

fn parse<T: DeserializeOwned>(value: &[u8]) -> Result<T, BoxError> {
    if value.len() > MAX_VALUE {
        return Err(format!("a value of {} bytes", value.len()).into());
    }
    Ok(serde_json::from_slice(value)?)
}

impl From<&PinnedPosition> for Pinned {
    fn from(position: &PinnedPosition) -> Self {
        match position {
            PinnedPosition::TrimHorizon => Self::TrimHorizon,
            PinnedPosition::AtTimestamp(moment) => Self::AtTimestampMillis(moment.as_millis()),
            PinnedPosition::AtSequenceNumber(number) => Self::AtSequenceNumber(number.to_string()),
            PinnedPosition::AfterSequenceNumber(number) => {
                Self::AfterSequenceNumber(number.to_string())
            }
        }
    }
}

impl TryFrom<Pinned> for PinnedPosition {
    type Error = BoxError;

    fn try_from(pinned: Pinned) -> Result<Self, BoxError> {
        Ok(match pinned {
            Pinned::TrimHorizon => Self::TrimHorizon,
            Pinned::AtTimestampMillis(millis) => Self::AtTimestamp(Timestamp::from_millis(millis)),
            Pinned::AtSequenceNumber(number) => Self::AtSequenceNumber(number.parse()?),
            Pinned::AfterSequenceNumber(number) => Self::AfterSequenceNumber(number.parse()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// If this fails, files in the field no longer open: raise [`VERSION`] and read both.
    #[test]
    fn format_1_is_written_as_it_always_was() {
        let moment = Timestamp::from_millis(1_700_000_000_123);
        for (checkpoint, text) in [
            (Checkpoint::End, r#""end""#),
            (
                Checkpoint::EndFrom {
                    position: PinnedPosition::AtTimestamp(moment),
                },
                r#"{"end_from":{"at_timestamp_millis":1700000000123}}"#,
            ),
            (
                Checkpoint::EndAfter {
                    sequence_number: 7.into(),
                },
                r#"{"end_after":{"sequence_number":"7"}}"#,
            ),
            (
                Checkpoint::after(7.into()),
                r#"{"after":{"sequence_number":"7"}}"#,
            ),
            (
                Checkpoint::After {
                    sequence_number: 7.into(),
                    sub_sequence_number: Some(3),
                },
                r#"{"after":{"sequence_number":"7","sub_sequence_number":3}}"#,
            ),
            (
                Checkpoint::Quiet {
                    sequence_number: 7.into(),
                    until: moment,
                },
                r#"{"quiet":{"sequence_number":"7","until_millis":1700000000123}}"#,
            ),
            (
                Checkpoint::Start(PinnedPosition::AtTimestamp(moment)),
                r#"{"start":{"at_timestamp_millis":1700000000123}}"#,
            ),
            (
                Checkpoint::QuietStart {
                    position: PinnedPosition::TrimHorizon,
                    until: moment,
                },
                r#"{"quiet_start":{"position":"trim_horizon","until_millis":1700000000123}}"#,
            ),
            (
                Checkpoint::Start(PinnedPosition::TrimHorizon),
                r#"{"start":"trim_horizon"}"#,
            ),
        ] {
            assert_eq!(
                String::from_utf8(write_checkpoint(&checkpoint).unwrap()).unwrap(),
                text
            );
            assert_eq!(read_checkpoint(text.as_bytes()).unwrap(), checkpoint);
        }
        let owner = r#"{"version":1,"stream":"orders","created_millis":1700000000123}"#;
        let stream = read_owner(owner.as_bytes()).unwrap();
        assert_eq!(write_owner(&stream).unwrap(), owner.as_bytes());
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let newer = read_owner(br#"{"version":2,"anything":[]}"#);
        assert!(matches!(newer, Err(Unreadable::Newer { version: 2 })));
        for damaged in ["", "{}", "null", r#"{"version":0}"#, r#"{"version":1}"#] {
            let result = read_owner(damaged.as_bytes());
            assert!(matches!(result, Err(Unreadable::Damaged(_))), "{damaged}");
        }
    }

    #[test]
    fn what_is_not_written_here_is_refused() {
        let deep = "[".repeat(MAX_VALUE);
        let long = format!(r#"{{"after":{{"sequence_number":"{}"}}}}"#, "9".repeat(130));
        for value in [
            "",
            "end",
            r#""END""#,
            r#"{"after":{"sequence_number":"-7"}}"#,
            r#"{"after":{"sequence_number":"7","extra":1}}"#,
            r#"{"after":{"sequence_number":"7","sub_sequence_number":-1}}"#,
            r#"{"start":"latest"}"#,
            &deep,
            &long,
            &" ".repeat(MAX_VALUE + 1),
        ] {
            assert!(read_checkpoint(value.as_bytes()).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = read_checkpoint(&bytes);
            let _ = read_owner(&bytes);
        }
    }
}
