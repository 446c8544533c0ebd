//! The audit.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem};
use idempotency::protocol::TransactionId;

use super::{
    Table, TableError, failed,
    item::{Attributes, Item, any, number, optional_text, text, uuid},
    key::Key,
    write,
};
use crate::{
    AuditEntry, AuditFilter, AuditKind, AuditPage,
    audit::{AuditCursor, LATEST},
};

/// Entries that one query reads, and queries that one page may take: a filter with few matches must not make a page
/// slow.
const QUERY_LIMIT: i32 = 500;
const MAX_QUERIES: usize = 8;

impl Table {
    /// The write that inserts an audit entry, for the transaction that it records.
    pub fn audited(&self, entry: &AuditEntry) -> TransactWriteItem {
        write::insert(&self.name, entry_item(entry))
    }

    /// Inserts an audit entry on its own, for events that write nothing else. Repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// When the table cannot be written; whether the entry was written is then unknown.
    pub async fn audit(&self, entry: &AuditEntry) -> Result<(), TableError> {
        self.insert(entry_item(entry)).await
    }

    /// A page of the audit, newest first, of at most `limit` entries (consistent reads).
    ///
    /// The audit is one partition: manual work stays far below a partition's limit of 1000 writes a second.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or an entry is malformed.
    pub async fn audit_page(
        &self,
        filter: &AuditFilter,
        after: Option<AuditCursor>,
        limit: usize,
    ) -> Result<AuditPage, TableError> {
        let mut page = AuditPage { entries: Vec::new(), next: after };
        for _ in 0..MAX_QUERIES {
            let (found, end) = self.query_audit(filter, page.next).await?;
            for entry in found {
                if page.entries.len() == limit {
                    return Ok(page);
                }
                page.next = Some(AuditCursor { at: entry.at, id: entry.id });
                page.entries.push(entry);
            }
            page.next = end;
            if page.next.is_none() {
                break;
            }
        }
        Ok(page)
    }

    /// One query: the entries it found, and its position if there may be more.
    async fn query_audit(
        &self,
        filter: &AuditFilter,
        after: Option<AuditCursor>,
    ) -> Result<(Vec<AuditEntry>, Option<AuditCursor>), TableError> {
        let mut query = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :audit AND sk > :since")
            .expression_attribute_values(":audit", AttributeValue::S(Key::AUDIT.to_owned()))
            .expression_attribute_values(":since", AttributeValue::S(Key::audit_from(filter.since.min(LATEST - 1))))
            .set_exclusive_start_key(after.map(|AuditCursor { at, id }| Key::audit(at, id).into()))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(QUERY_LIMIT);
        let mut conditions = Vec::new();
        for (name, value) in [("actor", &filter.actor), ("record", &filter.record)] {
            if let Some(value) = value {
                conditions.push(format!("#{name} = :{name}"));
                query = query
                    .expression_attribute_names(format!("#{name}"), name)
                    .expression_attribute_values(format!(":{name}"), AttributeValue::S(value.clone()));
            }
        }
        if !conditions.is_empty() {
            query = query.filter_expression(conditions.join(" AND "));
        }
        let answer = query.send().await.map_err(failed)?;
        let entries = answer.items().iter().map(read_entry).collect::<Result<_, _>>()?;
        let end = answer.last_evaluated_key().map(|key| text(key, "sk", Key::read_audit)).transpose()?;
        Ok((entries, end.map(|(at, id)| AuditCursor { at, id })))
    }

    /// Inserts one item. The SDK repeats a request whose reply was lost, so an equal item that is already there is our
    /// own.
    pub(super) async fn insert(&self, item: Attributes) -> Result<(), TableError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(AllOld);
        let Err(error) = put.send().await else { return Ok(()) };
        match aws_sdk_dynamodb::Error::from(error) {
            aws_sdk_dynamodb::Error::ConditionalCheckFailedException(refused) if refused.item() == Some(&item) => {
                Ok(())
            }
            other => Err(TableError::Write(Box::new(other))),
        }
    }
}

pub(super) fn entry_item(entry: &AuditEntry) -> Attributes {
    let AuditEntry {
        id,
        at,
        kind,
        record,
        transaction,
        attempt,
        actor,
        requested_by,
        request,
        reason,
        evidence,
        provider,
    } = entry;
    Item::new(Key::audit(*at, *id), "audit")
        .text("entry", id)
        .number("at", at)
        .text("what", kind)
        .text("record", record)
        .optional_text("transaction", transaction.as_ref())
        .optional_number("attempt", attempt.as_ref())
        .text("actor", actor)
        .optional_text("requested_by", requested_by.as_ref())
        .optional_text("request", request.as_ref())
        .optional_text("reason", reason.as_ref())
        .optional_text("evidence", evidence.as_ref())
        .optional_text("provider", provider.as_ref())
        .attributes()
}

fn read_entry(item: &Attributes) -> Result<AuditEntry, TableError> {
    Ok(AuditEntry {
        id: text(item, "entry", uuid)?,
        at: number(item, "at")?,
        kind: text(item, "what", AuditKind::parse)?,
        record: text(item, "record", any)?,
        transaction: optional_text(item, "transaction", uuid)?.map(|id| TransactionId::from_bytes(id.into_bytes())),
        attempt: item.contains_key("attempt").then(|| number(item, "attempt")).transpose()?,
        actor: text(item, "actor", any)?,
        requested_by: optional_text(item, "requested_by", any)?,
        request: optional_text(item, "request", any)?,
        reason: optional_text(item, "reason", any)?,
        evidence: optional_text(item, "evidence", any)?,
        provider: optional_text(item, "provider", any)?,
    })
}

#[cfg(test)]
pub(super) mod tests;
