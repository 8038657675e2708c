use std::{error::Error, iter, time::Duration};

use tracing::Level;

use crate::{
    ApiError, ConsumerArn, DataLoss, HashRange, ParkReason, PinnedPosition, ShardId, ShardState,
    WaitingFor,
};

mod wording;

pub(crate) use wording::Listed;

/// Something about a stream that is being read has changed.
///
/// One event for each change: what goes on for hours is said when it begins and when it is over, with
/// how often it happened in between. No event has record data, partition keys or credentials in it.
/// Each is also one line of the log, made from the event: its `Display` is the line's message, and its
/// [`name`](Self::name), [`shard`](Self::shard) and error are fields.
///
/// They come from [`StreamHandle::events`](crate::StreamHandle::events).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SourceEvent {
    /// The stream has been found, and its shards and checkpoints are known. What is read of it comes
    /// after this.
    StreamOpened {
        /// How many shards it has, closed ones included.
        shards: usize,
        /// How many of them have checkpoints.
        checkpoints: usize,
    },
    /// The stream cannot be opened yet; it is tried again.
    OpeningFailing {
        /// What Kinesis said.
        error: ApiError,
    },
    /// The source has ended. It is the last event.
    StreamEnded {
        /// Why.
        end: StreamEnd,
    },
    /// The shards cannot be listed. Those that are known are read on.
    ListingFailing {
        /// What Kinesis said.
        error: ApiError,
    },
    /// The shards are listed again.
    ListingRecovered {
        /// How often in a row it had failed.
        failures: u32,
    },
    /// The listing lacks shards. It is asked for again; nothing is decided by it.
    ListingIncomplete {
        /// Children that their parents' last answers named, and that are not listed.
        missing: Vec<ShardId>,
        /// Hash keys that fall on no open shard.
        holes: Vec<HashRange>,
    },
    /// The listing lacks nothing any more.
    ListingComplete,
    /// Checkpoints are not stored. Reading goes on, as far as the records may be in flight; it is tried
    /// again each time that they are due.
    CheckpointsFailing {
        /// The store's error and what lies beneath it.
        reason: String,
    },
    /// Checkpoints are stored again, and that has not failed for a minute.
    CheckpointsRecovered {
        /// How often it had failed.
        failures: u32,
    },
    /// The consumer of enhanced fan-out can be subscribed as.
    ConsumerActive {
        /// Its ARN.
        consumer: ConsumerArn,
        /// Whether this source has registered it.
        registered_here: bool,
    },
    /// The consumer of enhanced fan-out was deregistered.
    ConsumerDeregistered {
        /// As it was named.
        consumer: String,
    },
    /// The consumer of enhanced fan-out could not be deregistered: it goes on costing.
    ConsumerLeft {
        /// As it was named.
        consumer: String,
        /// What Kinesis said.
        error: ApiError,
    },
    /// A listing has a shard that none had before, since the stream was opened.
    ShardDiscovered {
        /// The shard.
        shard: ShardId,
        /// Whom it comes from. It is read once they are retired.
        parents: Vec<ShardId>,
    },
    /// A shard is read from now on.
    ShardStarted {
        /// The shard.
        shard: ShardId,
        /// From where.
        from: PinnedPosition,
    },
    /// A shard is read on from another place, as it [was told](crate::StreamHandle::seek).
    ShardSought {
        /// The shard.
        shard: ShardId,
        /// From where.
        to: PinnedPosition,
    },
    /// A shard's reader was made anew. Tries of a [parked](Self::ShardParked) shard are not told each.
    ShardRestarted {
        /// The shard.
        shard: ShardId,
        /// How often that has been done.
        restarts: u64,
        /// How many records were nacked, and are read again.
        nacked: u64,
    },
    /// A shard was read to its tip, for the first time or since it was [behind](Self::ShardBehind).
    ShardCaughtUp {
        /// The shard.
        shard: ShardId,
    },
    /// A shard's answers have fallen, or are, more than a minute behind its tip.
    ShardBehind {
        /// The shard.
        shard: ShardId,
        /// How far the last answer was.
        behind: Duration,
    },
    /// Calls for a shard are refused, as more is asked of it than the service allows. A reader alone does
    /// not come to that: somebody else reads the shard, too.
    ThrottlingBegan {
        /// The shard.
        shard: ShardId,
    },
    /// No call for the shard was refused for a minute.
    ThrottlingEnded {
        /// The shard.
        shard: ShardId,
        /// How many were.
        refusals: u64,
    },
    /// A shard cannot be read. It is tried again, with back-off.
    ShardFailing {
        /// The shard.
        shard: ShardId,
        /// What Kinesis said first.
        error: ApiError,
    },
    /// A shard has failed too often, or in a way that does not pass by itself; or its records were nacked
    /// again and again. It is tried only once in a while from now on; the others are read on.
    ShardParked {
        /// The shard.
        shard: ShardId,
        /// Why.
        reason: ParkReason,
        /// About how often it is tried.
        probe_every: Duration,
    },
    /// A shard that was [parked](Self::ShardParked) is read again or, if records were nacked, the first of
    /// them is acknowledged.
    ShardResumed {
        /// The shard.
        shard: ShardId,
        /// How often it had failed.
        failures: u64,
        /// How long it had.
        after: Duration,
    },
    /// What a shard's reader waits for should have come by now. It is not gone on by itself after that;
    /// whatever is late may still come.
    Stuck {
        /// The shard.
        shard: ShardId,
        /// What it is doing.
        state: ShardState,
        /// What it waits for.
        waiting_for: WaitingFor,
        /// How long it has.
        since: Duration,
    },
    /// What a [stuck](Self::Stuck) shard waited for has come, or was given up.
    Unstuck {
        /// The shard.
        shard: ShardId,
        /// What it waited for.
        waiting_for: WaitingFor,
        /// How long it had.
        after: Duration,
    },
    /// What the source itself waits for should have come by now: shards are read on, but no new ones are
    /// found, and no checkpoints stored.
    SourceStuck {
        /// What it waits for.
        waiting_for: WaitingFor,
        /// How long it has.
        since: Duration,
    },
    /// What the [stuck](Self::SourceStuck) source waited for has come, or was given up.
    SourceUnstuck {
        /// What it waited for.
        waiting_for: WaitingFor,
        /// How long it had.
        after: Duration,
    },
    /// A shard is read again, and has been for a minute, after it [could not be](Self::ShardFailing), or after
    /// [subscriptions were lost](Self::SubscriptionLost): what fails now and then is said once.
    ShardRecovered {
        /// The shard.
        shard: ShardId,
        /// How often it had failed.
        failures: u64,
        /// From the first of these to the last.
        after: Duration,
    },
    /// A shard cannot go on, and no fresh reader changes that. It is not read any more in this run; the
    /// others are. Its checkpoint stays where it is, and its children wait.
    ShardStopped {
        /// The shard.
        shard: ShardId,
        /// The error and what lies beneath it.
        reason: String,
    },
    /// A shard's reader has given up, and the pipeline fails with this error.
    ShardFailed {
        /// The shard.
        shard: ShardId,
        /// The error and what lies beneath it.
        reason: String,
    },
    /// Everything that a closed shard has was read; some of it may be in flight.
    ShardDrained {
        /// The shard.
        shard: ShardId,
    },
    /// A shard is closed and all of it is acknowledged: its children's turn has come.
    ShardRetired {
        /// The shard.
        shard: ShardId,
        /// The children that its last answer named.
        children: Vec<ShardId>,
    },
    /// A shard was [retired](Self::ShardRetired), in this run or before, and was not over: answers and a listing had
    /// said wrongly that it had ended, and listings have shown it as open for a minute after that. Or it may not have
    /// been: they have shown it as open, and then as closed, or as closed elsewhere than before. It is read on after
    /// the last record that it had then, or from where it began; nothing is lost. What it had since comes late.
    ShardReopened {
        /// The shard.
        shard: ShardId,
        /// From where.
        from: PinnedPosition,
        /// Those of its children that are read already: a key's records there may come before those that it has
        /// here.
        children: Vec<ShardId>,
    },
    /// A shard is not remembered any more, nor is its checkpoint: it was retired, where its children begin is
    /// stored, and the stream has not listed it for long, as nothing of it is kept.
    ShardForgotten {
        /// The shard.
        shard: ShardId,
    },
    /// Records were lost: the stream did not keep them for long enough.
    DataLost {
        /// What is missing.
        loss: DataLoss,
    },
    /// A shard sends its records by a subscription: told at first, and after one of the events that say that it
    /// does not any more. Not told of one that was [taken over](Self::SubscriptionTakenOver) more than once in a row.
    Subscribed {
        /// The shard.
        shard: ShardId,
    },
    /// A subscription was replaced before its time was over.
    SubscriptionRenewed {
        /// The shard.
        shard: ShardId,
    },
    /// A subscription was to be replaced before its time is over, and was not. It is tried again until then; if that
    /// fails, too, there is a pause between the two. It is told once until one [is](Self::SubscriptionRenewed).
    SubscriptionRenewalFailing {
        /// The shard.
        shard: ShardId,
        /// Why, the first time.
        error: ApiError,
    },
    /// A subscription broke off or fell silent. The shard is subscribed to again. If that happens again within a
    /// minute, and so on, it is told once, and [counted](Self::ShardRecovered) until it is over.
    SubscriptionLost {
        /// The shard.
        shard: ShardId,
        /// Why.
        error: ApiError,
    },
    /// By all that is known, another subscriber of the same consumer has taken the shard over. It is
    /// taken back after a while, and after twice as long each time that it is lost again. It is told the
    /// first time and, as somebody may read as the same consumer, the second. Once it has gone on for five minutes the
    /// shard is [stuck](Self::Stuck), until a subscription has lasted for two minutes.
    SubscriptionTakenOver {
        /// The shard.
        shard: ShardId,
        /// For how long the other has it, this time.
        truce: Duration,
        /// How often that has happened in a row.
        takeovers: u32,
    },
    /// A subscription was let go, as nobody asked for records. The next demand subscribes again.
    SubscriptionLetGo {
        /// The shard.
        shard: ShardId,
    },
    /// Events were not taken out in time, and were lost to this receiver. The log has them.
    EventsLost {
        /// How many, since the last event.
        count: u64,
    },
}

/// Why a source has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// Every shard was closed, and all of them are retired.
    Complete,
    /// The pipeline was stopped, and the last checkpoints are stored.
    Stopped,
    /// It failed, and so does the pipeline.
    #[non_exhaustive]
    Failed {
        /// The error and what lies beneath it.
        reason: String,
    },
    /// It was dropped where it stood.
    Aborted,
}

impl StreamEnd {
    pub(crate) fn failed(error: &(dyn Error + 'static)) -> Self {
        Self::Failed {
            reason: sentence(error),
        }
    }
}

/// An error and all that lies beneath it, on one line.
pub(crate) fn sentence(error: &(dyn Error + 'static)) -> String {
    let chain = iter::successors(Some(error), |&error| error.source());
    let sentences: Vec<String> = chain.map(ToString::to_string).collect();
    sentences.join(": ").replace(char::is_control, " ")
}

impl SourceEvent {
    /// What happened, in a word that stays the same from version to version: `shard_caught_up`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StreamOpened { .. } => "stream_opened",
            Self::OpeningFailing { .. } => "opening_failing",
            Self::StreamEnded { .. } => "stream_ended",
            Self::ListingFailing { .. } => "listing_failing",
            Self::ListingRecovered { .. } => "listing_recovered",
            Self::ListingIncomplete { .. } => "listing_incomplete",
            Self::ListingComplete => "listing_complete",
            Self::CheckpointsFailing { .. } => "checkpoints_failing",
            Self::CheckpointsRecovered { .. } => "checkpoints_recovered",
            Self::ConsumerActive { .. } => "consumer_active",
            Self::ConsumerDeregistered { .. } => "consumer_deregistered",
            Self::ConsumerLeft { .. } => "consumer_left",
            Self::ShardDiscovered { .. } => "shard_discovered",
            Self::ShardStarted { .. } => "shard_started",
            Self::ShardSought { .. } => "shard_sought",
            Self::ShardRestarted { .. } => "shard_restarted",
            Self::ShardCaughtUp { .. } => "shard_caught_up",
            Self::ShardBehind { .. } => "shard_behind",
            Self::ThrottlingBegan { .. } => "throttling_began",
            Self::ThrottlingEnded { .. } => "throttling_ended",
            Self::ShardFailing { .. } => "shard_failing",
            Self::ShardRecovered { .. } => "shard_recovered",
            Self::ShardParked { .. } => "shard_parked",
            Self::ShardResumed { .. } => "shard_resumed",
            Self::Stuck { .. } => "stuck",
            Self::Unstuck { .. } => "unstuck",
            Self::SourceStuck { .. } => "source_stuck",
            Self::SourceUnstuck { .. } => "source_unstuck",
            Self::ShardStopped { .. } => "shard_stopped",
            Self::ShardFailed { .. } => "shard_failed",
            Self::ShardDrained { .. } => "shard_drained",
            Self::ShardRetired { .. } => "shard_retired",
            Self::ShardReopened { .. } => "shard_reopened",
            Self::ShardForgotten { .. } => "shard_forgotten",
            Self::DataLost { .. } => "data_lost",
            Self::Subscribed { .. } => "subscribed",
            Self::SubscriptionRenewed { .. } => "subscription_renewed",
            Self::SubscriptionRenewalFailing { .. } => "subscription_renewal_failing",
            Self::SubscriptionLost { .. } => "subscription_lost",
            Self::SubscriptionTakenOver { .. } => "subscription_taken_over",
            Self::SubscriptionLetGo { .. } => "subscription_let_go",
            Self::EventsLost { .. } => "events_lost",
        }
    }

    /// The shard that it is about, if it is about one.
    pub fn shard(&self) -> Option<&ShardId> {
        match self {
            Self::ShardDiscovered { shard, .. }
            | Self::ShardStarted { shard, .. }
            | Self::ShardSought { shard, .. }
            | Self::ShardRestarted { shard, .. }
            | Self::ShardCaughtUp { shard }
            | Self::ShardBehind { shard, .. }
            | Self::ThrottlingBegan { shard }
            | Self::ThrottlingEnded { shard, .. }
            | Self::ShardFailing { shard, .. }
            | Self::ShardRecovered { shard, .. }
            | Self::ShardParked { shard, .. }
            | Self::ShardResumed { shard, .. }
            | Self::Stuck { shard, .. }
            | Self::Unstuck { shard, .. }
            | Self::ShardStopped { shard, .. }
            | Self::ShardFailed { shard, .. }
            | Self::ShardDrained { shard }
            | Self::ShardRetired { shard, .. }
            | Self::ShardReopened { shard, .. }
            | Self::ShardForgotten { shard }
            | Self::DataLost {
                loss: DataLoss { shard, .. },
            }
            | Self::Subscribed { shard }
            | Self::SubscriptionRenewed { shard }
            | Self::SubscriptionRenewalFailing { shard, .. }
            | Self::SubscriptionLost { shard, .. }
            | Self::SubscriptionTakenOver { shard, .. }
            | Self::SubscriptionLetGo { shard } => Some(shard),
            _ => None,
        }
    }

    /// What lies beneath it, if it is about an error.
    pub fn error(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::OpeningFailing { error }
            | Self::ListingFailing { error }
            | Self::ConsumerLeft { error, .. }
            | Self::ShardFailing { error, .. }
            | Self::ShardParked {
                reason: ParkReason::Failing { error },
                ..
            }
            | Self::SubscriptionRenewalFailing { error, .. }
            | Self::SubscriptionLost { error, .. } => Some(error),
            _ => None,
        }
    }

    /// How loudly it is logged: what an operator should look at is a warning; what happens each day,
    /// or once for each of thousands of shards, is for those who look for it.
    pub(crate) fn level(&self) -> Level {
        match self {
            Self::OpeningFailing { .. }
            | Self::ListingFailing { .. }
            | Self::ListingIncomplete { .. }
            | Self::CheckpointsFailing { .. }
            | Self::ConsumerLeft { .. }
            | Self::ShardFailing { .. }
            | Self::ShardParked { .. }
            | Self::ShardStopped { .. }
            | Self::ShardReopened { .. }
            | Self::Stuck { .. }
            | Self::SourceStuck { .. }
            | Self::SubscriptionTakenOver { takeovers: 2, .. }
            | Self::DataLost { .. } => Level::WARN,
            Self::ShardDiscovered { .. }
            | Self::ShardCaughtUp { .. }
            | Self::ShardDrained { .. }
            | Self::ThrottlingBegan { .. }
            | Self::ThrottlingEnded { .. }
            | Self::Subscribed { .. }
            | Self::SubscriptionRenewed { .. }
            | Self::SubscriptionLetGo { .. } => Level::DEBUG,
            _ => Level::INFO,
        }
    }
}
