//! The claims that a batch of changes leaves open.

use std::collections::HashMap;

use serde_json::Value;

use crate::envelope;
use crate::protocol::{FollowUp, RecordId};
use crate::reconcile::Operations;
use crate::store::dynamodb::{AttributeNames, image};
use crate::streams::NoSequenceNumber;

/// A follow-up, and the change that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) follow_up: FollowUp,
    /// The sequence number of the change: where the stream continues if the follow-up cannot be sent.
    pub(super) number: String,
}

/// The claims that a batch leaves open, in the order of their last changes. If a record changed several times, the last
/// change counts: a table's stream keeps the order of one item's changes.
///
/// Filters of the mapping are optional: everything except open records of declared operations is left out here.
pub(super) fn open(
    changes: &[Value],
    operations: &Operations,
    names: &AttributeNames,
) -> Result<Vec<Open>, NoSequenceNumber> {
    let mut last: HashMap<&str, (usize, Option<Open>)> = HashMap::new();
    for (place, change) in changes.iter().enumerate() {
        let number = envelope::text(change, "/dynamodb/SequenceNumber").filter(|number| !number.is_empty());
        let number = number.ok_or(NoSequenceNumber)?;
        let id = change["dynamodb"]["Keys"][&names.id]["S"].as_str().unwrap_or_default();
        if names.record_id(id).as_str().starts_with(RecordId::PREFIX) {
            let follow_up = follow_up(&change["dynamodb"]["NewImage"], operations, names);
            last.insert(id, (place, follow_up.map(|follow_up| Open { follow_up, number: number.to_owned() })));
        }
    }
    let mut open: Vec<_> = last.into_values().filter_map(|(place, open)| Some((place, open?))).collect();
    open.sort_unstable_by_key(|(place, _)| *place);
    Ok(open.into_iter().map(|(_, open)| open).collect())
}

/// The follow-up of an item; `None` if the item was deleted, is only a part of a long answer, or needs no further look.
fn follow_up(image: &Value, operations: &Operations, names: &AttributeNames) -> Option<FollowUp> {
    image.get(&names.status)?;
    match image::to_record(image, names) {
        Ok(record) => operations.of(&record).and_then(|_| FollowUp::of(&record)),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "not followed up");
            None
        }
    }
}
