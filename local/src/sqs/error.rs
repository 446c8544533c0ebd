//! Errors of queues.

use rustack_sqs_model::error::{SqsError, SqsErrorCode};

pub(super) type Result<T> = std::result::Result<T, Error>;

/// The error that SQS returns.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct Error(pub(super) SqsError);

impl Error {
    pub(super) fn new(code: SqsErrorCode, message: &str) -> Self {
        Self(SqsError::new(code, message))
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self(SqsError::invalid_parameter_value(message))
    }

    pub(super) fn missing(message: &str) -> Self {
        Self(SqsError::missing_parameter(message))
    }
}

impl From<SqsError> for Error {
    fn from(error: SqsError) -> Self {
        Self(error)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self(SqsError::internal_error(error.to_string()))
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self(SqsError::invalid_parameter_value(error.to_string()))
    }
}
