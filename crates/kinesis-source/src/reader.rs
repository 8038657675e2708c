use std::sync::Arc;

use stage_core::{Batch, BoxError, Demand, Flow, Producer};

use crate::{
    ShardRecord, SourceEvent, WaitingFor,
    progress::{Phase, Progress},
    source_event::sentence,
};

/// A shard's reader within a stream: whatever ends it, its progress says so.
#[derive(Debug)]
pub(crate) struct Reader<P> {
    inner: P,
    progress: Arc<Progress>,
}

impl<P> Reader<P> {
    pub(crate) fn new(inner: P, progress: Arc<Progress>) -> Self {
        Self { inner, progress }
    }

    /// Tells of an error that ends it.
    fn give_up(&self, error: impl Into<BoxError>) -> BoxError {
        let error = error.into();
        let reason = sentence(&*error);
        let watch = self.progress.watch();
        watch.report(|shard| SourceEvent::ShardFailed { shard, reason });
        error
    }
}

impl<P: Producer<Event = ShardRecord>> Producer for Reader<P> {
    type Event = ShardRecord;
    type Error = BoxError;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<ShardRecord>,
    ) -> Result<Flow, BoxError> {
        let produced = self.inner.produce(demand, batch).await;
        produced.map_err(|error| self.give_up(error))
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        let finished = self.inner.finish().await;
        finished.map_err(|error| self.give_up(error))
    }
}

impl<P> Drop for Reader<P> {
    fn drop(&mut self) {
        if !matches!(self.progress.phase(), Phase::Finished | Phase::Complete) {
            self.progress.enter(Phase::Stopped);
            self.progress.watch().waits_for(WaitingFor::Nothing, None);
        }
        // Whoever waits for that is told by it.
        drop(self.progress.take_seek());
    }
}
