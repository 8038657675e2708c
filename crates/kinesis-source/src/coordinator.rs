mod awaited;
mod discovery;
mod open_stream;
mod opening;
mod starting;
mod storing;

use std::sync::Arc;

use stage_core::{Batch, Demand, Flow, Group, PipelineHandle, Producer, Restart};
use tokio::{
    select,
    time::{Instant, sleep_until},
};

use self::{open_stream::OpenStream, opening::Opening};
use crate::{
    Record, ShardError, SourceEvent, StreamEnd, StreamError, StreamSource, WaitingFor,
    backoff::Backoff,
    fan_out::Consumer,
    news::News,
    reporter::Reporter,
    saving::Saving,
    shared_listing::SharedListing,
    source_watch::SourceWatch,
    stream_status::{Board, Inquiries},
    supervisor::Supervisor,
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
    /// What is to be done about readers that fail.
    restarts: Arc<Restart>,
    /// Of the stream's shards, for all who ask.
    listing: Arc<SharedListing>,
    /// Whom the shards send to, if they are not asked.
    consumer: Option<Arc<Consumer>>,
    group: Group<Record>,
    /// Where it all runs.
    pipeline: PipelineHandle,
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

impl Coordinator {
    pub(crate) fn new(
        source: StreamSource,
        group: Group<Record>,
        pipeline: PipelineHandle,
        board: Arc<Board>,
        inquiries: Arc<Inquiries>,
        watch: Arc<SourceWatch>,
    ) -> Self {
        let means = Means {
            backoff: Backoff::for_name(&source.name),
            restarts: Arc::new(source.restarts.clone().unless(ShardError::is_final)),
            listing: Arc::new(SharedListing::new(Arc::clone(&source.api))),
            consumer: consumer(&source, watch.reporter()),
            watch,
            supervisor: None,
            saving: Arc::new(Saving::new(source.checkpoint_after, source.unsaved_at_most)),
            source,
            group,
            pipeline,
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
        if self.inquiries.is_open(opened.inquiry) {
            self.answer(opened);
        }
        Ok(opened.list_at.min(opened.save_at))
    }

    /// Answers whether everything has been read, if that can be said.
    fn answer(&self, opened: &mut OpenStream) {
        if opened.is_caught_up() {
            self.inquiries.answer(opened.inquiry);
        } else if let Some(stopped) = opened.caught_up_without() {
            self.inquiries.answer_without(opened.inquiry, stopped);
        }
    }

    /// Takes the consumer away, if that is wanted, while there is time.
    async fn leave(&self) {
        if let Some(consumer) = &self.consumer {
            consumer.leave(self.pipeline.drain_left()).await;
        }
    }

    /// Says why the source has ended, unless that has been said.
    fn end(&self, end: StreamEnd) {
        self.watch
            .reporter()
            .close(SourceEvent::StreamEnded { end });
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
                // What is listed from here on answers it.
                let asked = means.inquiries.last();
                let opened = none.insert(opening.open().await?);
                if opened.complete_at.is_some() {
                    opened.inquiry = asked;
                }
                opened
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
    type Event = Record;
    type Error = StreamError;

    async fn produce(&mut self, _: Demand, _: &mut Batch<Record>) -> Result<Flow, StreamError> {
        let ended = self.coordinate().await;
        // There is nothing to finish for whoever has failed.
        if let Err(error) = &ended {
            self.means.leave().await;
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
        means.leave().await;
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
