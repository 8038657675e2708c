use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::open_stream::OpenStream;
use crate::{
    ApiError, Remedy, Shard, StreamError, StreamIdentity, StreamSource, StreamStatus,
    api_error::chain,
    backoff::Backoff,
    listing::{list_all_shards, within_deadline},
    shard_graph::{FirstStart, ShardGraph},
};

/// Finds a stream, its checkpoints and its shards. Nothing is read meanwhile, so that what is wrong
/// with any of them is told before the first record.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    source: &'a StreamSource,
    backoff: Backoff,
}

/// How many failures in a row are put up with.
const PATIENCE: u32 = 5;

/// How long to wait for a stream that is being made.
const CREATING_POLL: Duration = Duration::from_secs(1);

impl<'a> Opening<'a> {
    pub(super) fn of(source: &'a StreamSource) -> Self {
        Self {
            source,
            backoff: Backoff::for_name(&source.name),
        }
    }

    /// Opens the stream, and stores where each shard begins.
    pub(super) async fn open(mut self) -> Result<OpenStream, StreamError> {
        let Self { source, .. } = self;
        let checkpoint_error = |error| StreamError::checkpoint(&source.name, error);
        let stream = self.find().await?;
        let stored = source.store.load(&stream).await.map_err(checkpoint_error)?;
        let listing = self.list().await?;
        let first_start = FirstStart::decide(&source.start, &stored, source.api.now());
        self.check_start(&listing, &first_start)?;
        let mut graph = ShardGraph::new(first_start, stored.clone());
        graph.discover(&listing);
        let begins = graph.take_unstored();
        let saved = source.store.save(&stream, &begins).await;
        saved.map_err(checkpoint_error)?;
        info!(stream = %stream, shards = listing.len(), checkpoints = stored.len(), "stream opened");
        let now = Instant::now();
        let (list_at, save_at) = (now + source.discover_every, now + source.checkpoint_every);
        Ok(OpenStream::new(stream, graph, stored, list_at, save_at))
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

    async fn list(&mut self) -> Result<Vec<Shard>, StreamError> {
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

    /// Waits after an error that may pass, or gives up with it.
    async fn cope(&mut self, error: ApiError) -> Result<(), StreamError> {
        let wait = self.backoff.failed();
        let may_pass = matches!(
            error.remedy(),
            Remedy::Wait | Remedy::Retry | Remedy::RestartListing | Remedy::AwaitActive
        );
        if !may_pass || self.backoff.failures() >= PATIENCE {
            return Err(StreamError::refused(&self.source.name, error));
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
}
