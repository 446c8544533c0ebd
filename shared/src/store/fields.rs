//! A record as named fields: what all stored forms have in common. A form says how a value is kept.

use super::history;
use super::names::AttributeNames;
use crate::protocol::{
    EpochMs, EpochS, Fingerprint, History, Holder, OwnerToken, PrincipalDigest, Record, RecordId, Response, Settled,
    State, Status, Subject, Trace, TransactionId,
};

/// The value of a field.
pub(super) enum Value {
    Text(String),
    Number(u64),
    Bytes(Vec<u8>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

/// The fields that the record has, besides its id.
pub(super) fn of<'n>(record: &Record, names: &'n AttributeNames) -> impl Iterator<Item = (&'n str, Value)> + use<'n> {
    let (response, parts) = match record.settled().map(|(_, settled)| &settled.response) {
        Some(Response::Whole(bytes)) => (Some(Value::Bytes(bytes.clone())), None),
        Some(Response::Parts(parts)) => (None, Some(Value::Number((*parts).into()))),
        None => (None, None),
    };
    let fields = [
        (&names.status, Some(record.state.status().as_str().into())),
        (&names.transaction, Some(Value::Text(record.transaction.to_string()))),
        (&names.attempt, Some(Value::Number(record.attempt))),
        (&names.operation, Some((*record.operation).into())),
        (&names.fingerprint, Some((*record.fingerprint.as_bytes()).into())),
        (&names.created, Some(Value::Number(record.created.0))),
        (&names.updated, Some(Value::Number(record.updated.0))),
        (&names.history, Some(Value::Bytes(history::to_bytes(&record.history)))),
        (&names.principal, record.principal.map(|principal| principal.0.into())),
        (&names.subject, record.subject.as_ref().map(|subject| subject.as_str().into())),
        (&names.trace, record.trace.map(|trace| trace.to_bytes().into())),
        (&names.owner, record.holder().map(|holder| holder.owner.0.into())),
        (&names.lease, record.holder().map(|holder| Value::Number(holder.lease.0))),
        (&names.ended_by, record.ended_by.map(|token| token.0.into())),
        (&names.expiration, record.expiration().map(|expiration| Value::Number(expiration.0))),
        (&names.response, response),
        (&names.parts, parts),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.as_str(), value?)))
}

/// A stored record, whose fields are taken out one by one; records of older versions lack some.
///
/// The errors describe a problem without the value, which may be confidential.
pub(super) trait Stored {
    fn take_text(&mut self, name: &str) -> Result<Option<String>, String>;

    fn take_number(&mut self, name: &str) -> Result<Option<u64>, String>;

    fn take_bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, String>;

    fn take_history(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        self.take_bytes(name)
    }

    fn take_array<const N: usize>(&mut self, name: &str) -> Result<Option<[u8; N]>, String> {
        let Some(bytes) = self.take_bytes(name)? else { return Ok(None) };
        let length = bytes.len();
        bytes.try_into().map(Some).map_err(|_| format!("`{name}` has {length} bytes instead of {N}"))
    }
}

/// Reads the record.
///
/// # Errors
/// Names the field that is missing or malformed.
pub(super) fn read<S: Stored>(id: RecordId, mut stored: S, names: &AttributeNames) -> Result<Record, String> {
    let stored = &mut stored;
    let history = stored.take_history(&names.history)?;
    Ok(Record {
        id,
        state: state(stored, names)?,
        operation: required(stored, &names.operation, S::take_text)?.into(),
        fingerprint: Fingerprint::from_bytes(required(stored, &names.fingerprint, S::take_array)?),
        transaction: transaction(stored, &names.transaction)?,
        attempt: required(stored, &names.attempt, S::take_number)?,
        principal: stored.take_array(&names.principal)?.map(PrincipalDigest),
        subject: stored.take_text(&names.subject)?.and_then(Subject::new),
        created: EpochMs(required(stored, &names.created, S::take_number)?),
        updated: EpochMs(required(stored, &names.updated, S::take_number)?),
        ended_by: stored.take_array(&names.ended_by)?.map(OwnerToken),
        history: history.map_or_else(History::default, |bytes| history::from_bytes(&bytes)),
        // For people only: it must not make a record unreadable.
        trace: stored.take_array(&names.trace).ok().flatten().and_then(Trace::from_bytes),
    })
}

fn state(stored: &mut impl Stored, names: &AttributeNames) -> Result<State, String> {
    let word = required(stored, &names.status, Stored::take_text)?;
    match Status::from_stored(&word).ok_or_else(|| format!("`{}` is `{word}`", names.status))? {
        Status::Processing => match holder(stored, names)? {
            Some(holder) => Ok(State::Processing(holder)),
            None => Ok(State::Released { expiration: expiration(stored, names)? }),
        },
        Status::Success => Ok(State::Success(settled(stored, names)?)),
        Status::Failed => Ok(State::Failed(settled(stored, names)?)),
        Status::Unknown => Ok(State::Unknown(holder(stored, names)?)),
    }
}

fn holder(stored: &mut impl Stored, names: &AttributeNames) -> Result<Option<Holder>, String> {
    let Some(owner) = stored.take_array(&names.owner)? else { return Ok(None) };
    let lease = required(stored, &names.lease, Stored::take_number)?;
    Ok(Some(Holder { owner: OwnerToken(owner), lease: EpochMs(lease) }))
}

fn settled(stored: &mut impl Stored, names: &AttributeNames) -> Result<Settled, String> {
    let response = match stored.take_number(&names.parts)? {
        Some(parts) => Response::Parts(parts.try_into().map_err(|_| format!("`{}` is {parts}", names.parts))?),
        None => Response::Whole(required(stored, &names.response, Stored::take_bytes)?),
    };
    Ok(Settled { response, expiration: expiration(stored, names)? })
}

fn expiration(stored: &mut impl Stored, names: &AttributeNames) -> Result<EpochS, String> {
    required(stored, &names.expiration, Stored::take_number).map(EpochS)
}

fn transaction(stored: &mut impl Stored, name: &str) -> Result<TransactionId, String> {
    let text = required(stored, name, Stored::take_text)?;
    let uuid: uuid::Uuid = text.parse().map_err(|_| format!("`{name}` is no UUID"))?;
    Ok(TransactionId::from_bytes(uuid.into_bytes()))
}

fn required<S: Stored, T>(
    stored: &mut S,
    name: &str,
    take: impl FnOnce(&mut S, &str) -> Result<Option<T>, String>,
) -> Result<T, String> {
    take(stored, name)?.ok_or_else(|| format!("`{name}` is missing"))
}
