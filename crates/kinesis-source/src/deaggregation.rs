/// How records that the Kinesis Producer Library (KPL) aggregated are taken apart.
///
/// Each user record becomes an event of its own, with a
/// [sub-sequence number](crate::Record::sub_sequence_number), under its own partition key.
/// Records that were not aggregated pass as they are, and so do [damaged](crate::kpl::Damage) ones:
/// their event [says so](crate::Aggregation::Damaged), and they are counted.
///
/// A checkpoint may be within an aggregated record. Whoever goes on there reads that record again,
/// and leaves out what is done. Without de-aggregation, all of it comes again.
///
/// What is read at once, 10 MiB at most, is kept until it is taken apart and handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deaggregation {
    pub(crate) outside_range: OutsideRange,
}

/// What to do about user records whose hash key does not fall on their shard.
///
/// A producer that does not know yet of a split or merge puts an aggregated record on a shard where
/// some of its user records do not belong. The KPL notices, and sends those again; other producers
/// do not. On streams that distribute records by themselves, any record may be anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutsideRange {
    /// They are delivered, and [say so](crate::Aggregation::UserRecord). Nothing is lost; what the
    /// KPL sends again comes twice.
    #[default]
    Deliver,
    /// The whole aggregated record is dropped if only one is outside, as Amazon's client library
    /// does, and counted. For a producer that does not send again, this loses records.
    DropLikeKcl,
    /// The pipeline fails with [`ShardError::OutsideRange`](crate::ShardError), before any user
    /// record of it is delivered.
    Fail,
}

impl Deaggregation {
    /// All user records are delivered.
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do about user records outside their shard's range.
    #[must_use]
    pub fn outside_range(self, outside_range: OutsideRange) -> Self {
        Self { outside_range }
    }
}
