use std::{error::Error, mem, sync::Arc, time::Duration};

use stage_core::{Batch, BoxError, Demand, Flow, Producer, Restart};
use tokio::{
    select,
    time::{Instant, sleep_until},
};

use crate::{
    OnShardFailure, ParkReason, Record, ShardError, SourceEvent, WaitingFor,
    backoff::Backoff,
    progress::{Halt, Phase, Progress},
    source_event::sentence,
};

/// A shard's reader within a stream: it decides what becomes of the shard when that cannot go on, and
/// whatever ends it, its progress says so.
#[derive(Debug)]
pub(crate) struct Reader<F, P> {
    /// Makes a reader that is made anew by a policy.
    renew: F,
    restarts: Arc<Restart>,
    inner: P,
    on_failure: OnShardFailure,
    /// When to try next, if it is parked.
    probe_at: Option<Instant>,
    /// Jitter of its own, so that not all are tried at once.
    jitter: Backoff,
    /// Whether the present reader is made for one try.
    is_probing: bool,
    is_stopped: bool,
    progress: Arc<Progress>,
}

/// About how often a parked shard is tried.
pub(crate) const PROBE: Duration = Duration::from_secs(60);

impl<F, P> Reader<F, P>
where
    F: FnMut(Restart) -> P + Send + 'static,
    P: Producer<Event = Record, Error = BoxError>,
{
    pub(crate) fn new(
        mut renew: F,
        restarts: Arc<Restart>,
        on_failure: OnShardFailure,
        progress: Arc<Progress>,
    ) -> Self {
        progress.reader_begins();
        // One before it, for which there was no room, has gone.
        progress.enter(Phase::Reading);
        Self {
            inner: renew(Restart::clone(&restarts)),
            renew,
            restarts,
            on_failure,
            probe_at: None,
            jitter: Backoff::new(progress.seed()),
            is_probing: false,
            is_stopped: false,
            progress,
        }
    }

    /// Waits until a parked shard is to be tried, or told to go on elsewhere, and has it tried once.
    ///
    /// Cancel safe.
    async fn probe(&mut self) {
        let Some(probe_at) = self.probe_at else {
            return;
        };
        let watch = self.progress.watch();
        let within = probe_at.saturating_duration_since(Instant::now());
        watch.waits_for(WaitingFor::Probe, within);
        select! {
            biased;
            () = self.progress.sought() => {}
            () = sleep_until(probe_at) => {}
        }
        self.probe_at = None;
        // One that fails is not made anew, and that is not worth a line of the log each time.
        self.inner = (self.renew)(Restart::new(0, PROBE).unless(|_| true));
    }

    /// Parks or stops the shard for an error that no restart has mended, or gives up with it.
    fn cope(&mut self, error: BoxError) -> Result<(), BoxError> {
        if self.on_failure == OnShardFailure::FailPipeline {
            return Err(self.give_up(error));
        }
        match error.downcast::<ShardError>().map(|error| *error) {
            Ok(ShardError::Nacked { records, .. }) => {
                let after = self.progress.done();
                self.park(Halt::UntilDone, ParkReason::Nacked { records, after });
            }
            Ok(error) if error.is_of_the_stream() => return Err(self.give_up(error.into())),
            Ok(error) if ShardError::is_final(&error) => self.stop(error),
            // Whoever has just started it sees at once that nothing can be read.
            Ok(error @ ShardError::Refused { .. }) if !self.progress.watch().source_was_read() => {
                return Err(self.give_up(error.into()));
            }
            Ok(error) => self.park_failed(&error),
            Err(panicked) => self.park_failed(&*panicked),
        }
        Ok(())
    }

    fn park_failed(&mut self, error: &(dyn Error + 'static)) {
        let reason = sentence(error);
        self.park(Halt::UntilRead, ParkReason::Failed { reason });
    }

    fn park(&mut self, until: Halt, reason: ParkReason) {
        let was_probe = mem::replace(&mut self.is_probing, true);
        if was_probe && !self.progress.is_halted() {
            // It had gone on. That it fails again is counted from here.
            self.is_probing = false;
            self.jitter.succeeded();
            self.inner = (self.renew)(Restart::clone(&self.restarts));
            return;
        }
        self.progress.halt(until, reason, PROBE);
        self.probe_at = Some(Instant::now() + PROBE + self.jitter.failed());
    }

    fn stop(&mut self, error: ShardError) {
        let reason = sentence(&error);
        let watch = self.progress.watch();
        watch.report(|shard| SourceEvent::ShardStopped { shard, reason });
        self.is_stopped = true;
        self.progress.fail(error);
    }

    /// Tells of an error that ends it, and the pipeline.
    fn give_up(&self, error: BoxError) -> BoxError {
        let reason = sentence(&*error);
        let watch = self.progress.watch();
        watch.report(|shard| SourceEvent::ShardFailed { shard, reason });
        error
    }
}

impl<F, P> Producer for Reader<F, P>
where
    F: FnMut(Restart) -> P + Send + 'static,
    P: Producer<Event = Record, Error = BoxError>,
{
    type Event = Record;
    type Error = BoxError;

    async fn produce(
        &mut self,
        demand: Demand,
        batch: &mut Batch<Record>,
    ) -> Result<Flow, BoxError> {
        loop {
            self.probe().await;
            match self.inner.produce(demand, batch).await {
                Ok(flow) => return Ok(flow),
                Err(error) => self.cope(error)?,
            }
            if self.is_stopped {
                return Ok(Flow::End);
            }
            if !batch.is_empty() {
                return Ok(Flow::More);
            }
        }
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        if self.is_stopped {
            let watch = self.progress.watch();
            watch.waits_for(WaitingFor::Acknowledgements, None);
            self.progress.settled().await;
            return Ok(());
        }
        let finished = self.inner.finish().await;
        finished.map_err(|error| self.give_up(error))
    }
}

impl<F, P> Drop for Reader<F, P> {
    fn drop(&mut self) {
        if !self.progress.phase().is_done() {
            self.progress.enter(Phase::Stopped);
            self.progress.watch().waits_for(WaitingFor::Nothing, None);
        }
        self.progress.reader_ends();
        // Whoever waits for that is told by it.
        drop(self.progress.take_seek());
    }
}
