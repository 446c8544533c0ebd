//! A record's id, its version, and whether it can be settled.

pub(crate) mod details;
pub(crate) mod subject;

use idempotency::protocol::{EpochMs, Holder, Record, RecordId, State};
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
pub(crate) fn snapshot(record: &Record) -> RecordSnapshot {
    let (owner, lease) = match record.holder() {
        Some(Holder { owner, lease }) => (format!("{owner:?}"), lease.0.to_string()),
        None => (String::new(), String::new()),
    };
    let status = record.state.status().as_str();
    // A digest, because the owner token is a secret of its holder.
    let version = [status, &record.transaction.to_string(), &record.attempt.to_string(), &owner, &lease]
        .iter()
        .fold(Sha256::new(), |hash, part| hash.chain_update(part).chain_update([0]))
        .finalize();
    let version = version.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    RecordSnapshot { version, status: status.to_owned(), attempt: record.attempt, updated: record.updated.0 }
}

/// The part of a record's id that identifies it, fit for URLs.
pub(crate) fn short(id: &str) -> &str {
    id.strip_prefix(PREFIX).unwrap_or(id)
}

/// The record's id behind [`short`]: 43 characters of base64url.
pub(crate) fn id_of(short: &str) -> Option<RecordId> {
    let valid =
        short.len() == 43 && short.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    valid.then(|| RecordId::from_stored(format!("{PREFIX}{short}")))
}

const PREFIX: &str = "idempotency:";

#[cfg(test)]
mod tests {
    use idempotency::protocol::{OwnerToken, TransactionId};

    use super::*;

    fn record(state: State) -> Record {
        Record { state, ..Record::sample() }
    }

    fn held(owner: u8) -> State {
        State::Unknown(Some(Holder { owner: OwnerToken([owner; 16]), lease: EpochMs(10) }))
    }

    #[test]
    fn every_change_of_a_record_is_another_version_and_no_version_shows_the_owner() {
        let unknown = record(State::Unknown(None));
        let versions = [
            snapshot(&unknown),
            snapshot(&record(held(1))),
            snapshot(&record(held(2))),
            snapshot(&Record { attempt: 2, ..unknown.clone() }),
            snapshot(&Record { transaction: TransactionId::new(EpochMs(2), [0; 10]), ..unknown.clone() }),
        ];
        for (index, version) in versions.iter().enumerate() {
            assert!(versions[..index].iter().all(|other| other.version != version.version), "{version:?}");
            assert!(!version.version.contains("0101"), "{version:?}");
        }
        assert_eq!(snapshot(&unknown), snapshot(&unknown));
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
