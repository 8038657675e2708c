//! Reaching a stream, and a clear word if it cannot be reached.

use std::time::Duration;

use kinesis_source::{
    ApiError, AwsConfigError, AwsKinesis, KinesisApi, Remedy, StreamStatus, StreamSummary,
};
use tokio::time::{sleep, timeout};

use crate::cli::ConnectArgs;

/// Why a stream cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("there is no stream {stream:?} here: check its name, the region and the account")]
    NoSuchStream { stream: String },
    #[error("these AWS credentials do not open stream {stream:?}")]
    NotAllowed {
        stream: String,
        #[source]
        source: ApiError,
    },
    #[error("stream {stream:?} cannot be reached: check the endpoint, the region and the network")]
    Unreachable {
        stream: String,
        #[source]
        source: ApiError,
    },
    #[error(
        "stream {stream:?} cannot be reached: no answer within {} s: check the endpoint, the \
         region and the network",
        PATIENCE.as_secs()
    )]
    NoAnswer { stream: String },
    #[error("stream {stream:?} is not ready after {} s: try again later", READY_WITHIN.as_secs())]
    NotReady { stream: String },
}

/// How often the service is asked before it counts as unreachable.
const ATTEMPTS: u32 = 3;
/// How long all of these attempts may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two attempts, and between two looks at a stream that is being made.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a stream may be in the making.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Takes a stream's name or ARN.
pub(crate) fn stream(text: &str) -> Result<String, &'static str> {
    match AwsKinesis::builder(text).check() {
        Ok(()) => Ok(text.to_owned()),
        Err(_) => Err(
            "expected a stream's name, of 1 to 128 letters, digits, `_`, `.` and `-`, or its ARN, \
             as arn:aws:kinesis:eu-central-1:123456789012:stream/orders",
        ),
    }
}

/// Takes the URL of a server.
pub(crate) fn endpoint_url(text: &str) -> Result<String, &'static str> {
    let any = AwsKinesis::builder("any");
    match any.endpoint_url(text).check() {
        Ok(()) => Ok(text.to_owned()),
        Err(_) => Err("expected http:// or https://, a host and perhaps a port"),
    }
}

/// Finds out how to reach `stream`. It is not asked for yet.
pub(crate) async fn connect(
    args: &ConnectArgs,
    stream: &str,
) -> Result<AwsKinesis, AwsConfigError> {
    let mut builder = AwsKinesis::builder(stream);
    if let Some(url) = &args.endpoint_url {
        builder = builder.endpoint_url(url);
    }
    if let Some(region) = &args.region {
        builder = builder.region(region);
    }
    if let Some(profile) = &args.profile {
        builder = builder.profile(profile);
    }
    builder.load().await
}

/// Asks for the stream.
pub(crate) async fn describe(
    api: &dyn KinesisApi,
    stream: &str,
) -> Result<StreamSummary, OpenError> {
    insist(stream, || api.describe_stream_summary()).await
}

/// Makes a call that is needed to go on at all. A stumble is not yet a failure.
pub(crate) async fn insist<T, C>(stream: &str, mut call: impl FnMut() -> C) -> Result<T, OpenError>
where
    C: Future<Output = Result<T, ApiError>>,
{
    let attempts = async {
        let mut attempt = 1;
        loop {
            match call().await {
                Err(error) if attempt < ATTEMPTS && is_worth_another_try(&error) => {
                    attempt += 1;
                    sleep(PAUSE).await;
                }
                answer => return answer.map_err(|error| OpenError::new(stream, error)),
            }
        }
    };
    let no_answer = |_| OpenError::NoAnswer {
        stream: stream.to_owned(),
    };
    timeout(PATIENCE, attempts).await.map_err(no_answer)?
}

/// Waits until the stream can be written to.
pub(crate) async fn await_active(api: &dyn KinesisApi, stream: &str) -> Result<(), OpenError> {
    let ready = async {
        while describe(api, stream).await?.status == StreamStatus::Creating {
            sleep(PAUSE).await;
        }
        Ok(())
    };
    let not_ready = |_| OpenError::NotReady {
        stream: stream.to_owned(),
    };
    timeout(READY_WITHIN, ready).await.map_err(not_ready)?
}

fn is_worth_another_try(error: &ApiError) -> bool {
    !matches!(
        error.remedy(),
        Remedy::Verify | Remedy::Authorize | Remedy::Correct | Remedy::MendKey
    )
}

impl OpenError {
    fn new(stream: &str, source: ApiError) -> Self {
        let stream = stream.to_owned();
        match source.remedy() {
            Remedy::Verify => Self::NoSuchStream { stream },
            Remedy::Authorize | Remedy::MendKey => Self::NotAllowed { stream, source },
            _ => Self::Unreachable { stream, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use kinesis_fake::{Fake, Fault, Operation};

    use super::*;

    fn failing(times: u32, code: &str) -> Fake {
        let fake = Fake::new(1);
        fake.inject(Fault::refusal(Operation::DescribeStreamSummary, code).times(times));
        fake
    }

    #[tokio::test(start_paused = true)]
    async fn a_stumble_is_not_yet_a_failure() {
        let fake = failing(2, "ServiceUnavailable");
        assert!(describe(&fake, "orders").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_only_fails_counts_as_unreachable() {
        let fake = failing(100, "ServiceUnavailable");
        let error = describe(&fake, "orders").await.unwrap_err();
        assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_not_allowed_is_told_at_once() {
        let fake = failing(1, "AccessDeniedException");
        let error = describe(&fake, "orders").await.unwrap_err();
        assert!(matches!(error, OpenError::NotAllowed { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_comes_is_not_waited_for() {
        let silence = || future::pending::<Result<(), ApiError>>();
        let error = insist("orders", silence).await.unwrap_err();
        assert!(matches!(error, OpenError::NoAnswer { .. }), "{error}");
    }
}
