//! A store with its records in another store and its effects in DynamoDB.
//!
//! A transaction cannot span both. Therefore the effects are written first, in a separate transaction, and then the
//! record: they are external effects, and a crash between the two writes leaves them without their record. Their own
//! conditions must make them safe. That is, of two attempts to write the effects of one transaction id, or of one
//! message, the second is refused, and the item that refuses it shows which attempt wrote it:
//!
//! * under a claim, by the transaction id, which [`Recognise`] finds in the item;
//! * without a claim, and in streams, by the guard of the effect
//!   ([`Attempt::add_guarded_effect`](crate::Attempt::add_guarded_effect)), which returns
//!   [`AppliedBefore`](crate::engine::EffectRefusal::AppliedBefore).
//!
//! The record is read before its effects are written, so a late owner, a duplicate and another request under a used key
//! write no effects, unless the record changes between the read and the effects' transaction.

use std::fmt::Debug;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};

use super::error::{Failure, is_refusal, reasons};
use super::{DynamoDbStore, Item, RETRY_BUDGET, boxed, within};
use crate::protocol::watermark::Watermark;
use crate::protocol::{EpochMs, Record, RecordId, TransactionId, Write};
use crate::store::unsettled::{After, ScanPlace, Scanned, UnknownPage, Unsettled};
use crate::store::watermarks::{Advanced, Watermarks};
use crate::store::{RefusedEffect, Store, StoreError, Written};

/// Recognises effects that an earlier attempt has written; implemented by the application.
pub trait Recognise: Clone + Debug + Send + Sync + 'static {
    /// Whether this item, which refused an effect, was written by the effects of this transaction id. If so, all of
    /// these effects were written, because they are written together.
    ///
    /// The id must be in the item: equal contents prove nothing.
    fn wrote(&self, transaction: TransactionId, found: &Item) -> bool;

    /// Whether an effect belongs to the attempt and not to the transaction: an audit entry, for example. It is written
    /// even if an earlier attempt has written the transaction's effects. Its condition must refuse its repetition.
    fn is_of_attempt(&self, _effect: &TransactWriteItem) -> bool {
        false
    }
}

/// A [`Store`] whose records are in the store `R`, and whose effects are writes to DynamoDB tables.
///
/// It guarantees less than one store for both: the guarantees about records hold as far as `R` gives them, and effects
/// are applied at most once as far as their own conditions ensure it. `docs/guarantees.md` explains the difference.
#[derive(Clone, Debug)]
pub struct RecordsElsewhere<R, T> {
    records: R,
    client: Client,
    recognise: T,
}

impl<R, T> RecordsElsewhere<R, T> {
    /// Creates a store with its records in `records` and its effects written by `client`.
    pub const fn new(records: R, client: Client, recognise: T) -> Self {
        Self { records, client, recognise }
    }
}

/// The result of writing effects.
enum Effects {
    /// They are written, by this or an earlier attempt.
    Applied,
    Refused(RefusedEffect<Item>),
}

impl<R: Store, T: Recognise> RecordsElsewhere<R, T> {
    /// Writes the effects of a record, unless an earlier attempt at its transaction has written them.
    async fn apply_of(
        &self,
        record: &Record,
        effects: &[TransactWriteItem],
        retry_budget: Duration,
    ) -> Result<Effects, StoreError> {
        let Err(refused) = self.apply(effects, retry_budget).await? else { return Ok(Effects::Applied) };
        if !self.are_ours(record, &refused) {
            return Ok(Effects::Refused(first_of(refused)));
        }
        tracing::info!(record = record.id.name(), "the effects were written by an earlier attempt");
        let of_attempt = |(_, effect): &(usize, &TransactWriteItem)| self.recognise.is_of_attempt(effect);
        let (places, left): (Vec<usize>, Vec<_>) =
            effects.iter().enumerate().filter(of_attempt).map(|(place, effect)| (place, effect.clone())).unzip();
        if left.is_empty() {
            return Ok(Effects::Applied);
        }
        let Err(refused) = self.apply(&left, retry_budget).await? else { return Ok(Effects::Applied) };
        if self.are_ours(record, &refused) {
            return Ok(Effects::Applied);
        }
        let refused = first_of(refused);
        Ok(Effects::Refused(RefusedEffect { index: places[refused.index], ..refused }))
    }

    /// Whether one of the found items was written by the effects of this record's transaction.
    fn are_ours(&self, record: &Record, refused: &[CancellationReason]) -> bool {
        let found = refused.iter().filter_map(|reason| reason.item.as_ref());
        found.into_iter().any(|found| self.recognise.wrote(record.transaction, found))
    }

    /// Runs one transaction, and repeats it while concurrent ones interfere. If conditions refuse it, returns the
    /// reasons, one per effect.
    async fn apply(
        &self,
        effects: &[TransactWriteItem],
        retry_budget: Duration,
    ) -> Result<Result<(), Vec<CancellationReason>>, StoreError> {
        let attempt = || async {
            let request = self.client.transact_write_items().set_transact_items(Some(effects.to_vec()));
            match boxed(request.send()).await {
                Ok(_) => Ok(Ok(())),
                Err(error) if reasons(&error).iter().any(is_refusal) => Ok(Err(reasons(&error).to_vec())),
                Err(error) => Err(Failure::from_transaction(error)),
            }
        };
        within(retry_budget, attempt).await
    }
}

fn first_of(reasons: Vec<CancellationReason>) -> RefusedEffect<Item> {
    let first = reasons.into_iter().enumerate().find(|(_, reason)| is_refusal(reason));
    let (index, found) = first.map_or((0, None), |(index, reason)| (index, reason.item.map(Box::new)));
    RefusedEffect { index, found }
}

/// Converts an error that follows the write of the effects: it is no longer certain that nothing was written.
fn after_effects(error: StoreError) -> StoreError {
    match error {
        StoreError::NotApplied(source) => StoreError::Uncertain(source),
        // The caller then writes a shorter answer; the effects are recognised.
        other @ (StoreError::Rejected(_) | StoreError::Uncertain(_) | StoreError::Unreadable { .. }) => other,
    }
}

impl<R: Store, T: Recognise> Store for RecordsElsewhere<R, T> {
    type Effect = TransactWriteItem;

    const EFFECTS_WITH_RECORD: bool = false;

    fn max_response_bytes(_: &[TransactWriteItem]) -> usize {
        R::max_response_bytes(&[])
    }

    async fn write(&self, write: &Write, effects: Vec<TransactWriteItem>) -> Result<Written<Item>, StoreError> {
        self.write_within(write, effects, RETRY_BUDGET).await
    }

    async fn write_within(
        &self,
        write: &Write,
        effects: Vec<TransactWriteItem>,
        retry_budget: Duration,
    ) -> Result<Written<Item>, StoreError> {
        if effects.is_empty() {
            return self.records.write_within(write, Vec::new(), retry_budget).await?.without_effects();
        }
        let record = &write.record;
        let found = self.records.read(&record.id).await?;
        if !write.condition.holds(found.as_ref()) {
            return Ok(Written::refused(write, found));
        }
        if let Effects::Refused(refused) = self.apply_of(record, &effects, retry_budget).await? {
            return Ok(Written::EffectRefused(refused));
        }
        let written = self.records.write_within(write, Vec::new(), retry_budget).await.map_err(after_effects)?;
        if matches!(written, Written::Refused(_)) {
            tracing::warn!(
                record = record.id.name(),
                transaction = %record.transaction,
                "the record changed after its effects were written; the effects remain",
            );
        }
        written.without_effects()
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.records.read(id).await
    }

    async fn look_up(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.records.look_up(id).await
    }

    async fn read_parts(&self, record: &Record, parts: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.records.read_parts(record, parts).await
    }
}

/// The effects of a run are written before the watermark moves. If a run is repeated because the watermark did not
/// move, the effects' conditions fail, and the guard of each record's first effect reports that it was applied before.
impl<R: Watermarks, T: Recognise> Watermarks for RecordsElsewhere<R, T> {
    async fn watermark(&self, id: &str) -> Result<Option<Watermark>, StoreError> {
        self.records.watermark(id).await
    }

    async fn advance(
        &self,
        id: &str,
        next: &Watermark,
        effects: Vec<TransactWriteItem>,
        retry_budget: Duration,
    ) -> Result<Advanced<Item>, StoreError> {
        if !effects.is_empty() {
            let found = self.records.watermark(id).await?;
            if found.as_ref().map_or(0, |found| found.version) + 1 != next.version {
                return Ok(Advanced::Refused(found));
            }
            if let Err(refused) = self.apply(&effects, retry_budget).await? {
                return Ok(Advanced::EffectRefused(first_of(refused)));
            }
        }
        let advanced = self.records.advance(id, next, Vec::new(), retry_budget).await.map_err(after_effects)?;
        advanced.without_effects()
    }

    fn bytes(effect: &TransactWriteItem) -> usize {
        DynamoDbStore::bytes(effect)
    }

    fn collide(one: &TransactWriteItem, other: &TransactWriteItem) -> bool {
        DynamoDbStore::collide(one, other)
    }
}

impl<R: Unsettled, T: Recognise> Unsettled for RecordsElsewhere<R, T> {
    async fn unknown(&self, limit: usize, after: Option<&After>) -> Result<UnknownPage, StoreError> {
        self.records.unknown(limit, after).await
    }

    async fn scan(&self, place: &ScanPlace, now: EpochMs, limit: u16) -> Result<Scanned, StoreError> {
        self.records.scan(place, now, limit).await
    }
}
