//! The conversion between a record and a DynamoDB item.

use std::collections::HashSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{Item, watermarks};
use crate::protocol::{EpochMs, EpochS, Fingerprint, Holder, OwnerToken, PrincipalDigest, Record, RecordId, Response};
use crate::protocol::{History, Settled, State, Status, Subject, Trace, TransactionId};
use crate::store::{StoreError, history};

/// The names of a record's attributes, and how the table's key is made. The defaults fit an existing Powertools table.
#[derive(Clone, Debug)]
pub struct AttributeNames {
    /// Partition key of the table: the record's id (string).
    pub id: String,
    /// Sort key of the table (string), if it has one. It has the value `idempotency` in all our items, so that each
    /// record still has its own partition key.
    pub sort: Option<String>,
    /// The prefix of each id in the table, before `idempotency:`, for a table that is shared with other items. Default:
    /// none. Never change it while records exist.
    pub id_prefix: String,
    /// Time-to-live attribute of the table: epoch seconds (number). Only on settled and released records.
    pub expiration: String,
    /// PROCESSING, SUCCESS, FAILED or UNKNOWN (string).
    pub status: String,
    /// Token of the claim (16 bytes). Absent if the record is not held.
    pub owner: String,
    /// Token that ended the last claim, or that wrote without one (16 bytes). Absent while the record is held, or if an
    /// older version wrote it.
    pub ended_by: String,
    /// Number of the attempt (number).
    pub attempt: String,
    /// End of the lease: epoch milliseconds (number). Absent if the record is not held.
    pub lease: String,
    /// Transaction id: a UUIDv7 (string).
    pub transaction: String,
    /// Fingerprint: version byte and hash (33 bytes).
    pub fingerprint: String,
    /// Name of the operation (string).
    pub operation: String,
    /// SHA-256 of the principal (32 bytes).
    pub principal: String,
    /// Subject of the operation, in the application's format (string).
    pub subject: String,
    /// History of the record (bytes).
    pub history: String,
    /// Start of the first attempt: epoch milliseconds (number).
    pub created: String,
    /// Last write: epoch milliseconds (number).
    pub updated: String,
    /// The trace in which the first attempt began: id, span and sampling flag (25 bytes).
    pub trace: String,
    /// The answer to replay (bytes). Only on settled records, and on the parts of a long answer.
    pub response: String,
    /// How many further items (`id` and `#1`, `#2`, …) contain the answer (number). Replaces `response` if the answer
    /// is too long for the record.
    pub parts: String,
    /// Partition key of the sparse index (string). Only on UNKNOWN records.
    pub unresolved: String,
    /// The name of the sparse index; its sort key is [`created`](Self::created).
    pub unresolved_index: String,
}

impl Default for AttributeNames {
    fn default() -> Self {
        Self {
            id: "id".into(),
            sort: None,
            id_prefix: String::new(),
            expiration: "expiration".into(),
            status: "status".into(),
            owner: "owner".into(),
            ended_by: "ended_by".into(),
            attempt: "attempt".into(),
            lease: "lease".into(),
            transaction: "transaction".into(),
            fingerprint: "fingerprint".into(),
            operation: "operation".into(),
            principal: "principal".into(),
            subject: "subject".into(),
            history: "story".into(),
            created: "created".into(),
            updated: "updated".into(),
            trace: "trace".into(),
            response: "response".into(),
            parts: "parts".into(),
            unresolved: "unresolved".into(),
            unresolved_index: "unresolved".into(),
        }
    }
}

/// Attribute names that a table cannot have. Nothing was written under them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidNames {
    /// Two attributes have the same name: one would overwrite the other.
    #[error("two attributes have the name `{0}`")]
    Twice(String),
    /// DynamoDB's names have 1 to 255 bytes.
    #[error("`{0}` is not a valid attribute name, which has 1 to 255 bytes")]
    Length(String),
    /// A key attribute has the name of an attribute of watermarks, which are in the same table.
    #[error("the key attribute `{0}` has the name of an attribute of watermarks")]
    OfWatermarks(String),
}

/// The value of the sort key.
const SORT: &str = "idempotency";

impl AttributeNames {
    /// Checks whether a table can have these names.
    ///
    /// # Errors
    /// [`InvalidNames`], with the first name that it cannot have.
    pub fn check(&self) -> Result<(), InvalidNames> {
        let attributes = [&self.response, &self.parts, &self.unresolved].map(String::as_str);
        let all = self.of_record().into_iter().chain(attributes).chain(self.sort.as_deref());
        let mut seen = HashSet::new();
        for name in all {
            if name.is_empty() || name.len() > 255 {
                return Err(InvalidNames::Length(name.to_owned()));
            }
            if !seen.insert(name) {
                return Err(InvalidNames::Twice(name.to_owned()));
            }
        }
        let mut key = std::iter::once(&self.id).chain(&self.sort);
        match key.find(|name| watermarks::ATTRIBUTES.contains(&name.as_str())) {
            Some(name) => Err(InvalidNames::OfWatermarks(name.clone())),
            None => Ok(()),
        }
    }

    /// The key of one of our items.
    pub(super) fn key(&self, id: &str) -> Item {
        let sort = self.sort.as_ref().map(|name| (name.clone(), string(SORT)));
        let id = (self.id.clone(), string(format!("{}{id}", self.id_prefix)));
        Item::from_iter(std::iter::once(id).chain(sort))
    }

    /// The id of a record, as it is in the table.
    pub(crate) fn record_id(&self, stored: &str) -> RecordId {
        RecordId::from_stored(stored.strip_prefix(&self.id_prefix).unwrap_or(stored).to_owned())
    }

    /// All attributes of a record except its answer, for reads that answer no caller.
    pub(super) fn of_record(&self) -> [&str; 16] {
        [
            &self.id,
            &self.expiration,
            &self.status,
            &self.owner,
            &self.lease,
            &self.ended_by,
            &self.attempt,
            &self.transaction,
            &self.fingerprint,
            &self.operation,
            &self.principal,
            &self.subject,
            &self.history,
            &self.created,
            &self.updated,
            &self.trace,
        ]
    }
}

/// The whole item of a record.
pub(super) fn from_record(record: &Record, names: &AttributeNames) -> Item {
    let mut item = names.key(record.id.as_str());
    item.reserve(16);
    let mut set = |name: &str, value| drop(item.insert(name.to_owned(), value));
    set(&names.status, string(record.state.status().as_str()));
    set(&names.transaction, string(record.transaction.to_string()));
    set(&names.attempt, number(record.attempt));
    set(&names.operation, string(&*record.operation));
    set(&names.fingerprint, binary(*record.fingerprint.as_bytes()));
    set(&names.created, number(record.created.0));
    set(&names.updated, number(record.updated.0));
    set(&names.history, binary(history::to_bytes(&record.history)));
    if let Some(principal) = record.principal {
        set(&names.principal, binary(principal.0));
    }
    if let Some(subject) = &record.subject {
        set(&names.subject, string(subject.as_str()));
    }
    if let Some(trace) = record.trace {
        set(&names.trace, binary(trace.to_bytes()));
    }
    if let Some(holder) = record.holder() {
        set(&names.owner, binary(holder.owner.0));
        set(&names.lease, number(holder.lease.0));
    }
    if let Some(token) = record.ended_by {
        set(&names.ended_by, binary(token.0));
    }
    if let Some(expiration) = record.expiration() {
        set(&names.expiration, number(expiration.0));
    }
    match record.settled().map(|(_, settled)| &settled.response) {
        Some(Response::Whole(bytes)) => set(&names.response, binary(bytes.clone())),
        Some(Response::Parts(parts)) => set(&names.parts, number(u64::from(*parts))),
        None => {}
    }
    match record.state {
        State::Unknown(_) => set(&names.unresolved, string(unresolved_partition(partition_of(&record.id)))),
        State::Processing(_) | State::Released { .. } | State::Success(_) | State::Failed(_) => {}
    }
    item
}

/// Reads the record from an item.
///
/// # Errors
/// [`StoreError::Unreadable`] names the attribute that is missing or has another type.
pub(super) fn to_record(mut item: Item, names: &AttributeNames) -> Result<Record, StoreError> {
    let id = match item.remove(&names.id) {
        Some(AttributeValue::S(id)) => names.record_id(&id),
        _ => RecordId::from_stored(String::new()),
    };
    Reader { item, names }
        .record(id.clone())
        .map_err(|problem| StoreError::Unreadable { digest: id.digest().to_owned(), problem })
}

pub(super) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(super) fn binary(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// The number of partitions of the sparse index.
///
/// One partition takes 1,000 writes per second. An outage of an external system can make more records UNKNOWN than
/// that, and a throttled index throttles its table.
pub(super) const UNRESOLVED_PARTITIONS: u8 = 16;

/// The key of a partition: a hexadecimal digit.
pub(super) fn unresolved_partition(number: u8) -> String {
    format!("{number:x}")
}

fn partition_of(id: &RecordId) -> u8 {
    id.digest().bytes().fold(0_u8, u8::wrapping_add) % UNRESOLVED_PARTITIONS
}

struct Reader<'a> {
    item: Item,
    names: &'a AttributeNames,
}

impl Reader<'_> {
    fn record(mut self, id: RecordId) -> Result<Record, String> {
        let names = self.names;
        Ok(Record {
            id,
            state: self.state()?,
            operation: self.string(&names.operation)?.into(),
            fingerprint: Fingerprint::from_bytes(self.array(&names.fingerprint)?),
            transaction: self.transaction()?,
            attempt: self.number(&names.attempt)?,
            principal: self.principal()?,
            subject: self.subject()?,
            history: self.history()?,
            created: EpochMs(self.number(&names.created)?),
            updated: EpochMs(self.number(&names.updated)?),
            trace: self.trace(),
            ended_by: self.ended_by()?,
        })
    }

    fn state(&mut self) -> Result<State, String> {
        let names = self.names;
        let word = self.string(&names.status)?;
        let status = Status::from_stored(&word).ok_or_else(|| format!("`{}` is `{word}`", names.status))?;
        match status {
            Status::Processing => match self.holder()? {
                Some(holder) => Ok(State::Processing(holder)),
                None => Ok(State::Released { expiration: self.expiration()? }),
            },
            Status::Success => Ok(State::Success(self.settled()?)),
            Status::Failed => Ok(State::Failed(self.settled()?)),
            Status::Unknown => Ok(State::Unknown(self.holder()?)),
        }
    }

    fn holder(&mut self) -> Result<Option<Holder>, String> {
        let names = self.names;
        if !self.has(&names.owner) {
            return Ok(None);
        }
        let owner = OwnerToken(self.array(&names.owner)?);
        Ok(Some(Holder { owner, lease: EpochMs(self.number(&names.lease)?) }))
    }

    fn settled(&mut self) -> Result<Settled, String> {
        let names = self.names;
        let response = if self.item.contains_key(&names.parts) {
            let parts = self.number(&names.parts)?;
            Response::Parts(u32::try_from(parts).map_err(|_| format!("`{}` is {parts}", names.parts))?)
        } else {
            Response::Whole(self.binary(&names.response)?)
        };
        Ok(Settled { response, expiration: self.expiration()? })
    }

    fn expiration(&mut self) -> Result<EpochS, String> {
        let names = self.names;
        self.number(&names.expiration).map(EpochS)
    }

    fn transaction(&mut self) -> Result<TransactionId, String> {
        let name = &self.names.transaction;
        let text = self.string(name)?;
        let uuid: uuid::Uuid = text.parse().map_err(|_| format!("`{name}` is not a UUID"))?;
        Ok(TransactionId::from_bytes(uuid.into_bytes()))
    }

    fn principal(&mut self) -> Result<Option<PrincipalDigest>, String> {
        let name = &self.names.principal;
        self.has(name).then(|| self.array(name).map(PrincipalDigest)).transpose()
    }

    fn subject(&mut self) -> Result<Option<Subject>, String> {
        let name = &self.names.subject;
        Ok(if self.has(name) { Subject::new(self.string(name)?) } else { None })
    }

    fn ended_by(&mut self) -> Result<Option<OwnerToken>, String> {
        let name = &self.names.ended_by;
        self.has(name).then(|| self.array(name).map(OwnerToken)).transpose()
    }

    /// The history is for people only: if it is unreadable, the record must still be readable.
    fn history(&mut self) -> Result<History, String> {
        let name = &self.names.history;
        Ok(if self.has(name) { history::from_bytes(&self.binary(name)?) } else { History::default() })
    }

    /// The trace is for people only, like the history.
    fn trace(&mut self) -> Option<Trace> {
        self.array(&self.names.trace).ok().and_then(Trace::from_bytes)
    }

    /// Whether the item has the attribute; records of older versions lack some.
    fn has(&self, name: &str) -> bool {
        self.item.contains_key(name)
    }

    fn string(&mut self, name: &str) -> Result<String, String> {
        match self.item.remove(name) {
            Some(AttributeValue::S(text)) => Ok(text),
            other => Err(unexpected(name, "a string", other.as_ref())),
        }
    }

    fn number(&mut self, name: &str) -> Result<u64, String> {
        match self.item.remove(name) {
            Some(AttributeValue::N(text)) => text.parse().map_err(|_| format!("`{name}` is {text}")),
            other => Err(unexpected(name, "a number", other.as_ref())),
        }
    }

    fn binary(&mut self, name: &str) -> Result<Vec<u8>, String> {
        match self.item.remove(name) {
            Some(AttributeValue::B(bytes)) => Ok(bytes.into_inner()),
            other => Err(unexpected(name, "binary", other.as_ref())),
        }
    }

    fn array<const N: usize>(&mut self, name: &str) -> Result<[u8; N], String> {
        let bytes = self.binary(name)?;
        bytes.try_into().map_err(|bytes: Vec<u8>| format!("`{name}` has {} bytes instead of {N}", bytes.len()))
    }
}

/// Describes the problem without the value, which may be confidential.
fn unexpected(name: &str, expected: &str, found: Option<&AttributeValue>) -> String {
    match found {
        Some(_) => format!("`{name}` is not {expected}"),
        None => format!("`{name}` is missing"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Fingerprinter, HistoryEntry, HistoryEvent, InvocationId, Key, Principal};

    fn any_story() -> impl Strategy<Value = History> {
        let step = (any::<u8>(), 0..1_u64 << 48, any::<u32>(), prop::option::of(1..u128::MAX));
        prop::collection::vec(step, 0..=History::MAX_ENTRIES).prop_map(|steps| {
            let step = |(event, at, attempt, request): (u8, u64, u32, Option<u128>)| HistoryEntry {
                event: HistoryEvent::from_byte(event),
                at: EpochMs(at),
                attempt: attempt.into(),
                request: request.map(|request| InvocationId::from_bytes(request.to_be_bytes())),
            };
            History::from_entries(steps.into_iter().map(step).collect())
        })
    }

    fn any_holder() -> impl Strategy<Value = Holder> {
        (any::<[u8; 16]>(), any::<u64>())
            .prop_map(|(owner, lease)| Holder { owner: OwnerToken(owner), lease: EpochMs(lease) })
    }

    fn any_settled() -> impl Strategy<Value = Settled> {
        let response = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64).prop_map(Response::Whole),
            any::<u32>().prop_map(Response::Parts),
        ];
        (response, any::<u64>()).prop_map(|(response, at)| Settled { response, expiration: EpochS(at) })
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let state = prop_oneof![
            any_holder().prop_map(State::Processing),
            any::<u64>().prop_map(|at| State::Released { expiration: EpochS(at) }),
            any_settled().prop_map(State::Success),
            any_settled().prop_map(State::Failed),
            prop::option::of(any_holder()).prop_map(State::Unknown),
        ];
        let about = (any::<Option<[u8; 32]>>(), prop::option::of(".{1,64}"), any_story(), any::<Option<[u8; 16]>>());
        (state, "[!-~]{1,255}", any::<u64>(), any::<[u8; 10]>(), about).prop_map(
            |(state, key, attempt, random, about)| Record {
                id: RecordId::new("n", &Principal::new("p").unwrap(), &Key::new(key).unwrap()),
                fingerprint: Fingerprinter::new().bytes(&random).finish(),
                transaction: TransactionId::new(EpochMs(1_700_000_000_000), random),
                attempt,
                trace: Trace::new([7; 16], [7; 8], attempt % 2 == 1).filter(|_| attempt % 3 > 0),
                state,
                ended_by: about.3.map(OwnerToken),
                principal: about.0.map(PrincipalDigest),
                subject: about.1.and_then(Subject::new),
                history: about.2,
                ..Record::sample()
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_is_read_back_as_it_was_written(record in any_record()) {
            let names = AttributeNames::default();
            prop_assert_eq!(to_record(from_record(&record, &names), &names).unwrap(), record);
        }

        #[test]
        fn what_a_scan_reads_is_the_whole_record_but_its_answer(record in any_record()) {
            let names = AttributeNames { unresolved: "index".into(), ..AttributeNames::default() };
            let read = names.of_record();
            let left_out = |name: &str| name == names.response || name == names.parts || name == names.unresolved;
            for name in from_record(&record, &names).keys() {
                prop_assert!(read.contains(&name.as_str()) != left_out(name), "{}", name);
            }
        }

        #[test]
        fn only_settled_and_released_records_expire_and_only_unknown_ones_are_indexed(record in any_record()) {
            let item = from_record(&record, &AttributeNames::default());
            let ends = matches!(record.state, State::Released { .. } | State::Success(_) | State::Failed(_));
            prop_assert_eq!(item.contains_key("expiration"), ends);
            prop_assert_eq!(item.contains_key("unresolved"), matches!(record.state, State::Unknown(_)));
        }
    }

    #[test]
    fn an_item_that_this_version_cannot_read_is_an_error_that_names_the_attribute() {
        let names = AttributeNames::default();
        let item = Item::from([("id".to_owned(), string("idempotency:x")), ("status".to_owned(), string("COMPLETED"))]);
        let error = to_record(item, &names).unwrap_err().to_string();
        assert!(error.contains("`status` is `COMPLETED`"), "{error}");
        let error = to_record(Item::new(), &names).unwrap_err().to_string();
        assert!(error.contains("`status` is missing"), "{error}");
    }

    /// Records outlive deployments: items of the first version must stay readable.
    #[test]
    fn an_item_of_the_first_version_is_still_read() {
        let id = "idempotency:U6AiWsvy5-YSFD7t7C6hIoT8K0-G2LUZ_fegZk8y-DM";
        let item = Item::from([
            ("id".to_owned(), string(id)),
            ("status".to_owned(), string("SUCCESS")),
            ("operation".to_owned(), string("POST /payments")),
            ("fingerprint".to_owned(), binary([1; 33])),
            ("transaction".to_owned(), string("018bcfe5-6800-7000-8000-000000000000")),
            ("attempt".to_owned(), number(1)),
            ("created".to_owned(), number(1_700_000_000_000)),
            ("updated".to_owned(), number(1_700_000_000_500)),
            ("expiration".to_owned(), number(1_700_086_400)),
            ("response".to_owned(), binary(*b"\x02\x01\x00\xc9\x00\x00\x00\x00hello")),
        ]);
        let record = to_record(item, &AttributeNames::default()).unwrap();
        assert_eq!((record.id.as_str(), record.attempt, &*record.operation), (id, 1, "POST /payments"));
        let (response, expiration) = (b"\x02\x01\x00\xc9\x00\x00\x00\x00hello".to_vec().into(), EpochS(1_700_086_400));
        assert_eq!(record.state, State::Success(Settled { response, expiration }));
    }

    #[test]
    fn a_record_of_an_older_version_is_read() {
        let names = AttributeNames::default();
        let record = Record::sample();
        let mut item = from_record(&record, &names);
        item.remove(&names.history);
        assert_eq!(to_record(item, &names).unwrap(), record);
    }

    #[test]
    fn a_settled_record_with_a_small_answer_fits_one_write_unit() {
        let names = AttributeNames::default();
        let record = Record {
            operation: "POST /payments/{id}/refunds".into(),
            created: EpochMs(1_700_000_000_000),
            updated: EpochMs(1_700_000_000_000),
            trace: Trace::new([1; 16], [1; 8], true),
            state: State::Success(Settled { response: vec![0; 400].into(), expiration: EpochS(1_700_000_000) }),
            ended_by: Some(OwnerToken([1; 16])),
            principal: Some(Principal::new("p").unwrap().digest()),
            subject: Subject::new(r#"{"account":"acct-1","amount":1999,"currency":"EUR"}"#),
            history: [HistoryEvent::Claimed, HistoryEvent::Succeeded].into_iter().fold(
                History::default(),
                |history, event| {
                    let request = Some(InvocationId::from_bytes([1; 16]));
                    history.then(HistoryEntry { event, at: EpochMs(1_700_000_000_000), attempt: 1, request })
                },
            ),
            ..Record::sample()
        };
        assert!(super::super::parts::item_bytes(&from_record(&record, &names)) <= 1024);
    }
}
