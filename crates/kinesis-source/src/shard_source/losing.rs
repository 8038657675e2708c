//! Whether what comes next is still kept, and what to do if it is not.

use super::ShardSource;
use crate::{
    ApiError, DataLoss, OnDataLoss, Position, RecordsPage, Remedy, SequenceNumber, ShardError,
    SourceEvent,
    arrival::Arrival,
    doubt::{Doubt, Found},
    governor::PAUSE,
    listing::within_deadline,
    progress::Progress,
    read_size::MOST_BYTES,
    unread::CLOSE,
};

/// How often in a row to look for a record, before it is left to the next subscription.
const LOOKS: u32 = 5;

impl ShardSource {
    /// Sees whether what was done before is still there, and so all that comes after it. Returns why
    /// the shard is not read on, if it is not.
    pub(super) async fn settle_doubt(&mut self, arrival: &Arrival) -> Option<ShardError> {
        let doubt = self.progress.doubt()?;
        let to = match arrival.found.as_ref()? {
            Found::It(arrival) => {
                self.progress.end_doubt();
                self.progress.note_arrivals(*arrival, *arrival);
                return None;
            }
            Found::Before => return self.deny(),
            // An empty answer tells nothing, unless it is one of those that prove the tip.
            Found::Nothing if !arrival.is_end => return None,
            Found::Nothing => None,
            Found::Beyond(number) => Some(number.clone()),
        };
        self.lose(doubt, to).await
    }

    /// Sees whether the first records that come, or the shard's end without any, come so late that there
    /// were others before. Returns why the shard is not read on, if it is not.
    pub(super) fn settle_start(&self, arrival: &Arrival) -> Option<ShardError> {
        let first = arrival.records.first();
        if first.is_none() && !arrival.is_end {
            return None;
        }
        self.begin_with(first.map(|record| record.sequence_number.clone()))
    }

    /// What comes first is that record, or nothing.
    fn begin_with(&self, first: Option<SequenceNumber>) -> Option<ShardError> {
        let is_late = self.progress.begins_too_late(|| self.api.now());
        if !is_late {
            return None;
        }
        self.go_on_without(Some((0.into(), first)))
    }

    /// The shard is at its tip, and what was done before has not come: it is not kept any more, nor is
    /// anything that came after it. Returns why the shard is not read on, if it is not.
    pub(super) async fn settle_doubt_at_tip(&mut self) -> Option<ShardError> {
        let Some(doubt) = self.progress.doubt() else {
            return self.begin_with(None);
        };
        self.lose(doubt, None).await
    }

    /// The record in doubt is not kept any more, and this is the next that is. Returns why the shard is
    /// not read on, if it is not.
    async fn lose(&self, doubt: Doubt, to: Option<SequenceNumber>) -> Option<ShardError> {
        let is_harmless = self.is_harmless(&doubt) || self.is_bound(&doubt.from).await;
        let lost = (!is_harmless).then_some((doubt.from, to));
        self.go_on_without(lost)
    }

    /// Whether it is no record that reading was to begin at, but the number that the shard begins or ends
    /// with. Those are places, too.
    async fn is_bound(&self, number: &SequenceNumber) -> bool {
        if self.progress.done().is_some() {
            return false;
        }
        let listing = self.list().await;
        let mut listing = listing.iter().flat_map(|it| it.iter());
        let listed = listing.find(|listed| listed.id == *self.shard());
        listed.is_some_and(|it| {
            let end = it.ending_sequence_number.as_ref();
            *number <= it.starting_sequence_number || end.is_some_and(|end| number >= end)
        })
    }

    /// Sees whether what has come follows on what came before. A subscription that is read slowly goes on
    /// silently at the horizon when that has overtaken it, and so does any reader when the stream's
    /// retention time is shortened, which it does not know of. So where the horizon is close or may have
    /// come close, the last record before is looked for: if it is there now, nothing after it was trimmed
    /// before.
    ///
    /// Returns whether the arrival is to be taken in, perhaps as one after a gap. If not, the shard is read
    /// anew, at that record.
    pub(super) async fn follows_on(&mut self, arrival: &mut Arrival) -> bool {
        let Some(first) = arrival.records.first() else {
            return true;
        };
        let is_close = |progress: &Progress| progress.may_be_trimmed(CLOSE, || self.api.now());
        let arrived = first.approximate_arrival;
        let leaps = |progress: &Progress| progress.leaps_to(arrived, || self.api.now());
        let overtakes = self.feed.is_pushed() && is_close(&self.progress);
        if arrival.found.is_some() || !(overtakes || leaps(&self.progress)) {
            return true;
        }
        let beyond = Found::Beyond(first.sequence_number.clone());
        if !self.progress.begin_doubt() {
            return true;
        }
        let doubt = self.progress.doubt();
        let place = doubt.map_or(Position::TrimHorizon, |doubt| doubt.position());
        for _ in 0..LOOKS {
            match self.look(&place).await {
                Ok(Some(found)) if Position::AtSequenceNumber(found.clone()) == place => {
                    self.progress.end_doubt();
                    return true;
                }
                // An empty answer tells nothing.
                Ok(None) => {}
                Err(error) if matches!(error.remedy(), Remedy::Wait | Remedy::Retry) => {}
                Err(error) if error.remedy() != Remedy::Correct => break,
                // Another comes first, or it is refused: it is not kept.
                Ok(Some(_)) | Err(_) => {
                    self.learn_retention().await;
                    arrival.found = Some(beyond);
                    return true;
                }
            }
            self.retry_after(PAUSE).await;
        }
        self.feed.start_over(Remedy::Retry);
        false
    }

    /// Finds out how long the stream keeps records by now, if that can be known: by what was known of that,
    /// what is missing might seem to be kept.
    async fn learn_retention(&self) {
        let operation = "DescribeStreamSummary";
        let watch = self.progress.watch();
        watch.waits_for_answer(operation);
        let call = self.api.describe_stream_summary();
        if let Ok(summary) = Box::pin(within_deadline(operation, call)).await {
            watch.note_retention(&summary);
        }
    }

    /// The first record from there on.
    async fn look(&self, place: &Position) -> Result<Option<SequenceNumber>, ApiError> {
        let page = Box::pin(self.page_at(place)).await?;
        Ok(page.records.into_iter().next().map(|it| it.sequence_number))
    }

    /// What there is from there on, one record at most.
    pub(super) async fn page_at(&self, place: &Position) -> Result<RecordsPage, ApiError> {
        let (calls, watch) = (self.progress.calls(), self.progress.watch());
        let call = calls.iterator(&*self.api, self.shard(), place, watch);
        let iterator = call.await?;
        let call = calls.read(&*self.api, (self.shard(), &iterator), 1, MOST_BYTES, watch);
        call.await.map(|(page, _)| page)
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
            source: *self.refusal.take()?,
            shard: self.shard().clone(),
            position: self.progress.next(),
        })
    }

    fn is_harmless(&self, doubt: &Doubt) -> bool {
        doubt.is_harmless(self.progress.retention(), || self.api.now())
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
        if error.remedy() != Remedy::Correct || self.feed.has_place() {
            return false;
        }
        match self.progress.doubt() {
            // A reader alone does not know whether the number that it was given was ever one of the shard's.
            Some(doubt) => {
                let is_proven = self.stream.is_some() || self.progress.done().is_some();
                is_proven && !doubt.is_refused
            }
            // It was one of the shard's: it is not kept any more, whatever clocks say.
            None => self.progress.begin_doubt(),
        }
    }

    /// What the shard had after what was read of it is lost. Then that is its end, if it is gone on
    /// without; else, returns why not.
    pub(super) fn miss_the_rest(&mut self) -> Option<ShardError> {
        let doubt = self.progress.doubt();
        let is_harmless = doubt.is_some_and(|doubt| self.is_harmless(&doubt));
        let next = self.progress.next();
        let from = next.sequence_number().cloned().unwrap_or(0.into());
        let error = self.go_on_without((!is_harmless).then_some((from, None)));
        self.is_read |= error.is_none();
        error
    }
}
