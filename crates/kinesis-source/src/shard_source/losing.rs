//! Whether what comes next is still kept, and what to do if it is not.

use super::ShardSource;
use crate::{
    ApiError, DataLoss, OnDataLoss, PinnedPosition, Remedy, SequenceNumber, ShardError,
    SourceEvent, arrival::Arrival, doubt::Found, lineage,
};

impl ShardSource {
    /// Sees whether what was done before is still there, and so all that comes after it. Returns why
    /// the shard is not read on, if it is not.
    pub(super) fn settle_doubt(&mut self, arrival: &Arrival) -> Option<ShardError> {
        let doubt = self.progress.doubt()?;
        let to = match arrival.found.as_ref()? {
            Found::It => {
                self.progress.end_doubt();
                return None;
            }
            Found::Before => return self.deny(),
            // Only what comes after it tells. An empty answer tells nothing.
            Found::Nothing if !arrival.is_end => return None,
            Found::Nothing => None,
            Found::Beyond(number) => Some(number.clone()),
        };
        let lost = (!doubt.is_harmless).then_some((doubt.from, to));
        self.go_on_without(lost)
    }

    /// Goes on without what is lost, after and before these records, if anything is; else, returns why
    /// not.
    fn go_on_without(
        &self,
        lost: Option<(SequenceNumber, Option<SequenceNumber>)>,
    ) -> Option<ShardError> {
        if let Some((from, to)) = lost {
            let shard = self.shard().clone();
            let loss = DataLoss { shard, from, to };
            self.note_loss(&loss);
            if self.on_data_loss == OnDataLoss::Stop {
                return Some(ShardError::DataLoss(loss));
            }
        }
        self.progress.end_doubt();
        None
    }

    /// What the shard has begins before the record in doubt. If that was refused, it is none of the
    /// shard's.
    fn deny(&mut self) -> Option<ShardError> {
        Some(ShardError::InvalidPosition {
            source: self.refusal.take()?,
            shard: self.shard().clone(),
            position: self.progress.next(),
        })
    }

    fn note_loss(&self, loss: &DataLoss) {
        if self.progress.note_loss(loss.clone()) {
            let loss = loss.clone();
            self.progress
                .watch()
                .report(|_| SourceEvent::DataLost { loss });
        }
    }

    /// Whether an error is about the record in doubt, which has then to be looked for from the horizon
    /// on.
    pub(super) fn is_about_doubt(&self, error: &ApiError) -> bool {
        let doubt = self.progress.doubt();
        error.remedy() == Remedy::Correct
            && !self.feed.has_place()
            && doubt.is_some_and(|doubt| !doubt.is_refused)
    }

    /// Whether the shard has aged out, with all that was in it: two listings in a row that lack nothing
    /// else do not have it. One may be wrong.
    pub(super) async fn is_trimmed(&mut self) -> bool {
        let Some(listing) = self.list().await else {
            return false;
        };
        let is_listed = listing.iter().any(|listed| listed.id == *self.shard());
        if is_listed || listing.is_empty() || !lineage::holes(&listing).is_empty() {
            self.unlisted = 0;
            return false;
        }
        self.unlisted += 1;
        self.unlisted > 1
    }

    /// What the shard had after what was read of it is lost. Then that is its end, if it is gone on
    /// without; else, returns why not.
    pub(super) fn miss_the_rest(&mut self) -> Option<ShardError> {
        let is_harmless = self.progress.doubt().is_some_and(|it| it.is_harmless);
        let from = match self.progress.next() {
            PinnedPosition::AfterSequenceNumber(number)
            | PinnedPosition::AtSequenceNumber(number) => number,
            PinnedPosition::TrimHorizon | PinnedPosition::AtTimestamp(_) => 0.into(),
        };
        let error = self.go_on_without((!is_harmless).then_some((from, None)));
        self.is_read |= error.is_none();
        error
    }
}
