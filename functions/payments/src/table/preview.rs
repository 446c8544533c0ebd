//! Previews of operators' actions.

use aws_sdk_dynamodb::types::TransactWriteItem;
use uuid::Uuid;

use super::{
    Table, TableError, failed,
    item::{Attributes, Item, any, number, optional_text, text, uuid},
    key::Key,
    proposal::{proposal_item, read_proposal},
    write,
};
use crate::Preview;

/// How long a preview stays in the table, in milliseconds: a day, so that a repeated confirmation can be answered.
const RETENTION_MS: u64 = 24 * 60 * 60 * 1000;

impl Table {
    /// Stores a preview. Repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// When the table cannot be written; nobody has its token then.
    pub async fn store_preview(&self, preview: &Preview) -> Result<(), TableError> {
        self.insert(preview_item(preview)).await
    }

    /// The preview with this token (a consistent read), even if it is used or expired.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or the item is malformed.
    pub async fn preview(&self, token: Uuid) -> Result<Option<Preview>, TableError> {
        let key = Key::preview(token);
        let read = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
        let item = read.send().await.map_err(failed)?.item;
        item.as_ref().map(read_preview).transpose()
    }

    /// The write that marks a preview as used, for the transaction of its action. The preview must exist, be unused and
    /// not expired, and belong to the actor.
    pub fn preview_used(&self, preview: &Preview, now: u64) -> TransactWriteItem {
        write::use_preview(&self.name, preview, now)
    }
}

fn preview_item(preview: &Preview) -> Attributes {
    let Preview { token, actor, proposal, created, used: _, approval: _ } = preview;
    proposal_item(Item::new(Key::preview(*token), "preview"), proposal)
        .text("token", token)
        .text("actor", actor)
        .number("created", created)
        .number("expires", preview.expires())
        .number("expiration", (created + RETENTION_MS) / 1000)
        .attributes()
}

fn read_preview(item: &Attributes) -> Result<Preview, TableError> {
    Ok(Preview {
        token: text(item, "token", uuid)?,
        actor: text(item, "actor", any)?,
        proposal: read_proposal(item)?,
        created: number(item, "created")?,
        used: item.contains_key("used").then(|| number(item, "used")).transpose()?,
        approval: optional_text(item, "approval", uuid)?,
    })
}
