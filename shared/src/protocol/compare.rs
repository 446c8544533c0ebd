//! The part of a body by which requests are compared.

use super::Pointer;

/// The part of a body that makes two requests "the same request".
///
/// Do not change it while records exist: a retry that is compared differently is a mismatch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// JSON by value (see [`canonical_json`](super::canonical_json)); anything else byte by byte.
    #[default]
    Value,
    /// Byte by byte, even JSON: for signed bodies, or if the spelling matters.
    Bytes,
    /// Only selected values of a JSON body, by value: for bodies with members that a retry changes, such as the time of
    /// sending. A body that is not JSON, or that has several members of one name on the path to a value, is compared
    /// byte by byte.
    Selected(Selection),
    /// Only the selection of a JMESPath expression from a JSON body, by value. A body that is not JSON is compared byte
    /// by byte; a body from which the expression selects nothing is refused.
    #[cfg(feature = "jmespath")]
    Expression(super::Expression),
}

/// The values of a JSON body that are compared, in an order that must not change while records exist.
///
/// A body without a required value is refused. Otherwise, with a mistyped pointer, two requests that differ only in
/// that value would count as the same. Declare a value that some bodies lack as optional: an absent value then differs
/// from every other, including `null`. A body with none of the values is refused even if all are optional, because
/// nothing would distinguish it from another body.
///
/// ```
/// use idempotency::protocol::{Compare, Pointer, Selection};
///
/// let selection = Selection::of(Pointer::new("/account")?).and(Pointer::new("/amount")?);
/// let compare = Compare::Selected(selection.and_optional(Pointer::new("/reference")?));
/// # Ok::<_, idempotency::protocol::InvalidPointer>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(Vec<Selected>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) pointer: Pointer,
    pub(super) optional: bool,
}

impl Selection {
    /// Starts with a value that every body must have.
    #[must_use]
    pub fn of(pointer: Pointer) -> Self {
        Self(vec![Selected { pointer, optional: false }])
    }

    /// Starts with a value that a body may lack.
    #[must_use]
    pub fn of_optional(pointer: Pointer) -> Self {
        Self(vec![Selected { pointer, optional: true }])
    }

    /// Adds a value that every body must have.
    #[must_use]
    pub fn and(mut self, pointer: Pointer) -> Self {
        self.0.push(Selected { pointer, optional: false });
        self
    }

    /// Adds a value that a body may lack.
    #[must_use]
    pub fn and_optional(mut self, pointer: Pointer) -> Self {
        self.0.push(Selected { pointer, optional: true });
        self
    }

    pub(super) fn all(&self) -> &[Selected] {
        &self.0
    }
}

/// The reason that a body cannot be compared by selected values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotComparable {
    /// A required value is missing.
    #[error("the body has no value at {0}, by which it is compared")]
    Missing(Pointer),
    /// The body has none of the values, all of which are optional.
    #[error("the body has none of the values by which it is compared")]
    Nothing,
    /// The pointer leads into a string that is not JSON.
    #[error("cannot compare {0}: the string is not JSON")]
    NotJson(Pointer),
    /// The body, or a document in one of its strings, has several members of one name.
    #[error("the body has a member twice, so it is ambiguous")]
    Ambiguous,
    /// The expression selects nothing from the body.
    #[cfg(feature = "jmespath")]
    #[error("{0} selects nothing from the body, by which it is compared")]
    NothingSelected(super::Expression),
}
