use serde_json::Value;

/// Which UNKNOWN records a run asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All: somebody has invoked the function.
    All,
    /// Those that their follow-up should have settled and did not. What the schedule sends.
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
