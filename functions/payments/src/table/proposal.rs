//! The attributes that previews and approvals share.

use super::{
    TableError,
    item::{Attributes, Item, any, number, text},
};
use crate::{Action, Proposal, RecordSnapshot};

pub(super) fn proposal_item(item: Item, proposal: &Proposal) -> Item {
    let Proposal { record, shown: RecordSnapshot { version, status, attempt, updated }, action, reason } = proposal;
    item.text("record", record)
        .text("version", version)
        .text("status", status)
        .number("attempt", attempt)
        .number("updated", updated)
        // A plain enum of strings always serialises.
        .text("action", serde_json::to_string(action).unwrap_or_default())
        .text("reason", reason)
}

pub(super) fn read_proposal(item: &Attributes) -> Result<Proposal, TableError> {
    Ok(Proposal {
        record: text(item, "record", any)?,
        shown: RecordSnapshot {
            version: text(item, "version", any)?,
            status: text(item, "status", any)?,
            attempt: number(item, "attempt")?,
            updated: number(item, "updated")?,
        },
        action: text(item, "action", |text| serde_json::from_str::<Action>(text).ok())?,
        reason: text(item, "reason", any)?,
    })
}
