//! The parts of a request that the layer has parsed, for the handler.

use std::fmt;
use std::sync::Arc;

use lambda_http::{Request, RequestExt};

use super::request;
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
    let Some((_, template)) = operation.split_once(' ').filter(|(_, template)| template.contains('{')) else {
        return Vec::new();
    };
    let paths = std::iter::once(request::path(request)).chain(request::path_behind_stage(request));
    paths.filter_map(|path| by_template(template, path)).next().unwrap_or_else(|| {
        let named = request.path_parameters_ref();
        let named = named.into_iter().flat_map(|parameters| parameters.iter());
        named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    })
}

fn by_template(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    let (mut template, mut path) = (template.strip_prefix('/')?, Some(path.strip_prefix('/')?));
    loop {
        let (segment, rest) =
            template.split_once('/').map_or((template, None), |(segment, rest)| (segment, Some(rest)));
        let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        if let Some(name) = name.and_then(|name| name.strip_suffix('+')) {
            parameters.push((name.to_owned(), path?.to_owned()));
            return Some(parameters);
        }
        let (part, further) = path?.split_once('/').map_or((path?, None), |(part, further)| (part, Some(further)));
        match name {
            Some(name) if !part.is_empty() => parameters.push((name.to_owned(), part.to_owned())),
            None if part == segment => {}
            Some(_) | None => return None,
        }
        match (rest, further) {
            (Some(rest), Some(_)) => (template, path) = (rest, further),
            (None, None) => return Some(parameters),
            (Some(_), None) | (None, Some(_)) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_the_parts_of_the_path_that_the_template_leaves_open() {
        let of = |template: &str, path: &str| {
            let parameters = by_template(template, path)?;
            Some(parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
        };
        for (template, path, parameters) in [
            ("/payments/{id}/refunds", "/payments/pay_1/refunds", "id=pay_1"),
            ("/{kind}/{id}", "/a/b", "kind=a id=b"),
            ("/files/{path+}", "/files/a/b/", "path=a/b/"),
            ("/payments", "/payments", ""),
        ] {
            assert_eq!(of(template, path).as_deref(), Some(parameters), "{template} {path}");
        }
        for (template, path) in [
            ("/payments/{id}/refunds", "/v1/payments/pay_1/refunds"),
            ("/payments/{id}/refunds", "/payments//refunds"),
            ("/payments/{id}", "/payments"),
            ("/payments/{id}", "/payments/a/b"),
            ("/files/{path+}", "/files"),
            ("/files", "files"),
        ] {
            assert_eq!(of(template, path), None, "{template} {path}");
        }
    }
}
