use std::{error::Error, fmt, sync::Arc};

use stage_core::BoxError;

/// A call of Kinesis failed.
///
/// What matters is its [`remedy`](Self::remedy). The rest is for people: which operation, the
/// service's code and sentence (shortened, on one line), and the error beneath it as `source()`.
#[derive(Clone, Debug)]
pub struct ApiError {
    remedy: Remedy,
    operation: &'static str,
    code: Option<String>,
    message: Option<String>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What a caller can do about an error. Each says in which errors of the service it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remedy {
    /// Wait, then make the same call again; with back-off, for others may share the quota.
    /// (`ProvisionedThroughputExceeded`, `LimitExceeded`, `KMSThrottling`)
    Wait,
    /// Try again soon: the call may not have arrived, or its answer got lost. (5xx, time-outs,
    /// broken connections, answers that make no sense, and codes that nobody knows)
    Retry,
    /// Get a new iterator. (`ExpiredIterator`)
    RenewIterator,
    /// List again from the first page. (`ExpiredNextToken`)
    RestartListing,
    /// Wait until the stream is active. (`ResourceInUse`)
    AwaitActive,
    /// Find out what has gone: the stream, the shard, or only this answer. (`ResourceNotFound`)
    Verify,
    /// Mend the call: the service understood it and refuses it. (`InvalidArgument`, `Validation`)
    Correct,
    /// Mend credentials or policies. (`AccessDenied`, `UnrecognizedClient`, `ExpiredToken`, no
    /// credentials at all)
    Authorize,
    /// Mend the stream's encryption key. (`KMSDisabled`, `KMSInvalidState`, `KMSAccessDenied`,
    /// `KMSNotFound`, `KMSOptInRequired`)
    MendKey,
}

/// The most characters of a service's sentence that an error repeats.
const MAX_MESSAGE: usize = 300;

impl ApiError {
    /// `operation` (AWS's name, as `GetRecords`) failed, and `remedy` is what to do.
    pub fn new(operation: &'static str, remedy: Remedy) -> Self {
        Self {
            remedy,
            operation,
            code: None,
            message: None,
            source: None,
        }
    }

    /// The service's own code, as `ExpiredIteratorException`.
    #[must_use]
    pub fn with_code(self, code: &str) -> Self {
        Self {
            code: Some(on_one_line(code)),
            ..self
        }
    }

    /// The service's own sentence.
    #[must_use]
    pub fn with_message(self, message: &str) -> Self {
        Self {
            message: Some(on_one_line(message)),
            ..self
        }
    }

    /// What lies beneath.
    #[must_use]
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        Self {
            source: Some(Arc::from(source.into())),
            ..self
        }
    }

    /// What can be done about it.
    pub fn remedy(&self) -> Remedy {
        self.remedy
    }

    /// The operation that failed, by AWS's name.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The service's own code, if it gave one.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The service's own sentence, if it gave one.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

impl Remedy {
    /// The remedy for an error `code` of the service, with or without its ending `Exception`.
    /// A code that nobody knows is worth another try.
    pub fn for_code(code: &str) -> Self {
        match code.strip_suffix("Exception").unwrap_or(code) {
            "ProvisionedThroughputExceeded"
            | "LimitExceeded"
            | "KMSThrottling"
            | "Throttling"
            | "TooManyRequests"
            | "RequestLimitExceeded" => Self::Wait,
            "ExpiredIterator" => Self::RenewIterator,
            "ExpiredNextToken" => Self::RestartListing,
            "ResourceInUse" => Self::AwaitActive,
            "ResourceNotFound" => Self::Verify,
            "InvalidArgument" | "Validation" | "ValidationError" | "MissingParameter"
            | "Serialization" | "UnknownOperation" => Self::Correct,
            "AccessDenied"
            | "UnrecognizedClient"
            | "ExpiredToken"
            | "InvalidSignature"
            | "SignatureDoesNotMatch"
            | "MissingAuthenticationToken"
            | "IncompleteSignature"
            | "InvalidClientTokenId"
            | "OptInRequired" => Self::Authorize,
            "KMSDisabled" | "KMSInvalidState" | "KMSAccessDenied" | "KMSNotFound"
            | "KMSOptInRequired" => Self::MendKey,
            _ => Self::Retry,
        }
    }
}

/// An error as a field of a log line, which then shows what lies beneath, too.
pub(crate) fn chain<E: Error + 'static>(error: &E) -> &(dyn Error + 'static) {
    error
}

/// Cut short, and without control characters: a server's text must not forge lines of a log.
fn on_one_line(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_MESSAGE).map(clean).collect()
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation,
            code,
            message,
            ..
        } = self;
        write!(f, "{operation} failed")?;
        if let Some(code) = code {
            write!(f, " with {code}")?;
        }
        match message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_one_remedy_with_or_without_its_ending() {
        for (code, remedy) in [
            ("ExpiredIteratorException", Remedy::RenewIterator),
            ("ExpiredIterator", Remedy::RenewIterator),
            ("ProvisionedThroughputExceededException", Remedy::Wait),
            ("KMSThrottlingException", Remedy::Wait),
            ("KMSDisabledException", Remedy::MendKey),
            ("SomethingNewException", Remedy::Retry),
            ("", Remedy::Retry),
        ] {
            assert_eq!(Remedy::for_code(code), remedy, "{code}");
        }
    }

    #[test]
    fn a_servers_text_stays_on_one_short_line() {
        let hostile = format!("a\nERROR forged\u{1b}[2J{}", "x".repeat(5_000));
        let error = ApiError::new("GetRecords", Remedy::Retry)
            .with_code("E\nF")
            .with_message(&hostile);
        let text = error.to_string();
        assert!(
            text.starts_with("GetRecords failed with E F: a ERROR forged [2J"),
            "{text}"
        );
        assert!(text.len() < 400 && !text.contains(char::is_control));
    }
}
