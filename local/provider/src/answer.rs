//! A status and a body, as sent the first time.

use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub(crate) fn new(status: u16, body: &impl Serialize) -> Self {
        // Serialising our own types cannot fail; an empty body would show if it ever did.
        Self { status, body: serde_json::to_string(body).unwrap_or_default() }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}
