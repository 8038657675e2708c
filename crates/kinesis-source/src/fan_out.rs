mod consumer;

use std::{sync::Arc, time::Duration};

pub(crate) use self::consumer::{Consumer, READY_WITHIN};
use crate::{ConsumerAddress, ConsumerArn, KinesisFanOutApi};

/// How a stream is read by enhanced fan-out: each shard sends its records to a registered consumer,
/// as they come and at 2 MiB a second of its own, instead of being asked for them.
///
/// For [`StreamSource::fan_out`](crate::StreamSource::fan_out). Nothing else of the source changes:
/// the order of shards and records, checkpoints, de-aggregation, where it starts. A stream that was
/// read by polling can be read on by fan-out, and the other way round.
///
/// A consumer takes one subscription to each shard: run one process for each consumer. Whoever
/// subscribes as the same one takes the shard over; a source that loses a shard like that waits for
/// five seconds before it takes it back, and twice as long each time that it is lost again.
///
/// That a shard has ended is borne out by asking once, with GetRecords, for what comes after its last
/// record. Where that is not allowed, another subscription tells, some five seconds later.
///
/// AWS charges for each consumer, shard and hour, and for what is sent.
///
/// # Demand
///
/// The service has no flow control for fan-out but that of the connection. A subscription is not
/// read while nobody asks for its records. What was sent by then and is not asked for is bounded: for
/// each shard, the rest of one event (about 1 MiB; one record of 10 MiB at most), and what the
/// connection holds. With [`AwsKinesis`](crate::AwsKinesis) that is 2 MiB at most for each
/// subscription and 5 MiB for all that share a connection (the windows of hyper's HTTP/2; the SDK
/// takes from the connection only what it is asked for). As a few shards that stand still could hold
/// all of a connection that way, one that is not read for [some time](Self::let_go_after) is let go;
/// the next demand subscribes anew, where it was.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a source is told to read by it"]
pub struct FanOut {
    pub(crate) api: Arc<dyn KinesisFanOutApi>,
    pub(crate) consumer: ConsumerAddress,
    pub(crate) deregistration: Deregistration,
    pub(crate) silence: Duration,
    pub(crate) let_go_after: Duration,
}

/// Whether a consumer is taken away when its source stops.
///
/// A process that is killed takes nothing away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deregistration {
    /// It stays, to be found by the next process. It costs for each hour.
    #[default]
    Never,
    /// It goes if this source has registered it.
    IfRegisteredHere,
    /// It goes, whoever has registered it.
    Always,
}

/// The service sends an event about every five seconds, with records or without: three of them are
/// missing.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a subscription may go unread.
const LET_GO_AFTER: Duration = Duration::from_secs(10);

impl FanOut {
    /// Reads as the consumer of that name: the one that the stream has, or a new one.
    pub fn new(api: Arc<dyn KinesisFanOutApi>, consumer: impl Into<String>) -> Self {
        Self::of(api, ConsumerAddress::Name(consumer.into()))
    }

    /// Reads as a consumer that is registered already, and is never registered here: without
    /// `RegisterStreamConsumer` among the permissions, or for a stream of another account.
    pub fn registered(api: Arc<dyn KinesisFanOutApi>, consumer: ConsumerArn) -> Self {
        Self::of(api, ConsumerAddress::Arn(consumer))
    }

    fn of(api: Arc<dyn KinesisFanOutApi>, consumer: ConsumerAddress) -> Self {
        Self {
            api,
            consumer,
            deregistration: Deregistration::default(),
            silence: SILENCE,
            let_go_after: LET_GO_AFTER,
        }
    }

    /// Whether to take the consumer away when the source stops; never, unless this is called.
    pub fn deregister(self, deregistration: Deregistration) -> Self {
        Self {
            deregistration,
            ..self
        }
    }

    /// How long a subscription that is being read may send nothing before it is taken for dead and
    /// made anew; 15 seconds unless this is called. The service sends an event about every five
    /// seconds, also when there are no records, and does not say that it does: a larger number is
    /// safe, and finds a dead connection later.
    pub fn silence(self, limit: Duration) -> Self {
        Self {
            silence: limit,
            ..self
        }
    }

    /// How long a subscription may go unread, because nobody asks for its records, before it is let
    /// go; ten seconds unless this is called.
    pub fn let_go_after(self, limit: Duration) -> Self {
        Self {
            let_go_after: limit,
            ..self
        }
    }
}
