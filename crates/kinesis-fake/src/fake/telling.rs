use std::{future::Future, sync::TryLockError};

use super::Fake;

impl Fake {
    /// Runs a test, and prints the faults that were planned or injected if it fails: if it panics, returns an
    /// error, or is dropped before its end, as by a time-out. Without this, a fake prints them when
    /// one of its clones is dropped by a panic, on whichever thread; it cannot know of an error that
    /// a test returns, nor of the panic of a task that has no fake.
    ///
    /// ```
    /// use kinesis_fake::{Fake, Fault, FaultPlan, Operation};
    /// use kinesis_source::KinesisApi;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let late = Fault::refusal(Operation::ListShards, "LimitExceededException").after(1);
    /// let fake = Fake::builder().follow(FaultPlan::new(7).with(late)).build();
    /// fake.run(async {
    ///     fake.list_shards(None).await?; // were this called twice, the plan would be printed
    ///     Ok(())
    /// })
    /// .await
    /// # }
    /// ```
    pub async fn run<T: TestOutcome>(&self, test: impl Future<Output = T>) -> T {
        let mut unfinished = Unfinished(Some(self));
        let outcome = test.await;
        if !outcome.has_failed() {
            unfinished.0 = None;
        }
        outcome
    }

    /// Prints the faults to standard error, with what each did, unless that has been said.
    fn tell_faults(&self) {
        // Whoever panics may have been at work on it: then there is nothing to be had.
        let mut state = match self.account.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if state.faults.is_empty() {
            return;
        }
        let report = state.faults.report();
        if state.told.as_ref() != Some(&report) {
            eprintln!("{report}");
            state.told = Some(report);
        }
    }
}

impl Drop for Fake {
    /// Whoever looks at a test that failed must see what went wrong on purpose.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_faults();
        }
    }
}

/// A test that has not succeeded yet.
struct Unfinished<'a>(Option<&'a Fake>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(fake) = self.0 {
            fake.tell_faults();
        }
    }
}

/// What a test may return to [`Fake::run`]: nothing, or a result.
pub trait TestOutcome {
    /// Whether the test has failed by returning this.
    fn has_failed(&self) -> bool;
}

impl TestOutcome for () {
    fn has_failed(&self) -> bool {
        false
    }
}

impl<T, E> TestOutcome for Result<T, E> {
    fn has_failed(&self) -> bool {
        self.is_err()
    }
}
