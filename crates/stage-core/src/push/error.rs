use std::{error::Error, fmt};

/// An event could not be sent, since its source is closed or its pipeline has ended. Here it is back.
///
/// Neither `Debug` nor `Display` shows the event.
#[derive(Clone, PartialEq, Eq)]
pub struct SendError<E> {
    /// The event.
    pub event: E,
}

/// The source is closed, or its pipeline has ended: it takes no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceClosed;

impl<E> fmt::Debug for SendError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").finish_non_exhaustive()
    }
}

impl<E> fmt::Display for SendError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SourceClosed.fmt(f)
    }
}

impl<E> Error for SendError<E> {}

impl fmt::Display for SourceClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source is closed, or its pipeline has ended")
    }
}

impl Error for SourceClosed {}
