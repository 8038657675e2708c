//! Which shards there are by now, and what follows from that.

use std::{mem, time::Duration};

use tokio::time::Instant;
use tracing::debug;

use super::{Means, open_stream::OpenStream, storing::SAVE_DEADLINE};
use crate::{
    Checkpoint, CheckpointError, Remedy, Shard, SourceEvent, StreamError, StreamIdentity,
    WaitingFor,
    api_error::chain,
    lineage,
    listing::{CALL_DEADLINE, within_deadline},
    shard_graph::Reopened,
    unread::CLOCK_SLACK,
};

/// How often in a row a listing may say that the stream has gone.
const PATIENCE: u32 = 5;

/// How long a listing of all pages should take.
const LISTED_WITHIN: Duration = Duration::from_secs(60);

/// How often to ask how long the stream keeps records. DescribeStreamSummary may be called twenty times a
/// second in an account, for all of its streams.
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html>)
const DESCRIBE_EVERY: Duration = Duration::from_secs(300);

impl Means {
    /// Lists the shards anew. While that fails, those that are known are read on.
    pub(super) async fn list(&mut self, opened: &mut OpenStream) -> Result<(), StreamError> {
        let operation = "ListShards";
        let answer = WaitingFor::Answer { operation };
        self.watch.waits_for(answer, LISTED_WITHIN);
        let asked_at = self.source.api.now().minus(CLOCK_SLACK);
        let asked = Instant::now();
        let listing = self.listing.list().await;
        let now = Instant::now();
        match listing {
            Ok(listing) => {
                let complete_at = opened.complete_at;
                let new = opened.graph.discover_since(&listing, complete_at);
                self.tell_of_new(&new);
                opened
                    .graph
                    .note_absent(now, self.watch.kept_since(asked_at));
                let reopened = opened.graph.reopen(&listing, asked);
                opened.is_stale = opened.graph.lacks_expected();
                self.tell_of_lacking(opened, &listing);
                if !opened.list_lacks {
                    opened.complete_at = Some(asked_at);
                    opened.graph.note_unlisted(&listing, now);
                }
                let wait = if opened.list_lacks {
                    self.backoff.failed()
                } else {
                    self.backoff.succeeded();
                    self.source.discover_every
                };
                if let failures @ 1.. = mem::take(&mut opened.list_failures) {
                    self.watch
                        .reporter()
                        .report(SourceEvent::ListingRecovered { failures });
                }
                opened.list_at = opened.graph.list_by(now + wait);
                for reopened in reopened {
                    self.reopen(opened, reopened).await;
                }
                self.store_begins(opened).await;
                self.describe(opened).await;
                if !opened.list_lacks {
                    self.forget(opened).await;
                }
            }
            Err(error) => {
                opened.list_at = now + self.backoff.failed();
                if error.remedy() == Remedy::Verify && self.backoff.failures() >= PATIENCE {
                    return Err(StreamError::refused(&self.source.name, error));
                }
                opened.list_failures += 1;
                if opened.list_failures == 1 {
                    self.watch
                        .reporter()
                        .report(SourceEvent::ListingFailing { error });
                }
            }
        }
        Ok(())
    }

    /// Finds out how long the stream keeps records by now, once in a while. If that fails, it is asked for
    /// again with the next listing.
    async fn describe(&self, opened: &mut OpenStream) {
        if Instant::now() < opened.describe_at {
            return;
        }
        let operation = "DescribeStreamSummary";
        let answer = WaitingFor::Answer { operation };
        self.watch.waits_for(answer, CALL_DEADLINE);
        let call = self.source.api.describe_stream_summary();
        match within_deadline(operation, call).await {
            Ok(summary) if StreamIdentity::from(&summary).agrees_with(&opened.stream) => {
                self.watch.note_retention(&summary);
                opened.describe_at = Instant::now() + DESCRIBE_EVERY;
            }
            // What that means for the stream, readers find out.
            Ok(_) => {}
            Err(error) => {
                debug!(stream = %opened.stream, error = chain(&error), "the retention time is not known anew");
            }
        }
    }

    /// Tells of shards that no listing had before.
    fn tell_of_new(&self, new: &[&Shard]) {
        for shard in new {
            self.watch.reporter().report(SourceEvent::ShardDiscovered {
                shard: shard.id.clone(),
                parents: shard.parents().cloned().collect(),
            });
        }
    }

    /// Tells whether the listing lacks shards, if that is news.
    fn tell_of_lacking(&self, opened: &mut OpenStream, listing: &[Shard]) {
        let (missing, holes) = (opened.graph.lacking(), lineage::holes(listing));
        let lacks = !missing.is_empty() || !holes.is_empty();
        if mem::replace(&mut opened.list_lacks, lacks) == lacks {
            return;
        }
        self.watch.reporter().report(if lacks {
            SourceEvent::ListingIncomplete { missing, holes }
        } else {
            SourceEvent::ListingComplete
        });
    }

    /// Tells of a shard that was not over, and removes what is stored of the children that it had announced and
    /// that there are not. If that fails, there is a checkpoint too many.
    async fn reopen(&self, opened: &OpenStream, reopened: Reopened) {
        let Reopened {
            shard,
            from,
            begun,
            imagined,
        } = reopened;
        self.watch.reporter().report(SourceEvent::ShardReopened {
            shard,
            from,
            children: begun,
        });
        if imagined.is_empty() {
            return;
        }
        let (store, stream) = (&self.source.store, &opened.stream);
        let ends = imagined.iter().map(|it| (it.clone(), Checkpoint::End));
        let ends = ends.collect();
        let remove = async {
            // Only what has ended can be removed. To a store that removes nothing, nothing is said.
            store.forget(stream, &imagined).await?;
            store.save(stream, &ends).await?;
            store.forget(stream, &imagined).await
        };
        if let Err(error) = self.in_time(remove, SAVE_DEADLINE).await {
            debug!(%stream, error = chain(&error), "where shards begin that there are not stays stored");
        }
    }

    /// Stores where new shards begin. If that fails, no harm is done: they are children, and begin
    /// at their first record in any case. It is tried again with the next listing.
    async fn store_begins(&self, opened: &mut OpenStream) {
        let begins = opened.graph.unstored().clone();
        if begins.is_empty() {
            return;
        }
        let save = self.source.store.save(&opened.stream, &begins);
        match self.in_time(save, SAVE_DEADLINE).await {
            Ok(()) => opened.graph.note_stored(&begins),
            Err(error) => {
                debug!(stream = %opened.stream, error = chain(&error), "where new shards begin is not stored");
            }
        }
    }

    /// Forgets shards that have been over for long, so that nothing grows with the age of a stream. The store
    /// comes first: what is still remembered after a crash is found once more. If that fails, it is tried
    /// again with the next listing.
    async fn forget(&self, opened: &mut OpenStream) {
        let (now, at) = (Instant::now(), self.source.api.now());
        let shards = opened
            .graph
            .forgettable(now, at, self.watch.least_retention());
        if shards.is_empty() {
            return;
        }
        let forget = self.source.store.forget(&opened.stream, &shards);
        match self.in_time(forget, SAVE_DEADLINE).await {
            // It goes on growing, by what it says itself.
            Ok(()) | Err(CheckpointError::CannotForget) => {}
            Err(error) => {
                debug!(stream = %opened.stream, error = chain(&error), "shards that are over are not forgotten yet");
                return;
            }
        }
        opened.forget(&shards);
        self.board.forget(&shards);
        for shard in shards {
            let event = SourceEvent::ShardForgotten { shard };
            self.watch.reporter().report(event);
        }
    }
}
