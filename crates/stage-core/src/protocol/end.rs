use std::{fmt, sync::Arc};

use super::ExcessEvents;

/// Why a subscription ended. Each of its two sides is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The producing stage has no more events: all that it made was delivered before.
    Completed,
    /// One of the two sides, or whoever holds a handle, does not want it any more.
    Cancelled(Reason),
    /// One of the two sides is down.
    Down(Down),
}

/// Why a subscription was cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The stage on the other side was told to stop, alone or with its pipeline.
    Shutdown,
    /// The consuming stage has ended, or its handle was dropped.
    Dropped,
    /// The producing stage's dispatcher does not take it; the text says why.
    Refused(Arc<str>),
    /// The stage has a subscription to the other already, and that goes on: nothing is missing.
    AlreadySubscribed,
    /// The producing stage does not run any more, or never did.
    NoProducer,
    /// Whatever [`SubscriptionHandle::cancel_because`](crate::SubscriptionHandle::cancel_because)
    /// was given.
    Other(Arc<str>),
}

/// How a stage went down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Down {
    /// It returned an error, with this text.
    Failed(Arc<str>),
    /// It panicked, with this message.
    Panicked(Arc<str>),
    /// It sent more than it was asked for.
    OverDelivered(ExcessEvents),
    /// Its task was dropped where it stood.
    Aborted,
}

/// What a consuming stage does when a subscription ends.
///
/// | the subscription ends by | [`UntilAllEnd`](Self::UntilAllEnd) | [`Permanent`](Self::Permanent) | [`Transient`](Self::Transient) | [`Temporary`](Self::Temporary) |
/// |---|---|---|---|---|
/// | [`Completed`](End::Completed) | goes on with the others | ends well | stays | stays |
/// | [`Cancelled`](End::Cancelled) for [`Shutdown`](Reason::Shutdown) | goes on with the others | ends well | stays | stays |
/// | `Cancelled` since it is [subscribed already](Reason::AlreadySubscribed) | goes on | goes on | goes on | goes on |
/// | `Cancelled` for another reason | goes on with the others | fails | fails | stays |
/// | [`Down`](End::Down) | goes on with the others | fails | fails | stays |
///
/// "Stays" is meant: the stage waits for other subscriptions, also when it has none left, until
/// its pipeline stops. "Goes on with the others" ends with the last of them.
///
/// The last three are GenStage's. The first is the default here, since a stage that joins several
/// producers would otherwise lose what the others still have when the first completes; a stage that
/// goes down stops the pipeline anyway.
#[doc(alias = "cancel")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The stage ends when all its subscriptions have.
    #[default]
    UntilAllEnd,
    /// The stage ends when this subscription does.
    Permanent,
    /// The stage ends when this subscription does, unless it ends well.
    Transient,
    /// The stage goes on without it.
    Temporary,
}

/// What [`Mode`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Go on as long as there are other subscriptions.
    GoOn,
    /// Go on, also without any other subscription.
    Stay,
    /// End, as if all had completed.
    EndWell,
    /// Fail: what was subscribed to is missing.
    Fail,
}

impl End {
    /// Whether nothing is wrong: it completed, or somebody shut it down.
    pub fn is_graceful(&self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled(Reason::Shutdown))
    }

    /// Whether it is further from completion than `other`.
    pub(crate) fn is_worse_than(&self, other: &Self) -> bool {
        let rank = |end: &Self| match end {
            Self::Completed => 0,
            Self::Cancelled(Reason::Shutdown) => 1,
            Self::Cancelled(_) => 2,
            Self::Down(_) => 3,
        };
        rank(self) > rank(other)
    }
}

impl Mode {
    /// What a stage does when a subscription of this mode ends so.
    pub fn on(self, end: &End) -> Fate {
        if *end == End::Cancelled(Reason::AlreadySubscribed) {
            return Fate::GoOn;
        }
        match self {
            Self::UntilAllEnd => Fate::GoOn,
            Self::Temporary => Fate::Stay,
            Self::Permanent if end.is_graceful() => Fate::EndWell,
            Self::Transient if end.is_graceful() => Fate::Stay,
            Self::Permanent | Self::Transient => Fate::Fail,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Cancelled(reason) => write!(f, "cancelled: {reason}"),
            Self::Down(down) => write!(f, "down: {down}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("shut down"),
            Self::Dropped => f.write_str("the other side has left"),
            Self::NoProducer => f.write_str("the producing stage does not run"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::AlreadySubscribed => f.write_str("it is subscribed already"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::OverDelivered(excess) => write!(f, "broke the protocol: {excess}"),
            Self::Aborted => f.write_str("its task was dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_not_worse_than_one_like_it() {
        let ends = [
            End::Completed,
            End::Cancelled(Reason::Shutdown),
            End::Cancelled(Reason::Dropped),
            End::Down(Down::Aborted),
        ];
        for (at, one) in ends.iter().enumerate() {
            for (other_at, other) in ends.iter().enumerate() {
                assert_eq!(one.is_worse_than(other), at > other_at, "{one} and {other}");
            }
        }
    }
}
