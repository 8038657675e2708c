//! Whether the shard has been read to its end.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::ShardSource;
use crate::{
    ApiError, Position, Record, Remedy, Shard, WaitingFor,
    arrival::{self, Arrival},
    feed::Feed,
    lineage,
    unread::CLOCK_SLACK,
};

/// What has come says of the shard's end.
#[derive(Debug)]
pub(super) enum End {
    /// Nothing, or what has yet to be proven.
    Open,
    /// That it is reached, and it is.
    Proven,
    /// That it is reached, and the shard is not listed as closed: to be read on after so long.
    Denied(Duration),
}

impl ShardSource {
    /// Finds out whether what has come is the end of the shard, if it says so.
    pub(super) async fn judge_end(&mut self, arrival: &mut Arrival) -> End {
        let has_records = !arrival.records.is_empty();
        if has_records && self.ending.refute() {
            self.progress.forget_children();
            self.tell_of_false_end("the shard has ended, and it has more records");
        }
        if !arrival.says_end {
            self.ending.no_longer_denied();
            return End::Open;
        }
        let names_children = !arrival.children.is_empty();
        // What bears the end out is asked for after a listing that has the shard as closed: what came before it
        // was closed cannot be missing then, whatever answers have said.
        let is_known = names_children && self.ending.is_said();
        if !is_known && !self.is_closed().await {
            arrival.children.clear();
            self.progress.forget_children();
            self.feed.start_over(Remedy::Retry);
            let (denied, wait) = (self.ending.denied(Instant::now()), self.backoff.failed());
            // Whoever names children has seen it closed, as a rule, and the listing is late.
            if !names_children || denied >= CLOCK_SLACK {
                self.tell_of_false_end("the shard has ended, and it is not listed as closed");
            }
            return End::Denied(wait);
        }
        self.ending.no_longer_denied();
        self.feed.start_over(Remedy::Retry);
        let is_heard = self
            .ending
            .heard(has_records, arrival.is_behind(), Instant::now());
        let is_proven = is_heard || self.is_borne_out(arrival).await;
        arrival.is_end = is_proven;
        if is_proven { End::Proven } else { End::Open }
    }

    /// Of a shard whose records are sent: asks for what comes after these. To be sent that once more may
    /// take five seconds, for each shard of a lineage.
    async fn is_borne_out(&mut self, arrival: &Arrival) -> bool {
        if !matches!(self.feed, Feed::FanOut(_)) {
            return false;
        }
        let last = arrival.records.last();
        let after = |last: &Record| Position::AfterSequenceNumber(last.sequence_number.clone());
        let place = last.map_or_else(|| self.progress.position(), after);
        self.wait_to_prove_end().await;
        // If it cannot be asked for, there is still what is sent.
        let Ok(page) = Box::pin(self.page_at(&place)).await else {
            return false;
        };
        let is_behind = arrival::is_behind(page.millis_behind_latest);
        let is_end = page.records.is_empty() && page.next.is_none();
        is_end && self.ending.heard(false, is_behind, Instant::now())
    }

    /// Waits until an answer could prove that the shard has ended, if one has said so.
    pub(super) async fn wait_to_prove_end(&self) {
        let Some(at) = self.ending.ask_at() else {
            return;
        };
        let now = Instant::now();
        if at > now {
            let watch = self.progress.watch();
            watch.waits_for(WaitingFor::Retry, at - now);
            sleep_until(at).await;
        }
    }

    fn tell_of_false_end(&self, message: &str) {
        let message = format!("the answer says that {message}");
        let error = ApiError::new("GetRecords", Remedy::Retry).with_message(&message);
        self.progress.watch().failed(&error);
        self.progress.note(|figures| figures.retries += 1);
    }

    /// Whether the shard is listed as closed, or not any more, and its hash keys fall on others. If nobody knows,
    /// it is not.
    async fn is_closed(&mut self) -> bool {
        let Some(listing) = self.list().await else {
            return false;
        };
        let listed = listing.iter().find(|listed| listed.id == *self.shard());
        match listed.map(|it| it.ending_sequence_number.as_ref()) {
            Some(ending) => {
                self.unlisted = 0;
                if let Some(ending) = ending {
                    self.progress.note_ending(ending);
                }
                ending.is_some() && lineage::holes(&listing).is_empty()
            }
            None => self.is_unlisted_again(&listing),
        }
    }

    /// Whether the shard has aged out, with all that was in it.
    pub(super) async fn is_trimmed(&mut self) -> bool {
        match self.list().await {
            Some(listing) => self.is_unlisted_again(&listing),
            None => false,
        }
    }

    /// Whether this is the second listing in a row that lacks nothing but the shard. One may be wrong.
    fn is_unlisted_again(&mut self, listing: &[Shard]) -> bool {
        let is_listed = listing.iter().any(|listed| listed.id == *self.shard());
        if is_listed || listing.is_empty() || !lineage::holes(listing).is_empty() {
            self.unlisted = 0;
            return false;
        }
        self.unlisted += 1;
        self.unlisted > 1
    }
}
