use kinesis_source::ApiError;

use super::Fake;
use crate::{faults::Subject, model::Operation};

/// Operations that change a stream, beyond those of
/// [`KinesisWriteApi`](kinesis_source::KinesisWriteApi). They bear AWS's names.
impl Fake {
    /// Removes the stream and with it its consumers (`DeleteStream` with
    /// `EnforceConsumerDeletion`).
    ///
    /// # Errors
    ///
    /// [`Verify`](kinesis_source::Remedy::Verify) without such a stream,
    /// [`AwaitActive`](kinesis_source::Remedy::AwaitActive) while it is being made,
    /// [`Wait`](kinesis_source::Remedy::Wait) above five calls a second.
    pub async fn delete_stream_and_consumers(&self) -> Result<(), ApiError> {
        let operation = Operation::DeleteStream;
        self.call(Subject::whole(operation), |service, now| {
            service.delete_stream_and_consumers(&self.stream, now)
        })
        .await
        .map_err(|failure| failure.into_api_error(operation))
    }
}
