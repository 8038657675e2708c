use std::{collections::HashMap, pin::pin, sync::Arc};

use tokio::{
    select,
    task::{Id, JoinError, JoinSet},
};
use tracing::{Instrument, debug, error_span};

use crate::{BoxError, PipelineError, crew::Crew, panic::panic_message};

/// The stages of a pipeline that runs. Dropping it stops them where they stand.
#[derive(Debug)]
pub(crate) struct Running {
    crew: Arc<Crew>,
    tasks: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, Arc<str>>,
}

impl Running {
    pub(crate) fn new(crew: Arc<Crew>) -> Self {
        Self {
            crew,
            tasks: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    /// Runs until all stages have ended, and stops the producers when `signal` completes or a
    /// stage fails.
    pub(crate) async fn until(
        mut self,
        signal: impl Future<Output = ()>,
    ) -> Result<(), PipelineError> {
        let mut signal = pin!(signal);
        let mut first = Ok(());
        loop {
            self.start_waiting();
            if self.tasks.is_empty() {
                return first;
            }
            select! {
                biased;
                () = &mut signal, if !self.crew.is_stopping() => {
                    debug!("stopping");
                    self.crew.stop();
                }
                Some(ended) = self.tasks.join_next_with_id() => {
                    if let Err(error) = self.bury(ended) {
                        self.crew.stop();
                        first = first.and(Err(error));
                    }
                }
                () = self.crew.news.notified() => {}
            }
        }
    }

    fn start_waiting(&mut self) {
        for (name, task) in self.crew.take_waiting() {
            let span = error_span!("stage", %name);
            let id = self.tasks.spawn(task.instrument(span)).id();
            debug!(stage = %name, "stage started");
            self.names.insert(id, name);
        }
    }

    /// Forgets a stage that has ended, and says how it did.
    fn bury(
        &mut self,
        ended: Result<(Id, Result<(), BoxError>), JoinError>,
    ) -> Result<(), PipelineError> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let name = self.names.remove(&id).unwrap_or_default();
        self.crew.ended(&name);
        let stage = name.to_string();
        let error = match ended {
            Ok((_, Ok(()))) => {
                debug!(stage, "stage ended");
                return Ok(());
            }
            Ok((_, Err(source))) => PipelineError::Failed { stage, source },
            Err(error) => PipelineError::Panicked {
                stage,
                message: what_it_said(error),
            },
        };
        debug!(%error, "stage ended");
        Err(error)
    }
}

fn what_it_said(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => panic_message(&*payload).to_owned(),
        // Only dropping the pipeline cancels a stage, or the runtime's end.
        Err(_) => "its task was cancelled".to_owned(),
    }
}
