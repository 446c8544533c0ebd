//! The audit and the previews that lead to it.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem};
use uuid::Uuid;

use super::{
    Table, TableError, failed,
    item::{Attributes, Item, number, optional_text, text},
    key::Key,
    write,
};
use crate::{
    Action, AuditEntry, AuditFilter, AuditKind, AuditPage, Preview, Shown,
    audit::{AuditCursor, LATEST},
};

/// How long a preview stays in the table, in milliseconds: a day, so that whoever confirms again hears that it was done.
const PREVIEW_RETENTION_MS: u64 = 24 * 60 * 60 * 1000;

/// How many entries one request looks at, and how many requests one page may take: a filter that matches little must
/// not make a page slow.
const LOOK: i32 = 500;
const LOOKS: usize = 8;

impl Table {
    /// The write of an audit entry, which may not be there: for the transaction that does what it tells of.
    pub fn audited(&self, entry: &AuditEntry) -> TransactWriteItem {
        write::insert(&self.name, entry_item(entry))
    }

    /// Adds an audit entry by itself, for what is written nowhere else. Adding it again changes nothing.
    ///
    /// # Errors
    ///
    /// When the table cannot be written; the entry may then be there or not.
    pub async fn audit(&self, entry: &AuditEntry) -> Result<(), TableError> {
        self.insert(entry_item(entry)).await
    }

    /// A page of the audit, newest first, of at most `limit` entries (consistent reads).
    ///
    /// The audit is one partition: what people do by hand stays far below the 1000 writes a second that one takes.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or an entry makes no sense.
    pub async fn audit_page(
        &self,
        filter: &AuditFilter,
        after: Option<AuditCursor>,
        limit: usize,
    ) -> Result<AuditPage, TableError> {
        let mut page = AuditPage { entries: Vec::new(), next: after };
        for _ in 0..LOOKS {
            let (found, end) = self.look(filter, page.next).await?;
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

    /// One request: what it found, and where it stopped if that is not the end.
    async fn look(
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
            .limit(LOOK);
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

    /// Stores a preview. Storing it again changes nothing.
    ///
    /// # Errors
    ///
    /// When the table cannot be written; then nobody has its token yet.
    pub async fn store_preview(&self, preview: &Preview) -> Result<(), TableError> {
        self.insert(preview_item(preview)).await
    }

    /// The preview behind a token (a consistent read), used or not, expired or not.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or the item makes no sense.
    pub async fn preview(&self, token: Uuid) -> Result<Option<Preview>, TableError> {
        let key = Key::preview(token);
        let read = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
        let item = read.send().await.map_err(failed)?.item;
        item.as_ref().map(read_preview).transpose()
    }

    /// The write that uses a preview up: it must be there, unused, the actor's, and not yet expired. For the
    /// transaction that does what was previewed.
    pub fn preview_used(&self, preview: &Preview, now: u64) -> TransactWriteItem {
        write::use_preview(&self.name, preview, now)
    }

    /// Inserts one item. The SDK repeats a request whose reply was lost, so the same item in the way is our own.
    async fn insert(&self, item: Attributes) -> Result<(), TableError> {
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
        .text("transaction", transaction)
        .number("attempt", attempt)
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
        transaction: text(item, "transaction", uuid)?,
        attempt: number(item, "attempt")?,
        actor: text(item, "actor", any)?,
        requested_by: optional_text(item, "requested_by", any)?,
        request: optional_text(item, "request", any)?,
        reason: optional_text(item, "reason", any)?,
        evidence: optional_text(item, "evidence", any)?,
        provider: optional_text(item, "provider", any)?,
    })
}

fn preview_item(preview: &Preview) -> Attributes {
    let Preview { token, actor, record, shown, action, reason, created, used: _, approval: _ } = preview;
    shown_item(Item::new(Key::preview(*token), "preview"), shown)
        .text("token", token)
        .text("actor", actor)
        .text("record", record)
        // A plain enum of texts; serde_json has nothing to refuse in it.
        .text("action", serde_json::to_string(action).unwrap_or_default())
        .text("reason", reason)
        .number("created", created)
        .number("expires", preview.expires())
        .number("expiration", (created + PREVIEW_RETENTION_MS) / 1000)
        .attributes()
}

fn read_preview(item: &Attributes) -> Result<Preview, TableError> {
    Ok(Preview {
        token: text(item, "token", uuid)?,
        actor: text(item, "actor", any)?,
        record: text(item, "record", any)?,
        shown: read_shown(item)?,
        action: text(item, "action", |text| serde_json::from_str::<Action>(text).ok())?,
        reason: text(item, "reason", any)?,
        created: number(item, "created")?,
        used: item.contains_key("used").then(|| number(item, "used")).transpose()?,
        approval: optional_text(item, "approval", uuid)?,
    })
}

/// The record's version, as part of what is bound to it.
pub(super) fn shown_item(item: Item, shown: &Shown) -> Item {
    let Shown { version, status, attempt, updated } = shown;
    item.text("version", version).text("status", status).number("attempt", attempt).number("updated", updated)
}

pub(super) fn read_shown(item: &Attributes) -> Result<Shown, TableError> {
    Ok(Shown {
        version: text(item, "version", any)?,
        status: text(item, "status", any)?,
        attempt: number(item, "attempt")?,
        updated: number(item, "updated")?,
    })
}

pub(super) fn uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok()
}

#[expect(clippy::unnecessary_wraps, reason = "one of the parsers")]
pub(super) fn any(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[cfg(test)]
pub(super) mod tests;
