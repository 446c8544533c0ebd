//! What of a body makes two requests the same.

use super::Pointer;

/// What of a body makes two requests "the same request".
///
/// A choice must not change while records live: a retry under another choice is a mismatch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// JSON by value (see [`canonical_json`](super::canonical_json)), all else byte by byte.
    #[default]
    Value,
    /// Byte by byte, JSON as well: for bodies that are signed, or where the spelling counts.
    Bytes,
    /// Of JSON only selected values, by value; for bodies with members that a repeat changes, such as a time of sending.
    /// All else, and JSON that has several members of one name on the way to a value, byte by byte.
    Selected(Selection),
}

/// The values of a JSON body that count, in an order that must not change while records live.
///
/// A body without a value that it must have is refused: were it compared without, two requests that differ only where
/// a pointer was mistyped would be the same. So a value that not all bodies have is declared as optional; it then differs,
/// where it is absent, from every value, `null` included. And a body that has none of the values is refused even if all
/// are optional: nothing would tell it from another.
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
    /// Begins with a value that each body must have.
    #[must_use]
    pub fn of(pointer: Pointer) -> Self {
        Self(vec![Selected { pointer, optional: false }])
    }

    /// Begins with a value that a body may lack.
    #[must_use]
    pub fn of_optional(pointer: Pointer) -> Self {
        Self(vec![Selected { pointer, optional: true }])
    }

    /// A further value that each body must have.
    #[must_use]
    pub fn and(mut self, pointer: Pointer) -> Self {
        self.0.push(Selected { pointer, optional: false });
        self
    }

    /// A further value that a body may lack.
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
    /// It lacks a value that it must have.
    #[error("the body has no value at {0}, by which it is compared")]
    Missing(Pointer),
    /// It has none of the values, all of which are optional.
    #[error("the body has none of the values by which it is compared")]
    Nothing,
    /// A string in which the pointer goes on holds no JSON.
    #[error("cannot compare {0}: the string holds no JSON")]
    NotJson(Pointer),
    /// The body, or a document in one of its strings, has several members of one name.
    #[error("the body has a member twice, so it is ambiguous")]
    Ambiguous,
}
