//! One record, with all that belongs to it.

use idempotency::Operation;
use idempotency::protocol::{EpochMs, Holder, Record, RecordId, State};
use idempotency::store::Store;
use payments::{Approval, AuditEntry, AuditFilter, LedgerEntry, Payment, PaymentId, Shown, TableError, operations};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::asking::Answer;
use crate::console::Console;
use crate::refusal::Refusal;
use crate::words;

/// What the page of a record shows.
#[derive(Debug)]
pub(crate) struct Details {
    pub(crate) record: Record,
    /// What it is about, if it says so in words of ours.
    pub(crate) about: Option<About>,
    /// The payment that came of it, or that it refunds.
    pub(crate) payment: Option<Payment>,
    /// What the ledger has of it.
    pub(crate) entries: Vec<LedgerEntry>,
    /// Whether it is of an operation of ours: others are shown, and no more.
    pub(crate) is_ours: bool,
    /// What the provider says now; asked only where that is open, and ours.
    pub(crate) provider: Option<Answer>,
    /// What waits for a second operator, newest first.
    pub(crate) approvals: Vec<Approval>,
    pub(crate) audit: Vec<AuditEntry>,
}

/// What a record is about, in the application's words.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct About {
    pub(crate) account: Option<String>,
    /// In minor units.
    pub(crate) amount: Option<u64>,
    pub(crate) currency: Option<String>,
    /// The payment that is refunded.
    pub(crate) payment: Option<String>,
}

/// Whether a record can be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its outcome is not known, and nobody holds it.
    Open,
    /// Somebody holds it until then.
    Held(EpochMs),
    /// It is settled, or nothing was executed.
    Closed,
}

impl About {
    /// Nothing, if the record does not say or says it in words of others; those are then shown as they are.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        serde_json::from_str(record.subject.as_ref()?.as_str()).ok()
    }

    /// A refund does not say its currency: it is the payment's.
    fn in_currency_of(self, payment: Option<&Payment>) -> Self {
        let payments = payment.map(|payment| payment.money.currency.code().to_owned());
        Self { currency: self.currency.or(payments), ..self }
    }

    pub(crate) fn money(&self) -> Option<String> {
        Some(words::money(&self.amount?.to_string(), self.currency.as_ref()?))
    }
}

impl Standing {
    pub(crate) fn of(record: &Record, now: EpochMs) -> Self {
        match &record.state {
            State::Processing(holder) | State::Unknown(Some(holder)) if holder.lease > now => Self::Held(holder.lease),
            State::Processing(_) | State::Unknown(_) => Self::Open,
            State::Released { .. } | State::Success(_) | State::Failed(_) => Self::Closed,
        }
    }
}

impl Console {
    pub(crate) async fn record(&self, id: &str) -> Result<Record, Refusal> {
        let id = id_of(id).ok_or_else(Refusal::no_record)?;
        self.store.read(&id).await.map_err(|error| Refusal::unavailable(&error))?.ok_or_else(Refusal::no_record)
    }

    pub(crate) async fn details(&self, id: &str) -> Result<Details, Refusal> {
        let record = self.record(id).await?;
        let is_ours = ours(&record).is_ok();
        let open = is_ours && Standing::of(&record, words::now()) != Standing::Closed;
        let asked = async { if open { Some(self.ask(&record).await) } else { None } };
        let approvals = async { if open { self.approvals_of(&record).await } else { Ok(Vec::new()) } };
        let (provider, (payment, entries), approvals, audit) =
            tokio::try_join!(async { Ok(asked.await) }, self.linked(&record), approvals, self.audit_of(&record))
                .map_err(|error: TableError| Refusal::unavailable(&error))?;
        let about = About::of(&record).map(|about| about.in_currency_of(payment.as_ref()));
        Ok(Details { record, about, payment, entries, is_ours, provider, approvals, audit })
    }

    /// The payment that came of a record, or that it refunds, and what the ledger has of it.
    pub(crate) async fn linked(&self, record: &Record) -> Result<(Option<Payment>, Vec<LedgerEntry>), TableError> {
        let about = About::of(record).unwrap_or_default();
        let own = PaymentId::of(record.transaction.uuid());
        let id = about.payment.as_deref().and_then(PaymentId::parse).unwrap_or(own);
        let payment = self.table.payment(id).await?;
        let entries = match &payment {
            Some(payment) => self.table.entries(&payment.account, record.transaction.uuid()).await?,
            None => Vec::new(),
        };
        Ok((payment, entries))
    }

    async fn audit_of(&self, record: &Record) -> Result<Vec<AuditEntry>, TableError> {
        const MOST: usize = 50;
        // Clocks differ: an entry may bear an earlier time than the record that it is about.
        let since = record.created.0.saturating_sub(60 * 60 * 1000);
        let filter = AuditFilter { actor: None, record: Some(record.id.as_str().to_owned()), since };
        Ok(self.table.audit_page(&filter, None, MOST).await?.entries)
    }
}

/// The operation that a record is of, if it is one of ours. A table that is shared has records of others, too: the
/// provider knows nothing of them, and whoever settled one here would answer another application's clients.
pub(crate) fn ours(record: &Record) -> Result<&'static Operation, Refusal> {
    operations().of(record).ok_or_else(|| Refusal::not_ours(&record.operation))
}

/// The version of a record, and what people see of it.
pub(crate) fn shown(record: &Record) -> Shown {
    let (owner, lease) = match record.holder() {
        Some(Holder { owner, lease }) => (format!("{owner:?}"), lease.0.to_string()),
        None => (String::new(), String::new()),
    };
    let status = record.state.status().as_str();
    // A digest, because an owner's token is nobody else's business.
    let version = [status, &record.transaction.to_string(), &record.attempt.to_string(), &owner, &lease]
        .iter()
        .fold(Sha256::new(), |hash, part| hash.chain_update(part).chain_update([0]))
        .finalize();
    let version = version.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Shown { version, status: status.to_owned(), attempt: record.attempt, updated: record.updated.0 }
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
            shown(&unknown),
            shown(&record(held(1))),
            shown(&record(held(2))),
            shown(&Record { attempt: 2, ..unknown.clone() }),
            shown(&Record { transaction: TransactionId::new(EpochMs(2), [0; 10]), ..unknown.clone() }),
        ];
        for (index, version) in versions.iter().enumerate() {
            assert!(versions[..index].iter().all(|other| other.version != version.version), "{version:?}");
            assert!(!version.version.contains("0101"), "{version:?}");
        }
        assert_eq!(shown(&unknown), shown(&unknown));
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
        let standing = |state, now| Standing::of(&record(state), EpochMs(now));
        assert_eq!(standing(State::Unknown(None), 5), Standing::Open);
        assert_eq!(standing(held(1), 9), Standing::Held(EpochMs(10)));
        assert_eq!(standing(held(1), 10), Standing::Open);
        assert_eq!(standing(State::Released { expiration: idempotency::protocol::EpochS(9) }, 5), Standing::Closed);
    }
}
