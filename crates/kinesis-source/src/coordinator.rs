mod awaited;
mod open_stream;
mod opening;

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stage_core::{AddError, Batch, Demand, Flow, Group, Producer, restarting};
use tokio::{
    select,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, warn};

use self::{
    awaited::Awaited,
    open_stream::{OpenStream, Unstored},
    opening::Opening,
};
use crate::{
    Checkpoint, CheckpointError, Remedy, Shard, ShardError, ShardRecord, ShardSource, SourceEvent,
    StreamEnd, StreamError, StreamIdentity, StreamSource, WaitingFor,
    api_error::chain,
    backoff::Backoff,
    fan_out::Consumer,
    lineage,
    listing::{CALL_DEADLINE, within_deadline},
    news::News,
    progress::Progress,
    reader::Reader,
    reporter::Reporter,
    saving::Saving,
    shard_graph::{Reopened, Start},
    shared_listing::SharedListing,
    source_watch::SourceWatch,
    stream_status::{Board, Inquiries},
    supervisor::Supervisor,
    unread::{CLOCK_SLACK, LEAST_RETENTION},
};

/// The stage that reads no records: it finds out which shards there are, adds a stage for each that
/// may be read, and stores how far they are.
#[derive(Debug)]
pub(crate) struct Coordinator {
    means: Means,
    opened: Option<OpenStream>,
}

/// What the coordinator works with.
#[derive(Debug)]
struct Means {
    source: StreamSource,
    /// Of the stream's shards, for all who ask.
    listing: Arc<SharedListing>,
    /// Whom the shards send to, if they are not asked.
    consumer: Option<Arc<Consumer>>,
    group: Group<ShardRecord>,
    board: Arc<Board>,
    inquiries: Arc<Inquiries>,
    watch: Arc<SourceWatch>,
    /// Once it coordinates.
    supervisor: Option<Supervisor>,
    saving: Arc<Saving>,
    /// Rung by shards that change their phase, and by questions.
    news: Arc<News>,
    backoff: Backoff,
}

/// How often in a row a listing may say that the stream has gone.
const PATIENCE: u32 = 5;

/// How long a listing of all pages should take.
const LISTED_WITHIN: Duration = Duration::from_secs(60);

/// How often to ask how long the stream keeps records. DescribeStreamSummary may be called twenty times a
/// second in an account, for all of its streams.
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html>)
const DESCRIBE_EVERY: Duration = Duration::from_secs(300);

/// How long storing checkpoints may take. Nothing else is attended to meanwhile.
const SAVE_DEADLINE: Duration = Duration::from_secs(10);

/// How often to store checkpoints during a drain, besides at each acknowledgement: after a try that has
/// failed.
const SAVE_IN_DRAIN: Duration = Duration::from_secs(1);

/// After so long at most the last checkpoints are tried again.
const LAST_SAVE_AGAIN: Duration = Duration::from_secs(1);

/// How long that may take once every shard's reader has ended, altogether.
const LAST_SAVED_WITHIN: Duration = SAVE_DEADLINE;

/// How long one of these tries may take, and one that was under way: so that one that hangs is not the
/// only one.
const LAST_SAVE: Duration = Duration::from_secs(5);

impl Coordinator {
    pub(crate) fn new(
        source: StreamSource,
        group: Group<ShardRecord>,
        board: Arc<Board>,
        inquiries: Arc<Inquiries>,
        watch: Arc<SourceWatch>,
    ) -> Self {
        let means = Means {
            backoff: Backoff::for_name(&source.name),
            listing: Arc::new(SharedListing::new(Arc::clone(&source.api))),
            consumer: consumer(&source, watch.reporter()),
            watch,
            supervisor: None,
            saving: Arc::new(Saving::new(source.checkpoint_after, source.unsaved_at_most)),
            source,
            group,
            board,
            news: Arc::clone(&inquiries.news),
            inquiries,
        };
        Self {
            means,
            opened: None,
        }
    }
}

fn consumer(source: &StreamSource, reporter: &Reporter) -> Option<Arc<Consumer>> {
    let fan_out = source.fan_out.clone()?;
    Some(Consumer::new(fan_out, reporter.clone()))
}

impl Means {
    /// Does what is due. Returns when to look again at the latest.
    async fn attend(&mut self, opened: &mut OpenStream) -> Result<Instant, StreamError> {
        let ended = opened.take_ended(self.news.take_ended());
        opened.take_inquiry(self.inquiries.last());
        let now = Instant::now();
        if ended || now >= opened.save_at || self.saving.is_due() {
            // It has logged the trouble, and keeps what is not stored for the next time.
            let _ = self.save(opened).await;
            opened.retire_complete();
        }
        if now >= opened.list_at {
            self.list(opened).await?;
        }
        for start in opened.graph.take_ready() {
            self.start(opened, start);
        }
        if let Some(waiting) = opened.graph.take_waiting() {
            self.board.set_waiting(waiting);
        }
        if !self.inquiries.is_open(opened.inquiry) {
            // Nobody asks.
        } else if opened.is_caught_up() {
            self.inquiries.answer(opened.inquiry);
        } else if let Some(stopped) = opened.caught_up_without() {
            self.inquiries.answer_without(opened.inquiry, stopped);
        }
        Ok(opened.list_at.min(opened.save_at))
    }

    /// Lists the shards anew. While that fails, those that are known are read on.
    async fn list(&mut self, opened: &mut OpenStream) -> Result<(), StreamError> {
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
                        .report(&SourceEvent::ListingRecovered { failures });
                }
                opened.list_at = now + wait;
                if let Some(doubts_until) = opened.graph.doubts_until() {
                    opened.list_at = opened.list_at.min(doubts_until);
                }
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
                        .report(&SourceEvent::ListingFailing { error });
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
            self.watch.reporter().report(&SourceEvent::ShardDiscovered {
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
        self.watch.reporter().report(&if lacks {
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
        self.watch.reporter().report(&SourceEvent::ShardReopened {
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
        let retention = self.watch.retention().unwrap_or(LEAST_RETENTION);
        let shards = opened.graph.forgettable(now, at, retention);
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
            self.watch.reporter().report(&event);
        }
    }

    fn start(&self, opened: &mut OpenStream, start: Start) {
        let Start {
            shard,
            hash_range,
            from,
            resumed,
            since,
            none_until,
            is_reopened,
        } = start;
        let news = Arc::clone(&self.news);
        let progress = match resumed {
            Some(resumed) => Progress::resumed(shard.clone(), resumed, news),
            None => Progress::beginning(shard.clone(), from, since, none_until, news),
        };
        progress.watch().join(Arc::clone(&self.watch));
        progress.save_by(Arc::clone(&self.saving));
        if is_reopened {
            progress.replace_stored();
        }
        let from = progress.next();
        let is_first = Arc::new(AtomicBool::new(true));
        let make = {
            let (api, progress) = (Arc::clone(&self.source.api), Arc::clone(&progress));
            let (stream, listing) = (opened.stream.clone(), Arc::clone(&self.listing));
            let deaggregation = self.source.deaggregation;
            let consumer = self.consumer.clone();
            let budget = self.source.byte_budget.clone();
            let read_at_most = self.source.read_at_most.min(budget.bytes());
            let on_data_loss = self.source.on_data_loss;
            let until = self.source.until.as_ref();
            let end = until.and_then(|until| until.of(&shard));
            move || {
                let is_first = is_first.swap(false, Ordering::Relaxed);
                if !is_first {
                    progress.resume();
                }
                let (api, progress) = (Arc::clone(&api), Arc::clone(&progress));
                let reader = ShardSource::supervised(api, progress, stream.clone())
                    .listing(Arc::clone(&listing))
                    .byte_budget(&budget)
                    .read_at_most(read_at_most)
                    .on_data_loss(on_data_loss)
                    .until(end.clone());
                let reader = match &consumer {
                    Some(consumer) => reader.fan_out(Arc::clone(consumer)),
                    None => reader,
                };
                match deaggregation {
                    Some(deaggregation) => reader.deaggregate(deaggregation, hash_range),
                    None => reader,
                }
            }
        };
        let restarts = self.source.restarts.clone().unless(ShardError::is_final);
        let renew = move |restarts| restarting(restarts, make.clone());
        let on_failure = self.source.on_shard_failure;
        let reader = Reader::new(renew, restarts, on_failure, Arc::clone(&progress));
        let name = format!("{}/{shard}", self.source.name);
        match self.group.add(name, reader) {
            Ok(()) => {
                progress
                    .watch()
                    .report(|shard| SourceEvent::ShardStarted { shard, from });
                self.board.add(Arc::clone(&progress));
                opened.active.insert(shard, progress);
            }
            Err(AddError::Stopping) => {}
            Err(error) => warn!(%shard, %error, "shard cannot be opened"),
        }
    }

    /// Stores the last checkpoints, once every shard's reader has ended. That takes
    /// [`LAST_SAVED_WITHIN`] at most, whatever the store does.
    async fn save_last(&mut self, opened: &mut OpenStream) -> Result<(), StreamError> {
        opened.take_ended(self.news.take_ended());
        // A drain may be cut off at any moment, and nothing can be stored after that.
        self.saving.store_each();
        let mut save_at = Instant::now();
        let mut ended_at = Instant::now();
        let mut readers = Awaited::default();
        while !readers.is_over(&opened.active, Progress::has_ended) {
            let is_due = self.saving.is_due() && !self.saving.is_failing();
            let ended_in_save = if is_due || Instant::now() >= save_at {
                let ended = self.save_in_drain(opened, &mut readers).await;
                save_at = Instant::now() + SAVE_IN_DRAIN;
                ended
            } else {
                self.watch.waits_for(WaitingFor::Acknowledgements, None);
                select! {
                    biased;
                    () = self.news.rung() => {}
                    () = sleep_until(save_at) => {}
                }
                None
            };
            ended_at = ended_in_save.unwrap_or_else(Instant::now);
            opened.take_ended(self.news.take_ended());
        }
        let until = ended_at + LAST_SAVED_WITHIN;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Err(error) = self.save_within(opened, left.min(LAST_SAVE)).await else {
                return Ok(());
            };
            let next = Instant::now() + self.backoff.failed().min(LAST_SAVE_AGAIN);
            if next >= until {
                return Err(StreamError::checkpoint(&self.source.name, error));
            }
            sleep_until(next).await;
        }
    }

    /// Stores what it can, as a drain may be cut off at any moment; it is tried again. Returns when every
    /// shard's reader had ended, if that came first: then it does not go on for long.
    async fn save_in_drain(
        &self,
        opened: &mut OpenStream,
        readers: &mut Awaited,
    ) -> Option<Instant> {
        let mut ended_at = None;
        let given_up = async {
            while !readers.is_over_with_these(Progress::has_ended) {
                self.news.rung().await;
            }
            ended_at = Some(Instant::now());
            sleep(LAST_SAVE).await;
        };
        select! {
            biased;
            _ = self.save(opened) => {}
            () = given_up => {}
        }
        ended_at
    }

    /// As [`save_within`](Self::save_within), with the time that there is while all goes on.
    async fn save(&self, opened: &mut OpenStream) -> Result<(), CheckpointError> {
        self.save_within(opened, SAVE_DEADLINE).await
    }

    /// Stores what has been acknowledged since the last time. If that fails it is tried again with
    /// the next; the old checkpoints stay good, and shards go on only so far.
    async fn save_within(
        &self,
        opened: &mut OpenStream,
        within: Duration,
    ) -> Result<(), CheckpointError> {
        opened.save_at = Instant::now() + self.source.checkpoint_every;
        self.saving.begin();
        let news = opened.unstored();
        if news.is_empty() {
            self.watch.note_stored();
            // Nothing is amiss that is not on its way still: shards that wait may go on with that.
            self.saving.ended(false);
            return Ok(());
        }
        let save = self.store(&opened.stream, &news);
        let saved = self.in_time(save, within).await;
        self.saving.ended(saved.is_err());
        match saved {
            Ok(()) => {
                opened.note_stored(news);
                self.watch.note_stored();
                Ok(())
            }
            Err(error) => {
                self.watch.note_unstored(&error);
                Err(error)
            }
        }
    }

    async fn store(
        &self,
        stream: &StreamIdentity,
        unstored: &Unstored,
    ) -> Result<(), CheckpointError> {
        let store = &self.source.store;
        if !unstored.sought.is_empty() {
            match store.rewind(stream, &unstored.sought).await {
                Err(CheckpointError::CannotGoBack) => {
                    warn!(%stream, "a shard is read from further back, which this store of checkpoints cannot remember");
                    store.save(stream, &unstored.sought).await?;
                }
                rewound => rewound?,
            }
        }
        if unstored.news.is_empty() {
            return Ok(());
        }
        store.save(stream, &unstored.news).await
    }

    /// A store that does not answer has failed.
    async fn in_time(
        &self,
        save: impl Future<Output = Result<(), CheckpointError>>,
        within: Duration,
    ) -> Result<(), CheckpointError> {
        self.watch.waits_for(WaitingFor::CheckpointStore, within);
        in_time(save, within, &self.source.name).await
    }
}

/// A store that does not answer has failed.
async fn in_time(
    save: impl Future<Output = Result<(), CheckpointError>>,
    within: Duration,
    name: &str,
) -> Result<(), CheckpointError> {
    match timeout(within, save).await {
        Ok(saved) => saved,
        Err(_) => Err(CheckpointError::Unavailable {
            place: format!("the store of stream `{name}`"),
            source: format!("no answer within {} s", within.as_secs()).into(),
        }),
    }
}

impl Means {
    /// Says why the source has ended, unless that has been said.
    fn end(&self, end: StreamEnd) {
        self.watch
            .reporter()
            .close(&SourceEvent::StreamEnded { end });
    }
}

impl Coordinator {
    /// Opens the stream, unless it is open, and attends to it until all its shards are finished.
    async fn coordinate(&mut self) -> Result<Flow, StreamError> {
        let Self { means, opened } = self;
        let (board, watch) = (&means.board, &means.watch);
        let by_shard = means.source.metrics_by_shard;
        let budget = &means.source.byte_budget;
        let settle_within = means.source.settle_within;
        let over = || {
            let (board, watch) = (Arc::clone(board), Arc::clone(watch));
            Supervisor::over(board, watch, by_shard, budget.clone(), settle_within)
        };
        means.supervisor.get_or_insert_with(over);
        let opened = match opened {
            Some(opened) => opened,
            none => {
                let opening = Opening::of(
                    &means.source,
                    &means.listing,
                    means.consumer.as_deref(),
                    &means.watch,
                );
                none.insert(opening.open().await?)
            }
        };
        loop {
            let until = means.attend(opened).await?;
            if opened.is_complete() {
                return Ok(Flow::End);
            }
            if opened.has_only_stopped() {
                // If it fails, those are repeated.
                let _ = means.save(opened).await;
                if let Some(error) = opened.stopped(&means.source.name) {
                    return Err(error);
                }
            }
            let within = until.saturating_duration_since(Instant::now());
            means.watch.waits_for(WaitingFor::News, within);
            select! {
                biased;
                () = means.news.rung() => {}
                () = sleep_until(until) => {}
            }
        }
    }
}

impl Producer for Coordinator {
    type Event = ShardRecord;
    type Error = StreamError;

    async fn produce(
        &mut self,
        _: Demand,
        _: &mut Batch<ShardRecord>,
    ) -> Result<Flow, StreamError> {
        let ended = self.coordinate().await;
        // There is nothing to finish for whoever has failed.
        if let Err(error) = &ended {
            if let Some(consumer) = &self.means.consumer {
                consumer.leave().await;
            }
            self.means.end(StreamEnd::failed(error));
        }
        ended
    }

    /// Stores the last checkpoints, once every shard's reader has ended, and takes leave.
    async fn finish(&mut self) -> Result<(), StreamError> {
        let Self { means, opened } = self;
        let stored = match opened {
            Some(opened) => match means.save_last(opened).await {
                Ok(()) => match opened.stopped(&means.source.name) {
                    Some(error) => Err(error),
                    None => Ok(()),
                },
                failed => failed,
            },
            None => Ok(()),
        };
        if let Some(consumer) = &means.consumer {
            consumer.leave().await;
        }
        let is_complete = opened.as_ref().is_some_and(OpenStream::is_complete);
        means.end(match &stored {
            Err(error) => StreamEnd::failed(error),
            Ok(()) if is_complete => StreamEnd::Complete,
            Ok(()) => StreamEnd::Stopped,
        });
        stored
    }
}

impl Drop for Means {
    fn drop(&mut self) {
        self.end(StreamEnd::Aborted);
    }
}

#[cfg(test)]
mod tests;
