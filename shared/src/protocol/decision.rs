//! The decision of a claim about the record that it finds.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Condition, EpochMs, Fingerprint, HistoryEvent, Holder, LeaseLimit, OwnerToken, PrincipalDigest, Record, RecordId,
    Resolution,
};
use super::{History, HistoryEntry, InvocationId, RecordVersion, Settled, State, Subject, Trace, TransactionId, Write};

/// A request to claim a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimRequest {
    /// The id of the request's record.
    pub id: RecordId,
    /// The name of the operation, for people.
    pub operation: Arc<str>,
    /// The digest of the principal that makes the request.
    pub principal: Option<PrincipalDigest>,
    /// The subject of the request, for reconciling it.
    pub subject: Option<Subject>,
    /// The id of the invocation, for the history.
    pub invocation: Option<InvocationId>,
    /// The trace that the request belongs to.
    pub trace: Option<Trace>,
    /// The fingerprint of the request's content.
    pub fingerprint: Fingerprint,
    /// The token of this claim: random, and used for no other claim.
    pub owner: OwnerToken,
    /// The transaction id to use if this is the first attempt.
    pub transaction: TransactionId,
    /// How long the claim holds.
    pub lease: LeaseLimit,
    /// How the operation handles an uncertain outcome.
    pub uncertain: Uncertain,
}

impl ClaimRequest {
    /// The holder of a claim that begins now.
    pub(super) fn holder(&self, now: EpochMs) -> Holder {
        Holder { owner: self.owner, lease: self.lease.end(now) }
    }

    /// A sample request for tests that set only the members they need: for the record of [`Record::sample`].
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let Record { id, operation, fingerprint, .. } = Record::sample();
        Self {
            id,
            operation,
            principal: None,
            subject: None,
            invocation: None,
            trace: None,
            fingerprint,
            owner: OwnerToken([1; 16]),
            transaction: TransactionId::new(EpochMs(1_000_000), [7; 10]),
            lease: LeaseLimit { at_most: Duration::from_secs(10), by: EpochMs(u64::MAX) },
            uncertain: Uncertain::Reconcile,
        }
    }
}

/// How an uncertain outcome is handled: an earlier attempt may or may not have had its effects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Uncertain {
    /// Nothing runs again without evidence.
    #[default]
    Reconcile,
    /// The effects are repeatable under the same transaction id, for a limited time: run again.
    ///
    /// Declare this only if every system that you call deduplicates by the transaction id. Such deduplication has a
    /// time limit: Stripe, for example, deletes a key after 24 hours, and a later retry would be a second charge.
    Repeat {
        /// How long after the start of the first attempt a repetition is safe; after that an uncertain outcome is
        /// reconciled. It must be shorter than the shortest deduplication period of the systems that you call, by more
        /// than clocks may differ.
        within: Duration,
    },
}

/// The action that a request must take on the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decision<'a> {
    /// Make this write. If it takes effect, the request holds the claim and runs.
    Begin(Write),
    /// The request already holds the claim, because the reply to its own write was lost. It runs.
    Acquired(&'a Record),
    /// Another request used this key. It neither runs nor alters the record.
    Mismatch,
    /// Answer from the record.
    Replay(&'a Record, Resolution, &'a Settled),
    /// Another request holds the record until this time.
    InProgress(EpochMs),
    /// It is unknown whether the operation happened. Make this write to hold the record as UNKNOWN, then look for
    /// evidence.
    Reconcile(Write),
}

/// Decides what a request does about the record it finds. Every state has its own arm.
///
/// The order of the checks is part of the protocol: expiry (an expired record counts as absent, whatever it contains),
/// then our own token, then the fingerprint (another request is a mismatch even while the first one runs), then the
/// lease.
#[must_use]
pub fn decide<'a>(found: Option<&'a Record>, request: &ClaimRequest, now: EpochMs) -> Decision<'a> {
    let Some(record) = found.filter(|record| !record.has_expired(now)) else {
        return Decision::Begin(first_attempt(request, now));
    };
    if record.holder().is_some_and(|holder| holder.owner == request.owner) {
        return Decision::Acquired(record);
    }
    let same = record.fingerprint == request.fingerprint;
    match &record.state {
        // Nothing was executed, so a corrected request may use the key.
        State::Released { .. } => Decision::Begin(next_attempt(record, request, now)),
        State::Processing(_) | State::Success(_) | State::Failed(_) | State::Unknown(_) if !same => Decision::Mismatch,
        State::Success(settled) => Decision::Replay(record, Resolution::Success, settled),
        State::Failed(settled) => Decision::Replay(record, Resolution::Failed, settled),
        State::Processing(Holder { lease, .. }) | State::Unknown(Some(Holder { lease, .. })) if *lease > now => {
            Decision::InProgress(*lease)
        }
        State::Processing(_) | State::Unknown(_) => match request.uncertain {
            Uncertain::Repeat { within } if now < record.created.plus(within) => {
                Decision::Begin(next_attempt(record, request, now))
            }
            Uncertain::Repeat { .. } | Uncertain::Reconcile => {
                Decision::Reconcile(take_over_unknown(record, request, now))
            }
        },
    }
}

fn first_attempt(request: &ClaimRequest, now: EpochMs) -> Write {
    Write {
        record: Record {
            id: request.id.clone(),
            operation: request.operation.clone(),
            principal: request.principal,
            subject: request.subject.clone(),
            fingerprint: request.fingerprint,
            transaction: request.transaction,
            attempt: 1,
            created: now,
            updated: now,
            trace: request.trace,
            state: State::Processing(request.holder(now)),
            ended_by: None,
            history: History::default().then(step(request, HistoryEvent::Claimed, 1, now)),
        },
        condition: Condition::Vacant { now: now.seconds() },
    }
}

/// The claim of a further attempt.
pub(super) fn next_attempt(record: &Record, request: &ClaimRequest, now: EpochMs) -> Write {
    let attempt = record.attempt + 1;
    Write {
        record: Record {
            operation: request.operation.clone(),
            principal: request.principal,
            subject: request.subject.clone(),
            fingerprint: request.fingerprint,
            attempt,
            updated: now,
            state: State::Processing(request.holder(now)),
            ended_by: None,
            history: record.history.clone().then(step(request, HistoryEvent::Claimed, attempt, now)),
            ..record.clone()
        },
        condition: Condition::Unchanged(RecordVersion::of(record)),
    }
}

fn take_over_unknown(record: &Record, request: &ClaimRequest, now: EpochMs) -> Write {
    let attempt = record.attempt + 1;
    Write {
        record: Record {
            attempt,
            updated: now,
            state: State::Unknown(Some(request.holder(now))),
            ended_by: None,
            history: record.history.clone().then(step(request, HistoryEvent::Reconciling, attempt, now)),
            ..record.clone()
        },
        condition: Condition::Unchanged(RecordVersion::of(record)),
    }
}

fn step(request: &ClaimRequest, event: HistoryEvent, attempt: u64, at: EpochMs) -> HistoryEntry {
    HistoryEntry { event, at, attempt, request: request.invocation }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{EpochS, Fingerprinter, abandon, release, settle};

    const NOW: EpochMs = EpochMs(1_000_000);
    const REPEAT: Uncertain = Uncertain::Repeat { within: Duration::from_secs(1000) };
    const OURS: OwnerToken = OwnerToken([1; 16]);
    const THEIRS: OwnerToken = OwnerToken([2; 16]);

    fn fingerprint(body: &str) -> Fingerprint {
        Fingerprinter::new().bytes(body.as_bytes()).finish()
    }

    fn request(uncertain: Uncertain) -> ClaimRequest {
        ClaimRequest { fingerprint: fingerprint("same"), owner: OURS, uncertain, ..ClaimRequest::sample() }
    }

    fn record(body: &str, state: State) -> Record {
        Record {
            fingerprint: fingerprint(body),
            transaction: TransactionId::new(EpochMs(1), [9; 10]),
            attempt: 3,
            state,
            ..Record::sample()
        }
    }

    #[test]
    fn a_record_keeps_the_trace_of_its_first_attempt() {
        let traced = |digit| ClaimRequest { trace: Trace::new([digit; 16], [digit; 8], true), ..request(REPEAT) };
        let Decision::Begin(first) = decide(None, &traced(1), NOW) else { panic!("nothing was found") };
        assert_eq!(first.record.trace, traced(1).trace);
        let released = Record { state: State::Released { expiration: EpochS(u64::MAX) }, ..first.record };
        let Decision::Begin(second) = decide(Some(&released), &traced(2), NOW) else { panic!("it is released") };
        assert_eq!((second.record.attempt, second.record.trace), (2, traced(1).trace));
    }

    fn held(owner: OwnerToken, lease: u64) -> Holder {
        Holder { owner, lease: EpochMs(lease) }
    }

    fn settled(expiration: u64) -> Settled {
        Settled { response: b"answer".to_vec().into(), expiration: EpochS(expiration) }
    }

    fn shown(found: &Record, uncertain: Uncertain) -> String {
        match decide(Some(found), &request(uncertain), NOW) {
            Decision::Begin(write) => format!("begin {}", write.record.attempt),
            Decision::Acquired(_) => "acquired".into(),
            Decision::Mismatch => "mismatch".into(),
            Decision::Replay(_, resolution, _) => format!("replay {resolution:?}"),
            Decision::InProgress(lease) => format!("in progress until {}", lease.0),
            Decision::Reconcile(write) => format!("reconcile {}", write.record.attempt),
        }
    }

    /// The protocol's decision table, row by row: the record found, what the same request does, what another one does.
    #[test]
    fn the_decision_table() {
        let (later, over) = (NOW.0 + 1, NOW.0);
        let (kept, expired) = (NOW.0 / 1000 + 1, NOW.0 / 1000);
        let waits = "in progress until 1000001";
        let rows = [
            (State::Released { expiration: EpochS(kept) }, "begin 4", "begin 4", "begin 4"),
            (State::Released { expiration: EpochS(expired) }, "begin 1", "begin 1", "begin 1"),
            (State::Success(settled(kept)), "replay Success", "replay Success", "mismatch"),
            (State::Failed(settled(kept)), "replay Failed", "replay Failed", "mismatch"),
            (State::Success(settled(expired)), "begin 1", "begin 1", "begin 1"),
            (State::Failed(settled(expired)), "begin 1", "begin 1", "begin 1"),
            (State::Processing(held(THEIRS, later)), waits, waits, "mismatch"),
            (State::Processing(held(THEIRS, over)), "reconcile 4", "begin 4", "mismatch"),
            (State::Unknown(Some(held(THEIRS, later))), waits, waits, "mismatch"),
            (State::Unknown(Some(held(THEIRS, over))), "reconcile 4", "begin 4", "mismatch"),
            (State::Unknown(None), "reconcile 4", "begin 4", "mismatch"),
            (State::Processing(held(OURS, over)), "acquired", "acquired", "acquired"),
            (State::Unknown(Some(held(OURS, later))), "acquired", "acquired", "acquired"),
        ];
        for (state, reconcile, repeat, other) in rows {
            let same = record("same", state.clone());
            assert_eq!(shown(&same, Uncertain::Reconcile), reconcile, "{state:?}");
            assert_eq!(shown(&same, REPEAT), repeat, "{state:?}, repeatable");
            assert_eq!(shown(&record("other", state.clone()), REPEAT), other, "{state:?}, other request");
        }
    }

    #[test]
    fn what_is_repeatable_is_repeated_only_within_its_time() {
        let found = record("same", State::Unknown(None));
        let elapsed = NOW.since(found.created);
        let shown = |within| shown(&found, Uncertain::Repeat { within });
        assert_eq!(shown(elapsed + Duration::from_millis(1)), "begin 4");
        assert_eq!(shown(elapsed), "reconcile 4");
        assert_eq!(shown(Duration::ZERO), "reconcile 4");
    }

    #[test]
    fn nothing_found_begins_the_first_attempt_with_a_new_transaction() {
        let request = request(Uncertain::Reconcile);
        let Decision::Begin(write) = decide(None, &request, NOW) else { panic!("must begin") };
        assert_eq!((write.record.attempt, write.record.transaction), (1, request.transaction));
        assert_eq!(write.condition, Condition::Vacant { now: NOW.seconds() });
    }

    fn any_state() -> impl Strategy<Value = State> {
        let owner = prop_oneof![Just(OURS), Just(THEIRS)];
        let holder = (owner, NOW.0 - 2..NOW.0 + 3).prop_map(|(owner, lease)| held(owner, lease));
        let expiration = NOW.0 / 1000 - 2..NOW.0 / 1000 + 3;
        prop_oneof![
            holder.clone().prop_map(State::Processing),
            expiration.clone().prop_map(|at| State::Released { expiration: EpochS(at) }),
            expiration.clone().prop_map(|at| State::Success(settled(at))),
            expiration.prop_map(|at| State::Failed(settled(at))),
            prop::option::of(holder).prop_map(State::Unknown),
        ]
    }

    fn any_found() -> impl Strategy<Value = Option<Record>> {
        prop::option::weighted(0.9, ("same|other", any_state()).prop_map(|(body, state)| record(&body, state)))
    }

    fn any_uncertain() -> impl Strategy<Value = Uncertain> {
        prop_oneof![Just(Uncertain::Reconcile), Just(REPEAT)]
    }

    proptest! {
        #[test]
        fn a_write_is_guarded_by_a_condition_that_holds_of_what_was_found(found in any_found(), uncertain in any_uncertain()) {
            let decision = decide(found.as_ref(), &request(uncertain), NOW);
            if let Decision::Begin(write) | Decision::Reconcile(write) = decision {
                prop_assert!(write.condition.holds(found.as_ref()));
                prop_assert_eq!(write.record.holder().map(|holder| holder.owner), Some(OURS));
                prop_assert!(write.record.expiration().is_none());
            }
        }

        #[test]
        fn the_attempt_grows_and_the_transaction_stays_while_the_record_lives(found in any_found(), uncertain in any_uncertain()) {
            let decision = decide(found.as_ref(), &request(uncertain), NOW);
            if let (Some(found), Decision::Begin(write) | Decision::Reconcile(write)) = (&found, decision)
                && !found.has_expired(NOW)
            {
                prop_assert_eq!(write.record.attempt, found.attempt + 1);
                prop_assert_eq!(write.record.transaction, found.transaction);
                prop_assert_eq!(write.record.created, found.created);
            }
        }

        #[test]
        fn what_is_held_by_another_or_uncertain_never_runs_undeclared(found in any_found()) {
            let decision = decide(found.as_ref(), &request(Uncertain::Reconcile), NOW);
            if let (Some(Record { state: State::Processing(_) | State::Unknown(_), .. }), Decision::Begin(_)) = (&found, decision) {
                prop_assert!(false, "began over {:?}", found);
            }
        }

        #[test]
        fn another_request_under_a_used_key_neither_runs_nor_replays(state in any_state(), uncertain in any_uncertain()) {
            let found = record("other", state);
            prop_assume!(!found.has_expired(NOW) && !matches!(found.state, State::Released { .. }));
            prop_assume!(found.holder().is_none_or(|holder| holder.owner != OURS));
            prop_assert_eq!(decide(Some(&found), &request(uncertain), NOW), Decision::Mismatch);
        }

        #[test]
        fn after_a_takeover_no_write_of_the_late_owner_holds(state in any_state(), uncertain in any_uncertain()) {
            let found = record("same", state);
            let decision = decide(Some(&found), &request(uncertain), NOW);
            if let Decision::Begin(taken) | Decision::Reconcile(taken) = decision {
                let late = [
                    settle(found.clone(), THEIRS, Resolution::Success, settled(9), NOW),
                    release(found.clone(), THEIRS, EpochS(9), NOW),
                    abandon(found.clone(), THEIRS, NOW),
                ];
                for write in late {
                    prop_assert!(!write.condition.holds(Some(&taken.record)));
                    prop_assert!(!write.made(&taken.record));
                }
                // Nor does a second takeover that saw the same record.
                prop_assert!(!taken.condition.holds(Some(&taken.record)));
            }
        }

        #[test]
        fn a_write_recognises_itself_and_does_not_take_effect_twice(state in any_state(), uncertain in any_uncertain()) {
            let found = record("same", state);
            let decision = decide(Some(&found), &request(uncertain), NOW);
            if let Decision::Begin(begun) = decision {
                prop_assert!(begun.made(&begun.record));
                prop_assert!(matches!(decide(Some(&begun.record), &request(uncertain), NOW), Decision::Acquired(_)));
                for write in [
                    settle(begun.record.clone(), OURS, Resolution::Failed, settled(NOW.0), NOW),
                    release(begun.record.clone(), OURS, EpochS(NOW.0), NOW),
                    abandon(begun.record.clone(), OURS, NOW),
                ] {
                    prop_assert!(write.condition.holds(Some(&begun.record)));
                    prop_assert!(!write.condition.holds(Some(&write.record)));
                    prop_assert!(write.made(&write.record));
                }
            }
        }
    }
}
