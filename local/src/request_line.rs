//! The line that a function logs for a request or a message.

use serde::Serialize;
use serde_json::Value;

/// The outcome of a request that ran nothing and found evidence that an earlier one had.
pub(crate) const RECONCILED: &str = "reconciled";

/// What a function says of a request or a message in its log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RequestLine {
    pub outcome: String,
    pub operation: String,
    /// The name of its record.
    pub record: Option<String>,
    /// Of a response.
    #[serde(skip)]
    pub status: Option<u64>,
    #[serde(skip)]
    pub milliseconds: Option<u64>,
    pub error: Option<String>,
    /// The id of the invocation.
    #[serde(skip)]
    pub invocation: Option<String>,
}

impl RequestLine {
    pub(crate) fn of(document: &Value) -> Option<Self> {
        let fields = &document["fields"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let outcome = text(&fields["outcome"])?;
        // The library says of both that it was executed: by this request, or by an earlier one, of which this one has
        // found evidence.
        let is_found = outcome == "executed" && fields["ran"] == false;
        Some(Self {
            outcome: if is_found { RECONCILED.to_owned() } else { outcome },
            operation: text(&fields["operation"]).unwrap_or_default(),
            record: text(&fields["record"]),
            status: fields["status"].as_u64(),
            milliseconds: fields["total_ms"].as_u64(),
            error: text(&fields["error"]),
            invocation: text(&document["span"]["requestId"]),
        })
    }

    /// Whether the record says that it happened.
    pub(crate) fn took_effect(&self) -> bool {
        matches!(self.outcome.as_str(), "executed" | RECONCILED | "replayed" | "duplicate" | "as another of its batch")
    }
}
