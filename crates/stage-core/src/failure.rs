use std::{future::poll_fn, pin::Pin, task::Poll};

use crate::{
    BoxError, PipelineError,
    inbox::Upstream,
    panic::poll_catching,
    protocol::{Down, End, ExcessEvents},
};

/// Why a stage does not go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What runs in it returned an error.
    Failed(BoxError),
    /// What runs in it panicked.
    Panicked(String),
    /// Its dispatcher broke the protocol.
    OverDelivered(ExcessEvents),
    /// It does not go on without a stage that it was subscribed to.
    Upstream(Upstream),
}

impl Failure {
    /// What the other stages are told.
    pub(crate) fn end(&self) -> End {
        match self {
            Self::Failed(error) => End::Down(Down::Failed(error.to_string().into())),
            Self::Panicked(message) => End::Down(Down::Panicked(message.as_str().into())),
            Self::OverDelivered(excess) => End::Down(Down::OverDelivered(*excess)),
            Self::Upstream(upstream) => upstream.end_for_others(),
        }
    }

    /// What is told of the stage of this name to whoever runs the pipeline.
    pub(crate) fn of(self, stage: String) -> PipelineError {
        match self {
            Self::Failed(source) => PipelineError::Failed { stage, source },
            Self::Panicked(message) => PipelineError::Panicked { stage, message },
            Self::OverDelivered(excess) => PipelineError::OverDelivered { stage, excess },
            Self::Upstream(Upstream {
                stage: upstream,
                end,
            }) => PipelineError::UpstreamEnded {
                stage,
                upstream: upstream.to_string(),
                end,
            },
        }
    }
}

impl From<ExcessEvents> for Failure {
    fn from(excess: ExcessEvents) -> Self {
        Self::OverDelivered(excess)
    }
}

impl From<Upstream> for Failure {
    fn from(upstream: Upstream) -> Self {
        Self::Upstream(upstream)
    }
}

/// Does work that calls the user's. Panics are caught here, once for all that it calls.
pub(crate) fn caught<T>(
    mut work: Pin<&mut impl Future<Output = Result<T, Failure>>>,
) -> impl Future<Output = Result<T, Failure>> {
    poll_fn(move |cx| match poll_catching(work.as_mut(), cx) {
        // By itself, or it would be copied with the room for a result.
        Ok(Poll::Pending) => Poll::Pending,
        Ok(done) => done,
        Err(message) => Poll::Ready(Err(Failure::Panicked(message))),
    })
}

/// Does work of the user's that may fail, within [`caught`].
pub(crate) async fn failing<T, E: Into<BoxError>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    work.await.map_err(|error| Failure::Failed(error.into()))
}
