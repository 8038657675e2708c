use std::fmt;

macro_rules! operations {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// An operation of Kinesis, by AWS's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[doc = $doc])* $name,)*
        }

        impl Operation {
            /// Every operation that the fake knows.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// AWS's name for it, as `GetRecords`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

operations! {
    /// Makes a stream.
    CreateStream,
    /// Shortens a stream's retention.
    DecreaseStreamRetentionPeriod,
    /// Removes a stream.
    DeleteStream,
    /// Takes a consumer away from its stream.
    DeregisterStreamConsumer,
    /// Tells the account's limits.
    DescribeLimits,
    /// Tells what a stream is, with its shards.
    DescribeStream,
    /// Tells what a consumer is.
    DescribeStreamConsumer,
    /// Tells what a stream is, without its shards.
    DescribeStreamSummary,
    /// Reads records.
    GetRecords,
    /// Opens a place to read from.
    GetShardIterator,
    /// Prolongs a stream's retention.
    IncreaseStreamRetentionPeriod,
    /// Lists a stream's shards.
    ListShards,
    /// Lists a stream's consumers.
    ListStreamConsumers,
    /// Lists the streams.
    ListStreams,
    /// Merges two shards.
    MergeShards,
    /// Puts one record.
    PutRecord,
    /// Puts up to 500 records.
    PutRecords,
    /// Registers a consumer with a stream.
    RegisterStreamConsumer,
    /// Splits a shard.
    SplitShard,
    /// Has a shard send its records to a consumer.
    SubscribeToShard,
    /// Changes how large a stream's records may be.
    UpdateMaxRecordSize,
    /// Changes how many shards a stream has.
    UpdateShardCount,
    /// Changes who decides how many shards a stream has.
    UpdateStreamMode,
    /// Changes who decides which shard a record falls on.
    UpdateStreamRecordDistributionStrategy,
}

impl Operation {
    /// The operation of AWS's name, as `GetRecords`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.name() == name)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
