//! What the fields of a stored record are called.

/// The names of a record's attributes, and how the table's key is made. The defaults fit an existing Powertools table.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "dynamodb"),
    allow(dead_code, unreachable_pub, reason = "a table has more names than a record, and only its owner sets them")
)]
pub struct AttributeNames {
    /// Partition key of the table: the record's id (string).
    pub id: String,
    /// Sort key of the table (string), if it has one. It has the value `idempotency` in all our items, so that each
    /// record still has a partition of its own.
    pub sort: Option<String>,
    /// What each id in the table begins with, before `idempotency:`, for a table that is shared with others. Default:
    /// nothing. Never change it while records exist.
    pub id_prefix: String,
    /// Time-to-live attribute of the table: epoch seconds (number). Only on settled and released records.
    pub expiration: String,
    /// PROCESSING, SUCCESS, FAILED or UNKNOWN (string).
    pub status: String,
    /// Token of the claim (16 bytes). Absent if nobody holds the record.
    pub owner: String,
    /// Token that ended the last claim, or that wrote without one (16 bytes). Absent while the record is held, or if an
    /// older version wrote it.
    pub ended_by: String,
    /// Number of the attempt (number).
    pub attempt: String,
    /// End of the lease: epoch milliseconds (number). Absent if nobody holds the record.
    pub lease: String,
    /// Transaction id: a UUIDv7 (string).
    pub transaction: String,
    /// Fingerprint: version byte and hash (33 bytes).
    pub fingerprint: String,
    /// Name of the operation (string).
    pub operation: String,
    /// SHA-256 of the principal (32 bytes).
    pub principal: String,
    /// What the operation is about, in the application's format (string).
    pub subject: String,
    /// What happened to it (bytes).
    pub history: String,
    /// Start of the first attempt: epoch milliseconds (number).
    pub created: String,
    /// Last write: epoch milliseconds (number).
    pub updated: String,
    /// The trace in which the first attempt began: id, span and sampling flag (25 bytes).
    pub trace: String,
    /// The answer to replay (bytes). Only on settled records, and on the parts of a long answer.
    pub response: String,
    /// How many further items (`id` and `#1`, `#2`, …) contain the answer (number). Replaces `response` if the answer
    /// is too long for the record.
    pub parts: String,
    /// Partition key of the sparse index (string). Only on UNKNOWN records.
    pub unresolved: String,
    /// The name of the sparse index; its sort key is [`created`](Self::created).
    pub unresolved_index: String,
}

impl Default for AttributeNames {
    fn default() -> Self {
        Self {
            id: "id".into(),
            sort: None,
            id_prefix: String::new(),
            expiration: "expiration".into(),
            status: "status".into(),
            owner: "owner".into(),
            ended_by: "ended_by".into(),
            attempt: "attempt".into(),
            lease: "lease".into(),
            transaction: "transaction".into(),
            fingerprint: "fingerprint".into(),
            operation: "operation".into(),
            principal: "principal".into(),
            subject: "subject".into(),
            history: "story".into(),
            created: "created".into(),
            updated: "updated".into(),
            trace: "trace".into(),
            response: "response".into(),
            parts: "parts".into(),
            unresolved: "unresolved".into(),
            unresolved_index: "unresolved".into(),
        }
    }
}
