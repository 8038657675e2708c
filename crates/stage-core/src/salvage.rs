use std::{error::Error, mem, time::Duration};

use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::{
    Batch, BoxError, Failure, FailurePolicy, LastResort,
    protocol::{Case, Verdict},
};

/// Something that can be tried on events again.
pub(crate) trait Attempt<E> {
    /// Fails with what is not done left in `events`.
    fn attempt(
        &mut self,
        events: &mut Batch<E>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Tries something on all of a batch, as the policy says. Leaves the batch empty.
///
/// # Errors
///
/// What the last resort fails with, or the attempt when there was nothing left to try it on. Then
/// what is not done is nacked.
///
/// # Cancel safety
///
/// Dropping the future nacks what is not done.
pub(crate) async fn salvage<E, L>(
    policy: &mut FailurePolicy<L>,
    attempt: &mut (impl Attempt<E> + Send),
    batch: &mut Batch<E>,
) -> Result<(), BoxError>
where
    E: Send + 'static,
    L: LastResort<E>,
{
    // The last is the next. They are in order from the last to the first.
    let mut cases = vec![(Case::new(), mem::take(batch))];
    while let Some((mut case, mut events)) = cases.pop() {
        let Err(error) = attempt.attempt(&mut events).await else {
            if case.attempts() > 0 {
                info!(
                    events = events.len(),
                    attempts = case.attempts() + 1,
                    "recovered"
                );
            }
            continue;
        };
        if events.is_empty() {
            // It is not about any event.
            return Err(error);
        }
        let verdict = policy.triage.failed(&mut case, events.len());
        match verdict {
            Verdict::Retry { after } => {
                log_retry(&*error, &case, events.len(), after);
                drop(error);
                sleep(after).await;
                cases.push((case, events));
            }
            Verdict::Split { first } => {
                debug!(error = &*error, events = events.len(), "failed; halving");
                let front = events.split_front(first);
                cases.push((case.half(), events));
                cases.push((case.half(), front));
            }
            Verdict::GiveUp { attempts } => {
                let failure = Failure { error, attempts };
                policy.last_resort.give_up(&mut events, failure).await?;
                events.ack();
            }
        }
    }
    Ok(())
}

/// The first failure is news. Those that follow are more of it.
fn log_retry(error: &(dyn Error + 'static), case: &Case, events: usize, wait: Duration) {
    let attempts = case.attempts();
    if attempts == 1 {
        warn!(error, events, ?wait, "failed; trying again");
    } else {
        debug!(error, events, attempts, ?wait, "failed again; trying again");
    }
}
