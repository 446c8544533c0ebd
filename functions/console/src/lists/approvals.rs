//! The approvals that wait for a second operator.

use futures::future::try_join_all;
use idempotency::protocol::Record;
use idempotency::store::Store;
use payments::{Approval, TableError};

use crate::error::ConsoleError;
use crate::record::{id_of, short, snapshot};
use crate::state::Console;

/// How many are shown.
const MAX_APPROVALS: usize = 50;

impl Console {
    /// The open approvals, newest first.
    pub(crate) async fn approvals(&self) -> Result<Vec<Approval>, ConsoleError> {
        let approvals = self.table.approvals(self.now().0, MAX_APPROVALS).await;
        let approvals = approvals.map_err(|error| ConsoleError::unavailable(&error))?;
        let current = try_join_all(approvals.iter().map(|approval| self.is_current(approval))).await?;
        Ok(approvals.into_iter().zip(current).filter_map(|(approval, current)| current.then_some(approval)).collect())
    }

    /// Whether the record is still in the version that the approval was requested for.
    async fn is_current(&self, approval: &Approval) -> Result<bool, ConsoleError> {
        let Some(id) = id_of(short(&approval.proposal.record)) else { return Ok(false) };
        let record = self.store.read(&id).await.map_err(|error| ConsoleError::unavailable(&error))?;
        Ok(record.is_some_and(|record| is_for(approval, &record)))
    }

    /// The open approvals of one record.
    pub(crate) async fn approvals_of(&self, record: &Record) -> Result<Vec<Approval>, TableError> {
        let approvals = self.table.approvals(self.now().0, MAX_APPROVALS).await?;
        Ok(approvals.into_iter().filter(|approval| is_for(approval, record)).collect())
    }
}

fn is_for(approval: &Approval, record: &Record) -> bool {
    let proposal = &approval.proposal;
    proposal.record == record.id.as_str() && proposal.shown.version == snapshot(record).version
}
