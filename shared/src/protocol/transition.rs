//! The writes of a claim: what the record becomes, and under which condition.

use super::TransactionId;
use super::{
    Condition, EpochMs, EpochS, History, HistoryEntry, HistoryEvent, Holder, OwnerToken, Record, Resolution, Settled,
    State, Status,
};

/// A conditional write: the whole record as it shall be, and what must hold for that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// The record after the write.
    pub record: Record,
    /// What must hold of the stored record.
    pub condition: Condition,
}

impl Write {
    /// Whether the attempt that this write begins follows one whose outcome is uncertain. Only a begin over nothing,
    /// over an expired or over a released record does not.
    #[must_use]
    pub fn follows_uncertain(&self) -> bool {
        match &self.condition {
            Condition::Unchanged(seen) => seen.owner.is_some() || seen.status == Status::Unknown,
            Condition::Vacant { .. } | Condition::Owned { .. } => false,
        }
    }

    /// Whether what was found in place of the expected record is the result of this very write.
    ///
    /// The SDK repeats a request whose reply was lost; the repeat then fails on what the first one wrote.
    /// The token of whoever wrote it tells that from everybody else's writes (guarantee G4), and transaction, attempt
    /// and state from the other writes under the same token. What else the record says is no evidence: another call may
    /// have said the same.
    #[must_use]
    pub fn made(&self, found: &Record) -> bool {
        found.writer().is_some()
            && found.writer() == self.record.writer()
            && found.transaction == self.record.transaction
            && found.attempt == self.record.attempt
            && match (&found.state, &self.record.state) {
                (State::Processing(_), State::Processing(_))
                | (State::Released { .. }, State::Released { .. })
                | (State::Success(_), State::Success(_))
                | (State::Failed(_), State::Failed(_)) => true,
                (State::Unknown(found), State::Unknown(ours)) => found.is_some() == ours.is_some(),
                (
                    State::Processing(_)
                    | State::Released { .. }
                    | State::Success(_)
                    | State::Failed(_)
                    | State::Unknown(_),
                    _,
                ) => false,
            }
    }
}

/// Settles a claimed record with its answer.
#[must_use]
pub fn settle(claimed: Record, owner: OwnerToken, resolution: Resolution, settled: Settled, now: EpochMs) -> Write {
    end(claimed, owner, settled_state(resolution, settled), settled_event(resolution), now)
}

/// Releases a claimed record: nothing was executed, anybody may begin again. Attempt number and transaction id stay.
///
/// Not for an attempt that [follows an uncertain one](Write::follows_uncertain): it can only speak for itself, and a
/// release would let another request begin under a key whose first request may have had its effect.
#[must_use]
pub fn release(claimed: Record, owner: OwnerToken, expiration: EpochS, now: EpochMs) -> Write {
    end(claimed, owner, State::Released { expiration }, HistoryEvent::Released, now)
}

/// Abandons a claimed record: whether its effects happened is not known. It has no expiration and no holder.
#[must_use]
pub fn abandon(claimed: Record, owner: OwnerToken, now: EpochMs) -> Write {
    end(claimed, owner, State::Unknown(None), HistoryEvent::Abandoned, now)
}

/// Gives up a claim that may have been made, since its reply was lost, and under which nothing ran: releases it, or
/// abandons it where an earlier attempt may have had its effects. Nothing, if the write claims nothing.
#[must_use]
pub fn give_up(claim: Write, expiration: EpochS, now: EpochMs) -> Option<Write> {
    let owner = claim.record.holder()?.owner;
    let follows_uncertain = claim.follows_uncertain();
    Some(match follows_uncertain {
        true => abandon(claim.record, owner, now),
        false => release(claim.record, owner, expiration, now),
    })
}

/// Instead of taking over a record whose outcome is uncertain, makes it UNKNOWN for others to reconcile.
#[must_use]
pub fn mark_unknown(takeover: Write) -> Write {
    let Write { record, condition } = takeover;
    let (at, attempt, request) = (record.updated, record.attempt, record.history.request());
    let ended_by = record.writer();
    let history =
        record.history.without_last().then(HistoryEntry { event: HistoryEvent::LeaseOver, at, attempt, request });
    Write { record: Record { state: State::Unknown(None), ended_by, history, ..record }, condition }
}

/// Extends the lease of a claim, as long as it is still ours.
#[must_use]
pub fn extend(claimed: Record, holder: Holder, now: EpochMs) -> Write {
    let condition = Condition::Owned { owner: holder.owner };
    Write { record: Record { updated: now, state: State::Processing(holder), ..claimed }, condition }
}

/// Goes on with a reconciled record whose effect was prevented: the claim that holds it as UNKNOWN becomes one that
/// runs, as a further attempt under a new transaction id. The old id must not be used again: the other side refuses it.
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

/// The one write of single-write mode: instead of claiming, puts the record as settled, in the transaction of the effects.
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
