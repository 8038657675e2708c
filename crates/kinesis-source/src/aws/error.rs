use std::{error::Error, fmt};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::event_stream::Message,
};
use aws_smithy_types::event_stream::RawMessage;

use crate::{ApiError, Remedy};

/// What lay beneath a call that failed: the sentences of the errors in the SDK, outermost first.
///
/// Text only, so that no type of the SDK gets into an error of this crate, on one line and cut
/// short.
#[derive(Debug)]
pub struct FailedBeneath(String);

/// The most characters that are told of what lay beneath.
const MAX_TEXT: usize = 500;

/// `operation` failed with `error`.
pub(super) fn explain<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> ApiError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    explain_without(operation, error, [])
}

/// As [`explain`], with `secrets` taken out of the service's sentence: it may quote the request.
pub(super) fn explain_without<'a, E>(
    operation: &'static str,
    error: &SdkError<E, HttpResponse>,
    secrets: impl IntoIterator<Item = &'a str>,
) -> ApiError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answered) => {
            let status = answered.raw().status().as_u16();
            let error = answered.err();
            let message = error.message().map(|text| without(text, secrets));
            answer(operation, status, error.code(), message)
        }
        SdkError::ResponseError(answered) => {
            let status = answered.raw().status().as_u16();
            answer(operation, status, None, None)
        }
        SdkError::ConstructionFailure(_) => failure(operation, Remedy::Correct, error),
        _ => failure(operation, Remedy::Retry, error),
    }
}

/// A subscription ended with `error` instead of its next event.
pub(super) fn explain_event<E>(operation: &'static str, error: &SdkError<E, RawMessage>) -> ApiError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (raw, message) = match error {
        SdkError::ServiceError(answered) => (answered.raw(), answered.err().message()),
        SdkError::ResponseError(answered) => (answered.raw(), None),
        _ => return failure(operation, Remedy::Retry, error),
    };
    // The frame says what it is, and its body need not.
    let said = |name| match raw {
        RawMessage::Decoded(frame) => header(frame, name),
        _ => None,
    };
    let code = said(":exception-type").or_else(|| said(":error-code"));
    let message = message.or_else(|| said(":error-message"));
    let Some(code) = code.filter(|code| !code.is_empty()) else {
        let error = ApiError::new(operation, Remedy::Retry);
        return error.with_message("an event cannot be read");
    };
    let error = ApiError::new(operation, Remedy::for_code(code)).with_code(code);
    match message {
        Some(message) => error.with_message(&without(message, [])),
        None => error,
    }
}

fn header<'a>(frame: &'a Message, name: &str) -> Option<&'a str> {
    let mut headers = frame.headers().iter();
    let header = headers.find(|header| header.name().as_str() == name)?;
    header.value().as_string().ok().map(|value| value.as_str())
}

/// The entries could not even be made into a request.
pub(super) fn unsendable(operation: &'static str) -> ApiError {
    ApiError::new(operation, Remedy::Correct).with_message("a record cannot be sent")
}

/// The service answered, and be it nonsense.
fn answer(
    operation: &'static str,
    status: u16,
    code: Option<&str>,
    message: Option<String>,
) -> ApiError {
    let Some(code) = code.filter(|code| !code.is_empty()) else {
        let text = format!("the answer has HTTP status {status}, and cannot be read");
        return ApiError::new(operation, remedy_for_status(status)).with_message(&text);
    };
    let error = ApiError::new(operation, Remedy::for_code(code)).with_code(code);
    match message {
        Some(message) => error.with_message(&message),
        None => error,
    }
}

/// For answers that say no more than that: of a proxy, say, or of a server that is going down.
fn remedy_for_status(status: u16) -> Remedy {
    match status {
        429 => Remedy::Wait,
        401 | 403 => Remedy::Authorize,
        _ => Remedy::Retry,
    }
}

/// There was no answer.
fn failure(operation: &'static str, otherwise: Remedy, error: &(dyn Error + 'static)) -> ApiError {
    let remedy = if chain(error).any(is_about_credentials) {
        Remedy::Authorize
    } else {
        otherwise
    };
    ApiError::new(operation, remedy).with_source(FailedBeneath::new(error))
}

/// Whether credentials could not be loaded, or nobody said where to load them from. For the latter
/// the SDK has no type of error that it shows, so a test keeps an eye on the sentence.
fn is_about_credentials(error: &(dyn Error + 'static)) -> bool {
    error.is::<CredentialsError>()
        || error
            .to_string()
            .starts_with("failed to select an auth scheme")
}

/// The first line of the service's `text`, without `secrets` where they stand for themselves: a key
/// of one letter is in many words. Its further lines would show the request that it expected to be
/// signed, session token and all.
fn without<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let first = text.lines().next().unwrap_or_default().to_owned();
    let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
    secrets.fold(first, |text, secret| hide(&text, secret))
}

fn hide(text: &str, secret: &str) -> String {
    let is_in_word = |beside: Option<char>| beside.is_some_and(char::is_alphanumeric);
    let is_long = secret.chars().count() >= LONG_SECRET;
    let (mut shown, mut rest) = (String::with_capacity(text.len()), 0);
    for (at, _) in text.match_indices(secret) {
        let end = at + secret.len();
        let goes_on = (secret.starts_with(char::is_alphanumeric)
            && is_in_word(text[..at].chars().next_back()))
            || (secret.ends_with(char::is_alphanumeric) && is_in_word(text[end..].chars().next()));
        if is_long || !goes_on {
            shown.push_str(&text[rest..at]);
            shown.push('…');
            rest = end;
        }
    }
    shown.push_str(&text[rest..]);
    shown
}

/// Of so many characters, a secret is not in a word by chance.
const LONG_SECRET: usize = 6;

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

impl FailedBeneath {
    pub(super) fn new(error: &(dyn Error + 'static)) -> Self {
        let sentences: Vec<String> = chain(error).map(ToString::to_string).collect();
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let text = sentences.join(": ");
        Self(text.chars().take(MAX_TEXT).map(clean).collect())
    }
}

impl fmt::Display for FailedBeneath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for FailedBeneath {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_request_stays_inside() {
        let text = "Value 'customer-42' is bad\nx-amz-security-token:abc";
        assert_eq!(without(text, ["", "customer-42"]), "Value '…' is bad");
        assert_eq!(without("key customer-42x", ["customer-42"]), "key …x");
    }

    #[test]
    fn a_short_key_leaves_words_as_they_are() {
        let text =
            "1 validation error detected: Value 'e' at 'records.1.member.partitionKey' failed";
        assert_eq!(
            without(text, ["e"]),
            "1 validation error detected: Value '…' at 'records.1.member.partitionKey' failed"
        );
        assert_eq!(without("a=a, ä, aa", ["a"]), "…=…, ä, aa");
    }

    #[test]
    fn an_answer_without_a_code_is_judged_by_its_status() {
        for (status, remedy) in [
            (200, Remedy::Retry),
            (400, Remedy::Retry),
            (403, Remedy::Authorize),
            (429, Remedy::Wait),
            (500, Remedy::Retry),
            (503, Remedy::Retry),
        ] {
            let error = answer("GetRecords", status, None, None);
            assert_eq!(error.remedy(), remedy, "{status}");
            assert!(error.to_string().contains(&status.to_string()), "{error}");
        }
    }
}
