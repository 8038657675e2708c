use kinesis_source::{ApiError, Remedy};

use crate::{
    faults::Spoiling,
    model::{Operation, Refusal},
};

/// Why a caller does not get an answer.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The service said no.
    Refused(Refusal),
    /// Nothing came back.
    Lost,
    /// What came back made no sense.
    Senseless,
}

impl Failure {
    pub(crate) fn into_api_error(self, operation: Operation) -> ApiError {
        let message = match self {
            Self::Refused(refusal) => return refusal.into_api_error(operation),
            Self::Lost => "the answer got lost",
            Self::Senseless => "the answer makes no sense",
        };
        ApiError::new(operation.name(), Remedy::Retry).with_message(message)
    }
}

/// Where no bytes are sent, a piece of an answer is as good as none.
impl From<Spoiling> for Failure {
    fn from(spoiling: Spoiling) -> Self {
        match spoiling {
            Spoiling::Lost | Spoiling::Cut { .. } => Self::Lost,
            Spoiling::Garbled { .. } => Self::Senseless,
        }
    }
}
