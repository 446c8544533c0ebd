//! The two events of a follow-up function: a batch of its table's stream, and the follow-ups of a schedule.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::protocol::{EpochMs, FollowUp, OwnerToken, RecordId};

/// An event of a follow-up function.
#[derive(Clone, Debug, PartialEq)]
pub enum FollowUpEvent {
    /// Changes of the records' table, from its stream.
    Changes(Vec<Value>),
    /// Follow-ups that were sent earlier.
    FollowUps(Vec<FollowUp>),
}

impl FollowUpEvent {
    /// Reads an event.
    ///
    /// # Errors
    /// Returns the event if it is neither a batch of a table's stream nor a list of follow-ups.
    pub fn read(mut event: Value) -> Result<Self, Value> {
        if let Some(sent) = event.get(MEMBER) {
            let sent = Vec::<Sent>::deserialize(sent).ok();
            let sent = sent.and_then(|sent| sent.into_iter().map(Sent::read).collect());
            return sent.map(Self::FollowUps).ok_or(event);
        }
        let is_change = |change: &Value| change["eventSource"] == "aws:dynamodb";
        match event.get_mut("Records").and_then(Value::as_array_mut) {
            Some(changes) if !changes.is_empty() && changes.iter().all(is_change) => {
                Ok(Self::Changes(std::mem::take(changes)))
            }
            _ => Err(event),
        }
    }
}

/// The follow-ups as text to send, which is the event of a later invocation.
#[must_use]
pub fn to_text(follow_ups: &[FollowUp]) -> String {
    let sent: Vec<Sent> = follow_ups.iter().map(Sent::from).collect();
    serde_json::json!({ MEMBER: sent }).to_string()
}

const MEMBER: &str = "follow_ups";

/// A follow-up as it is sent. A function of another release may read it, so this form must not change.
#[derive(Serialize, Deserialize)]
struct Sent {
    record: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    due_ms: u64,
    #[serde(default)]
    failures: u32,
}

impl From<&FollowUp> for Sent {
    fn from(follow_up: &FollowUp) -> Self {
        Self {
            record: follow_up.record.as_str().to_owned(),
            version: follow_up.version.map(|OwnerToken(bytes)| Uuid::from_bytes(bytes).to_string()),
            due_ms: follow_up.due.0,
            failures: follow_up.failures,
        }
    }
}

impl Sent {
    fn read(self) -> Option<FollowUp> {
        let version = self.version.map(|version| Uuid::parse_str(&version)).transpose().ok()?;
        Some(FollowUp {
            record: RecordId::from_stored(self.record),
            version: version.map(|version| OwnerToken(version.into_bytes())),
            due: EpochMs(self.due_ms),
            failures: self.failures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read_back_in_a_form_that_stays() {
        let sent = FollowUp {
            record: RecordId::from_stored("idempotency:x".into()),
            version: Some(OwnerToken([7; 16])),
            due: EpochMs(1_700_000_000_000),
            failures: 2,
        };
        let text = to_text(std::slice::from_ref(&sent));
        let expected = r#"{"follow_ups":[{"due_ms":1700000000000,"failures":2,"record":"idempotency:x","version":"07070707-0707-0707-0707-070707070707"}]}"#;
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(expected).unwrap());
        let Ok(FollowUpEvent::FollowUps(read)) = FollowUpEvent::read(value) else { panic!("{text}") };
        assert_eq!(read, [sent]);
    }

    #[test]
    fn other_events_are_not_taken_for_one() {
        for other in [
            r#"{"detail-type":"Scheduled Event"}"#,
            r#"{"Records":[{"eventSource":"aws:sqs"}]}"#,
            r#"{"Records":[]}"#,
            r#"{"follow_ups":[{"record":1}]}"#,
            r#"{"follow_ups":[{"record":"r","version":"no token","due_ms":1}]}"#,
            "null",
        ] {
            let event: Value = serde_json::from_str(other).unwrap();
            assert_eq!(FollowUpEvent::read(event.clone()).unwrap_err(), event);
        }
    }
}
