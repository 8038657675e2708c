//! What a person is told when a command fails: one sentence on one line.

use std::{
    error::Error,
    io::{self, Write},
    iter,
};

use stage_core::{BoxError, PipelineError};

/// Says on standard error, at once, why the program failed.
pub(crate) fn report(error: &(dyn Error + 'static)) {
    // If standard error is closed, the exit code still tells.
    let _ = io::stderr().write_all(line(error).as_bytes());
}

/// Why the program failed, as a line for standard error.
pub(crate) fn line(error: &(dyn Error + 'static)) -> String {
    format!("kinesis-tail: {}\n", sentence(error))
}

/// Why a pipeline failed, for a person who is not helped by the name of the stage.
pub(crate) fn without_stage(error: PipelineError) -> BoxError {
    match error {
        PipelineError::Failed { source, .. } => source,
        other => other.into(),
    }
}

/// An error and all that lies beneath it, on one line. A sentence that the one above it has
/// repeated already is left out.
fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for error in iter::successors(Some(error), |&error| error.source()) {
        let next = error.to_string();
        if text.is_empty() {
            text = next;
        } else if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
    }
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the roof leaks")]
    struct Roof(#[source] io::Error);

    #[test]
    fn what_lies_beneath_is_told_on_the_same_line() {
        let error = Roof(io::Error::other("a tile\nis missing"));
        assert_eq!(sentence(&error), "the roof leaks: a tile is missing");
    }
}
