use std::fmt;

use idempotency::protocol::InvalidJson;
use serde::Serialize;

/// One thing that is wrong with a document, said so that its author can put it right.
///
/// Serialised as `{"field":"amount","detail":"must be …"}`, without `field` when the document as a whole is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The member that is wrong, by its name in the document.
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

/// A document that was refused before anything ran: every problem it has, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Invalid(Vec<Problem>);

impl Invalid {
    /// An answer is not to grow with a hostile document; past this many, problems are not reported.
    const MOST: usize = 16;

    /// What is wrong, in the order of the document's definition; at most 16.
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
