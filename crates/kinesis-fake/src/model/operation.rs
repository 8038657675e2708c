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
    /// Sets tags of a stream.
    AddTagsToStream,
    /// Makes a stream.
    CreateStream,
    /// Shortens a stream's retention.
    DecreaseStreamRetentionPeriod,
    /// Takes the policy of a stream or a consumer away.
    DeleteResourcePolicy,
    /// Removes a stream.
    DeleteStream,
    /// Takes a consumer away from its stream.
    DeregisterStreamConsumer,
    /// Tells what the account has promised to pay for.
    DescribeAccountSettings,
    /// Tells the account's limits.
    DescribeLimits,
    /// Tells what a stream is, with its shards.
    DescribeStream,
    /// Tells what a consumer is.
    DescribeStreamConsumer,
    /// Tells what a stream is, without its shards.
    DescribeStreamSummary,
    /// Wants metrics of a stream's shards no longer.
    DisableEnhancedMonitoring,
    /// Wants metrics of a stream's shards.
    EnableEnhancedMonitoring,
    /// Reads records.
    GetRecords,
    /// Tells the policy of a stream or a consumer.
    GetResourcePolicy,
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
    /// Lists the tags of a stream or a consumer.
    ListTagsForResource,
    /// Lists the tags of a stream.
    ListTagsForStream,
    /// Merges two shards.
    MergeShards,
    /// Puts one record.
    PutRecord,
    /// Puts up to 500 records.
    PutRecords,
    /// Attaches a policy to a stream or a consumer.
    PutResourcePolicy,
    /// Registers a consumer with a stream.
    RegisterStreamConsumer,
    /// Takes tags away from a stream.
    RemoveTagsFromStream,
    /// Splits a shard.
    SplitShard,
    /// Has a stream's records encrypted.
    StartStreamEncryption,
    /// Has a stream's records encrypted no longer.
    StopStreamEncryption,
    /// Has a shard send its records to a consumer.
    SubscribeToShard,
    /// Sets tags of a stream or a consumer.
    TagResource,
    /// Takes tags away from a stream or a consumer.
    UntagResource,
    /// Changes what the account has promised to pay for.
    UpdateAccountSettings,
    /// Changes how large a stream's records may be.
    UpdateMaxRecordSize,
    /// Changes how many shards a stream has.
    UpdateShardCount,
    /// Changes who decides how many shards a stream has.
    UpdateStreamMode,
    /// Changes who decides which shard a record falls on.
    UpdateStreamRecordDistributionStrategy,
    /// Has a stream on demand grow at once.
    UpdateStreamWarmThroughput,
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
