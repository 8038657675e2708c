//! Reaching a stream, and a clear word if it cannot be reached.

use std::time::Duration;

use kinesis_source::{
    ApiError, AwsConfigError, AwsKinesis, KinesisApi, Remedy, StreamStatus, StreamSummary,
};
use tokio::time::sleep;

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
    #[error("stream {stream:?} is not ready after {} s: try again later", READY_WITHIN.as_secs())]
    NotReady { stream: String },
}

/// How often the service is asked before it counts as unreachable.
const ATTEMPTS: u32 = 3;
/// Between two attempts, and between two looks at a stream that is being made.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a stream may be in the making.
const READY_WITHIN: Duration = Duration::from_secs(120);

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

/// Asks for the stream. A stumble is not yet a failure.
pub(crate) async fn describe(
    api: &dyn KinesisApi,
    stream: &str,
) -> Result<StreamSummary, OpenError> {
    let mut attempt = 1;
    loop {
        let error = match api.describe_stream_summary().await {
            Ok(summary) => return Ok(summary),
            Err(error) => error,
        };
        if attempt == ATTEMPTS || !is_worth_another_try(&error) {
            return Err(OpenError::new(stream, error));
        }
        attempt += 1;
        sleep(PAUSE).await;
    }
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
    tokio::time::timeout(READY_WITHIN, ready)
        .await
        .map_err(not_ready)?
}

fn is_worth_another_try(error: &ApiError) -> bool {
    !matches!(
        error.remedy(),
        Remedy::Verify | Remedy::Authorize | Remedy::Correct | Remedy::MendKey
    )
}

impl OpenError {
    pub(crate) fn new(stream: &str, source: ApiError) -> Self {
        let stream = stream.to_owned();
        match source.remedy() {
            Remedy::Verify => Self::NoSuchStream { stream },
            Remedy::Authorize | Remedy::MendKey => Self::NotAllowed { stream, source },
            _ => Self::Unreachable { stream, source },
        }
    }
}
