//! The operations whose records a reconciler may settle.

use crate::engine::Operation;
use crate::protocol::{Record, Subject};

/// The operations that a reconciler handles, each with its settings. It does not touch records of other operations.
///
/// A table may be shared, and a record does not show the namespace of its key. Therefore a record counts as belonging
/// to a declared operation only if it has that operation's name *and* a subject in that operation's format. A record
/// with another name, another format or no subject belongs to another application: it is not looked up, taken over or
/// written.
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
    /// Creates an empty list, for which every record belongs to another application.
    #[must_use]
    pub const fn new() -> Self {
        Self { declared: Vec::new() }
    }

    /// Declares an operation. `is_own` returns whether a subject has the operation's format. The operation's retention
    /// applies to records that are settled or released by evidence.
    #[must_use]
    pub fn with(mut self, operation: Operation, is_own: fn(&Subject) -> bool) -> Self {
        self.declared.push(Declared { operation, is_own });
        self
    }

    /// The declared operation that this record belongs to; `None` if it belongs to another application.
    #[must_use]
    pub fn of(&self, record: &Record) -> Option<&Operation> {
        let subject = record.subject.as_ref()?;
        let declared =
            self.declared.iter().find(|one| one.operation.name() == &*record.operation && (one.is_own)(subject))?;
        Some(&declared.operation)
    }

    /// All declared operations, for example to protect them with the same settings in a layer.
    pub fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.declared.iter().map(|declared| &declared.operation)
    }
}
