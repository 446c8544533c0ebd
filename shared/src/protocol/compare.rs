//! Which part of a body makes two requests the same.

use super::Pointer;

/// Which part of a body makes two requests "the same request".
///
/// Do not change the choice while records exist: a retry under another choice is a mismatch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// JSON by value (see [`canonical_json`](super::canonical_json)); anything else byte by byte.
    #[default]
    Value,
    /// Byte by byte, even JSON: for signed bodies, or where the spelling matters.
    Bytes,
    /// Only selected values of a JSON body, by value: for bodies with members that a retry changes, such as a time of
    /// sending. A body that is not JSON, or that has several members of one name on the way to a value, is compared
    /// byte by byte.
    Selected(Selection),
    /// Only what a JMESPath expression selects from a JSON body, by value. A body that is not JSON is compared byte by
    /// byte, one of which the expression selects nothing is refused.
    #[cfg(feature = "jmespath")]
    Expression(super::Expression),
}

/// The values of a JSON body that are compared, in an order that must not change while records exist.
///
/// A body without a required value is refused. Otherwise, if a pointer was mistyped, two requests that differ only
/// there would count as the same. So declare a value that some bodies lack as optional: an absent value then differs
/// from every other, including `null`. A body with none of the values is refused even if all are optional, because
/// nothing would distinguish it from another.
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

/// Why a body cannot be compared by selected values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotComparable {
    /// A required value is missing.
    #[error("the body has no value at {0}, by which it is compared")]
    Missing(Pointer),
    /// It has none of the values, all of which are optional.
    #[error("the body has none of the values by which it is compared")]
    Nothing,
    /// The pointer continues in a string, but that string does not hold JSON.
    #[error("cannot compare {0}: the string holds no JSON")]
    NotJson(Pointer),
    /// The body, or a document in one of its strings, has several members of one name.
    #[error("the body has a member twice, so it is ambiguous")]
    Ambiguous,
    /// The expression selects nothing of it.
    #[cfg(feature = "jmespath")]
    #[error("the body has nothing that {0} selects, by which it is compared")]
    NothingSelected(super::Expression),
}
