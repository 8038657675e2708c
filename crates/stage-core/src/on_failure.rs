use std::time::Duration;

use crate::{
    Skip, Stop,
    protocol::{Backoff, Triage},
};

/// What to try when a stage fails on events, before they are given up on.
///
/// It is of no use until it is said what becomes of those that nothing helps: there is no answer to
/// that which is right for everybody, and so there is no default.
///
/// ```
/// use stage_core::{OnFailure, dead_letter, resilient};
/// # use stage_core::{Batch, Consumer, DeadLetter};
/// # use std::{convert::Infallible, time::Duration};
/// # struct Database;
/// # impl Consumer<u64> for Database {
/// #     type Error = Infallible;
/// #     async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> { Ok(()) }
/// # }
/// # struct Letters;
/// # impl Consumer<DeadLetter<u64>> for Letters {
/// #     type Error = Infallible;
/// #     async fn consume(&mut self, _: &mut Batch<DeadLetter<u64>>) -> Result<(), Infallible> { Ok(()) }
/// # }
/// let on_failure = OnFailure::retry(3)
///     .waiting(Duration::from_millis(100), Duration::from_secs(30))
///     .bisecting()
///     .then(dead_letter(Letters));
/// let database = resilient(Database, on_failure);
/// # let _: &dyn Send = &database;
/// ```
///
/// This does not compile, because nothing is said about the end:
///
/// ```compile_fail,E0308
/// # use stage_core::{Batch, Consumer, OnFailure, resilient};
/// # use std::convert::Infallible;
/// # struct Database;
/// # impl Consumer<u64> for Database {
/// #     type Error = Infallible;
/// #     async fn consume(&mut self, _: &mut Batch<u64>) -> Result<(), Infallible> { Ok(()) }
/// # }
/// let database = resilient(Database, OnFailure::retry(3));
/// ```
#[must_use = "say what becomes of events that are given up on: `then`, `then_skip` or `then_stop`"]
#[derive(Clone, Debug)]
pub struct OnFailure(Triage);

/// What to do when a stage fails on events, to the end. Made by [`OnFailure`].
#[must_use = "a policy does nothing until a stage is wrapped in it"]
#[derive(Clone, Debug)]
pub struct FailurePolicy<L> {
    pub(crate) triage: Triage,
    pub(crate) last_resort: L,
}

impl OnFailure {
    /// Gives the stage what it failed on again, up to `times` times, with waits of
    /// [100 ms to 30 s](Backoff::DEFAULT) before.
    pub const fn retry(times: u32) -> Self {
        Self(Triage::new(times, Backoff::DEFAULT))
    }

    /// Gives up at the first failure, unless it is told to [bisect](Self::bisecting).
    pub const fn no_retry() -> Self {
        Self::retry(0)
    }

    /// The same, with a wait of `first` before the first retry, and never more than `longest`.
    pub fn waiting(self, first: Duration, longest: Duration) -> Self {
        Self(self.0.waiting(first, longest))
    }

    /// The same, with each wait drawn from between its half and its whole. Give each stage a seed of
    /// its own, or those that failed together come back together.
    pub fn jittered(self, seed: u64) -> Self {
        Self(self.0.jittered(seed))
    }

    /// The same, but what still fails after the retries is halved, and its halves are, until the bad
    /// events stand alone. Only those are given up on, after as many retries of their own.
    ///
    /// The order is kept: what comes before a bad event is processed before it is given up on, and
    /// what comes after it, after. A transform that makes something of events *together* may make
    /// something else of halves.
    pub const fn bisecting(self) -> Self {
        Self(self.0.bisecting())
    }

    /// What nothing helps is handed to this: [`dead_letter`](crate::dead_letter), or a
    /// [`LastResort`](crate::LastResort) of your own.
    pub fn then<L>(self, last_resort: L) -> FailurePolicy<L> {
        let Self(triage) = self;
        FailurePolicy {
            triage,
            last_resort,
        }
    }

    /// What nothing helps is left out, and counts as done. Each time that is logged, with how many
    /// events it was; [`FailurePolicy::skipped`] counts them.
    pub fn then_skip(self) -> FailurePolicy<Skip> {
        self.then(Skip::default())
    }

    /// What nothing helps stops the stage, with its error.
    pub fn then_stop(self) -> FailurePolicy<Stop> {
        self.then(Stop)
    }
}
