//! Approvals that operators request of each other.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use uuid::Uuid;

use super::{
    Table, TableError,
    audit::entry_item,
    failed,
    item::{Attributes, Item, any, number, optional_text, text, uuid},
    key::Key,
    proposal::{proposal_item, read_proposal},
    write,
};
use crate::{Approval, AuditEntry, Preview};

/// How long an approval stays in the table after it has expired, in milliseconds: an old link still shows its result.
const RETENTION_MS: u64 = 7 * 24 * 60 * 60 * 1000;

impl Table {
    /// Requests an approval: marks the preview as used, and inserts the approval and its audit entry, in one
    /// transaction. Returns whether it was written; if not, the preview was used before, or another transaction holds
    /// it.
    ///
    /// # Errors
    ///
    /// When the table cannot be written; whether it was written is then unknown.
    pub async fn request_approval(
        &self,
        preview: &Preview,
        approval: &Approval,
        entry: &AuditEntry,
    ) -> Result<bool, TableError> {
        let request = self
            .client
            .transact_write_items()
            // The SDK repeats a request whose reply was lost; it is executed once.
            .client_request_token(approval.id.to_string())
            .transact_items(write::lead_to_approval(&self.name, preview, approval))
            .transact_items(write::insert(&self.name, approval_item(approval)))
            .transact_items(write::insert(&self.name, entry_item(entry)));
        match request.send().await.map_err(aws_sdk_dynamodb::Error::from) {
            Ok(_) => Ok(true),
            Err(aws_sdk_dynamodb::Error::TransactionCanceledException(_)) => Ok(false),
            Err(error) => Err(TableError::Write(Box::new(error))),
        }
    }

    /// The approval with this id (a consistent read), even if it is used or expired.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or the item is malformed.
    pub async fn approval(&self, id: Uuid) -> Result<Option<Approval>, TableError> {
        let key = Key::approval(id);
        let read = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
        let item = read.send().await.map_err(failed)?.item;
        item.as_ref().map(read_approval).transpose()
    }

    /// The approvals that are open at this time, newest first, at most `limit` (consistent reads).
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or an item is malformed.
    pub async fn approvals(&self, now: u64, limit: usize) -> Result<Vec<Approval>, TableError> {
        let oldest = Key::approvals_from(now.saturating_sub(Approval::LIFETIME_MS));
        let mut pages = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :approvals AND sk >= :oldest")
            .filter_expression("attribute_not_exists(#used) AND #expires > :now")
            .expression_attribute_names("#used", "used")
            .expression_attribute_names("#expires", "expires")
            .expression_attribute_values(":approvals", AttributeValue::S(Key::APPROVALS.to_owned()))
            .expression_attribute_values(":oldest", AttributeValue::S(oldest))
            .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
            .scan_index_forward(false)
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut approvals = Vec::new();
        while let Some(item) = pages.next().await {
            approvals.push(read_approval(&item.map_err(failed)?)?);
            if approvals.len() == limit {
                break;
            }
        }
        Ok(approvals)
    }

    /// The write that marks an approval as used, for the transaction of its action. The approval must exist, be unused
    /// and not expired, and have been requested by another operator.
    pub fn approved(&self, approval: &Approval, by: &str, now: u64) -> TransactWriteItem {
        write::use_approval(&self.name, approval, by, now)
    }
}

fn approval_item(approval: &Approval) -> Attributes {
    let Approval { id, requested_by, proposal, provider, created, used: _ } = approval;
    proposal_item(Item::new(Key::approval(*id), "approval"), proposal)
        .text("approval", id)
        .text("requested_by", requested_by)
        .text("provider", provider)
        .number("created", created)
        .number("expires", approval.expires())
        .number("expiration", (approval.expires() + RETENTION_MS) / 1000)
        .attributes()
}

fn read_approval(item: &Attributes) -> Result<Approval, TableError> {
    let used = optional_text(item, "used_by", any)?.map(|by| Ok((by, number(item, "used")?))).transpose()?;
    Ok(Approval {
        id: text(item, "approval", uuid)?,
        requested_by: text(item, "requested_by", any)?,
        proposal: read_proposal(item)?,
        provider: text(item, "provider", any)?,
        created: number(item, "created")?,
        used,
    })
}

#[cfg(test)]
mod tests;
