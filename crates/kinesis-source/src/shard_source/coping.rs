//! What to do about an error of Kinesis.

use std::time::Duration;

use tokio::time::sleep;

use super::ShardSource;
use crate::{
    ApiError, PinnedPosition, Remedy, ShardError, StreamIdentity, StreamStatus, WaitingFor,
    governor::PAUSE, listing::within_deadline, reader::PROBE,
};

/// How many refusals in a row that may pass, as a token that has just expired, are put up with.
pub(super) const PATIENCE: u32 = 6;

/// How many failures in a row that pass by themselves, as a rule, are put up with before a shard is
/// parked: some three minutes of them.
const MOST_TRIES: u32 = 20;

/// How many refusals in a row another reader may be the reason of: one that is at full speed pauses
/// only after so long.
const MOST_REFUSALS: u32 = 400;

/// A moment that is no further ahead of our idea of the service's clock may be yet to come for the service:
/// two seconds by its `Date`, and some.
const ABOUT_NOW: Duration = Duration::from_secs(5);

impl ShardSource {
    /// Does what an error calls for, or gives up with it.
    pub(super) async fn cope(&mut self, error: ApiError) -> Result<(), ShardError> {
        if self.is_about_doubt(&error) {
            self.progress.refuse_doubt();
            self.refusal = Some(Box::new(error));
            return Ok(());
        }
        let wait = self.backoff.failed();
        if self.is_not_found_again(&error) {
            self.verify_stream().await?;
            if self.is_trimmed().await {
                return self.miss_the_rest().map_or(Ok(()), Err);
            }
            if self.unlisted > 0 {
                // The next listing bears that out, or not.
                self.report(&error);
                self.feed.start_over(error.remedy());
                self.retry_after(wait).await;
                return Ok(());
            }
        }
        let is_parked = self.is_to_be_parked(&error);
        if !is_parked && !self.may_pass(&error) {
            return Err(self.refused(error));
        }
        if error.remedy() == Remedy::Verify {
            self.verify_stream().await?;
        }
        self.report(&error);
        match error.remedy() {
            Remedy::Wait => self.progress.note(|figures| figures.throttled += 1),
            Remedy::RenewIterator if self.backoff.failures() == 1 => {
                self.feed.start_over(Remedy::RenewIterator);
                return Ok(());
            }
            remedy @ (Remedy::RenewIterator
            | Remedy::Correct
            | Remedy::Verify
            | Remedy::Authorize) => self.feed.start_over(remedy),
            Remedy::Retry | Remedy::AwaitActive | Remedy::RestartListing | Remedy::MendKey => {
                self.progress.note(|figures| figures.retries += 1);
            }
        }
        if is_parked {
            self.park(&error, wait).await;
        } else {
            self.retry_after(self.cut_short(wait, &error)).await;
        }
        Ok(())
    }

    /// Whether it was not found so often that it may not be there.
    fn is_not_found_again(&self, error: &ApiError) -> bool {
        let is_late = self.backoff.failures() >= PATIENCE;
        error.remedy() == Remedy::Verify && is_late && self.stream.is_some()
    }

    pub(super) async fn retry_after(&self, wait: Duration) {
        self.progress.watch().waits_for(WaitingFor::Retry, wait);
        sleep(wait).await;
    }

    /// Whether a shard that has failed so often, and now with that error, is tried only slowly from now
    /// on. Within a source, others are to be read on, and what is wrong may be mended meanwhile.
    ///
    /// If nothing was ever read, it is not one shard that something is wrong with: that fails the
    /// pipeline, so that whoever has just started it sees it.
    fn is_to_be_parked(&self, error: &ApiError) -> bool {
        let is_late = self.backoff.failures() >= PATIENCE;
        let is_one_of_many = self.stream.is_some();
        is_one_of_many
            && match error.remedy() {
                Remedy::Verify | Remedy::Authorize => {
                    is_late && self.progress.watch().source_was_read()
                }
                Remedy::MendKey => is_late,
                Remedy::Wait | Remedy::Correct => false,
                _ => self.backoff.failures() >= MOST_TRIES,
            }
    }

    /// Waits for long before the next try. `wait` has jitter, so that not all are tried at once.
    async fn park(&self, error: &ApiError, wait: Duration) {
        let watch = self.progress.watch();
        watch.parked(error, PROBE);
        let wait = PROBE + wait;
        watch.waits_for(WaitingFor::Probe, wait);
        sleep(wait).await;
    }

    /// A reader that is refused because of another one asks again soon, or it would never find the
    /// moment at which the other has paid. If that goes on for long, it is something else.
    fn cut_short(&self, wait: Duration, error: &ApiError) -> Duration {
        let code = error.code().unwrap_or_default();
        let is_beside_another = code.starts_with("ProvisionedThroughputExceeded");
        if !is_beside_another || self.backoff.failures() > MOST_REFUSALS {
            return wait;
        }
        // What is cut off has its jitter in it.
        let jitter = Duration::from_nanos((wait.as_nanos() % 200_000_000) as u64);
        wait.min(PAUSE - Duration::from_millis(300) + jitter)
    }

    /// Sees that the stream is still the one that is read, after something of it was not found.
    async fn verify_stream(&self) -> Result<(), ShardError> {
        let Some(stream) = &self.stream else {
            return Ok(());
        };
        let operation = "DescribeStreamSummary";
        self.progress.watch().waits_for_answer(operation);
        let call = self.api.describe_stream_summary();
        let name = stream.name.clone();
        match within_deadline(operation, call).await {
            Ok(summary) if summary.status == StreamStatus::Deleting => {
                Err(ShardError::StreamDeleted { stream: name })
            }
            Ok(summary) if !StreamIdentity::from(&summary).agrees_with(stream) => {
                Err(ShardError::StreamRecreated { stream: name })
            }
            Err(error) if error.remedy() == Remedy::Verify => {
                Err(ShardError::StreamDeleted { stream: name })
            }
            // It is there, or nobody knows: what was not found may be found yet.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether an error that has just been counted is worth another try.
    fn may_pass(&self, error: &ApiError) -> bool {
        let is_early = self.backoff.failures() < PATIENCE;
        match error.remedy() {
            // It may be the iterator or continuation that it does not like.
            Remedy::Correct => is_early && (self.feed.has_place() || self.begins_about_now()),
            Remedy::Verify | Remedy::Authorize => is_early,
            _ => true,
        }
    }

    fn refused(&self, source: ApiError) -> ShardError {
        let shard = self.shard().clone();
        match self.progress.next() {
            // That one is in every shard.
            PinnedPosition::TrimHorizon => ShardError::Refused { shard, source },
            position if source.remedy() == Remedy::Correct && !self.feed.has_place() => {
                ShardError::InvalidPosition {
                    shard,
                    position,
                    source,
                }
            }
            _ => ShardError::Refused { shard, source },
        }
    }

    /// Whether it reads from a moment that the service's clock has reached, or is about to.
    fn begins_about_now(&self) -> bool {
        match self.progress.next() {
            PinnedPosition::AtTimestamp(moment) => moment <= self.api.now().plus(ABOUT_NOW),
            _ => false,
        }
    }

    /// Tells of an error, if it is news. An iterator that has expired is everyday, once; and so is a
    /// shard that is in use still, for seconds, by a process that has just ended.
    fn report(&mut self, error: &ApiError) {
        let is_told = self.feed.take_told();
        let watch = self.progress.watch();
        match error.remedy() {
            _ if is_told => {}
            Remedy::Wait => watch.refused(),
            Remedy::RenewIterator if self.backoff.failures() == 1 => {}
            Remedy::AwaitActive if self.backoff.failures() <= 2 => {}
            _ => watch.failed(error),
        }
    }
}
