use std::fmt;

use bytes::Bytes;

use crate::{SequenceNumber, Timestamp};

/// A record as it was put.
///
/// Its `Debug` shows sizes, never what was put.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands in its shard.
    pub sequence_number: SequenceNumber,
    /// What it was put under. A stream that distributes records by itself has none.
    pub partition_key: Option<String>,
    /// What was put. Clones share it.
    pub data: Bytes,
    /// About when the service took it in. It is not monotonic: never order by it.
    pub approximate_arrival: Option<Timestamp>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.partition_key.as_ref();
        f.debug_struct("Record")
            .field("sequence_number", &self.sequence_number)
            .field("partition_key", &key.map(|key| Redacted(key.len())))
            .field("data", &Redacted(self.data.len()))
            .field("approximate_arrival", &self.approximate_arrival)
            .finish()
    }
}

/// So many bytes that are nobody's business.
struct Redacted(usize);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} B)", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_key_nor_data() {
        let record = Record {
            sequence_number: 7.into(),
            partition_key: Some("customer-42".into()),
            data: Bytes::from_static(b"secret"),
            approximate_arrival: Some(Timestamp::from_millis(1_500)),
        };
        let text = format!("{record:?}");
        assert_eq!(
            text,
            "Record { sequence_number: 7, partition_key: Some((11 B)), data: (6 B), \
             approximate_arrival: Some(Timestamp(1500)) }"
        );
    }
}
