use std::{borrow::Cow, fmt::Display};

use kinesis_source::{ApiError, Remedy};

use super::Operation;

/// The service refuses a call: its code and its sentence, as a client sees them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    code: Cow<'static, str>,
    message: String,
}

pub(crate) const INTERNAL_FAILURE: &str = "InternalFailure";

impl Refusal {
    /// A refusal with that code (as `ExpiredIteratorException`) and that sentence.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }

    /// The service's code, as `ExpiredIteratorException`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The service's sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What a client can do about it.
    pub fn remedy(&self) -> Remedy {
        Remedy::for_code(&self.code)
    }

    /// The same as an error of the API.
    pub fn into_api_error(self, operation: Operation) -> ApiError {
        ApiError::new(operation.name(), self.remedy())
            .with_code(&self.code)
            .with_message(&self.message)
    }

    pub(crate) fn throughput_exceeded(message: impl Into<String>) -> Self {
        Self::new("ProvisionedThroughputExceededException", message)
    }

    pub(crate) fn limit_exceeded(message: impl Into<String>) -> Self {
        Self::new("LimitExceededException", message)
    }

    pub(crate) fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new("InvalidArgumentException", message)
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    /// Members of a request that are wrong, each as [`wrong`] says it.
    pub(crate) fn invalid(wrong: &[String]) -> Self {
        let errors = match wrong.len() {
            1 => "1 validation error".to_owned(),
            count => format!("{count} validation errors"),
        };
        Self::validation(format!("{errors} detected: {}", wrong.join("; ")))
    }

    /// One of them.
    pub(crate) fn invalid_member(
        value: impl Display,
        member: impl Display,
        constraint: impl Display,
    ) -> Self {
        Self::invalid(&[wrong(value, member, constraint)])
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new("ResourceNotFoundException", message)
    }

    pub(crate) fn in_use(message: impl Into<String>) -> Self {
        Self::new("ResourceInUseException", message)
    }
}

/// What is wrong with a member of a request, in the service's words.
pub(crate) fn wrong(value: impl Display, member: impl Display, constraint: impl Display) -> String {
    format!("{value} at '{member}' failed to satisfy constraint: {constraint}")
}

/// The service stops counting there.
pub(crate) const MOST_WRONG: usize = 10;
