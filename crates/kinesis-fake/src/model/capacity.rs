use super::WarmThroughput;

/// Who decides how many shards a stream has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamMode {
    /// Its owner.
    #[default]
    Provisioned,
    /// The service: it begins with four, and has twice as many as the traffic took, a while later, or
    /// [as told](crate::Limits::on_demand_shards_at_start).
    OnDemand,
}

/// Who decides which shard a record falls on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordDistribution {
    /// Its partition key, or its explicit hash key.
    #[default]
    UserPartitionKey,
    /// The service, whatever its keys say; it needs none.
    Auto,
}

/// What a stream takes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capacity {
    /// Who decides how many shards it has.
    pub mode: StreamMode,
    /// Who decides which shard a record falls on.
    pub distribution: RecordDistribution,
    /// What a record may have, in bytes, with its key.
    pub record_bytes: usize,
    /// How many consumers are registered with it.
    pub consumers: usize,
    /// How warm it is, if that was ever asked for.
    pub warm_throughput: Option<WarmThroughput>,
}

/// What an account may have, and has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountLimits {
    /// Open shards that its provisioned streams may have.
    pub shard_limit: u32,
    /// Open shards that they have.
    pub open_shards: u32,
    /// Streams that may be on demand.
    pub on_demand_stream_limit: usize,
    /// Streams that are.
    pub on_demand_streams: usize,
}

/// What became of UpdateShardCount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resize {
    /// Open shards at the call.
    pub current: u32,
    /// Open shards in the end.
    pub target: u32,
}
