use std::{error::Error, fmt};

use crate::protocol::{End, ExcessEvents};

/// Whatever a stage fails with.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a pipeline stopped before its producers ended, or never ran.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipelineError {
    /// A stage returned an error. What had been produced before was drained first.
    #[non_exhaustive]
    Failed {
        /// The stage's name.
        stage: String,
        /// What it returned.
        source: BoxError,
    },
    /// A stage panicked. What had been produced before was drained first.
    #[non_exhaustive]
    Panicked {
        /// The stage's name.
        stage: String,
        /// What it said.
        message: String,
    },
    /// A stage's dispatcher gave a subscriber more events than it had asked for. They were nacked.
    #[non_exhaustive]
    OverDelivered {
        /// The stage's name.
        stage: String,
        /// How many events it was.
        excess: ExcessEvents,
    },
    /// A subscription ended that a stage does not go on without: its [`Mode`](crate::Mode) says so.
    #[non_exhaustive]
    UpstreamEnded {
        /// The stage's name.
        stage: String,
        /// The stage that it was subscribed to.
        upstream: String,
        /// How the subscription ended.
        end: End,
    },
    /// The time for draining was up before everything had been taken in. What was left is nacked.
    #[non_exhaustive]
    DrainTimedOut {
        /// A stage that had not ended by then.
        stage: String,
        /// How many stages had not.
        stages: usize,
    },
    /// Two stages were given one name. Nothing has run.
    #[non_exhaustive]
    NameTaken {
        /// The name.
        stage: String,
    },
    /// Nobody subscribed to a stage's outlet, so that it could never do anything. Nothing has run.
    #[non_exhaustive]
    NoSubscriber {
        /// The stage's name.
        stage: String,
    },
}

impl PipelineError {
    /// The name of the stage that it is about.
    pub fn stage(&self) -> &str {
        match self {
            Self::Failed { stage, .. }
            | Self::Panicked { stage, .. }
            | Self::OverDelivered { stage, .. }
            | Self::UpstreamEnded { stage, .. }
            | Self::DrainTimedOut { stage, .. }
            | Self::NameTaken { stage }
            | Self::NoSubscriber { stage } => stage,
        }
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { stage, .. } => write!(f, "stage `{stage}` failed"),
            Self::Panicked { stage, message } => write!(f, "stage `{stage}` panicked: {message}"),
            Self::OverDelivered { stage, excess } => write!(
                f,
                "the dispatcher of stage `{stage}` broke its promise: {excess}"
            ),
            Self::UpstreamEnded {
                stage,
                upstream,
                end,
            } => write!(
                f,
                "stage `{stage}` does not go on without `{upstream}` ({end})"
            ),
            Self::DrainTimedOut { stage, stages } => write!(
                f,
                "the time for draining was up with {stages} stages still at work, `{stage}` among them"
            ),
            Self::NameTaken { stage } => {
                write!(
                    f,
                    "two stages are named `{stage}`: give each a name of its own"
                )
            }
            Self::NoSubscriber { stage } => {
                write!(
                    f,
                    "nobody has subscribed to stage `{stage}`: subscribe to its outlet or leave it out"
                )
            }
        }
    }
}

impl Error for PipelineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed { source, .. } => Some(&**source),
            Self::OverDelivered { excess, .. } => Some(excess),
            Self::Panicked { .. }
            | Self::UpstreamEnded { .. }
            | Self::DrainTimedOut { .. }
            | Self::NameTaken { .. }
            | Self::NoSubscriber { .. } => None,
        }
    }
}
