//! The writes of a claim: the new record, and the condition of each write.

use super::TransactionId;
use super::{
    Condition, EpochMs, EpochS, History, HistoryEntry, HistoryEvent, Holder, OwnerToken, Record, Resolution, Settled,
    State, Status,
};

/// A conditional write: the whole new record, and its condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// The record after the write.
    pub record: Record,
    /// The condition on the stored record.
    pub condition: Condition,
}

impl Write {
    /// Whether this write begins an attempt after one whose outcome is uncertain. That is not the case if there was no
    /// record, or an expired or released one.
    #[must_use]
    pub fn follows_uncertain(&self) -> bool {
        match &self.condition {
            Condition::Unchanged(seen) => seen.owner.is_some() || seen.status == Status::Unknown,
            Condition::Vacant { .. } | Condition::Owned { .. } => false,
        }
    }

    /// Whether the record found in place of the expected one is the result of this very write.
    ///
    /// The SDK retries a request whose reply was lost; the condition of the retry then fails because of the first
    /// request's write. The writer's token distinguishes that write from other writers' records (guarantee G4);
    /// transaction, attempt and state (the status, and whether it is held) distinguish it from other writes under the
    /// same token. The rest of the record is no evidence, because another call may have written the same.
    #[must_use]
    pub fn made(&self, found: &Record) -> bool {
        found.writer().is_some()
            && found.writer() == self.record.writer()
            && found.transaction == self.record.transaction
            && found.attempt == self.record.attempt
            && found.state.status() == self.record.state.status()
            && found.holder().is_some() == self.record.holder().is_some()
    }
}

/// Settles a claimed record with its answer.
#[must_use]
pub fn settle(claimed: Record, owner: OwnerToken, resolution: Resolution, settled: Settled, now: EpochMs) -> Write {
    end(claimed, owner, settled_state(resolution, settled), settled_event(resolution), now)
}

/// Releases a claimed record: nothing was executed, and the next call may begin again. Attempt number and transaction
/// id stay the same.
///
/// Do not release an attempt that [follows an uncertain one](Write::follows_uncertain): it knows nothing about the
/// effects of the earlier attempt, and a release would let another request begin under a key whose first request may
/// have had its effect.
#[must_use]
pub fn release(claimed: Record, owner: OwnerToken, expiration: EpochS, now: EpochMs) -> Write {
    end(claimed, owner, State::Released { expiration }, HistoryEvent::Released, now)
}

/// Abandons a claimed record: it is unknown whether its effects happened. The abandoned record has no expiration and no
/// holder.
#[must_use]
pub fn abandon(claimed: Record, owner: OwnerToken, now: EpochMs) -> Write {
    end(claimed, owner, State::Unknown(None), HistoryEvent::Abandoned, now)
}

/// Gives up a claim whose reply was lost, so that it may be held, and under which nothing ran. Releases the claim, or
/// abandons it if an earlier attempt may have had its effects. `None` if the write claims nothing.
#[must_use]
pub fn give_up(claim: Write, expiration: EpochS, now: EpochMs) -> Option<Write> {
    let owner = claim.record.holder()?.owner;
    let follows_uncertain = claim.follows_uncertain();
    Some(match follows_uncertain {
        true => abandon(claim.record, owner, now),
        false => release(claim.record, owner, expiration, now),
    })
}

/// Marks a record with an uncertain outcome as UNKNOWN, for other processes to reconcile, instead of taking it over.
#[must_use]
pub fn mark_unknown(takeover: Write) -> Write {
    let Write { record, condition } = takeover;
    let (at, attempt, request) = (record.updated, record.attempt, record.history.request());
    let ended_by = record.writer();
    let history =
        record.history.without_last().then(HistoryEntry { event: HistoryEvent::LeaseOver, at, attempt, request });
    Write { record: Record { state: State::Unknown(None), ended_by, history, ..record }, condition }
}

/// Extends the lease of a claim that is still ours.
#[must_use]
pub fn extend(claimed: Record, holder: Holder, now: EpochMs) -> Write {
    let condition = Condition::Owned { owner: holder.owner };
    Write { record: Record { updated: now, state: State::Processing(holder), ..claimed }, condition }
}

/// Continues a reconciled record whose effect was prevented: the claim that holds it as UNKNOWN becomes one that runs,
/// as a further attempt under a new transaction id. The external system refuses the old id, so it must not be used
/// again.
#[must_use]
pub fn restart(claimed: Record, holder: Holder, transaction: TransactionId, now: EpochMs) -> Write {
    let owner = holder.owner;
    let next = Record { transaction, attempt: claimed.attempt + 1, ..claimed };
    end(next, owner, State::Processing(holder), HistoryEvent::Claimed, now)
}

/// Releases a reconciled record whose effect was prevented, for a later call to begin under a new transaction id.
#[must_use]
pub fn reopen(
    claimed: Record,
    owner: OwnerToken,
    transaction: TransactionId,
    expiration: EpochS,
    now: EpochMs,
) -> Write {
    end(Record { transaction, ..claimed }, owner, State::Released { expiration }, HistoryEvent::Prevented, now)
}

/// The only write of single-write mode: puts the settled record without a claim, in the transaction of the effects.
#[must_use]
pub fn begin_settled(begin: Write, resolution: Resolution, settled: Settled) -> Write {
    let Write { record, condition } = begin;
    let history = told(&record, settled_event(resolution), record.updated);
    let ended_by = record.writer();
    Write { record: Record { state: settled_state(resolution, settled), ended_by, history, ..record }, condition }
}

fn end(claimed: Record, owner: OwnerToken, state: State, event: HistoryEvent, now: EpochMs) -> Write {
    let history = told(&claimed, event, now);
    let record = Record { updated: now, state, history, ..claimed };
    let ended_by = record.holder().is_none().then_some(owner);
    Write { record: Record { ended_by, ..record }, condition: Condition::Owned { owner } }
}

fn told(record: &Record, event: HistoryEvent, at: EpochMs) -> History {
    let request = record.history.request();
    record.history.clone().then(HistoryEntry { event, at, attempt: record.attempt, request })
}

const fn settled_event(resolution: Resolution) -> HistoryEvent {
    match resolution {
        Resolution::Success => HistoryEvent::Succeeded,
        Resolution::Failed => HistoryEvent::Failed,
    }
}

const fn settled_state(resolution: Resolution, settled: Settled) -> State {
    match resolution {
        Resolution::Success => State::Success(settled),
        Resolution::Failed => State::Failed(settled),
    }
}
