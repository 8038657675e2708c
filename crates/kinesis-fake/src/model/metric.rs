macro_rules! metrics {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What a stream can report of each shard, by AWS's name: for enhanced monitoring. The fake
        /// remembers which of them are wanted, and reports nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Metric {
            $($(#[doc = $doc])* $name,)*
        }

        impl Metric {
            /// All that there are.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// AWS's name for it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

metrics! {
    /// Bytes that were put.
    IncomingBytes,
    /// Records that were put.
    IncomingRecords,
    /// Bytes that were read.
    OutgoingBytes,
    /// Records that were read.
    OutgoingRecords,
    /// Puts that were throttled.
    WriteProvisionedThroughputExceeded,
    /// Reads that were throttled.
    ReadProvisionedThroughputExceeded,
    /// The age of the last record that was read.
    IteratorAgeMilliseconds,
}

impl Metric {
    /// The metric of AWS's name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.name() == name)
    }
}
