use kinesis_source::{ApiError, Remedy};

use crate::model::{Operation, Refusal};

/// Why a caller does not get an answer.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The service said no.
    Refused(Refusal),
    /// Nothing came back.
    Lost,
}

impl Failure {
    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            Self::Refused(refusal) => refusal.remedy(),
            Self::Lost => Remedy::Retry,
        }
    }

    pub(crate) fn into_api_error(self, operation: Operation) -> ApiError {
        match self {
            Self::Refused(refusal) => refusal.into_api_error(operation),
            Self::Lost => {
                ApiError::new(operation.name(), Remedy::Retry).with_message("the answer got lost")
            }
        }
    }
}
