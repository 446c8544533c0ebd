//! The parts of a request that the layer has parsed, for the handler.

use std::fmt;
use std::sync::Arc;

use lambda_http::{Request, RequestExt};

use super::request;
use super::route::Route;
use crate::engine::Attempt;
use crate::protocol::{Document, PrincipalDigest};
use crate::store::TransactionalEffect;

/// The parsed parts of a protected request, so that a handler need not parse it again.
///
/// A cheap handle, stored in the extensions of the request: see [`Received::from_request`].
#[derive(Clone)]
pub struct Received(Arc<Parts>);

struct Parts {
    operation: String,
    path_parameters: Vec<(String, String)>,
    principal: PrincipalDigest,
    document: Option<Document>,
}

/// The request is not protected: it did not pass through the layer, its method is not protected, or the effects of its
/// attempt have another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request is not protected by the idempotency layer, or its attempt takes effects of another type")]
pub struct NotProtected;

impl Received {
    pub(super) fn new(
        request: &Request,
        operation: &str,
        principal: PrincipalDigest,
        document: Option<Document>,
    ) -> Self {
        let path_parameters = path_parameters(request, operation);
        Self(Arc::new(Parts { operation: operation.to_owned(), path_parameters, principal, document }))
    }

    /// The parsed parts of this request.
    ///
    /// # Errors
    /// [`NotProtected`] if the request did not pass through the layer or its method is not protected.
    pub fn from_request(request: &Request) -> Result<&Self, NotProtected> {
        request.extensions().get().ok_or(NotProtected)
    }

    /// The name of the operation, which is that of the [route](super::IdempotencyLayer::route): `POST /payments/{id}`.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// The part of the path that the route's `{name}` matches.
    #[must_use]
    pub fn path_parameter(&self, name: &str) -> Option<&str> {
        let parameter = self.0.path_parameters.iter().find(|(other, _)| other == name);
        parameter.map(|(_, value)| value.as_str())
    }

    /// The digest of the caller's principal.
    #[must_use]
    pub fn principal(&self) -> PrincipalDigest {
        self.0.principal
    }

    /// The body, if it has a JSON media type and is a valid JSON document.
    #[must_use]
    pub fn document(&self) -> Option<&Document> {
        self.0.document.as_ref()
    }
}

/// Shows neither body nor path, which do not belong in a log.
impl fmt::Debug for Received {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Received").field("operation", &self.0.operation).finish_non_exhaustive()
    }
}

impl<E: TransactionalEffect> Attempt<E> {
    /// The attempt under which this request runs. `E` is the type of the store's effects, such as `TransactWriteItem`.
    ///
    /// # Errors
    /// [`NotProtected`] if the request is not protected, or the store's effects have another type than `E`.
    pub fn from_request(request: &Request) -> Result<Self, NotProtected> {
        request.extensions().get().cloned().ok_or(NotProtected)
    }
}

/// The path parameters: from the route's template if the path matches it, otherwise from API Gateway, because with a
/// custom domain the path may begin with more segments than the template.
fn path_parameters(request: &Request, operation: &str) -> Vec<(String, String)> {
    if !operation.contains('{') {
        return Vec::new();
    }
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let route = Route::read(operation);
    let mut paths = std::iter::once(request::path(request)).chain(request::path_behind_stage(request));
    match paths.find_map(|path| route.as_ref()?.parameters(path)) {
        Some(parameters) => parameters.into_iter().map(owned).collect(),
        None => request.path_parameters_ref().into_iter().flat_map(|named| named.iter()).map(owned).collect(),
    }
}
