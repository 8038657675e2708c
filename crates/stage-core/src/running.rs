use std::{any::Any, future::pending, pin::pin, sync::Arc, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep_until},
};
use tracing::{Instrument, debug, error_span, warn};

use crate::{
    DrainReport, PipelineError,
    crew::Crew,
    panic::into_message,
    report::StageReport,
    seat::Outcome,
    stage_task::{Ended, StageTask},
    tasks::{JoinError, JoinSet},
};

/// The stages of a pipeline that runs. Dropping it stops them where they stand.
#[derive(Debug)]
pub(crate) struct Running {
    crew: Arc<Crew>,
    tasks: JoinSet<Option<Ended>>,
    /// When the time for draining is up.
    deadline: Option<Instant>,
    report: DrainReport,
    _ending: Ending,
}

/// Lets no stage into a pipeline that is not run any more.
#[derive(Debug)]
struct Ending(Arc<Crew>);

impl Running {
    pub(crate) fn new(crew: Arc<Crew>, drain_within: Option<Duration>) -> Self {
        crew.drain_within(drain_within);
        Self {
            _ending: Ending(Arc::clone(&crew)),
            crew,
            tasks: JoinSet::new(),
            deadline: None,
            report: DrainReport::new(),
        }
    }

    /// Runs until all stages have ended, and stops the producers when `signal` completes or a
    /// stage fails.
    pub(crate) async fn until(mut self, signal: impl Future<Output = ()>) -> DrainReport {
        let mut signal = pin!(signal);
        loop {
            let mut stopping = self.start_waiting();
            for seat in self.crew.take_ended() {
                stopping |= self.bury(Ended::of(&seat));
            }
            if self.has_ended() {
                return self.report;
            }
            self.note_stop(stopping);
            let deadline = self.deadline;
            select! {
                biased;
                () = &mut signal, if !stopping => {
                    debug!("stopping");
                    self.crew.stop();
                }
                Some(ended) = self.tasks.join_next() => self.bury_all(ended),
                () = self.crew.news.notified() => {}
                () = until(deadline) => self.give_up(),
            }
        }
    }

    /// Whether all stages have. A task in which others have their turns may still be there.
    fn has_ended(&self) -> bool {
        self.tasks.is_empty() || !self.crew.has_stages()
    }

    /// Returns whether the pipeline has been told to stop.
    fn start_waiting(&mut self) -> bool {
        let (waiting, stopping) = self.crew.take_waiting();
        for (seat, task) in waiting {
            let name = seat.stage();
            let span = error_span!("stage", %name);
            seat.meter.belongs_to(&self.crew);
            debug!(stage = %name, "stage started");
            // Entering a span that nobody sees costs as much as handing a batch over.
            let task = match span.is_disabled() {
                true => task,
                false => Box::pin(task.instrument(span)),
            };
            self.tasks.spawn(StageTask::new(seat, task));
        }
        stopping
    }

    /// The time for draining runs from when it is first seen that the pipeline has been told to stop.
    fn note_stop(&mut self, stopping: bool) {
        if stopping && self.deadline.is_none() && !self.report.timed_out {
            self.deadline = self.crew.drain_until();
        }
    }

    /// Drops what has not ended yet, where it stands.
    fn give_up(&mut self) {
        warn!(
            stages = self.tasks.len(),
            "the time for draining is up: dropping the rest"
        );
        self.deadline = None;
        self.report.timed_out = true;
        let members = self.crew.members();
        for member in &members {
            member.seat.meter.abandon();
        }
        if let (Ok(()), Some(first)) = (&self.report.result, members.first()) {
            self.report.result = Err(PipelineError::DrainTimedOut {
                stage: first.seat.stage().to_string(),
                stages: members.len(),
            });
        }
        for member in &members {
            member.seat.cancel();
        }
    }

    /// One has ended, and perhaps others have by now.
    fn bury_all(&mut self, first: Result<Option<Ended>, JoinError>) {
        let mut next = Some(first);
        while let Some(ended) = next {
            let ended = ended.unwrap_or_else(|error| self.without_task(error));
            self.bury(ended);
            next = self.tasks.try_join_next();
        }
    }

    /// Forgets a stage that has ended, and stops the rest if it failed. Returns whether all are to stop.
    fn bury(&mut self, ended: Option<Ended>) -> bool {
        let Some(Ended { seat, outcome }) = ended else {
            return false;
        };
        let stage = &**seat.stage();
        let Some(mut stopping) = self.crew.bury(&seat) else {
            // It was told before.
            return false;
        };
        match failure(stage, outcome) {
            None => debug!(stage, "stage ended"),
            Some(error) => {
                debug!(stage, %error, "stage ended");
                self.crew.stop();
                stopping = true;
                if self.report.result.is_ok() {
                    self.report.result = Err(error);
                }
            }
        }
        if stopping {
            self.report.stages.push(StageReport::of(&seat.meter));
        }
        stopping
    }

    /// A stage whose task has gone before the stage has ended. Only dropping the pipeline does that, or
    /// the runtime's end.
    fn without_task(&self, error: JoinError) -> Option<Ended> {
        let seat = self.crew.without_task()?;
        let cancelled = |_| Box::new("its task was cancelled") as Box<dyn Any + Send>;
        let panic = error.try_into_panic().unwrap_or_else(cancelled);
        Some(Ended {
            seat,
            outcome: Outcome::Panicked(panic),
        })
    }
}

/// How a stage has failed, if it has.
fn failure(stage: &str, outcome: Outcome) -> Option<PipelineError> {
    match outcome {
        Outcome::Done(Ok(())) | Outcome::Cancelled => None,
        Outcome::Done(Err(failure)) => Some(failure.of(stage.to_owned())),
        Outcome::Panicked(panic) => Some(PipelineError::Panicked {
            stage: stage.to_owned(),
            message: into_message(panic),
        }),
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
