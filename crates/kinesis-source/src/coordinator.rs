use std::{collections::BTreeMap, sync::Arc, time::Duration};

use stage_core::{AddError, Batch, Demand, Flow, Group, Producer, restarting};
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, info, warn};

use crate::{
    ApiError, Checkpoint, CheckpointError, Remedy, Shard, ShardId, ShardRecord, ShardSource,
    StreamError, StreamIdentity, StreamSource, StreamStatus,
    api_error::chain,
    backoff::Backoff,
    listing::{list_all_shards, within_deadline},
    progress::{Phase, Progress},
    reader::Reader,
    shard_graph::{FirstStart, ShardGraph, Start},
    shard_source::Begin,
    stream_status::{Board, Inquiries},
};

/// The stage that reads no records: it finds out which shards there are, adds a stage for each that
/// may be read, and stores how far they are.
#[derive(Debug)]
pub(crate) struct Coordinator {
    means: Means,
    opened: Option<Opened>,
}

/// What the coordinator works with.
#[derive(Debug)]
struct Means {
    source: StreamSource,
    group: Group<ShardRecord>,
    board: Arc<Board>,
    inquiries: Arc<Inquiries>,
    /// Rung by shards that change their phase, and by questions.
    news: Arc<Notify>,
    backoff: Backoff,
}

/// What there is once the stream has been found.
#[derive(Debug)]
struct Opened {
    stream: StreamIdentity,
    graph: ShardGraph,
    /// The shards that are being read, or whose end is not stored yet.
    active: BTreeMap<ShardId, Arc<Progress>>,
    /// What is stored about them.
    stored: BTreeMap<ShardId, Checkpoint>,
    list_at: Instant,
    save_at: Instant,
    /// Whether there may be shards that no listing has had so far: one has ended since the last,
    /// or the last lacks one that was announced.
    is_stale: bool,
    save_fails: bool,
    /// The last question whether everything has been read.
    inquiry: u64,
}

/// How many failures in a row are put up with before the stream is open, and of refusals that may
/// pass, afterwards.
const PATIENCE: u32 = 5;

/// How long to wait for a stream that is being made.
const CREATING_POLL: Duration = Duration::from_secs(1);

/// How often a last checkpoint is tried before it is given up.
const LAST_SAVES: u32 = 5;

impl Coordinator {
    pub(crate) fn new(
        source: StreamSource,
        group: Group<ShardRecord>,
        board: Arc<Board>,
        inquiries: Arc<Inquiries>,
    ) -> Self {
        let means = Means {
            backoff: Backoff::for_name(&source.name),
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

impl Means {
    /// Finds the stream, its checkpoints and its shards, and stores where each begins.
    async fn open(&mut self) -> Result<Opened, StreamError> {
        let stream = self.find().await?;
        let stored = self.source.store.load(&stream).await;
        let stored = stored.map_err(|source| self.checkpoint_error(source))?;
        let listing = self.first_listing().await?;
        let now = self.source.api.now();
        let first_start = FirstStart::decide(&self.source.start, &stored, now);
        self.check_start(&listing, &first_start)?;
        let mut graph = ShardGraph::new(first_start, stored.clone());
        graph.discover(&listing);
        let begins = graph.take_unstored();
        let saved = self.source.store.save(&stream, &begins).await;
        saved.map_err(|source| self.checkpoint_error(source))?;
        info!(stream = %stream, shards = listing.len(), checkpoints = stored.len(), "stream opened");
        let now = Instant::now();
        Ok(Opened {
            stream,
            graph,
            active: BTreeMap::new(),
            stored,
            list_at: now + self.source.discover_every,
            save_at: now + self.source.checkpoint_every,
            is_stale: false,
            save_fails: false,
            inquiry: 0,
        })
    }

    /// Waits until the stream is there, and can be read.
    async fn find(&mut self) -> Result<StreamIdentity, StreamError> {
        loop {
            let call = self.source.api.describe_stream_summary();
            match within_deadline("DescribeStreamSummary", call).await {
                Ok(summary) if summary.status == StreamStatus::Creating => {
                    sleep(CREATING_POLL).await;
                }
                Ok(summary) if summary.status == StreamStatus::Deleting => {
                    let name = self.source.name.clone();
                    return Err(StreamError::NoSuchStream { name, source: None });
                }
                Ok(summary) => {
                    self.backoff.succeeded();
                    return Ok(StreamIdentity::from(&summary));
                }
                Err(error) => self.cope(error).await?,
            }
        }
    }

    async fn first_listing(&mut self) -> Result<Vec<Shard>, StreamError> {
        loop {
            match list_all_shards(&*self.source.api).await {
                Ok(shards) => {
                    self.backoff.succeeded();
                    return Ok(shards);
                }
                Err(error) => self.cope(error).await?,
            }
        }
    }

    /// Waits after an error that may pass, or gives up with it.
    async fn cope(&mut self, error: ApiError) -> Result<(), StreamError> {
        let wait = self.backoff.failed();
        let may_pass = matches!(
            error.remedy(),
            Remedy::Wait | Remedy::Retry | Remedy::RestartListing | Remedy::AwaitActive
        );
        if !may_pass || self.backoff.failures() >= PATIENCE {
            return Err(self.give_up(error));
        }
        if self.backoff.failures() == 1 {
            warn!(
                stream = self.source.name,
                error = chain(&error),
                "stream cannot be opened yet; trying again"
            );
        }
        sleep(wait).await;
        Ok(())
    }

    fn give_up(&self, source: ApiError) -> StreamError {
        let name = self.source.name.clone();
        match source.remedy() {
            Remedy::Verify => StreamError::NoSuchStream {
                name,
                source: Some(source),
            },
            Remedy::Authorize => StreamError::NotAllowed { name, source },
            Remedy::Retry | Remedy::Wait => StreamError::Unreachable { name, source },
            _ => StreamError::Refused { name, source },
        }
    }

    fn checkpoint_error(&self, source: CheckpointError) -> StreamError {
        StreamError::Checkpoint {
            name: self.source.name.clone(),
            source: Box::new(source),
        }
    }

    fn check_start(&self, listing: &[Shard], start: &FirstStart) -> Result<(), StreamError> {
        if let FirstStart::After { shard, .. } = start
            && !listing.iter().any(|listed| listed.id == *shard)
        {
            return Err(StreamError::NoSuchShard {
                name: self.source.name.clone(),
                shard: shard.clone(),
            });
        }
        Ok(())
    }

    /// Does what is due. Returns when to look again at the latest.
    async fn attend(&mut self, opened: &mut Opened) -> Result<Instant, StreamError> {
        let ended = opened.take_ended();
        opened.take_inquiry(self.inquiries.last());
        let now = Instant::now();
        if ended || now >= opened.save_at {
            // It has logged the trouble, and keeps what is not stored for the next time.
            let _ = self.save(opened).await;
        }
        if now >= opened.list_at {
            self.list(opened).await?;
        }
        for start in opened.graph.take_ready() {
            self.start(opened, start);
        }
        self.board
            .set_waiting(opened.graph.waiting().cloned().collect());
        if opened.is_caught_up() {
            self.inquiries.answer(opened.inquiry);
        }
        Ok(opened.list_at.min(opened.save_at))
    }

    /// Lists the shards anew. While that fails, those that are known are read on.
    async fn list(&mut self, opened: &mut Opened) -> Result<(), StreamError> {
        let listing = list_all_shards(&*self.source.api).await;
        let now = Instant::now();
        match listing {
            Ok(listing) => {
                opened.graph.discover(&listing);
                opened.is_stale = opened.graph.lacks_expected();
                let wait = if opened.is_stale {
                    self.backoff.failed()
                } else {
                    self.backoff.succeeded();
                    self.source.discover_every
                };
                opened.list_at = now + wait;
                self.store_begins(opened).await;
            }
            Err(error) => {
                opened.list_at = now + self.backoff.failed();
                if error.remedy() == Remedy::Verify && self.backoff.failures() >= PATIENCE {
                    return Err(self.give_up(error));
                }
                if self.backoff.failures() == 1 {
                    warn!(
                        stream = self.source.name,
                        error = chain(&error),
                        "shards cannot be listed; reading on"
                    );
                }
            }
        }
        Ok(())
    }

    /// Stores where new shards begin. If that fails, no harm is done: they are children, and begin
    /// at their first record in any case.
    async fn store_begins(&self, opened: &mut Opened) {
        let begins = opened.graph.take_unstored();
        if begins.is_empty() {
            return;
        }
        if let Err(error) = self.source.store.save(&opened.stream, &begins).await {
            debug!(stream = %opened.stream, error = chain(&error), "where new shards begin is not stored");
        }
    }

    fn start(&self, opened: &mut Opened, start: Start) {
        let Start {
            shard,
            from,
            at_tip,
        } = start;
        let progress = Progress::new(shard.clone(), from, Arc::clone(&self.news));
        let mut begin = Some(if at_tip { Begin::AtTip } else { Begin::Pinned });
        let make = {
            let (api, progress) = (Arc::clone(&self.source.api), Arc::clone(&progress));
            move || {
                // Only the first one may ask for the tip.
                let begin = begin.take().unwrap_or_else(|| {
                    progress.resume();
                    Begin::Pinned
                });
                ShardSource::supervised(Arc::clone(&api), Arc::clone(&progress), begin)
            }
        };
        let reader = restarting(self.source.restarts.clone(), make);
        let reader = Reader::new(reader, Arc::clone(&progress));
        let name = format!("{}/{shard}", self.source.name);
        match self.group.add(name, reader) {
            Ok(()) => {
                info!(stream = %opened.stream, %shard, "shard opened");
                self.board.add(Arc::clone(&progress));
                opened.active.insert(shard, progress);
            }
            Err(AddError::Stopping) => {}
            Err(error) => warn!(%shard, %error, "shard cannot be opened"),
        }
    }

    /// Stores what has been acknowledged since the last time. If that fails it is tried again with
    /// the next; the old checkpoints stay good.
    async fn save(&self, opened: &mut Opened) -> Result<(), CheckpointError> {
        opened.save_at = Instant::now() + self.source.checkpoint_every;
        let news = opened.unstored();
        if news.is_empty() {
            return Ok(());
        }
        match self.source.store.save(&opened.stream, &news).await {
            Ok(()) => {
                opened.note_stored(news);
                if std::mem::replace(&mut opened.save_fails, false) {
                    info!(stream = %opened.stream, "checkpoints are stored again");
                }
                Ok(())
            }
            Err(error) => {
                if !std::mem::replace(&mut opened.save_fails, true) {
                    warn!(stream = %opened.stream, error = chain(&error), "checkpoints are not stored; trying on");
                }
                Err(error)
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
        let Self { means, opened } = self;
        let opened = match opened {
            Some(opened) => opened,
            none => none.insert(means.open().await?),
        };
        loop {
            let until = means.attend(opened).await?;
            if opened.is_complete() {
                return Ok(Flow::End);
            }
            select! {
                biased;
                () = means.news.notified() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Stores the last checkpoints, once every shard's reader has ended.
    async fn finish(&mut self) -> Result<(), StreamError> {
        let Self { means, opened } = self;
        let Some(opened) = opened else {
            return Ok(());
        };
        opened.take_ended();
        while !opened.is_stopped() {
            means.news.notified().await;
            opened.take_ended();
        }
        for _ in 1..LAST_SAVES {
            if means.save(opened).await.is_ok() {
                return Ok(());
            }
            sleep(means.backoff.failed()).await;
        }
        let last = means.save(opened).await;
        last.map_err(|source| means.checkpoint_error(source))
    }
}

impl Opened {
    /// Tells the graph of shards that have ended; whether there were any.
    fn take_ended(&mut self) -> bool {
        let mut ended = false;
        for (shard, progress) in &self.active {
            if progress.phase() == Phase::Finished && self.graph.finish(shard) {
                for child in progress.children() {
                    self.graph.expect(&child);
                }
                info!(stream = %self.stream, %shard, "shard finished");
                ended = true;
            }
        }
        if ended {
            self.is_stale = true;
            self.list_at = Instant::now();
        }
        ended
    }

    /// The checkpoints that are not stored.
    fn unstored(&self) -> BTreeMap<ShardId, Checkpoint> {
        let checkpoints = self.active.iter().filter_map(|(shard, progress)| {
            let checkpoint = progress.checkpoint()?;
            (self.stored.get(shard) != Some(&checkpoint)).then(|| (shard.clone(), checkpoint))
        });
        checkpoints.collect()
    }

    fn note_stored(&mut self, news: BTreeMap<ShardId, Checkpoint>) {
        for (shard, checkpoint) in news {
            if checkpoint == Checkpoint::End {
                self.active.remove(&shard);
                self.stored.remove(&shard);
            } else {
                self.stored.insert(shard, checkpoint);
            }
        }
    }

    /// Takes note of a new question: only what is found from now on answers it.
    fn take_inquiry(&mut self, last: u64) {
        if self.inquiry < last {
            self.inquiry = last;
            self.is_stale = true;
            self.list_at = Instant::now();
            self.active
                .values()
                .for_each(|progress| progress.await_tip());
        }
    }

    fn is_caught_up(&self) -> bool {
        self.is_settled() && self.active.values().all(|progress| progress.is_at_rest())
    }

    /// Whether every shard is finished. It happens to a stream only when it is deleted.
    fn is_complete(&self) -> bool {
        self.is_settled() && self.active.is_empty()
    }

    /// Whether no shard is left to open, as far as is known.
    fn is_settled(&self) -> bool {
        !self.is_stale && !self.graph.is_waiting() && !self.graph.lacks_expected()
    }

    fn is_stopped(&self) -> bool {
        let ended = |phase| matches!(phase, Phase::Finished | Phase::Stopped);
        self.active.values().all(|progress| ended(progress.phase()))
    }
}

#[cfg(test)]
mod tests;
