use std::{error::Error, fmt, sync::Arc};

use crate::{Subscription, desk::Desk, link::ReceiveEnd};

/// Where a stage takes subscriptions in, also while it runs.
///
/// Holding one does not keep the stage: it ends when its subscriptions do, as their
/// [`Mode`](crate::Mode)s say.
pub struct Intake<E>(pub(crate) Arc<Desk<ReceiveEnd<E>>>);

/// The stage has ended: it takes no subscription in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageEnded {
    /// The stage's name.
    pub stage: String,
}

impl<E: Send + 'static> Intake<E> {
    /// Gives the stage one more subscription.
    ///
    /// # Errors
    ///
    /// If the stage has ended. The subscription is dropped.
    pub fn add(&self, subscription: Subscription<E>) -> Result<(), StageEnded> {
        if self.0.is_closed() {
            let stage = self.0.stage().to_string();
            return Err(StageEnded { stage });
        }
        subscription.open(&self.0);
        Ok(())
    }
}

impl<E> Clone for Intake<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for Intake<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Intake").field(self.0.stage()).finish()
    }
}

impl fmt::Display for StageEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stage `{}` has ended: add a new one to subscribe",
            self.stage
        )
    }
}

impl Error for StageEnded {}
