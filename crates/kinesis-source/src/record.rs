use std::fmt;

use bytes::Bytes;
use stage_core::protocol::lane_for;

use crate::{Aggregation, SequenceNumber, ShardId, Timestamp};

/// A record as it was put, and which shard it was read from: what a transport answers with, and the event that Kinesis
/// sources produce.
///
/// It is one and the same, so that an answer with ten thousand of them is handed on as it is. Its `Debug` shows sizes,
/// never what was put.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The shard.
    pub shard: ShardId,
    /// Where it stands in its shard. A user record of an aggregated one has the number of that.
    pub sequence_number: SequenceNumber,
    /// What it was put under. A stream that distributes records by itself has none.
    pub partition_key: Option<String>,
    /// What was put. Clones share it.
    pub data: Bytes,
    /// About when the service took it in. It is not monotonic: never order by it. A user record of an aggregated one
    /// has the time of that.
    pub approximate_arrival: Option<Timestamp>,
    /// What [de-aggregation](crate::Deaggregation) found it to be. A transport says
    /// [`None`](Aggregation::None).
    pub aggregation: Aggregation,
}

impl Record {
    /// A record without a partition key, of which it is not known when it arrived.
    ///
    /// ```
    /// use kinesis_source::{Record, ShardId};
    ///
    /// let record = Record {
    ///     partition_key: Some("customer-42".to_owned()),
    ///     ..Record::new(ShardId::from("shardId-000000000000"), 7.into(), "paid")
    /// };
    /// assert_eq!(record.data, "paid");
    /// ```
    pub fn new(shard: ShardId, sequence_number: SequenceNumber, data: impl Into<Bytes>) -> Self {
        Self {
            shard,
            sequence_number,
            partition_key: None,
            data: data.into(),
            approximate_arrival: None,
            aggregation: Aggregation::None,
        }
    }

    /// In a record that the Kinesis Producer Library aggregated: which part of it this is.
    pub fn sub_sequence_number(&self) -> Option<u64> {
        self.aggregation.sub_sequence_number()
    }

    /// The lane, of so many, that all records of its key fall on.
    pub(crate) fn lane(&self, lanes: usize) -> usize {
        match &self.partition_key {
            Some(key) => lane_for(key.as_str(), lanes),
            None => lane_for(&self.sequence_number, lanes),
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.partition_key.as_ref();
        f.debug_struct("Record")
            .field("shard", &self.shard)
            .field("sequence_number", &self.sequence_number)
            .field("partition_key", &key.map(|key| Redacted(key.len())))
            .field("data", &Redacted(self.data.len()))
            .field("approximate_arrival", &self.approximate_arrival)
            .field("aggregation", &self.aggregation)
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
    fn it_is_no_larger_than_it_must_be() {
        assert_eq!(size_of::<Record>(), 120);
    }

    #[test]
    fn debug_shows_neither_key_nor_data() {
        let record = Record {
            shard: ShardId::from("shardId-000000000001"),
            sequence_number: 7.into(),
            partition_key: Some("customer-42".into()),
            data: Bytes::from_static(b"secret"),
            approximate_arrival: Some(Timestamp::from_millis(1_500)),
            aggregation: Aggregation::None,
        };
        let text = format!("{record:?}");
        assert_eq!(
            text,
            "Record { shard: shardId-000000000001, sequence_number: 7, partition_key: Some((11 B)), \
             data: (6 B), approximate_arrival: Some(Timestamp(1500)), aggregation: None }"
        );
    }
}
