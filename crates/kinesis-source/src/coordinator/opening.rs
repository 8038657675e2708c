use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    open_stream::OpenStream,
    storing::{SAVE_DEADLINE, in_time},
};
use crate::{
    ApiError, Checkpoint, CheckpointError, EndPosition, PinnedPosition, Position, Remedy, Shard,
    ShardId, SourceEvent, StreamError, StreamIdentity, StreamSource, StreamStatus, WaitingFor,
    backoff::{Backoff, seed_of},
    fan_out::Consumer,
    lineage,
    listing::within_deadline,
    shard_calls::ShardCalls,
    shard_graph::{ABSENT_FOR, FirstStart, Opened, ShardGraph},
    shard_watch::ShardWatch,
    shared_listing::SharedListing,
    source_watch::SourceWatch,
    unread::CLOCK_SLACK,
};

/// Finds a stream, its checkpoints and its shards. Nothing is read meanwhile, so that what is wrong
/// with any of them is told before the first record.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    source: &'a StreamSource,
    listing: &'a SharedListing,
    consumer: Option<&'a Consumer>,
    watch: &'a SourceWatch,
    backoff: Backoff,
    is_told: bool,
    /// The calls for shards, which count when these are read.
    calls: BTreeMap<ShardId, Arc<ShardCalls>>,
}

/// How many failures in a row are put up with.
const PATIENCE: u32 = 5;

/// How much earlier a moment is tried, after one that is yet to come, first and last.
const FIRST_STEP_BACK: Duration = Duration::from_secs(1);
const LAST_STEP_BACK: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How long to wait for a stream that is being made.
const CREATING_POLL: Duration = Duration::from_secs(1);

impl<'a> Opening<'a> {
    pub(super) fn of(
        source: &'a StreamSource,
        listing: &'a SharedListing,
        consumer: Option<&'a Consumer>,
        watch: &'a SourceWatch,
    ) -> Self {
        Self {
            source,
            listing,
            consumer,
            watch,
            backoff: Backoff::for_name(&source.name),
            is_told: false,
            calls: BTreeMap::new(),
        }
    }

    /// Opens the stream, and stores where each shard begins.
    pub(super) async fn open(mut self) -> Result<OpenStream, StreamError> {
        let source = self.source;
        let checkpoint_error = |error| StreamError::checkpoint(&source.name, error);
        let stream = self.find().await?;
        self.find_consumer().await?;
        self.waits_for_store();
        let stored = source.store.load(&stream).await.map_err(checkpoint_error)?;
        self.watch.waits_for(WaitingFor::Nothing, None);
        let (listed_at, asked) = (source.api.now(), Instant::now());
        let listing = self.list().await?;
        let first_start = FirstStart::decide(&source.start, &stored, source.api.now());
        let first_start = self.pin(first_start, &listing).await?;
        self.prove(&first_start, &listing).await?;
        self.prove_end(&listing).await?;
        let now = Opened {
            at: source.api.now().minus(CLOCK_SLACK),
            retention: self.watch.least_retention(),
        };
        let mut graph = match stored.is_empty() {
            true => ShardGraph::new(now.horizon_or(first_start), stored.clone()).opened(now),
            false => ShardGraph::new(first_start, stored.clone()),
        };
        if let Some(only) = source.until.as_ref().and_then(EndPosition::only) {
            graph.read_only(only.cloned());
        }
        graph.discover(&listing);
        let kept_since = self.watch.kept_since(source.api.now());
        graph.note_absent(Instant::now(), kept_since);
        // It is the first: it proves nothing yet.
        let _ = graph.reopen(&listing, asked);
        let begins = graph.take_unstored();
        let stored_begins = self.store_begins(&stream, &begins).await;
        stored_begins.map_err(checkpoint_error)?;
        graph.note_stored(&begins);
        self.watch.reporter().report(SourceEvent::StreamOpened {
            shards: listing.len(),
            checkpoints: stored.len(),
        });
        let now = Instant::now();
        let has_holes = !lineage::holes(&listing).is_empty();
        let lacks_parents = graph.lacks_expected();
        let is_complete = !has_holes && !lacks_parents;
        if is_complete {
            graph.note_unlisted(&listing, now);
        }
        let wait = match (has_holes, lacks_parents) {
            // Some are missing.
            (true, _) => Duration::ZERO,
            // They have aged out, or the listing lacks them: the next one tells.
            (false, true) => ABSENT_FOR.min(source.discover_every),
            (false, false) => source.discover_every,
        };
        let list_at = graph.list_by(now + wait);
        let save_at = now + source.checkpoint_every;
        let mut opened = OpenStream::new(stream, graph, stored, list_at, save_at);
        opened.calls = self.calls;
        opened.complete_at = is_complete.then(|| listed_at.minus(CLOCK_SLACK));
        Ok(opened)
    }

    /// Stores where shards begin, for as long as it takes: before that, nothing may be read. What trouble
    /// there was is told, and not yet that it is over.
    async fn store_begins(
        &mut self,
        stream: &StreamIdentity,
        begins: &BTreeMap<ShardId, Checkpoint>,
    ) -> Result<(), CheckpointError> {
        loop {
            self.waits_for_store();
            let save = self.source.store.save(stream, begins);
            let Err(error) = in_time(save, SAVE_DEADLINE, &self.source.name).await else {
                self.backoff.succeeded();
                return Ok(());
            };
            if !matches!(error, CheckpointError::Unavailable { .. }) {
                return Err(error);
            }
            self.watch.note_unstored(&error);
            let wait = self.backoff.failed();
            self.watch.waits_for(WaitingFor::Retry, wait);
            sleep(wait).await;
        }
    }

    fn waits_for_store(&self) {
        let store = WaitingFor::CheckpointStore;
        self.watch.waits_for(store, SAVE_DEADLINE);
    }

    /// Waits until the stream is there, and can be read.
    async fn find(&mut self) -> Result<StreamIdentity, StreamError> {
        let (api, name) = (&self.source.api, &self.source.name);
        let call = || within_deadline("DescribeStreamSummary", api.describe_stream_summary());
        loop {
            let answer = self.insist(call).await;
            let summary = answer.map_err(|error| StreamError::refused(name, error))?;
            match summary.status {
                StreamStatus::Creating => sleep(CREATING_POLL).await,
                StreamStatus::Deleting => {
                    let name = name.clone();
                    return Err(StreamError::NoSuchStream { name, source: None });
                }
                _ => {
                    self.watch.note_retention(&summary);
                    return Ok(StreamIdentity::from(&summary));
                }
            }
        }
    }

    /// Waits until shards can be subscribed to, if they are to be.
    async fn find_consumer(&mut self) -> Result<(), StreamError> {
        let Some(consumer) = self.consumer else {
            return Ok(());
        };
        let name = &self.source.name;
        match self.insist(|| consumer.arn()).await {
            Ok(_) => Ok(()),
            Err(source) if matches!(source.remedy(), Remedy::Authorize | Remedy::Retry) => {
                Err(StreamError::refused(name, source))
            }
            Err(source) => Err(StreamError::Consumer {
                name: name.clone(),
                consumer: consumer.to_string(),
                source,
            }),
        }
    }

    async fn list(&mut self) -> Result<Arc<Vec<Shard>>, StreamError> {
        let (source, listing) = (self.source, self.listing);
        let answer = self.insist(|| listing.list()).await;
        answer.map_err(|error| StreamError::refused(&source.name, error))
    }

    /// Finds the moment that stands for LATEST from now on: one that the service's clock has reached by now,
    /// or what is put until it does would be skipped. How far ahead ours may be, the transport knows; if it is
    /// farther still, the service refuses the moment as one that is yet to come, and an earlier one is tried,
    /// twice as much earlier each time.
    async fn pin(
        &mut self,
        start: FirstStart,
        listing: &[Shard],
    ) -> Result<FirstStart, StreamError> {
        let FirstStart::Tip { .. } = start else {
            return Ok(start);
        };
        let latest = self.source.api.earliest_now();
        let Some(shard) = listing.iter().find(|shard| !shard.is_closed()) else {
            return Ok(FirstStart::Tip { now: latest });
        };
        let (mut now, mut back) = (latest, FIRST_STEP_BACK);
        loop {
            let moment = PinnedPosition::AtTimestamp(now);
            match self.ask_for(&shard.id, &moment).await {
                Ok(()) => return Ok(FirstStart::Tip { now }),
                Err(error) if error.remedy() == Remedy::Correct && back <= LAST_STEP_BACK => {
                    self.backoff.succeeded();
                    now = latest.minus(back);
                    back *= 2;
                }
                Err(error) => return Err(self.refused_start(error)),
            }
        }
    }

    /// Lets the service say whether `start` is a place in the stream. One that it would refuse must
    /// not be stored: the next run could not get away from it.
    async fn prove(&mut self, start: &FirstStart, listing: &[Shard]) -> Result<(), StreamError> {
        match start {
            FirstStart::After { shard, position } => {
                let no_such_shard = || StreamError::NoSuchShard {
                    name: self.source.name.clone(),
                    shard: shard.clone(),
                };
                if !listing.iter().any(|listed| listed.id == *shard) {
                    return Err(no_such_shard());
                }
                match self.ask_for(shard, position).await {
                    Err(error) if error.remedy() == Remedy::Verify => Err(no_such_shard()),
                    answer => answer.map_err(|error| self.refused_start(error)),
                }
            }
            FirstStart::At(moment @ PinnedPosition::AtTimestamp(_)) => {
                // It is as good or bad in any shard, and an open one does not age out meanwhile.
                let open = listing.iter().find(|shard| !shard.is_closed());
                let Some(shard) = open.or(listing.first()) else {
                    return Ok(());
                };
                let answer = self.ask_for(&shard.id, moment).await;
                answer.map_err(|error| self.refused_start(error))
            }
            // These are places in every shard.
            FirstStart::At(_) | FirstStart::Tip { .. } => Ok(()),
            // Each shard's reader finds out about its checkpoint.
            FirstStart::Resumed => Ok(()),
        }
    }

    /// Lets the service say whether the stream has the records to end with. Shards would be waited for
    /// in vain that have not.
    async fn prove_end(&mut self, listing: &[Shard]) -> Result<(), StreamError> {
        let Some(end @ EndPosition::WithSequenceNumbers(numbers)) = &self.source.until else {
            return Ok(());
        };
        let name = &self.source.name;
        for (shard, number) in numbers {
            if !listing.iter().any(|listed| listed.id == *shard) {
                let (name, shard) = (name.clone(), shard.clone());
                return Err(StreamError::NoSuchShard { name, shard });
            }
            let place = PinnedPosition::AtSequenceNumber(number.clone());
            let answer = self.ask_for(shard, &place).await;
            answer.map_err(|source| match source.remedy() {
                Remedy::Correct => StreamError::InvalidEnd {
                    name: name.clone(),
                    end: end.clone(),
                    source,
                },
                _ => StreamError::refused(name, source),
            })?;
        }
        Ok(())
    }

    async fn ask_for(
        &mut self,
        shard: &ShardId,
        position: &PinnedPosition,
    ) -> Result<(), ApiError> {
        let (api, position) = (&self.source.api, Position::from(position));
        let none_before = || Arc::new(ShardCalls::new(seed_of(shard)));
        let calls = self.calls.entry(shard.clone()).or_insert_with(none_before);
        // Nobody looks after it yet.
        let (calls, watch) = (Arc::clone(calls), ShardWatch::new(shard.clone()));
        let call = || calls.iterator(&**api, shard, &position, &watch);
        self.insist(call).await.map(drop)
    }

    fn refused_start(&self, source: ApiError) -> StreamError {
        match source.remedy() {
            Remedy::Correct => StreamError::InvalidStart {
                name: self.source.name.clone(),
                start: self.source.start.clone(),
                source,
            },
            _ => StreamError::refused(&self.source.name, source),
        }
    }

    /// Makes a call again until it is answered, or fails with an error that does not pass.
    async fn insist<T, C>(&mut self, call: impl Fn() -> C) -> Result<T, ApiError>
    where
        C: Future<Output = Result<T, ApiError>>,
    {
        loop {
            let error = match call().await {
                Ok(answer) => {
                    self.backoff.succeeded();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let wait = self.backoff.failed();
            if !may_pass(&error) || self.backoff.failures() >= PATIENCE {
                return Err(error);
            }
            if !std::mem::replace(&mut self.is_told, true) {
                self.watch
                    .reporter()
                    .report(SourceEvent::OpeningFailing { error });
            }
            sleep(wait).await;
        }
    }
}

fn may_pass(error: &ApiError) -> bool {
    matches!(
        error.remedy(),
        Remedy::Wait | Remedy::Retry | Remedy::RestartListing | Remedy::AwaitActive
    )
}
