use std::{error::Error, fmt, iter, pin::pin};

use tracing::warn;

use crate::{Batch, BoxError, Consumer, Failure, LastResort, panic::without_panic};

/// An event that was given up on, and why.
///
/// Its `Debug` leaves the event out: letters are for where events are kept, not for logs.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter<E> {
    /// The event.
    pub event: E,
    /// What the stage said the last time, with what lay beneath.
    pub error: String,
    /// How often the event was tried.
    pub attempts: u32,
}

/// Hands events that are given up on to a consumer of [`DeadLetter`]s. Made by [`dead_letter`].
#[derive(Clone, Debug)]
pub struct DeadLetters<S>(S);

/// Hands events that are given up on to `sink`: they are acked once it has taken them.
///
/// If `sink` fails or panics, the stage fails with a [`DeadLetterError`], and the events are nacked.
///
/// ```
/// use stage_core::{Batch, Consumer, DeadLetter, OnFailure, dead_letter};
/// use std::convert::Infallible;
///
/// /// Keeps what nobody could use.
/// struct Shelf(Vec<DeadLetter<String>>);
///
/// impl Consumer<DeadLetter<String>> for Shelf {
///     type Error = Infallible;
///
///     async fn consume(&mut self, letters: &mut Batch<DeadLetter<String>>) -> Result<(), Infallible> {
///         self.0.extend(letters.drain());
///         Ok(())
///     }
/// }
///
/// let policy = OnFailure::retry(3).bisecting().then(dead_letter(Shelf(Vec::new())));
/// # let _ = policy;
/// ```
pub fn dead_letter<S>(sink: S) -> DeadLetters<S> {
    DeadLetters(sink)
}

/// The sink for dead letters failed, so that the stage cannot go on without losing events.
#[derive(Debug)]
pub struct DeadLetterError(BoxError);

impl<E, S> LastResort<E> for DeadLetters<S>
where
    E: Send + 'static,
    S: Consumer<DeadLetter<E>>,
{
    async fn give_up(
        &mut self,
        events: &mut Batch<E>,
        Failure { error, attempts }: Failure,
    ) -> Result<(), BoxError> {
        warn!(
            error = &*error as &dyn Error,
            attempts,
            letters = events.len(),
            "events are given up on and handed to the sink for dead letters"
        );
        let error = text(&*error);
        let mut letters = Batch::new();
        for (event, receipt) in events.drain_with_receipts() {
            let letter = DeadLetter {
                event,
                error: error.clone(),
                attempts,
            };
            letters.push_with_receipt(letter, receipt);
        }
        without_panic(pin!(async { self.0.consume(&mut letters).await }))
            .await
            .map_err(DeadLetterError)?;
        letters.ack();
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), BoxError> {
        let finished = self.0.finish().await;
        finished.map_err(|error| DeadLetterError(error.into()).into())
    }
}

/// An error with what lies beneath, in one line.
fn text(error: &(dyn Error + 'static)) -> String {
    let errors = iter::successors(Some(error), |&error| error.source());
    let texts: Vec<String> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}

impl<E> fmt::Debug for DeadLetter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("error", &self.error)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for DeadLetterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sink for dead letters failed")
    }
}

impl Error for DeadLetterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
