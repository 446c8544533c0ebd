//! Which records one reconciles.

use crate::engine::Operation;
use crate::protocol::{Record, Subject};

/// The operations that one has declared, each with its settings: whoever reconciles looks at their records only.
///
/// A table may be shared, and a record does not say in which namespace its key was chosen. So a record is taken for one
/// of a declared operation only if it has the operation's name *and* says what it is about in the operation's words. A
/// record of another name, of other words or without a subject is somebody else's: it is neither asked about, nor
/// taken over, nor written.
///
/// ```
/// use idempotency::Operation;
/// use idempotency::protocol::Subject;
/// use idempotency::reconcile::Operations;
///
/// fn is_order(subject: &Subject) -> bool {
///     subject.as_str().starts_with("order ")
/// }
///
/// let operations = Operations::new().with(Operation::new("orders", "POST /orders"), is_order);
/// assert_eq!(operations.iter().count(), 1);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Operations {
    declared: Vec<Declared>,
}

#[derive(Clone, Debug)]
struct Declared {
    operation: Operation,
    is_own: fn(&Subject) -> bool,
}

impl Operations {
    /// None: every record is somebody else's.
    #[must_use]
    pub const fn new() -> Self {
        Self { declared: Vec::new() }
    }

    /// Declares an operation. `is_own` tells whether a subject is in its words. Its retention is what a record is kept
    /// for that is settled or released by evidence.
    #[must_use]
    pub fn with(mut self, operation: Operation, is_own: fn(&Subject) -> bool) -> Self {
        self.declared.push(Declared { operation, is_own });
        self
    }

    /// The declared operation that this record is of; nothing if it is somebody else's.
    #[must_use]
    pub fn of(&self, record: &Record) -> Option<&Operation> {
        let subject = record.subject.as_ref()?;
        let declared =
            self.declared.iter().find(|one| one.operation.name() == &*record.operation && (one.is_own)(subject))?;
        Some(&declared.operation)
    }

    /// All of them, for a layer to protect them under the same settings.
    pub fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.declared.iter().map(|declared| &declared.operation)
    }
}
