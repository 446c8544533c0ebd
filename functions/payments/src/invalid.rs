use std::fmt;

use idempotency::protocol::InvalidJson;
use serde::Serialize;

/// One problem of a document, described so that its author can correct it.
///
/// Serialised as `{"field":"amount","detail":"must be …"}`, without `field` if it concerns the whole document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The name of the invalid member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is allowed. Never repeats the value that was sent.
    pub detail: String,
}

impl Problem {
    pub(crate) fn document(detail: impl Into<String>) -> Self {
        Self { field: None, detail: detail.into() }
    }

    pub(crate) fn field(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: Some(name.into()), detail: detail.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

/// A document that was refused before anything ran, with all its problems, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Invalid(Vec<Problem>);

impl Invalid {
    /// The maximum number of reported problems, so that a hostile document does not make the response large.
    const MOST: usize = 16;

    /// The problems, in the order of the document's definition; at most 16.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }

    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.truncate(Self::MOST);
        Self(problems)
    }
}

/// A body that is not JSON.
impl From<&InvalidJson> for Invalid {
    fn from(_: &InvalidJson) -> Self {
        Problem::document("must be one JSON object").into()
    }
}

impl From<Problem> for Invalid {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}
