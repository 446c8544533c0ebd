use serde_json::Value;

/// Which UNKNOWN records a run looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All records: an operator has invoked the function.
    All,
    /// The records that a follow-up should have settled and did not. The schedule sends this.
    Missed,
}

impl Scope {
    pub(crate) fn of(event: &Value) -> Self {
        match event["scope"].as_str() {
            Some("missed") => Self::Missed,
            _ => Self::All,
        }
    }
}
