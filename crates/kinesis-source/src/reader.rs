use std::sync::Arc;

use stage_core::{Batch, Demand, Flow, Producer};

use crate::{
    ShardRecord,
    progress::{Phase, Progress},
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
}

impl<P: Producer<Event = ShardRecord>> Producer for Reader<P> {
    type Event = ShardRecord;
    type Error = P::Error;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<ShardRecord>,
    ) -> Result<Flow, P::Error> {
        self.inner.produce(demand, batch).await
    }

    async fn finish(&mut self) -> Result<(), P::Error> {
        self.inner.finish().await
    }
}

impl<P> Drop for Reader<P> {
    fn drop(&mut self) {
        if !matches!(self.progress.phase(), Phase::Finished | Phase::Complete) {
            self.progress.enter(Phase::Stopped);
        }
        // Whoever waits for that is told by it.
        drop(self.progress.take_seek());
    }
}
