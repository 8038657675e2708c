//! The names of the numbers that sources give to the [`metrics`](https://docs.rs/metrics) facade.
//!
//! Install a recorder of your choice, and there they are; without one, they cost nothing. They are
//! brought up to date every five seconds and when the source ends, from what is counted for each page that
//! is read. Each has the label `stream`, the source's name;
//! [`StreamSource::metrics_by_shard`](crate::StreamSource::metrics_by_shard) adds `shard` where the
//! table says so, for streams whose shards are few enough for that.
//!
//! | name | kind | by shard | is | in the KCL |
//! |---|---|---|---|---|
//! | `kinesis_source_records_total` | counter | yes | records that were read | `RecordsProcessed` |
//! | `kinesis_source_bytes_total` | counter | yes | their bytes, keys and data | `DataBytesProcessed` |
//! | `kinesis_source_acked_records_total` | counter | yes | records that were acknowledged, each time that they were; user records, where records are [taken apart](crate::Deaggregation) | – |
//! | `kinesis_source_reads_total` | counter | yes | GetRecords calls that were answered, or events that subscriptions sent | `getRecords.Success` |
//! | `kinesis_source_throttles_total` | counter | yes | calls that were refused as too many or too much | – |
//! | `kinesis_source_retries_total` | counter | yes | calls that failed otherwise and were made again | – |
//! | `kinesis_source_restarts_total` | counter | yes | readers that were made anew | – |
//! | `kinesis_source_events_total` | counter | no | [events](crate::SourceEvent), by the label `event`: their name | – |
//! | `kinesis_source_millis_behind_latest` | gauge | yes | how far reading is behind the tip; of the stream, the shard that is farthest | `MillisBehindLatest` |
//! | `kinesis_source_in_flight_records` | gauge | yes | records that were handed out and are not settled | – |
//! | `kinesis_source_retention_headroom_seconds` | gauge | yes | how long until records are lost that are not read; of the stream, the least | – |
//! | `kinesis_source_checkpoint_age_seconds` | gauge | no | how long ago all checkpoints were stored or found to be | – |
//! | `kinesis_source_budget_bytes` | gauge | no | the [budget](crate::ByteBudget) of bytes, which other sources may share | – |
//! | `kinesis_source_budget_bytes_in_use` | gauge | no | how much of it is taken, or more than it for a while | – |
//! | `kinesis_source_budget_waiting` | gauge | no | reads that wait for room in it | – |
//! | `kinesis_source_shards` | gauge | no | shards, by the label `state` | – |
//!
//! A shard that is not read for more than ten seconds (as nobody asks for its records, or it fails)
//! falls behind all the while: that time is added to what its last answer said. So does one that was never
//! answered: it is behind for as long, and what it had before that is not known. One of which all is read and
//! acknowledged is not behind, and has all of the stream's retention time left. Where nothing is known any more, as the
//! reader of the shard, or of all shards, has stopped before that, the two gauges are NaN, and no alert on them goes off:
//! [`SHARDS`] counts those that have stopped. What is over is said once and not brought up to date again, so that a
//! recorder that forgets what stands still (as Prometheus' exporter does, by `idle_timeout`) forgets the shard.

/// Records that were read.
#[doc(alias = "RecordsProcessed")]
pub const RECORDS: &str = "kinesis_source_records_total";

/// The bytes of records that were read, keys and data.
#[doc(alias = "DataBytesProcessed")]
pub const BYTES: &str = "kinesis_source_bytes_total";

/// Records that were acknowledged, each time that they were; user records, where records are taken apart.
pub const ACKED: &str = "kinesis_source_acked_records_total";

/// GetRecords calls that were answered, or events that subscriptions sent.
#[doc(alias = "getRecords.Success")]
pub const READS: &str = "kinesis_source_reads_total";

/// Calls that were refused, as they were too many or too much was read.
pub const THROTTLES: &str = "kinesis_source_throttles_total";

/// Calls that failed otherwise and were made again.
pub const RETRIES: &str = "kinesis_source_retries_total";

/// Readers that were made anew.
pub const RESTARTS: &str = "kinesis_source_restarts_total";

/// Events, by name.
pub const EVENTS: &str = "kinesis_source_events_total";

/// How far reading is behind the tip, in milliseconds.
#[doc(alias = "MillisBehindLatest")]
pub const MILLIS_BEHIND_LATEST: &str = "kinesis_source_millis_behind_latest";

/// Records that were handed out and are not settled.
pub const IN_FLIGHT: &str = "kinesis_source_in_flight_records";

/// How long until records are lost that are not read, in seconds.
pub const RETENTION_HEADROOM: &str = "kinesis_source_retention_headroom_seconds";

/// How long ago all checkpoints were stored or found to be, in seconds.
pub const CHECKPOINT_AGE: &str = "kinesis_source_checkpoint_age_seconds";

/// The budget of bytes.
pub const BUDGET: &str = "kinesis_source_budget_bytes";

/// How much of the budget is taken.
pub const BUDGET_IN_USE: &str = "kinesis_source_budget_bytes_in_use";

/// Reads that wait for room in the budget.
pub const BUDGET_WAITING: &str = "kinesis_source_budget_waiting";

/// Shards, by what they are doing.
pub const SHARDS: &str = "kinesis_source_shards";

/// Tells the recorder what the numbers are, if there is one.
pub(crate) fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge};
    describe_counter!(RECORDS, "records that were read");
    describe_counter!(BYTES, Unit::Bytes, "bytes that were read, keys and data");
    describe_counter!(ACKED, "records that were acknowledged");
    describe_counter!(READS, "calls that were answered, or events that were sent");
    describe_counter!(THROTTLES, "calls that were refused as too many or too much");
    describe_counter!(RETRIES, "calls that failed otherwise and were made again");
    describe_counter!(RESTARTS, "readers that were made anew");
    describe_counter!(EVENTS, "changes of state, by name");
    describe_gauge!(
        MILLIS_BEHIND_LATEST,
        Unit::Milliseconds,
        "how far reading is behind the tip, at most"
    );
    describe_gauge!(
        IN_FLIGHT,
        "records that were handed out and are not settled"
    );
    describe_gauge!(
        RETENTION_HEADROOM,
        Unit::Seconds,
        "how long until records are lost that are not read, at least"
    );
    describe_gauge!(
        CHECKPOINT_AGE,
        Unit::Seconds,
        "how long ago all checkpoints were stored or found to be"
    );
    describe_gauge!(BUDGET, Unit::Bytes, "the budget of bytes");
    describe_gauge!(
        BUDGET_IN_USE,
        Unit::Bytes,
        "how much of the budget is taken"
    );
    describe_gauge!(BUDGET_WAITING, "reads that wait for room in the budget");
    describe_gauge!(SHARDS, "shards, by what they are doing");
}
