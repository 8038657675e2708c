use std::sync::Arc;

use crate::{
    ApiError, ByteBudget, Remedy, ShardIterator, arrival::Arrival, fan_out::Consumer,
    polling::Polling, progress::Progress, subscribing::Subscribing,
};

/// How a shard's records are come by.
#[derive(Debug)]
pub(crate) enum Feed {
    /// They are asked for.
    Polling(Box<Polling>),
    /// They are sent.
    FanOut(Box<Subscribing>),
}

impl Feed {
    /// The same shard, by subscriptions of this consumer.
    pub(crate) fn by(self, consumer: Arc<Consumer>) -> Self {
        let api = match &self {
            Self::Polling(polling) => polling.api(),
            Self::FanOut(subscribing) => subscribing.api(),
        };
        Self::FanOut(Box::new(Subscribing::new(consumer, api)))
    }

    /// If records are asked for, no more bytes than that at once.
    pub(crate) fn read_at_most(&mut self, bytes: u64) {
        if let Self::Polling(polling) = self {
            polling.read_at_most(bytes);
        }
    }

    /// What comes next: at most `wanted` records if they are asked for, and once there is room for them
    /// in the budget. It is not asked for again after the end.
    ///
    /// Everything that came before has to be handed out. Safe to cancel.
    pub(crate) async fn next(
        &mut self,
        progress: &Progress,
        budget: &ByteBudget,
        wanted: usize,
    ) -> Result<Arrival, ApiError> {
        match self {
            Self::Polling(polling) => polling.next(progress, budget, wanted).await,
            Self::FanOut(subscribing) => subscribing.next(progress, budget).await,
        }
    }

    /// Waits after an answer that found nothing at the tip, if that is what to do then.
    pub(crate) async fn rest(&mut self, progress: &Progress) {
        if let Self::Polling(polling) = self {
            polling.rest(progress).await;
        }
    }

    /// Whether it went on from a place that the service gave it, which may be what that now refuses.
    pub(crate) fn has_place(&self) -> bool {
        match self {
            Self::Polling(polling) => polling.has_place(),
            Self::FanOut(subscribing) => subscribing.has_place(),
        }
    }

    /// Whether records come without having been asked for, one answer after another.
    pub(crate) fn is_pushed(&self) -> bool {
        matches!(self, Self::FanOut(_))
    }

    /// Whether the error that has just come was told in words of its own.
    pub(crate) fn take_told(&mut self) -> bool {
        match self {
            Self::Polling(_) => false,
            Self::FanOut(subscribing) => subscribing.take_told(),
        }
    }

    /// Goes on elsewhere, where the progress says as well.
    pub(crate) fn go_on_at(&mut self, iterator: ShardIterator) {
        match self {
            Self::Polling(polling) => polling.start_over(Some(iterator)),
            Self::FanOut(subscribing) => subscribing.start_over(Remedy::RenewIterator),
        }
    }

    /// Goes on where the progress says, after an error with that remedy.
    pub(crate) fn start_over(&mut self, remedy: Remedy) {
        match self {
            Self::Polling(polling) => polling.start_over(None),
            Self::FanOut(subscribing) => subscribing.start_over(remedy),
        }
    }
}
