//! The audit, newest entry first.

use payments::{AuditCursor, AuditFilter, AuditPage};
use serde::{Deserialize, Serialize};

use crate::error::ConsoleError;
use crate::record::id_of;
use crate::state::Console;

/// The filter of the audit, as in the URL.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct AuditQuery {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) actor: String,
    /// A record's id as in URLs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) record: String,
    /// Where the page starts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) after: String,
}

impl AuditQuery {
    pub(crate) fn is_empty(&self) -> bool {
        self.actor.trim().is_empty() && self.record.trim().is_empty()
    }

    fn filter(&self) -> AuditFilter {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        // A text that is not a record's id matches nothing, instead of being ignored.
        let record = given(&self.record).map(|record| id_of(&record).map_or(record, |id| id.as_str().to_owned()));
        AuditFilter { actor: given(&self.actor), record, since: 0 }
    }
}

impl Console {
    pub(crate) async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, ConsoleError> {
        const PAGE: usize = 25;
        let page = self.table.audit_page(&query.filter(), AuditCursor::parse(&query.after), PAGE).await;
        page.map_err(|error| ConsoleError::unavailable(&error))
    }
}
