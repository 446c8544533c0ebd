//! A record's id, its version, and whether it can be settled.

pub(crate) mod subject;

use idempotency::protocol::{EpochMs, HistoryEvent, Record, RecordId, State};
use payments::RecordSnapshot;
use sha2::{Digest, Sha256};

/// Whether a record can be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Openness {
    /// Its outcome is unknown, and it is not held.
    Open,
    /// An attempt or a reconciler holds it until then.
    Held(EpochMs),
    /// It is settled, or nothing was executed.
    Closed,
}

impl Openness {
    pub(crate) fn of(record: &Record, now: EpochMs) -> Self {
        match &record.state {
            State::Processing(holder) | State::Unknown(Some(holder)) if holder.lease > now => Self::Held(holder.lease),
            State::Processing(_) | State::Unknown(_) => Self::Open,
            State::Released { .. } | State::Success(_) | State::Failed(_) => Self::Closed,
        }
    }
}

/// The version of a record, and what people see of it.
///
/// A search for evidence that finds none does not change the version, although it is an attempt: nothing relevant to an
/// operator's decision has changed. In an outage there is one such search every minute.
pub(crate) fn snapshot(record: &Record) -> RecordSnapshot {
    let outcome = match &record.state {
        State::Processing(_) | State::Unknown(_) => "not known",
        State::Released { .. } => "released",
        State::Success(_) => "happened",
        State::Failed(_) => "did not happen",
    };
    let version = [outcome, &record.transaction.to_string(), &last_run(record).to_string()]
        .iter()
        .fold(Sha256::new(), |hash, part| hash.chain_update(part).chain_update([0]))
        .finalize();
    let version = version.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let status = record.state.status().as_str().to_owned();
    RecordSnapshot { version, status, attempt: record.attempt, updated: record.updated.0 }
}

/// The number of the last attempt that ran something. If the history does not show it, any attempt may have.
fn last_run(record: &Record) -> u64 {
    let mut runs = record.history.entries().iter().filter(|entry| entry.event == HistoryEvent::Claimed);
    runs.next_back().map_or(record.attempt, |entry| entry.attempt)
}

/// The part of a record's id that identifies it, fit for URLs.
pub(crate) fn short(id: &str) -> &str {
    id.strip_prefix(RecordId::PREFIX).unwrap_or(id)
}

/// The record's id behind [`short`]: 43 characters of base64url.
pub(crate) fn id_of(short: &str) -> Option<RecordId> {
    let valid =
        short.len() == 43 && short.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    valid.then(|| RecordId::from_stored(format!("{}{short}", RecordId::PREFIX)))
}

#[cfg(test)]
mod tests {
    use idempotency::protocol::{History, HistoryEntry, Holder, OwnerToken, TransactionId};

    use super::*;

    fn record(state: State) -> Record {
        Record { state, ..Record::sample() }
    }

    fn held(owner: u8) -> State {
        State::Unknown(Some(Holder { owner: OwnerToken([owner; 16]), lease: EpochMs(10) }))
    }

    /// A record that was claimed and, in later attempts, had these events.
    fn after(state: State, events: &[HistoryEvent]) -> Record {
        let history = [HistoryEvent::Claimed].iter().chain(events).zip(1..);
        let entry = |(event, attempt): (&HistoryEvent, u64)| HistoryEntry {
            event: *event,
            at: EpochMs(attempt),
            attempt,
            request: None,
        };
        let history = History::from_entries(history.map(entry).collect());
        Record { attempt: 1 + events.len() as u64, history, ..record(state) }
    }

    #[test]
    fn a_search_for_evidence_that_finds_none_leaves_the_version_and_everything_else_changes_it() {
        use HistoryEvent::{Claimed, Reconciling};
        let version = |record: &Record| snapshot(record).version;
        let unknown = after(State::Unknown(None), &[]);
        for same in [
            after(State::Unknown(None), &[Reconciling]),
            after(State::Unknown(None), &[Reconciling, Reconciling]),
            after(held(1), &[Reconciling]),
            after(State::Processing(Holder { owner: OwnerToken([1; 16]), lease: EpochMs(10) }), &[]),
        ] {
            assert_eq!(version(&same), version(&unknown), "{same:?}");
        }
        let expiration = idempotency::protocol::EpochS(9);
        for other in [
            after(State::Unknown(None), &[Claimed]),
            after(State::Released { expiration }, &[]),
            Record { transaction: TransactionId::new(EpochMs(2), [0; 10]), ..unknown.clone() },
            // Without a history every attempt counts.
            Record { attempt: 2, history: History::default(), ..unknown.clone() },
        ] {
            assert_ne!(version(&other), version(&unknown), "{other:?}");
        }
    }

    #[test]
    fn a_record_is_found_by_its_short_id_and_by_nothing_else() {
        let id = record(State::Unknown(None)).id;
        assert_eq!(id_of(short(id.as_str())), Some(id));
        for wrong in ["", "x", &"x".repeat(44), &"é".repeat(22), "../../../../../../../../../../../../../../.."] {
            assert_eq!(id_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_record_is_open_when_nobody_knows_and_nobody_holds_it() {
        let openness = |state, now| Openness::of(&record(state), EpochMs(now));
        assert_eq!(openness(State::Unknown(None), 5), Openness::Open);
        assert_eq!(openness(held(1), 9), Openness::Held(EpochMs(10)));
        assert_eq!(openness(held(1), 10), Openness::Open);
        assert_eq!(openness(State::Released { expiration: idempotency::protocol::EpochS(9) }, 5), Openness::Closed);
    }
}
