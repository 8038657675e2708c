use std::fmt;

/// What a shard's reader, or the source itself, waits for.
///
/// Most of it has a deadline: what has not happened by then is told as
/// [`SourceEvent::Stuck`](crate::SourceEvent::Stuck). What the pipeline decides, demand and
/// acknowledgements, has none: a slow sink is not a fault of the source. Room in the budget does: who has
/// all of it, and does not give it back, may be somebody else. And so does each single record in hand: see
/// [`Receipts`](Self::Receipts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitingFor {
    /// Nothing: it is at work, or has not begun.
    Nothing,
    /// Somebody downstream to ask for records. No deadline.
    Demand,
    /// What is on its way to be acknowledged: the shard is at its end, or records were nacked. No
    /// deadline but that of each record in hand, and of whoever waits when there is none: see
    /// [`Receipts`](Self::Receipts).
    Acknowledgements,
    /// The oldest record in hand to be settled. However much is settled after it, the shard's checkpoint
    /// does not pass it. That is [told](crate::SourceEvent::Stuck) if it takes
    /// [too long](crate::StreamSource::settle_within), whatever else the shard's reader waits for. It waits
    /// for nothing else once [too many](crate::StreamSource::unsaved_at_most) are acknowledged beyond.
    #[non_exhaustive]
    Receipts {
        /// How many records after it are acknowledged: they would all come again after a crash.
        beyond: u64,
    },
    /// Another subscriber of the same consumer to leave the shard alone. It is told if that has gone on for five
    /// minutes: see [`SubscriptionTakenOver`](crate::SourceEvent::SubscriptionTakenOver).
    OtherSubscriber,
    /// Its parents to be retired. No deadline.
    Parents,
    /// Room in the [budget of bytes](crate::ByteBudget): what was read is to be settled first. The
    /// numbers are those of the moment that this was said.
    #[non_exhaustive]
    Budget {
        /// How many bytes it has.
        bytes: u64,
        /// How many of them are in use; it may be [more](crate::ByteBudget#the-bound).
        in_use: u64,
        /// How many of these the shard's own source has. What remains is other sources', if it is
        /// shared.
        own: u64,
        /// How many shards wait for room, of all sources.
        waiting: usize,
    },
    /// The moment when the service's limits, and other readers, allow the next call. It is also told if calls have
    /// been made for five minutes, and all that could be were [refused](crate::SourceEvent::ThrottlingBegan).
    Turn,
    /// The answer to a call.
    #[non_exhaustive]
    Answer {
        /// Which, by AWS's name.
        operation: &'static str,
    },
    /// The next event of a subscription.
    Subscription,
    /// The consumer of enhanced fan-out to be active.
    Consumer,
    /// A moment to pass at the shard's tip, where nothing new was.
    NewRecords,
    /// Records that there are, by all that Kinesis says, and that it does not send: answers are empty,
    /// and as far behind the tip as before.
    Headway,
    /// The next try, after a failure.
    Retry,
    /// The next slow try of a [parked](crate::SourceEvent::ShardParked) shard.
    Probe,
    /// Its reader to be made anew, as [`restarts`](crate::StreamSource::restarts) say. No deadline.
    Restart,
    /// The checkpoint store.
    CheckpointStore,
    /// What is due next: a checkpoint, a listing, or news of a shard. Of the source itself.
    News,
}

impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Demand => "demand",
            Self::Acknowledgements => "acknowledgements",
            Self::Receipts { beyond } => {
                return write!(
                    f,
                    "the receipt of its oldest record in hand ({beyond} are acknowledged beyond it)",
                );
            }
            Self::Parents => "its parents",
            Self::Budget {
                bytes,
                in_use,
                own,
                waiting,
            } => {
                return write!(
                    f,
                    "room in the budget of {bytes} bytes, of which {in_use} are in use, {own} by this \
                     source, and for which {waiting} shards wait",
                );
            }
            Self::OtherSubscriber => "another subscriber to leave it alone",
            Self::Turn => "its turn, by the service's limits",
            Self::Answer { operation } => return write!(f, "the answer to {operation}"),
            Self::Subscription => "its subscription's next event",
            Self::Consumer => "the consumer to be active",
            Self::NewRecords => "new records",
            Self::Headway => "records that there are, and do not come",
            Self::Retry => "the next try",
            Self::Probe => "the next slow try",
            Self::Restart => "a fresh reader",
            Self::CheckpointStore => "the checkpoint store",
            Self::News => "news",
        })
    }
}
