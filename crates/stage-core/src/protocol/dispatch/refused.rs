use std::{error::Error, fmt};

/// A dispatcher does not serve a subscriber on the terms that it came with. Nothing has changed for
/// the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Events are divided into lanes, and it named none: have it name one.
    LaneMissing,
    /// There is no such lane: name one that is.
    LaneUnknown {
        /// The lane it named.
        lane: usize,
        /// How many there are.
        lanes: usize,
    },
    /// Another subscriber has the lane: take another, or wait until it has gone.
    LaneTaken {
        /// The lane it named.
        lane: usize,
    },
    /// It is subscribed already, and would be given the same events twice.
    AlreadySubscribed,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LaneMissing => {
                f.write_str("events are divided into lanes here: the subscription must name one")
            }
            Self::LaneUnknown { lane, lanes } => {
                write!(f, "there is no lane {lane}: there are {lanes}, from 0")
            }
            Self::LaneTaken { lane } => {
                write!(f, "lane {lane} has a subscriber, and serves one at a time")
            }
            Self::AlreadySubscribed => {
                f.write_str("it is subscribed already, and would be given everything twice")
            }
        }
    }
}

impl Error for Refused {}
