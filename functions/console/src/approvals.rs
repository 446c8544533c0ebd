//! What waits for a second operator.

use futures::future::try_join_all;
use idempotency::protocol::Record;
use idempotency::store::Store;
use payments::{Approval, TableError};

use crate::error::Refusal;
use crate::format;
use crate::record::{id_of, short, shown};
use crate::state::Console;

/// How many are shown.
const MOST: usize = 50;

impl Console {
    /// What can be approved, newest first.
    pub(crate) async fn approvals(&self) -> Result<Vec<Approval>, Refusal> {
        let approvals = self.table.approvals(format::now().0, MOST).await;
        let approvals = approvals.map_err(|error| Refusal::unavailable(&error))?;
        let current = try_join_all(approvals.iter().map(|approval| self.is_current(approval))).await?;
        Ok(approvals.into_iter().zip(current).filter_map(|(approval, current)| current.then_some(approval)).collect())
    }

    /// Whether the record is still what the approval was asked for.
    async fn is_current(&self, approval: &Approval) -> Result<bool, Refusal> {
        let Some(id) = id_of(short(&approval.record)) else { return Ok(false) };
        let record = self.store.read(&id).await.map_err(|error| Refusal::unavailable(&error))?;
        Ok(record.is_some_and(|record| is_of(approval, &record)))
    }

    /// What can be approved of one record.
    pub(crate) async fn approvals_of(&self, record: &Record) -> Result<Vec<Approval>, TableError> {
        let approvals = self.table.approvals(format::now().0, MOST).await?;
        Ok(approvals.into_iter().filter(|approval| is_of(approval, record)).collect())
    }
}

fn is_of(approval: &Approval, record: &Record) -> bool {
    approval.record == record.id.as_str() && approval.shown.version == shown(record).version
}
