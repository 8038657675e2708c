use std::{
    future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::warn;

use crate::{Batch, BoxError, FailurePolicy, meter::note_dropped};

/// What becomes of events that a stage failed on whatever was tried.
///
/// There are three: [`dead_letter`](crate::dead_letter) keeps them elsewhere, [`Skip`] leaves them
/// out and [`Stop`] stops the stage. Write one for anything else.
pub trait LastResort<E>: Send + 'static {
    /// Takes care of events that are given up on, in order, never none. Those that are in the batch
    /// when it returns are acked.
    ///
    /// # Errors
    ///
    /// The stage fails with the error, and what is not taken care of is nacked.
    fn give_up(
        &mut self,
        events: &mut Batch<E>,
        failure: Failure,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Called once after the last event, when the stage has finished.
    fn finish(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send {
        async { Ok(()) }
    }
}

/// Why events are given up on.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What the stage said the last time.
    pub error: BoxError,
    /// How often they were tried.
    pub attempts: u32,
}

/// Stops the stage with the error that it failed with.
#[derive(Clone, Copy, Debug)]
pub struct Stop;

/// Leaves events out: they count as done. Says so in the log, and counts them.
#[derive(Clone, Debug, Default)]
pub struct Skip(Arc<AtomicU64>);

/// How many events were skipped, also while the pipeline runs.
#[derive(Clone, Debug)]
pub struct Skipped(Arc<AtomicU64>);

impl Skipped {
    /// How many by now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl FailurePolicy<Skip> {
    /// Counts the events that are skipped.
    pub fn skipped(&self) -> Skipped {
        Skipped(Arc::clone(&self.last_resort.0))
    }
}

impl<E: Send> LastResort<E> for Stop {
    fn give_up(
        &mut self,
        _: &mut Batch<E>,
        failure: Failure,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        future::ready(Err(failure.error))
    }
}

impl<E: Send> LastResort<E> for Skip {
    fn give_up(
        &mut self,
        events: &mut Batch<E>,
        Failure { error, attempts }: Failure,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let skipped = events.len();
        let before = self.0.fetch_add(skipped as u64, Ordering::Relaxed);
        note_dropped(skipped);
        warn!(
            error = &*error as &dyn std::error::Error,
            attempts,
            skipped,
            in_all = before + skipped as u64,
            "events are skipped"
        );
        future::ready(Ok(()))
    }
}
