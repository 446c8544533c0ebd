//! The checkpoint: where the last run stopped.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use idempotency::lock::{Fenced, guarded_put};
use idempotency::protocol::{EpochMs, Record, RecordId};
use idempotency::store::unsettled::{After, ScanPlace, Scanned};
use payments::RAN;
use serde::{Deserialize, Serialize};

/// Where a run starts. It is stored as JSON in this form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Age and id of the last UNKNOWN record that was reconciled; `None` to start with the oldest.
    after: Option<(u64, String)>,
    /// The current pass through the table.
    pub(crate) pass: Option<Pass>,
    /// When the last complete pass started.
    passed_ms: Option<u64>,
    /// When the last run without a failure ended; stored in a separate attribute, which the console reads.
    ran_ms: Option<u64>,
}

/// A pass through the table, segment by segment, and what it has found so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pass {
    begun_ms: u64,
    segment: u16,
    segments: u16,
    after: Option<String>,
    pub(crate) abandoned: u64,
    pub(crate) expired_present: u64,
    oldest_expiration_s: Option<u64>,
}

impl Checkpoint {
    /// Takes the position after which to start.
    pub(crate) fn take_after(&mut self) -> Option<After> {
        let (created, id) = self.after.take()?;
        Some(After { created: EpochMs(created), id: RecordId::from_stored(id) })
    }

    /// The next run starts after this record.
    pub(crate) fn stopped_at(&mut self, record: &Record) {
        self.after = Some((record.created.0, record.id.as_str().to_owned()));
    }

    /// How long ago the last complete pass started.
    pub(crate) fn since_pass(&self, now: EpochMs) -> Option<Duration> {
        self.passed_ms.map(|begun| now.since(EpochMs(begun)))
    }

    /// This run has done everything.
    pub(crate) fn ran(&mut self, now: EpochMs) {
        self.ran_ms = Some(now.0);
    }

    /// Keeps a pass: for the next run, or as the last complete one.
    pub(crate) fn keep(&mut self, pass: Pass) {
        if pass.is_over() {
            self.passed_ms = Some(pass.begun_ms);
        } else {
            self.pass = Some(pass);
        }
    }
}

impl Pass {
    pub(crate) const fn begin(now: EpochMs, segments: u16) -> Self {
        Self {
            begun_ms: now.0,
            segment: 0,
            segments,
            after: None,
            abandoned: 0,
            expired_present: 0,
            oldest_expiration_s: None,
        }
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.segment >= self.segments
    }

    /// What to read next.
    pub(crate) fn place(&self) -> ScanPlace {
        let after = self.after.clone().map(RecordId::from_stored);
        ScanPlace { segment: self.segment, segments: self.segments, after }
    }

    pub(crate) fn advance(&mut self, part: &Scanned) {
        self.abandoned += part.abandoned.len() as u64;
        self.expired_present += part.expired_present;
        let oldest = [self.oldest_expiration_s, part.oldest_expiration.map(|at| at.0)];
        self.oldest_expiration_s = oldest.into_iter().flatten().min();
        self.after = part.after.as_ref().map(|id| id.as_str().to_owned());
        if self.after.is_none() {
            self.segment += 1;
        }
    }

    /// How long ago the longest expired item expired; zero if none is expired.
    pub(crate) fn oldest_expired(&self, now: EpochMs) -> Duration {
        let expired_s = self.oldest_expiration_s.map_or(0, |at| now.seconds().0.saturating_sub(at));
        Duration::from_secs(expired_s)
    }
}

/// The item of the checkpoint, in the Payments table.
///
/// The lock guards it: it is written under a condition on the lock's fencing token, so that a run that was frozen past
/// its lease cannot set its successor back.
pub(crate) struct Checkpoints {
    client: Client,
    table: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("the checkpoint could not be read or written")]
    Table(#[source] Box<aws_sdk_dynamodb::Error>),
    #[error("the checkpoint could not be written: {0}")]
    Form(#[from] serde_json::Error),
}

impl Checkpoints {
    pub(crate) const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The checkpoint; the start if there is none, or a malformed one: starting again only costs some reads, while a
    /// run that refused to start would leave records unsettled.
    pub(crate) async fn read(&self) -> Result<Checkpoint, CheckpointError> {
        let request = self.client.get_item().table_name(&self.table).key("pk", text(KEY)).key("sk", text(KEY));
        let Some(item) = request.consistent_read(true).send().await.map_err(failed)?.item else {
            return Ok(Checkpoint::default());
        };
        let state = item.get("state").and_then(|state| state.as_s().ok());
        let read = state.map(|state| serde_json::from_str(state));
        match read {
            Some(Ok(checkpoint)) => return Ok(checkpoint),
            Some(Err(error)) => tracing::warn!(%error, "the checkpoint is malformed; starting again"),
            None => tracing::warn!("the checkpoint has no state; starting again"),
        }
        Ok(Checkpoint::default())
    }

    /// Stores the checkpoint, unless a later holder of the lock has stored its own.
    pub(crate) async fn write(&self, checkpoint: &Checkpoint, held: &impl Fenced) -> Result<(), CheckpointError> {
        let state = serde_json::to_string(checkpoint)?;
        let put = self.client.put_item().table_name(&self.table);
        let put = put.item("pk", text(KEY)).item("sk", text(KEY)).item("kind", text("checkpoint"));
        let put = match checkpoint.ran_ms {
            Some(ran) => put.item(RAN, AttributeValue::N(ran.to_string())),
            None => put,
        };
        let written = guarded_put(put.item("state", AttributeValue::S(state)), held).send().await;
        match written {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) => {
                tracing::warn!("a later run has kept its checkpoint");
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }
}

const KEY: &str = "reconciler";

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn failed(error: impl Into<aws_sdk_dynamodb::Error>) -> CheckpointError {
    CheckpointError::Table(Box::new(error.into()))
}

#[cfg(test)]
mod tests {
    use idempotency::protocol::EpochS;

    use super::*;

    fn part(after: Option<&str>, oldest_s: Option<u64>) -> Scanned {
        Scanned {
            expired_present: u64::from(oldest_s.is_some()),
            oldest_expiration: oldest_s.map(EpochS),
            after: after.map(|id| RecordId::from_stored(id.to_owned())),
            ..Scanned::default()
        }
    }

    #[test]
    fn a_pass_goes_through_every_segment_and_goes_on_where_it_stopped() {
        let mut pass = Pass::begin(EpochMs(100_000), 2);
        let mut places = Vec::new();
        for part in [part(Some("a"), Some(60)), part(None, None), part(Some("b"), Some(40)), part(None, Some(50))] {
            assert!(!pass.is_over());
            let ScanPlace { segment, after, .. } = pass.place();
            places.push((segment, after.map(|id| id.as_str().to_owned())));
            pass.advance(&part);
            // Stored and read again, as between two runs.
            pass = serde_json::from_str(&serde_json::to_string(&pass).unwrap()).unwrap();
        }
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(places, [(0, None), (0, text("a")), (1, None), (1, text("b"))]);
        assert!(pass.is_over());
        assert_eq!((pass.expired_present, pass.oldest_expired(EpochMs(100_000))), (3, Duration::from_secs(60)));
        let mut checkpoint = Checkpoint::default();
        checkpoint.keep(pass);
        assert_eq!((&checkpoint.pass, checkpoint.since_pass(EpochMs(101_000))), (&None, Some(Duration::from_secs(1))));
    }
}
