//! The sources of a request's key.

use std::sync::Arc;

use http::header::HeaderName;
use lambda_http::Request;

use super::request::{self, KeyError};
use crate::protocol::{Document, Key};

/// Finds the key in a request, given its body if that is a JSON document.
type Find = Arc<dyn Fn(&Request, Option<&Document>) -> Option<String> + Send + Sync>;

/// The place in which the layer finds a request's key.
#[derive(Clone)]
pub(super) enum KeySource {
    /// The header `Idempotency-Key`, as the draft specifies it.
    IdempotencyKey,
    /// A header with another name.
    Header(HeaderName),
    /// A place that the application's function knows.
    Function(Find),
}

impl KeySource {
    pub(super) fn key(&self, request: &Request, document: Option<&Document>) -> Result<Key, KeyError> {
        match self {
            Self::IdempotencyKey => request::key(request.headers()),
            Self::Header(name) => request::header_key(request::header(request.headers(), name)?),
            Self::Function(find) => request::valid_key(&find(request, document).ok_or(KeyError::Missing)?),
        }
    }

    /// The text for the sender of a request without a key.
    pub(super) fn missing(&self) -> String {
        let what = match self {
            Self::IdempotencyKey => {
                "the header Idempotency-Key with a value that is unique to it, such as a UUID".to_owned()
            }
            Self::Header(name) => format!("the header {name} with a value that is unique to it, such as a UUID"),
            Self::Function(_) => "an id that is unique to it, in the place that the API describes".to_owned(),
        };
        format!("This operation needs {what}.")
    }
}
