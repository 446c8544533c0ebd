//! Changes of the state, for whoever stores it.

use crate::{answer::Answer, intent::Intent, keys::Key, refund::Refund};

#[derive(Debug, Clone)]
pub enum Change {
    /// A new or changed intent, and the idempotency key of the request that charged it last or made it.
    Intent { intent: Intent, idempotency_key: Option<String> },
    /// A new or changed refund.
    Refund(Refund),
    /// A used key; without an answer its request was not executed yet.
    Key { key: Key, request: String, answer: Option<Answer> },
    /// All keys are forgotten.
    KeysForgotten,
}
