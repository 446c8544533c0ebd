//! The conversion between a record and a hash, whose fields have the names of the attributes in DynamoDB.

use super::script::Fields;
use crate::protocol::{
    EpochMs, EpochS, Fingerprint, History, Holder, OwnerToken, PrincipalDigest, Record, RecordId, Response, Settled,
    State, Status, Subject, Trace, TransactionId,
};
use crate::store::{StoreError, history};

pub(super) const ATTEMPT: &str = "attempt";
pub(super) const LEASE: &str = "lease";
pub(super) const OWNER: &str = "owner";
pub(super) const RESPONSE: &str = "response";
pub(super) const STATUS: &str = "status";
pub(super) const TRANSACTION: &str = "transaction";
const CREATED: &str = "created";
const ENDED_BY: &str = "ended_by";
const EXPIRATION: &str = "expiration";
const FINGERPRINT: &str = "fingerprint";
const HISTORY: &str = "history";
const OPERATION: &str = "operation";
const PARTS: &str = "parts";
const PRINCIPAL: &str = "principal";
const SUBJECT: &str = "subject";
const TRACE: &str = "trace";
const UPDATED: &str = "updated";

/// All fields of a record.
pub(super) fn from_record(record: &Record) -> Vec<(&'static str, Vec<u8>)> {
    let number = |number: u64| number.to_string().into_bytes();
    let mut fields = vec![
        (STATUS, record.state.status().as_str().as_bytes().to_vec()),
        (TRANSACTION, record.transaction.to_string().into_bytes()),
        (ATTEMPT, number(record.attempt)),
        (OPERATION, record.operation.as_bytes().to_vec()),
        (FINGERPRINT, record.fingerprint.as_bytes().to_vec()),
        (CREATED, number(record.created.0)),
        (UPDATED, number(record.updated.0)),
        (HISTORY, history::to_bytes(&record.history)),
    ];
    let present = [
        (PRINCIPAL, record.principal.map(|principal| principal.0.to_vec())),
        (SUBJECT, record.subject.as_ref().map(|subject| subject.as_str().as_bytes().to_vec())),
        (TRACE, record.trace.map(|trace| trace.to_bytes().to_vec())),
        (OWNER, record.holder().map(|holder| holder.owner.0.to_vec())),
        (LEASE, record.holder().map(|holder| number(holder.lease.0))),
        (ENDED_BY, record.ended_by.map(|token| token.0.to_vec())),
        (EXPIRATION, record.expiration().map(|expiration| number(expiration.0))),
    ];
    fields.extend(present.into_iter().filter_map(|(name, value)| Some((name, value?))));
    match record.settled().map(|(_, settled)| &settled.response) {
        Some(Response::Whole(bytes)) => fields.push((RESPONSE, bytes.clone())),
        Some(Response::Parts(parts)) => fields.push((PARTS, number(u64::from(*parts)))),
        None => {}
    }
    fields
}

/// Reads the record from a hash; `None` if there is none.
///
/// # Errors
/// [`StoreError::Unreadable`], which names the field that is missing or malformed.
pub(super) fn to_record(id: &RecordId, fields: Fields) -> Result<Option<Record>, StoreError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let unreadable = |problem| StoreError::Unreadable { digest: id.digest().to_owned(), problem };
    read(id, fields).map(Some).map_err(unreadable)
}

fn read(id: &RecordId, mut fields: Fields) -> Result<Record, String> {
    Ok(Record {
        id: id.clone(),
        state: state(&mut fields)?,
        operation: fields.text(OPERATION)?.into(),
        fingerprint: Fingerprint::from_bytes(fields.array(FINGERPRINT)?),
        transaction: transaction(&mut fields)?,
        attempt: fields.number(ATTEMPT)?,
        principal: fields.optional(PRINCIPAL, Fields::array)?.map(PrincipalDigest),
        subject: fields.optional(SUBJECT, Fields::text)?.and_then(Subject::new),
        // History and trace are for people only: they must not make a record unreadable.
        history: fields.take(HISTORY).map_or_else(History::default, |bytes| history::from_bytes(&bytes)),
        trace: fields.array(TRACE).ok().and_then(Trace::from_bytes),
        created: EpochMs(fields.number(CREATED)?),
        updated: EpochMs(fields.number(UPDATED)?),
        ended_by: fields.optional(ENDED_BY, Fields::array)?.map(OwnerToken),
    })
}

fn state(fields: &mut Fields) -> Result<State, String> {
    let word = fields.text(STATUS)?;
    match Status::from_stored(&word).ok_or_else(|| format!("`{STATUS}` is `{word}`"))? {
        Status::Processing => match holder(fields)? {
            Some(holder) => Ok(State::Processing(holder)),
            None => Ok(State::Released { expiration: EpochS(fields.number(EXPIRATION)?) }),
        },
        Status::Success => Ok(State::Success(settled(fields)?)),
        Status::Failed => Ok(State::Failed(settled(fields)?)),
        Status::Unknown => Ok(State::Unknown(holder(fields)?)),
    }
}

fn holder(fields: &mut Fields) -> Result<Option<Holder>, String> {
    let Some(owner) = fields.optional(OWNER, Fields::array)? else { return Ok(None) };
    Ok(Some(Holder { owner: OwnerToken(owner), lease: EpochMs(fields.number(LEASE)?) }))
}

fn settled(fields: &mut Fields) -> Result<Settled, String> {
    let response = match fields.optional(PARTS, Fields::number)? {
        Some(parts) => Response::Parts(parts),
        None => Response::Whole(fields.take(RESPONSE).ok_or_else(|| format!("`{RESPONSE}` is missing"))?),
    };
    Ok(Settled { response, expiration: EpochS(fields.number(EXPIRATION)?) })
}

fn transaction(fields: &mut Fields) -> Result<TransactionId, String> {
    let uuid: uuid::Uuid = fields.number(TRANSACTION)?;
    Ok(TransactionId::from_bytes(uuid.into_bytes()))
}
