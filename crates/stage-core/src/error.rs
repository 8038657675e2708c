use std::{error::Error, fmt};

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
            Self::Panicked { .. } | Self::NameTaken { .. } | Self::NoSubscriber { .. } => None,
        }
    }
}
