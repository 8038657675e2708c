use std::time::Duration;

use super::{Limits, Owner, limits::RETENTION_HOURS};

/// How a [`Service`](super::Service) behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// What it allows.
    pub limits: Limits,
    /// What it does where the documents leave it open.
    pub choices: Choices,
    /// How long its changes take.
    pub durations: Durations,
    /// Whose streams it has: of account `000000000000` in `us-east-1`. Each keeps its owner.
    pub owner: Owner,
    /// How long a new stream keeps records: whole hours, 24 by default.
    pub retention_hours: u32,
    /// What its iterators and tokens are sealed with.
    pub seed: u64,
    /// How many times as fast as its clients' the clock is whose times it is told. What is about a client
    /// and its network, and not about the service, keeps the client's time: [`Choices::heartbeat`] and
    /// [`Limits::subscriber_stall`].
    pub clock_rate: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            choices: Choices::default(),
            durations: Durations::default(),
            owner: Owner::default(),
            retention_hours: *RETENTION_HOURS.start(),
            seed: 0,
            clock_rate: 1,
        }
    }
}

/// How long changes take. By default about as long as on the service: see
/// [`realistic`](Self::realistic).
///
/// The service's documents promise no duration, but that changes are not done when their call returns:
/// who does not wait for `ACTIVE` is refused there, and by default here. Where a test is not about
/// that, changes take [no time](Self::instant).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Durations {
    /// From CreateStream until the stream is active.
    pub create: Duration,
    /// From SplitShard or MergeShards until the children are there; for each round of
    /// UpdateShardCount, and for UpdateStreamMode.
    pub update: Duration,
    /// From StartStreamEncryption or StopStreamEncryption until it holds for records.
    pub encrypt: Duration,
    /// From DeleteStream until the stream has gone.
    pub delete: Duration,
    /// From RegisterStreamConsumer until the consumer is active.
    pub register: Duration,
    /// From DeregisterStreamConsumer until the consumer has gone.
    pub deregister: Duration,
}

impl Durations {
    /// About what people see: 20 s for a stream to be made, 30 s for a reshard and for a stream to
    /// go, 5 s for encryption ("a few seconds", says API StartStreamEncryption, which alone says
    /// anything), 10 s for a consumer to come or go.
    pub const fn realistic() -> Self {
        Self {
            create: Duration::from_secs(20),
            update: Duration::from_secs(30),
            encrypt: Duration::from_secs(5),
            delete: Duration::from_secs(30),
            register: Duration::from_secs(10),
            deregister: Duration::from_secs(10),
        }
    }

    /// No change takes any time: what was asked for is there when the call returns.
    pub const fn instant() -> Self {
        Self::all(Duration::ZERO)
    }

    /// Every change takes that long.
    pub const fn all(duration: Duration) -> Self {
        Self {
            create: duration,
            update: duration,
            encrypt: duration,
            delete: duration,
            register: duration,
            deregister: duration,
        }
    }
}

impl Default for Durations {
    /// [As on the service](Self::realistic).
    fn default() -> Self {
        Self::realistic()
    }
}

/// What the service does where its documents are silent, or differ from what people saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Choices {
    /// GetShardIterator at a number whose record has been trimmed.
    pub older_than_horizon: OlderThanHorizon,
    /// GetShardIterator at a time that is yet to come.
    pub future_timestamp: FutureTimestamp,
    /// ListShards at a time before the trim horizon.
    pub time_before_horizon: TimeBeforeHorizon,
    /// Which of two shards that are merged is the child's parent, and which its adjacent parent.
    pub merge_order: MergeOrder,
    /// The answer that ends a closed shard.
    pub shard_end: ShardEnd,
    /// Each so many-th GetRecords of a shard is answered with no records although there are some,
    /// which is legal. Zero, the default, never does.
    pub empty_answer_every: u32,
    /// How much earlier than it came a record may say that it came, drawn for each: arrival times are
    /// approximate, and not in order. Zero by default.
    pub arrival_disorder: Duration,
    /// How long after its last event a subscription sends one without records: five seconds, of its
    /// client's time whatever the [clock's rate](crate::Builder::clock_rate).
    pub heartbeat: Duration,
    /// Reading and writing a stream that is being removed.
    pub deleting_stream: DeletingStream,
    /// The continuation of an event with records.
    pub continuation: Continuation,
    /// How a subscription ends that another one takes over.
    pub takeover: Takeover,
    /// Where SubscribeToShard's refusals are said.
    pub subscription_refusal: SubscriptionRefusal,
    /// GetResourcePolicy where there is no policy.
    pub no_policy: NoPolicy,
    /// GetRecords with a limit that is out of bounds.
    pub read_limit: ReadLimit,
    /// An ARN of another account.
    pub foreign_arn: ForeignArn,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            older_than_horizon: OlderThanHorizon::default(),
            future_timestamp: FutureTimestamp::default(),
            time_before_horizon: TimeBeforeHorizon::default(),
            merge_order: MergeOrder::default(),
            shard_end: ShardEnd::default(),
            empty_answer_every: 0,
            arrival_disorder: Duration::ZERO,
            heartbeat: HEARTBEAT,
            deleting_stream: DeletingStream::default(),
            continuation: Continuation::default(),
            takeover: Takeover::default(),
            subscription_refusal: SubscriptionRefusal::default(),
            no_policy: NoPolicy::default(),
            read_limit: ReadLimit::default(),
            foreign_arn: ForeignArn::default(),
        }
    }
}

/// What GetShardIterator does at a number whose record has been trimmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OlderThanHorizon {
    /// Refuses it as an invalid argument.
    #[default]
    Refuse,
    /// Begins silently at the oldest record still kept.
    StartAtHorizon,
}

/// What GetShardIterator does at a time that is yet to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FutureTimestamp {
    /// Refuses it as an invalid argument.
    #[default]
    Refuse,
    /// Begins after the newest record.
    StartAtEnd,
}

/// What ListShards gives for `AT_TIMESTAMP` with a time before the trim horizon, or before there was
/// a stream.
///
/// API ShardFilter corrects such a time for `FROM_TIMESTAMP`, and is silent about `AT_TIMESTAMP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeBeforeHorizon {
    /// The shards of that time that are still listed, to the letter: none, if all have expired.
    #[default]
    AsSaid,
    /// Those that were open at the trim horizon.
    TrimHorizon,
}

/// Which of two shards that are merged is `ParentShardId` of the child, and which
/// `AdjacentParentShardId`; in that order they are its `ParentShards`, too.
///
/// API MergeShards names a shard and an adjacent one, and API Shard a parent and an adjacent one; that
/// these are the same is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeOrder {
    /// As MergeShards names them.
    #[default]
    AsAsked,
    /// The one with the lower hash keys is the parent, whichever was named first.
    ByHashKey,
    /// The one with the lower hash keys must be named first: else it is an invalid argument, as
    /// kinesalite and moto have it.
    LowerFirst,
}

/// Which answer ends a closed shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShardEnd {
    /// The one with its last records.
    #[default]
    WithLastRecords,
    /// An empty one, after that with its last records.
    OneMoreAnswer,
}

/// What becomes of calls that read or write a stream that is being removed.
///
/// The documents say both: that whoever operates on it gets `ResourceNotFound`, and that the service
/// "might continue to accept data read and write operations" until it has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeletingStream {
    /// They are refused.
    #[default]
    Refuse,
    /// They are served, until it has gone.
    Serve,
}

/// Which number a subscription's event with records gives to go on after.
///
/// The documents allow to go on at it as well as after it: what is sent again at it differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Continuation {
    /// That of its last record.
    #[default]
    LastRecord,
    /// One between its last record's and the next one's.
    BeyondLastRecord,
}

/// How a subscription ends that another one of the same consumer and shard takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Takeover {
    /// With `ResourceInUse` among its events.
    #[default]
    Fails,
    /// As if its time were over.
    Ends,
}

/// Where SubscribeToShard's refusals are said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionRefusal {
    /// The call fails.
    #[default]
    AtCall,
    /// The call succeeds, and the first event is the error.
    InStream,
}

/// What GetResourcePolicy does for a stream or a consumer that has no policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoPolicy {
    /// Refuses with `ResourceNotFound`.
    #[default]
    Refuse,
    /// Gives an empty one: `{}`.
    Empty,
}

/// How an ARN of another account is refused. One of another region is `ResourceNotFound` always.
///
/// The documents have an `AccessDeniedException` for who has "no permissions", as here no account has
/// given this one any, and do not say that an ARN which means nothing gets it, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignArn {
    /// With `AccessDenied`.
    #[default]
    AccessDenied,
    /// With `ResourceNotFound`, as what is not there.
    NotFound,
}

/// What GetRecords does with a limit below 1 or above 10,000.
///
/// API GetRecords: it "throws InvalidArgumentException" above 10,000; but the service's model bounds
/// `Limit`, and what is out of a model's bounds is a `ValidationException` elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadLimit {
    /// Refuses it as an invalid argument.
    #[default]
    InvalidArgument,
    /// Refuses it as kinesalite does: with `ValidationException`.
    Validation,
}

/// Not documented; about what people see.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
