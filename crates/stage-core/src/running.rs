use std::{collections::HashMap, future::pending, pin::pin, sync::Arc, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep_until},
};
use tracing::{Instrument, debug, error_span, warn};

use crate::{
    DrainReport, PipelineError,
    crew::{Crew, Member},
    failure::Failure,
    panic::panic_message,
    report::StageReport,
    seat::Seat,
    stage_task::{Cancelled, StageTask},
    tasks::{Id, JoinError, JoinSet},
};

/// The stages of a pipeline that runs. Dropping it stops them where they stand.
#[derive(Debug)]
pub(crate) struct Running {
    crew: Arc<Crew>,
    tasks: JoinSet<Ended>,
    members: HashMap<Id, (Arc<Member>, Arc<Seat>)>,
    /// When the time for draining is up.
    deadline: Option<Instant>,
    report: DrainReport,
    _ending: Ending,
}

/// How a stage's task ends.
type Ended = Result<Result<(), Failure>, Cancelled>;

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
            members: HashMap::new(),
            deadline: None,
            report: DrainReport::new(),
        }
    }

    /// Runs until all stages have ended, and stops the producers when `signal` completes or a
    /// stage fails.
    pub(crate) async fn until(mut self, signal: impl Future<Output = ()>) -> DrainReport {
        let mut signal = pin!(signal);
        loop {
            self.start_waiting();
            if self.tasks.is_empty() {
                return self.report;
            }
            let stopping = self.note_stop();
            let deadline = self.deadline;
            select! {
                biased;
                () = &mut signal, if !stopping => {
                    debug!("stopping");
                    self.crew.stop();
                }
                Some(ended) = self.tasks.join_next_with_id() => self.bury(ended),
                () = self.crew.news.notified() => {}
                () = until(deadline) => self.give_up(),
            }
        }
    }

    fn start_waiting(&mut self) {
        for (member, task) in self.crew.take_waiting() {
            let name = &member.meter.stage;
            let span = error_span!("stage", %name);
            member.meter.belongs_to(&self.crew);
            debug!(stage = %name, "stage started");
            // Entering a span that nobody sees costs as much as handing a batch over.
            let task = match span.is_disabled() {
                true => task,
                false => Box::pin(task.instrument(span)),
            };
            let task = StageTask::new(task);
            let seat = Arc::clone(task.seat());
            let id = self.tasks.spawn(task).id();
            self.members.insert(id, (member, seat));
        }
    }

    /// Whether the pipeline has been told to stop. The time for draining runs from when that is
    /// first seen.
    fn note_stop(&mut self) -> bool {
        let stopping = self.crew.is_stopping();
        if stopping && self.deadline.is_none() && !self.report.timed_out {
            self.deadline = self.crew.drain_until();
        }
        stopping
    }

    /// Drops what has not ended yet, where it stands.
    fn give_up(&mut self) {
        warn!(
            stages = self.tasks.len(),
            "the time for draining is up: dropping the rest"
        );
        self.deadline = None;
        self.report.timed_out = true;
        let mut names = Vec::new();
        for (member, _) in self.members.values() {
            member.meter.abandon();
            names.push(member.meter.stage.to_string());
        }
        names.sort();
        if let (Ok(()), Some(stage)) = (&self.report.result, names.first()) {
            self.report.result = Err(PipelineError::DrainTimedOut {
                stage: stage.clone(),
                stages: names.len(),
            });
        }
        for (_, seat) in self.members.values() {
            seat.cancel();
        }
    }

    /// Forgets a stage that has ended, and stops the rest if it failed.
    fn bury(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some((member, _)) = self.members.remove(&id) else {
            return;
        };
        let stage = &*member.meter.stage;
        self.crew.ended(stage);
        match self.failure(stage, ended) {
            None => debug!(stage, "stage ended"),
            Some(error) => {
                debug!(stage, %error, "stage ended");
                self.crew.stop();
                if self.report.result.is_ok() {
                    self.report.result = Err(error);
                }
            }
        }
        if self.crew.is_stopping() {
            self.report.stages.push(StageReport::of(&member));
        }
    }

    fn failure(&self, stage: &str, ended: Result<(Id, Ended), JoinError>) -> Option<PipelineError> {
        match ended {
            Ok((_, Ok(Ok(())) | Err(Cancelled))) => None,
            Ok((_, Ok(Err(failure)))) => Some(failure.of(stage.to_owned())),
            Err(error) => Some(PipelineError::Panicked {
                stage: stage.to_owned(),
                message: what_it_said(error),
            }),
        }
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

fn what_it_said(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => panic_message(&*payload).to_owned(),
        // Only dropping the pipeline cancels a stage, or the runtime's end.
        Err(_) => "its task was cancelled".to_owned(),
    }
}
