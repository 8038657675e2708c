/// What becomes of the others when a shard cannot go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnShardFailure {
    /// That shard halts, and somebody is told; the others are read on. Its checkpoint stays where it is,
    /// and its children wait.
    ///
    /// If it may go on later, as when its records are nacked again and again, it is
    /// [parked](crate::SourceEvent::ShardParked): about once a minute it is tried from the first record
    /// that is not acknowledged, and goes on once that is. If it would only meet the same again, as with
    /// a place that there is not or [records that were lost](crate::DataLoss), it is
    /// [stopped](crate::SourceEvent::ShardStopped) until the next run, and the pipeline's end is
    /// [`StreamError::ShardsStopped`](crate::StreamError::ShardsStopped), which comes at once if no
    /// other shard is left.
    #[default]
    HaltShard,
    /// The pipeline fails with the shard's [error](crate::ShardError): for whoever would rather have
    /// nothing than a part.
    FailPipeline,
}
